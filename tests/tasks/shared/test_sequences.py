"""Sequences from whatever users have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.shared.sequences import Sequences, as_sequences

LIBRARIES = (pd.DataFrame, pl.DataFrame, pa.table)
NUMBER = st.floats(-1e6, 1e6) | st.none()


def lists(sequences: Sequences) -> list[Any]:
    return [[[None if x != x else x for x in step] for step in array.tolist()] for array in sequences.arrays]


@st.composite
def ragged(draw: st.DrawFn) -> list[list[list[float | None]]]:
    """Sequences of unequal length with the same number of channels."""
    channels = draw(st.integers(1, 3))
    step = st.lists(NUMBER, min_size=channels, max_size=channels)
    return draw(st.lists(st.lists(step, min_size=1, max_size=5), min_size=1, max_size=6))


@settings(deadline=None)
@given(ragged(), st.randoms(use_true_random=False))
def test_frames_of_three_libraries_give_the_sequences_of_the_list(rows: Any, random: Any) -> None:
    """Also if the rows of the frame are shuffled, since the time says their order."""
    long = [(f"s{n}", t, *step) for n, row in enumerate(rows) for t, step in enumerate(row)]
    random.shuffle(long)
    names = ["id", "time", *(f"c{i}" for i in range(len(rows[0][0])))]
    columns = {name: list(values) for name, values in zip(names, zip(*long, strict=True), strict=True)}
    found = [as_sequences(pd.DataFrame(columns).astype(dict.fromkeys(names[2:], float)))]
    found += [as_sequences(library(columns)) for library in (pl.DataFrame, pa.table)]
    for sequences in found:
        by_id = dict(zip(sequences.ids, lists(sequences), strict=True))
        assert by_id == {f"s{n}": row for n, row in enumerate(rows)}
        assert list(by_id) == list(dict.fromkeys(columns["id"]))
        assert sequences.channels == tuple(names[2:])
    assert lists(as_sequences([np.array(row, float) for row in rows])) == rows


@settings(deadline=None)
@given(st.lists(st.lists(NUMBER, min_size=1, max_size=6), min_size=1, max_size=6))
def test_lists_of_numbers_have_one_channel(rows: list[list[float | None]]) -> None:
    sequences = as_sequences(rows)
    assert lists(sequences) == [[[x] for x in row] for row in rows]
    assert sequences.lengths.tolist() == [len(row) for row in rows]
    assert lists(sequences[1:]) == lists(sequences)[1:]


@pytest.mark.parametrize("texts", [
    ["ab", ""], ("ab", ""), np.array(["ab", ""]), np.array(["ab", ""], object),
    np.array(["ab", ""], np.dtypes.StringDType()), pd.DataFrame({"t": ["ab", ""]}, dtype="category"),
    pd.Series(["ab", ""]), pl.Series(["ab", ""]), pa.array(["ab", ""]), pa.chunked_array([["ab"], [""]]),
    *(library({"text": ["ab", ""]}) for library in LIBRARIES),
])  # fmt: skip
def test_texts(texts: Any) -> None:
    sequences = as_sequences(texts)
    assert sequences.texts == ["ab", ""]
    assert sequences.is_text
    assert all(type(text) is str for text in sequences.values)


@pytest.mark.parametrize(("X", "kind", "message"), [
    ([], ValueError, "X must have at least one sequence. Got none"),
    (np.zeros(3), ValueError, "Expected 2D array, got 1D array"),
    (np.zeros((0, 3)), ValueError, r"Found array with 0 sample\(s\)"),
    (np.zeros((2, 0, 3)), ValueError, r"Found array with 0 step\(s\) \(shape=\(2, 0, 3\)\)"),
    (np.zeros((1, 1, 1, 1)), ValueError, "Found array with dim 4, while dim <= 3 is required"),
    ("text", TypeError, r"X must be a list of texts. Got one text: give it as \[x\]"),
    (["a", None], TypeError, r"X must be all texts or all arrays. Got a missing value for X\[1\]"),
    ([np.zeros((2, 2)), "a"], TypeError, r"Got ndarray for X\[0\]"),
    (np.zeros((2, 2), complex), ValueError, "Complex data not supported"),
    ([np.zeros((2, 2), complex)], ValueError, "Complex data not supported"),
    ([np.zeros((2, 2)), np.zeros((2, 3))], ValueError, "2 channels in each sequence, .* Got 3 in sequence 1"),
    ([np.zeros((2, 2)), np.zeros((0, 2))], ValueError, r"Got shape \(0, 2\) for X\[1\]"),
    ([np.zeros((2, 2)), np.array([[1, 2], [3, np.inf]])], ValueError,
     "Input X contains infinity: sequence 1, step 1, channel 'channel 1'"),
    ([[1.0], [2.0, -np.inf]], ValueError, "Input X contains infinity: sequence 1, step 1"),
    (pa.table({"id": [1, None], "a": [1, 2]}), TableError, "X, column 'id', row 2: the value is missing"),
    (pa.table({"id": [1, 2], "time": [0, np.nan], "a": [1, 2]}), TableError, "'time', row 2: .* missing"),
    (pa.table({"id": [1, 2], "time": [[0], [1]], "a": [1, 2]}), TableError, "'time': .* times, not list"),
    (pa.table({"id": [1, 2], "a": ["x", "y"]}), TableError, "X, column 'a': the column must hold numbers"),
    (pa.table({"id": [1, 2]}), TableError, "X: there is no column of numbers beside 'id'"),
    (pd.DataFrame({"a": ["x", 3]}), TableError, "X: each column must have one type"),
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), TableError, "X, column 'a': .* more than once"),
])  # fmt: skip
def test_errors(X: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        as_sequences(X)


def test_an_index_of_two_levels_is_the_long_format() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "case": [7, 7, 8], "t": [1, 0, 0]}).set_index(["case", "t"])
    sequences = as_sequences(frame)
    assert (list(sequences.ids), lists(sequences)) == ([7, 8], [[[2.0], [1.0]], [[3.0]]])


def test_an_estimator_knows_what_it_was_fitted_on() -> None:
    class Estimator(BaseEstimator):  # type: ignore[misc]
        pass

    estimator = Estimator()
    as_sequences(pd.DataFrame({"a": [1.0], "b": [2.0]}), estimator=estimator, reset=True)
    assert (estimator.n_features_in_, list(estimator.feature_names_in_)) == (2, ["a", "b"])
    with pytest.warns(UserWarning, match="valid feature names"), pytest.raises(ValueError, match="X has 3"):
        as_sequences(np.zeros((1, 3)), estimator=estimator)
    assert lists(as_sequences([[1.0, 2.0, 3.0], [4.0]], estimator=estimator)) == [[[1], [2], [3]], [[4]]]

    long = pa.table({"id": [1], "a": [1.0], "b": [2.0]})
    as_sequences(long, estimator=estimator, reset=True)
    assert estimator.channels_in_ == ("a", "b")
    assert not hasattr(estimator, "n_features_in_")
    turned = as_sequences(pa.table({"b": [2.0], "c": [9.0], "a": [1.0], "id": [1]}), estimator=estimator)
    assert (turned.channels, lists(turned)) == (("a", "b"), [[[1.0, 2.0]]])
    assert as_sequences(np.zeros((1, 4, 2)), estimator=estimator).channels == ("a", "b")
    with pytest.raises(ValueError, match=r"X must have the channels a, b. It lacks b"):
        as_sequences(pa.table({"id": [1], "a": [1.0], "c": [2.0]}), estimator=estimator)
    with pytest.raises(ValueError, match=r"Got 1. A single sequence \[T, I\] is given as \[x\]"):
        as_sequences(np.zeros((5, 2)), estimator=estimator)
    with pytest.raises(ValueError, match=r"X must be sequences of numbers, as in the fit .* Got texts"):
        as_sequences(["a"], estimator=estimator)
    as_sequences(["a"], estimator=estimator, reset=True)
    assert estimator.channels_in_ == ()
    with pytest.raises(ValueError, match=r"X must be texts, as in the fit .* Got sequences of numbers"):
        as_sequences([[1.0]], estimator=estimator)


def test_sequences_are_split_by_scikit_learn() -> None:
    sequences = as_sequences([[1.0], [2.0, 3.0], [4.0], [5.0]])
    labels = np.array([0, 1, 0, 1])
    parts = train_test_split(sequences, labels, test_size=2, random_state=0, stratify=labels)
    assert sorted(len(part) for part in parts[0] + parts[1]) == [1, 1, 1, 2]
    assert [np.asarray(array).tolist() for array in sequences][1] == [[2.0], [3.0]]
    assert [type(text) for text in as_sequences(["a", "b"])] == [str, str]


@pytest.mark.parametrize("frame", [pl.DataFrame, pd.DataFrame, pa.table])
def test_frames_of_lists(frame: Any) -> None:
    found = as_sequences(frame({"x": [[1.0, 2.0], [3.0]], "y": [[4, 5], [6]]}))
    assert found.channels == ("x", "y")
    assert [array.tolist() for array in found.arrays] == [[[1.0, 4.0], [2.0, 5.0]], [[3.0, 6.0]]]
    found = as_sequences(frame({"x": [[[1.0, 4.0], [2.0, 5.0]], [[3.0, 6.0]]]}))
    assert [array.tolist() for array in found.arrays] == [[[1.0, 4.0], [2.0, 5.0]], [[3.0, 6.0]]]
    with pytest.raises(TableError, match="columns of lists stand beside 'n'; leave these out"):
        as_sequences(frame({"x": [[1.0], [3.0]], "n": [1, 2]}))
