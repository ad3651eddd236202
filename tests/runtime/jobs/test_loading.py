"""`gatewise.runtime.load`: a file gives the model of its job; further layers of a file have names."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gatewise import cells
from gatewise.runtime import load
from gatewise.runtime.jobs import loading
from gatewise.runtime.layers_file import (
    StoredLayers,
    described,
    described_stacks,
    stored_layers,
    stored_stacks,
)
from gatewise.runtime.model_file import ModelFile, ModelFileError, Tensors, in_memory, read_model, write_model
from tests.hostile import mutated
from tests.runtime.stacks import stack

OPTIONS = {
    "input_size": 2, "hidden_size": 3, "num_layers": 1, "bias": True, "batch_first": False,
    "dropout": 0.0, "bidirectional": False, "proj_size": 0, "checkpoint": 0,
}  # fmt: skip
MAIN = StoredLayers(cells.gru, OPTIONS, stack(cells.gru, 1, 2, 3, "float32"))
LETTERS = StoredLayers(cells.rnn, OPTIONS, stack(cells.rnn, 1, 2, 3, "float32"))
HEADER = {
    **described(MAIN.cell, MAIN.options, "words."),
    **described_stacks({"letters": (LETTERS, "letters.rnn.")}),
}
TENSORS: Tensors = {
    **{f"words.{name}": array for name, array in MAIN.weights.items()},
    **{f"letters.rnn.{name}": array for name, array in LETTERS.weights.items()},
}


class Counter:
    """A job for tests: it counts the tensors of its file."""

    TASK = "count"

    def __init__(self, header: dict[str, Any]) -> None:
        self.size = header["sizes"][0]

    @classmethod
    def from_file(cls, file: ModelFile) -> Counter:
        return cls(file.header)


@pytest.fixture
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loading.JOBS, "count", f"{__name__}.Counter")
    monkeypatch.setattr(
        loading,
        "import_module",
        lambda name: SimpleNamespace(Counter=Counter),
    )


@pytest.mark.usefixtures("_counting")
def test_a_file_gives_the_class_of_its_task(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "count", {"sizes": [5]}, {})
    assert load(tmp_path / "m").size == 5
    assert loading.of_file(in_memory("count", {"sizes": (6,)}, {})).size == 6


@pytest.mark.usefixtures("_counting")
@pytest.mark.parametrize("header", [{}, {"sizes": []}, {"sizes": None}])
def test_a_wrong_header_is_one_error(tmp_path: Path, header: dict[str, Any]) -> None:
    write_model(tmp_path / "m", "count", header, {})
    with pytest.raises(ModelFileError, match="m: the file does not describe a counter"):
        load(tmp_path / "m")


def test_a_file_of_no_job_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "state", {}, {})
    with pytest.raises(ModelFileError, match=r"task must be one of classify, .*Got 'state'"):
        load(tmp_path / "m")


def test_further_layers_have_names(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "tag", HEADER, TENSORS)
    for file in (read_model(tmp_path / "m", "tag"), in_memory("tag", HEADER, TENSORS)):
        assert stored_layers(file).cell.signature() == cells.gru.signature()
        ((name, letters),) = stored_stacks(file).items()
        assert name == "letters"
        assert letters.cell.signature() == cells.rnn.signature()
        assert {n: a.tolist() for n, a in letters.weights.items()} == {
            n: a.tolist() for n, a in LETTERS.weights.items()
        }
    write_model(tmp_path / "m", "tag", described(MAIN.cell, MAIN.options, "words."), TENSORS)
    assert stored_stacks(read_model(tmp_path / "m", "tag")) == {}


@pytest.mark.parametrize(
    ("stacks", "message"),
    [
        ([], "stacks must be an object"),
        ({"a b": HEADER["stacks"]["letters"]}, "stacks must be a name"),
        ({f"s{n}": {} for n in range(65)}, "stacks must be at most 64. Got 65"),
        ({"letters": {**HEADER["stacks"]["letters"], "prefix": "words."}}, "is missing|is unexpected|shape"),
    ],
)
def test_wrong_further_layers_are_refused(tmp_path: Path, stacks: Any, message: str) -> None:
    write_model(tmp_path / "m", "tag", {**HEADER, "stacks": stacks}, TENSORS)
    with pytest.raises(ModelFileError, match=message):
        stored_stacks(read_model(tmp_path / "m", "tag"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(mutated(HEADER["stacks"]))
def test_hostile_further_layers_raise_one_error(stacks: Any) -> None:
    file = ModelFile(Path("m"), 2, "tag", json.loads(json.dumps({"stacks": stacks})), TENSORS)
    with suppress(ModelFileError):
        stored_stacks(file)
