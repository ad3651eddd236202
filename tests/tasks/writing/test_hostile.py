"""Manipulated files of writers are refused with the documented error, or they write."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.model_file import ModelFile, ModelFileError, read_model
from gatewise.tasks.writing.writer import Writer
from tests.hostile import manipulated, seeds

TEXT = "She \ud800 said\0\n漢"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, fitted: Writer) -> ModelFile:
    path = tmp_path_factory.mktemp("whole") / "m"
    fitted.save(path)
    return read_model(path, Writer.TASK)


@seeds(150)
def test_a_manipulated_file_is_refused_or_writes(
    whole: ModelFile, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    file = manipulated(whole, seed)
    monkeypatch.setattr("gatewise.tasks.shared.estimator.read_model", lambda *_: file)
    with suppress(ModelFileError):
        model = of_file(file)
        assert len(model.write(5, prompt="She", count=2)) == 2
        assert len(model.score(TEXT).bits) == len(TEXT)
    with suppress(ModelFileError):
        assert len(Writer.load("m").write(5)) == 1


def test_neither_torch_nor_pandas_is_needed(fitted: Writer, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    code = f"""
import sys
for name in ("torch", "pandas", "lightning", "sklearn", "pyarrow", "matplotlib"):
    sys.modules[name] = None
from gatewise.runtime import load
model = load({str(path)!r})
print(ascii(model.write(40, prompt="She", count=2)), model.score("She said").total.hex())
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    # This process compiles without optimisation, the other one with it: the bits are the same.
    texts, total = fitted.write(40, prompt="She", count=2), fitted.model_.score("She said").total
    assert run.stdout.strip() == f"{texts!a} {total.hex()}"
