"""Networks of a comparison come back from their files, and are shown."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gatewise import cells
from gatewise.apps.commands import app
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.network import Network
from gatewise.tasks.synthetic.saved import load_network, save_network, shown
from tests.hostile import mutated

pytestmark = pytest.mark.usefixtures("quickly")


def made(path: Path, name: str = "adding") -> Network:
    task = TASKS[name]
    rows = task.sequences(np.random.default_rng(0), 2, 20)
    torch.manual_seed(0)
    network = Network(cells.gru, rows.input.shape[2], 5, rows.target.shape[2], {})
    save_network(path, network, task, 20)
    return network


@pytest.mark.parametrize("name", TASKS)
def test_a_network_comes_back(tmp_path: Path, name: str) -> None:
    network = made(tmp_path / "m", name)
    saved = load_network(tmp_path / "m")
    assert (saved.task.name, saved.length) == (name, 20)
    found = shown(saved)
    with torch.no_grad():
        expected = network.eval().readout(network.layer(found["x"], lengths=found["lengths"])[0])
        outputs = found["call"](found["x"])
        assert torch.equal(outputs, expected)
        assert found["output"](outputs).shape == (4,)


def test_look_shows_it(tmp_path: Path) -> None:
    made(tmp_path / "gru-20-0.safetensors")
    done = CliRunner().invoke(app, ["look", str(tmp_path / "gru-20-0.safetensors")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "gru-20-0.html").exists()
    (tmp_path / "x.csv").write_text("x\n1\n")
    words = ["look", str(tmp_path / "gru-20-0.safetensors"), "--on", str(tmp_path / "x.csv")]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "draws its own sequences" in done.stderr) == (2, True)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=40,
)
@given(data=st.data())
def test_hostile_files_raise_one_error(tmp_path: Path, data: Any) -> None:
    made(tmp_path / "m")
    file = read_model(tmp_path / "m", "compare")
    problem = data.draw(mutated(file.header["problem"]))
    with suppress(ValueError):  # of a header that is not JSON
        write_model(tmp_path / "n", "compare", {**file.header, "problem": problem}, file.tensors)
        with suppress(ModelFileError):
            load_network(tmp_path / "n")
