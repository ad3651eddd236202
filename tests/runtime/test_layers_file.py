# mypy: allow-untyped-defs, allow-incomplete-defs
"""Streams from files of layers: the same bits as from weights, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gatewise import Cell, Vector, cell, cells, tanh
from gatewise.runtime import Stream
from gatewise.runtime.layers_file import described, stored_layers
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from tests.compiler.examples import Example, examples, peephole
from tests.runtime.stacks import Array, projection, sequence, stack

I, H, L = 3, 7, 2


def options(**changes: Any) -> dict[str, Any]:
    given = {
        "input_size": I, "hidden_size": H, "num_layers": L, "bias": True, "batch_first": False,
        "dropout": 0.5, "bidirectional": False, "proj_size": 0, "checkpoint": 0,
    }  # fmt: skip
    return given | changes


def written(path: Path, cell: Cell, weights: dict[str, Array], prefix: str = "", **changes: Any) -> Path:
    tensors = {prefix + name: array for name, array in weights.items()}
    write_model(path, "layers", described(cell, options(**changes), prefix), tensors)
    return path


@examples
def test_a_stream_of_a_file_has_the_bits_of_the_stream_of_its_weights(
    tmp_path: Path, example: Example
) -> None:
    weights = stack(example.cell, L, I, H)
    path = written(tmp_path / "m", example.cell, weights, proj_size=projection(example.cell, H))
    loaded = Stream.load(path, batch=2)
    x = sequence(9, 2, I)
    assert np.array_equal(loaded.run(x), Stream(example.cell, weights, batch=2).run(x))
    assert loaded.cell.signature() == example.cell.signature()


def test_other_tensors_of_a_file_are_ignored_and_the_type_can_be_chosen(tmp_path: Path) -> None:
    weights = stack(peephole, L, I, H, "float32")
    entry = described(peephole, options(), "net.rnn.")
    tensors = {f"net.rnn.{name}": array for name, array in weights.items()} | {"head": np.zeros(3)}
    write_model(tmp_path / "m", "some task", {"more": 1, **entry}, tensors)
    assert Stream.load(tmp_path / "m").dtype == np.float32
    stream, x = Stream.load(tmp_path / "m", dtype="float64"), sequence(9, 1, I)
    assert np.array_equal(stream.run(x), Stream(peephole, weights, dtype="float64").run(x))


def test_a_stream_starts_and_restarts_from_the_learned_states(tmp_path: Path) -> None:
    weights, x = stack(cells.lstm, L, I, H), sequence(5, 3, I)
    rng = np.random.default_rng(1)
    learned = {state: rng.standard_normal((L, H)) for state in "hc"}
    tensors = weights | {f"initial_{s}_l{k}": value[k] for s, value in learned.items() for k in range(L)}
    path = written(tmp_path / "m", cells.lstm, tensors, learn_initial_state=True)
    stream, other = Stream.load(path, batch=3), Stream(cells.lstm, weights, batch=3)
    other.state = {s: np.repeat(value[:, None], 3, axis=1) for s, value in learned.items()}
    whole = other.run(x)
    assert np.array_equal(stream.run(x), whole)
    stream.reset(rows=1)
    stream.reset(rows=[0, 2])
    assert np.array_equal(stream.run(x), whole)


def test_a_file_in_half_precision_needs_another_type(tmp_path: Path) -> None:
    path = written(tmp_path / "m", peephole, stack(peephole, L, I, H, "float16"))
    with pytest.raises(ModelFileError, match=r"cannot be a stream \(dtype must be float32 or float64"):
        Stream.load(path)
    assert Stream.load(path, dtype="float32").dtype == np.float32


def test_it_needs_neither_torch_nor_the_function(tmp_path: Path) -> None:
    weights, x = stack(peephole, L, I, H), sequence(5, 1, I)
    written(tmp_path / "m", peephole, weights)
    code = (
        "import json, sys, numpy; sys.modules['torch'] = None; from gatewise.runtime import Stream; "
        "print(Stream.load('m').run(numpy.array(json.load(sys.stdin))).tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, input=json.dumps(x.tolist()), capture_output=True, text=True, check=True,
    timeout=120)  # fmt: skip
    assert np.array_equal(json.loads(done.stdout), Stream(peephole, weights).run(x))


def test_layers_that_cannot_run_step_by_step_say_why(tmp_path: Path) -> None:
    one = stack(cells.gru, 1, I, H)
    both = one | {f"{name}_reverse": array for name, array in one.items()}
    path = written(tmp_path / "m", cells.gru, both, num_layers=1, bidirectional=True)
    with pytest.raises(ModelFileError, match="also reads the sequence backwards") as caught:
        Stream.load(path)
    assert str(caught.value).startswith(f"{path}: these layers cannot be a stream (")


def test_wrong_files_and_numbers_of_rows_are_refused(tmp_path: Path) -> None:
    stream = Stream.load(written(tmp_path / "m", cells.gru, stack(cells.gru, L, I, H)))
    stream.save_state(tmp_path / "state")
    with pytest.raises(ModelFileError, match="does not describe recurrent layers"):
        Stream.load(tmp_path / "state")
    with pytest.raises(ValueError, match=r"batch must be a positive integer\. Got 0"):
        Stream.load(tmp_path / "m", batch=0)
    with pytest.raises(FileNotFoundError):
        Stream.load(tmp_path / "none")


def test_a_vector_with_the_name_of_a_weight_is_refused(tmp_path: Path) -> None:
    entry = described(peephole, options())
    text = json.dumps({"format": 2, "task": "layers", **entry}).replace('"v"', '"bias_ih"')
    save_file(stack(peephole, L, I, H), tmp_path / "m", metadata={"gatewise": text})
    with pytest.raises(ModelFileError, match="Vector 'bias_ih' has the name of a weight"):
        Stream.load(tmp_path / "m")


@cell
def bearing(h, *, a, initial_h: Vector):
    """A cell with a vector that has the name of a learned initial state."""
    return tanh(a) * initial_h


def test_a_vector_with_the_name_of_an_initial_state_stays_a_vector(tmp_path: Path) -> None:
    weights = stack(bearing, 1, I, H)
    stream, x = Stream.load(written(tmp_path / "m", bearing, weights, num_layers=1)), sequence(1, 1, I)[0]
    assert not stream.state["h"].any()
    opened = np.tanh(x @ weights["weight_ih_l0"].T + weights["bias_ih_l0"] + weights["bias_hh_l0"])
    np.testing.assert_allclose(stream.step(x), opened * weights["initial_h_l0"], rtol=1e-14)
    written(tmp_path / "m", bearing, weights, num_layers=1, learn_initial_state=True)
    with pytest.raises(
        ModelFileError, match="the vector 'initial_h' has the name of a learned initial state"
    ):
        Stream.load(tmp_path / "m")


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_a_stream_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes are replaced anywhere: in the header of safetensors, in the JSON inside it, in the numbers."""
    path = tmp_path / "m"
    if not path.exists():
        written(path, peephole, stack(peephole, L, I, H))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 4000) - 1))
        content[at] = data.draw(st.sampled_from([*b'"\\{}[]:,.0123456789-e \x00', content[at] ^ 1, 255]))
    (tmp_path / "damaged").write_bytes(content[: data.draw(st.integers(len(content) - 2, len(content)))])
    try:
        stored = stored_layers(read_model(tmp_path / "damaged", None))
    except ModelFileError as error:
        message = str(error)
    else:
        message = f"{tmp_path / 'damaged'}: "
        assert stored.options["num_layers"] == L
        assert str(stored.cell).startswith(stored.cell.name)
    assert message.startswith(f"{tmp_path / 'damaged'}: ")
