"""`gatewise compile`: after it, no process compiles these kernels again."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import indent

import pytest
import torch
from typer.testing import CliRunner, Result

import gatewise
from gatewise import cells, nn
from gatewise.apps.commands import app
from gatewise.nn.modules.files import options_of, weights_of
from gatewise.runtime.ahead import compile_ahead
from gatewise.runtime.layers_file import StoredLayers, described, described_stacks
from gatewise.runtime.model_file import write_model
from tests.apps.processes import MAIN, run_forked
from tests.random_cells.quickly import compiling_quickly

# Runs a model in every way, and prints how many kernels were compiled.
RUN = """
import sys
import numpy as np, torch
import gatewise
from gatewise.compiler.run import machine
from gatewise.runtime import Stream

layers = gatewise.load(sys.argv[1])
x = torch.zeros(5, 2, layers.input_size, dtype=layers.get_parameter("weight_ih_l0").dtype)
layers(x)
layers.train()
layers(x, lengths=torch.tensor([5, 3]))[0].sum().backward()
if not layers.bidirectional:
    Stream.load(sys.argv[1]).step(np.zeros(layers.input_size, str(x.dtype).removeprefix("torch.")))
print(machine.compiled_modules())
"""


def quickly(code: str) -> str:
    """Code that compiles kernels without optimisation, into a folder inside the cache."""
    head = "from tests.random_cells.quickly import compiling_quickly\nwith compiling_quickly():\n"
    return head + indent(code, "    ")


def compile_model(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compile", *map(str, arguments)])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


MODELS = {
    "options": nn.LSTM(2, 3, proj_size=2, zoneout=(0.0, 0.2), recurrent_dropout=0.3),
    "float64": nn.Recurrent(cells.gru_reset_before, 2, 3, bidirectional=True, dtype=torch.float64),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_later_process_compiles_nothing(name: str, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    gatewise.save(MODELS[name], path)
    done = run_forked("compile", str(path), cwd=tmp_path, code=quickly(MAIN))
    count = 4 if name == "options" else 3  # forward with and without random operations
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Compiled {count} of {count} kernels of " in done.stdout
    assert str(cache) in done.stdout.replace("\n", "")
    later = run_forked(str(path), cwd=tmp_path, code=quickly(RUN))
    assert (later.stdout.strip(), later.stderr) == ("0", "")
    again = run_forked("compile", str(path), cwd=tmp_path, code=quickly(MAIN))
    assert f"Nothing to compile: the {count} kernels of " in again.stdout


def test_the_kernels_of_a_job_include_its_linear_maps_and_further_layers(cache: Path, tmp_path: Path) -> None:
    main, letters = (
        StoredLayers(net.cell, options_of(net), weights_of(net)) for net in (nn.GRU(2, 3), nn.RNN(2, 3))
    )
    header = described(main.cell, main.options, "a.") | described_stacks({"letters": (letters, "b.")})
    tensors = {
        f"{at}{name}": w for at, net in (("a.", main), ("b.", letters)) for name, w in net.weights.items()
    }
    write_model(tmp_path / "m", "classify", header, tensors)
    with compiling_quickly():
        assert compile_ahead(tmp_path / "m", training=False)[1:3] == ("float32", 3)


def test_without_training_and_in_the_folder_of_a_run(cache: Path, tmp_path: Path) -> None:
    @gatewise.cell
    def only_here(h, *, f, g):  # type: ignore[no-untyped-def]
        h = gatewise.sigmoid(f) * h + gatewise.tanh(g)
        return h

    gatewise.save(nn.Recurrent(only_here, 2, 3), tmp_path / "model.safetensors")
    with compiling_quickly():
        done = compile_model(tmp_path, "--no-training")
    assert done.exit_code == 0
    assert done.stdout.startswith("Compiled 1 of 1 kernels of only_here (float32) in ")
    assert len([*(cache / "quickly").iterdir()]) == 2


def test_errors_are_one_sentence(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    gatewise.save(nn.GRU(2, 3), path)
    (tmp_path / "broken.safetensors").write_bytes(b"none")
    cases = [
        (tmp_path / "none.safetensors", "MODEL: there is no file "),
        (tmp_path / "broken.safetensors", "the file is damaged or not a safetensors file"),
    ]
    if os.name == "posix":
        cases.append((Path("/dev/zero"), "must be a file. Got a device"))
    for model, sentence in cases:
        done = compile_model(model)
        assert done.exit_code == 2
        assert sentence in done.stderr
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    done = compile_model(path)
    assert done.exit_code == 2
    assert "while GATEWISE_CACHE is off" in done.stderr


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gatewise.save(nn.GRU(2, 3), tmp_path / "m.safetensors")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "file"))
    done = run_forked("compile", "m.safetensors", cwd=tmp_path, code=quickly(MAIN))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: compiled kernels cannot be kept for the next process (")
