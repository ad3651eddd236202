# mypy: allow-untyped-defs, allow-incomplete-defs
"""The state of a stream: reading, setting, resetting, forking, saving."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from gatewise import Cell, cell, cells, sigmoid, tanh
from gatewise.language.rewrites import with_zoneout
from gatewise.runtime import Stream
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from tests.runtime.stacks import Array, sequence, stack

T, B, I, H, L = 8, 3, 5, 6, 2
x = sequence(T, B, I)


@pytest.fixture
def stream() -> Stream:
    return Stream(cells.lstm, stack(cells.lstm, L, I, H), batch=B)


def test_a_stream_starts_from_zeros(stream: Stream) -> None:
    np.testing.assert_equal(stream.state, {"h": np.zeros((L, B, H)), "c": np.zeros((L, B, H))})


def test_a_state_is_copied_on_reading_and_on_setting(stream: Stream) -> None:
    stream.run(x[:4])
    state = stream.state
    kept = {name: values.copy() for name, values in state.items()}
    rest = stream.run(x[4:])
    np.testing.assert_equal(state, kept)
    stream.state = state
    state["c"][...] = np.nan
    np.testing.assert_equal(stream.state, kept)
    np.testing.assert_array_equal(stream.run(x[4:]), rest)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        (None, [0, 1, 2]),
        (1, [1]),
        (-1, [2]),
        (slice(1, 3), [1, 2]),
        ([0, 2], [0, 2]),
        ((0, 2), [0, 2]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
    ],
    ids=str,
)
def test_some_rows_are_reset(stream: Stream, rows: Any, chosen: list[int]) -> None:
    stream.run(x[:4])
    expected = stream.state
    for values in expected.values():
        values[:, chosen] = 0
    stream.reset(rows)
    np.testing.assert_equal(stream.state, expected)


def test_a_row_that_is_reset_forgets(stream: Stream) -> None:
    fresh = stream.run(x[4:])
    stream.reset()
    going_on = stream.run(x)[4:]
    stream.reset()
    stream.run(x[:4])
    stream.reset(rows=1)
    mixed = stream.run(x[4:])
    np.testing.assert_array_equal(mixed[:, 1], fresh[:, 1])
    np.testing.assert_array_equal(mixed[:, [0, 2]], going_on[:, [0, 2]])


def test_a_fork_is_independent(stream: Stream) -> None:
    here, elsewhere = stream.run(x), np.concatenate([x[:1], -x])
    stream.reset()
    expected = stream.run(elsewhere)
    stream.reset()
    stream.step(x[0])
    fork = stream.fork()
    np.testing.assert_equal(fork.state, stream.state)
    np.testing.assert_array_equal(fork.run(-x), expected[1:])
    np.testing.assert_array_equal(stream.run(x[1:]), here[1:])


def test_a_fork_outlives_its_stream(stream: Stream) -> None:
    whole = stream.run(x)
    stream.reset()
    stream.step(x[0])
    fork = stream.fork()
    del stream
    np.testing.assert_array_equal(fork.run(x[1:]), whole[1:])


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copy_and_pickle_are_refused(stream: Stream, take: Any) -> None:
    with pytest.raises(TypeError, match="cannot be copied or pickled: use fork"):
        take(stream)


def test_a_saved_state_continues_the_sequence(stream: Stream, tmp_path: Path) -> None:
    stream.run(x[:3])
    stream.save_state(tmp_path / "state.safetensors")
    rest = stream.run(x[3:])
    another = Stream(cells.lstm, stack(cells.lstm, L, I, H), batch=B)
    another.load_state(tmp_path / "state.safetensors")
    np.testing.assert_array_equal(another.run(x[3:]), rest)


def state_of(**changed: Array) -> dict[str, Array]:
    return {"h": np.zeros((L, B, H)), "c": np.zeros((L, B, H))} | changed


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (
            state_of(c=np.zeros((L, B + 1, H))),
            ValueError,
            r"'c' must have shape \(2, 3, 6\). Got \(2, 4, 6\)",
        ),
        (state_of(h=np.zeros((B, H))), ValueError, r"'h' must have shape \(2, 3, 6\). Got \(3, 6\)"),
        (state_of(c=np.zeros((L, B, H), "float32")), TypeError, "'c' must be of float64. Got float32"),
        (state_of(m=np.zeros((L, B, H))), ValueError, "state must hold h, c. Got h, c, m"),
        ({}, ValueError, "state must hold h, c. Got nothing"),
        ((1, 2), TypeError, "state must be a mapping of names to arrays. Got tuple"),
        ({"h": 0, "c": 0}, TypeError, "'h' must be a NumPy array of float64. Got int"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    stream: Stream, state: Any, error: type[Exception], message: str
) -> None:
    stream.run(x)
    before = stream.state
    with pytest.raises(error, match=message):
        stream.state = state
    np.testing.assert_equal(stream.state, before)


def lstm_that_forgets_less() -> Cell:
    @cell
    def lstm(h, c, *, i, f, g, o):
        c = sigmoid(f + 1) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, c

    return lstm


other_lstm = lstm_that_forgets_less()


def test_a_state_of_other_options_is_refused(tmp_path: Path) -> None:
    weights = stack(cells.lstm, L, I, H)
    plain, zoned, other = (
        Stream(changed, weights, batch=B)
        for changed in (cells.lstm, *(with_zoneout(cells.lstm, (0.0, rate)) for rate in (0.25, 0.5)))
    )
    zoned.save_state(tmp_path / "state")
    for stream in (plain, other):
        with pytest.raises(ModelFileError, match="Got 'lstm' with other equations"):
            stream.load_state(tmp_path / "state")
    Stream(with_zoneout(cells.lstm, (0.0, 0.25)), weights, batch=B).load_state(tmp_path / "state")


def test_streams_with_equal_equations_share_states_whatever_their_names(
    tmp_path: Path, stream: Stream
) -> None:
    renamed = replace(cells.lstm, origin=cells.lstm.origin._replace(name="mine"))
    stream.run(x)
    stream.save_state(tmp_path / "state")
    other = Stream(renamed, stack(cells.lstm, L, I, H), batch=B)
    other.load_state(tmp_path / "state")
    np.testing.assert_equal(other.state, stream.state)


def test_files_that_do_not_fit_are_refused(stream: Stream, tmp_path: Path) -> None:
    stream.run(x)
    before, path = stream.state, tmp_path / "state.safetensors"

    def refused(message: str) -> None:
        with pytest.raises(ModelFileError, match=message) as caught:
            stream.load_state(path)
        assert str(path) in str(caught.value)
        np.testing.assert_equal(stream.state, before)

    Stream(cells.lstm, stack(cells.lstm, L, I, H), batch=4).save_state(path)
    refused(r"state: 'h' must have shape \(2, 3, 6\). Got \(2, 4, 6\)")
    Stream(cells.lstm, stack(cells.lstm, L, I, H), batch=B, dtype="float32").save_state(path)
    refused("'h' must be of float64. Got float32")
    Stream(cells.gru, stack(cells.gru, L, I, H), batch=B).save_state(path)
    refused("must hold a state of the cell 'lstm'. Got 'gru'")
    Stream(other_lstm, stack(other_lstm, L, I, H), batch=B).save_state(path)
    refused("must hold a state of the cell 'lstm'. Got 'lstm' with other equations")
    Stream(cells.lstm, stack(cells.lstm, L, I + 1, H), batch=B).save_state(path)
    refused("must hold a state with input_size 5. Got 6")
    Stream(cells.lstm, stack(cells.lstm, L, I, H + 1), batch=B).save_state(path)
    refused("must hold a state with hidden_size 6. Got 7")
    Stream(cells.lstm, stack(cells.lstm, L + 1, I, H), batch=B).save_state(path)
    refused("must hold a state with num_layers 2. Got 3")
    write_model(path, "state", {"cell": ["lstm"]}, before)
    refused(r"Got \['lstm'\]")
    stream.save_state(path)
    header = read_model(path, "state").header
    write_model(path, "state", header, {"h": before["h"]})
    refused("state must hold h, c. Got h")
    write_model(path, "forecast", {"cell": "lstm"}, before)
    refused("task must be 'state'")
    save_file(before, path)
    refused("gatewise did not write it")
    path.write_bytes(pickle.dumps(before))
    refused("not a safetensors file")


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_a_state_or_refused(stream: Stream, tmp_path: Path, data: st.DataObject) -> None:
    """Bytes are replaced anywhere, or the file is cut. The numbers may differ; nothing else may happen."""
    path, before = tmp_path / "state", stream.state
    stream.save_state(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from([*b'"\\{}[]:,.0123456789-e \x00', content[at] ^ 1, 255]))
    path.write_bytes(content[: data.draw(st.integers(len(content) - 2, len(content)))])
    try:
        stream.load_state(path)
    except ModelFileError as error:
        message = str(error)
        np.testing.assert_equal(stream.state, before)
    else:
        message = f"{path}: "
    assert message.startswith(f"{path}: ")
    assert {name: values.shape for name, values in stream.state.items()} == {"h": (L, B, H), "c": (L, B, H)}


@pytest.mark.parametrize("rows", [3, [0, 7], 0.5, [True, False], "all"], ids=str)
def test_indices_of_missing_rows_are_refused(stream: Stream, rows: Any) -> None:
    stream.run(x)
    before = stream.state
    with pytest.raises(IndexError, match=r"rows must choose among 3 rows. Got"):
        stream.reset(rows)
    np.testing.assert_equal(stream.state, before)
