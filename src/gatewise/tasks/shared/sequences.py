"""Sequences of unequal length, from whatever users have: lists, arrays, texts, frames.

`as_sequences` is what every estimator calls first. For 2-D input it validates with scikit-learn, so that
messages and attributes are those of scikit-learn's estimators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from gatewise.files import quoted
from gatewise.tasks.shared.frames import (
    error,
    grouped,
    holds_lists,
    holds_texts,
    is_frame,
    matrix,
    texts_of,
    to_arrow,
)
from gatewise.tasks.shared.reading.errors import listed

Values = NDArray[np.float64]  # [T, I]; NaN for a missing value

ID, TIME = "id", "time"  # the names of the columns of a frame in long format, if none are given


@dataclass(frozen=True)
class Sequences:
    """N sequences: arrays ``[T, I]`` of numbers, or texts.

    Attributes:
        values: a float64 array ``[T, I]`` for each sequence, with NaN for a missing value, or a str.
        ids: a name for each sequence: of the id column of a frame, otherwise 0, 1, 2, ...
        channels: the names of the I channels; empty for texts.

    Example:
        >>> sequences = as_sequences([[1.0, 2.0, 3.0], [4.0, None]])
        >>> len(sequences), sequences.lengths.tolist(), sequences.channels
        (2, [3, 2], ('value',))
        >>> sequences[[1]].values[0].tolist()
        [[4.0], [nan]]
    """

    values: Sequence[Values] | Sequence[str]
    ids: Sequence[Any]
    channels: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether the sequences are texts."""
        return not self.channels

    @property
    def texts(self) -> list[str]:
        """The texts.

        Raises:
            ValueError: the sequences are numbers.
        """
        if not self.is_text:
            raise ValueError(f"X must be texts. Got sequences of {len(self.channels)} channels.")
        return [str(text) for text in self.values]

    @property
    def arrays(self) -> list[Values]:
        """The arrays, each ``[T, I]``.

        Raises:
            ValueError: the sequences are texts.
        """
        if self.is_text:
            raise ValueError("X must be sequences of numbers. Got texts.")
        return [values for values in self.values if isinstance(values, np.ndarray)]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of steps of each sequence, or of characters of each text."""
        return np.array([len(values) for values in self.values], np.int64)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, rows: int | np.integer[Any]) -> Values | str: ...
    @overload
    def __getitem__(self, rows: slice | Iterable[int]) -> Sequences: ...
    def __getitem__(self, rows: int | np.integer[Any] | slice | Iterable[int]) -> Sequences | Values | str:
        """One array or text by its index, or the sequences of some indices, or of a slice."""
        if isinstance(rows, int | np.integer):
            return self.values[int(rows)]
        wanted = range(len(self))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
        values: Any = [self.values[row] for row in wanted]
        return Sequences(values, [self.ids[row] for row in wanted], self.channels)

    def __iter__(self) -> Iterator[Values | str]:
        """The arrays or texts."""
        return iter(self.values)

    def with_channels(self, channels: Sequence[str]) -> Sequences:
        """The same sequences with their channels in another order, or fewer of them."""
        if tuple(channels) == self.channels:
            return self
        places = [self.channels.index(name) for name in channels]
        return Sequences([array[:, places] for array in self.arrays], self.ids, tuple(channels))


@dataclass(frozen=True)
class Labelled:
    """Sequences with a label each, as read from a file or a bundled data set.

    Attributes:
        name: where they come from: a file, or the name of a bundled data set.
        sequences: the N sequences.
        labels: ``[N]``, of texts, integers or floats; None if there are none.
        notes: decisions made while reading, in words.
    """

    name: str
    sequences: Sequences
    labels: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sequences)


def channel_names(count: int) -> tuple[str, ...]:
    """The names of channels that have none.

    >>> channel_names(1), channel_names(2)
    (('value',), ('channel 0', 'channel 1'))
    """
    return ("value",) if count == 1 else tuple(f"channel {number}" for number in range(count))


def as_sequences(
    X: Any, id: str | None = None, time: str | None = None, *, estimator: Any = None, reset: bool = False
) -> Sequences:
    """Sequences from what a user gives.

    Args:
        X: one of

            - a list of arrays ``[T, I]``, or ``[T]`` for one channel, of unequal length;
            - an array ``[N, T, I]``, or ``[N, T]`` for one channel;
            - a list, array or Series of texts, or a frame with a single column of texts;
            - a frame with columns of lists of numbers, one for each channel, or a column of lists of steps;
            - a frame in long format, one row a step: of pandas, polars, pyarrow or another library with the
              Arrow PyCapsule interface, with a column `id`, or with the index of two levels (id, time) of
              pandas. All other columns are channels. Sequences have the order in which their ids appear;
            - another frame of numbers: an array ``[N, T]``, one row a sequence, as in scikit-learn.

            NaN, None and NA are missing values. `Sequences` are returned as they are.
        id: the column of a frame that tells sequences apart; by default the one named ``"id"``, if any.
        time: the column of a frame in long format by which the steps of each sequence are sorted; by default
            the one named ``"time"``, if any; otherwise rows are in order.
        estimator: whose input it is. If `reset`, its attributes ``n_features_in_`` and ``feature_names_in_``
            (of 2-D input alone, as in scikit-learn) and ``channels_in_`` (the names of the channels; empty
            for texts) are set. Otherwise X must agree with them; channels of frames are matched by name.
        reset: whether the estimator is being fitted.

    Raises:
        TypeError: X is sparse, or a list of mixed content.
        ValueError: X is empty, has a sequence without steps or of another number of channels, an infinity, a
            complex number, or does not agree with what the estimator was fitted on. The message names the
            sequence and the step.
    """
    sequences = _sequences(X, id, time, estimator, reset)
    _check_finite(sequences)
    if estimator is None:
        return sequences
    if reset:
        estimator.channels_in_ = sequences.channels
        return sequences
    return _matched(sequences, getattr(estimator, "channels_in_", sequences.channels), estimator)


def _sequences(X: Any, id: str | None, time: str | None, estimator: Any, reset: bool) -> Sequences:
    if isinstance(X, Sequences):
        found = X
    elif is_frame(X):
        found_in_frame = _of_frame(X, id, time)
        if found_in_frame is None:
            return _of_table(X, estimator, reset)
        found = found_in_frame
    elif isinstance(X, str | bytes):
        raise TypeError("X must be a list of texts. Got one text: give it as [x].")
    elif id is not None:
        raise TypeError(f"X must be a frame, if id is given. Got {type(X).__name__}.")
    else:
        content = _content(X)
        if not isinstance(content, list):
            return _of_array(content, estimator, reset)
        found = _of_list(content)
    if reset:
        _forget_features(estimator)
    return found


def _content(X: Any) -> Any:
    """A list of sequences or texts, or what is for scikit-learn to validate."""
    if hasattr(X, "to_pylist"):  # an array of pyarrow
        X = X.to_pylist()
    if hasattr(X, "toarray"):  # sparse
        return X
    if not isinstance(X, list | tuple):
        array = np.asarray(X)
        if array.ndim != 1 or array.dtype.kind not in "OUT":
            return X if array.ndim == 2 else array
        X = array
    rows = list(X)
    if not rows:
        raise ValueError("X must have at least one sequence. Got none.")
    if all(np.ndim(row) == 0 and not isinstance(row, str) for row in rows):
        return np.asarray(X)
    if any(isinstance(row, str) for row in rows):
        return rows
    shapes = {np.shape(row) for row in rows} if all(map(_is_even, rows)) else set()
    return np.asarray(rows) if len(shapes) == 1 and len(next(iter(shapes))) == 1 else rows


def _is_even(row: Any) -> bool:
    try:
        return len(np.shape(row)) > 0
    except ValueError:  # a ragged list
        return False


def _of_array(X: Any, estimator: Any, reset: bool) -> Sequences:
    """Validate an array ``[N, T]`` with scikit-learn, or an array ``[N, T, I]``."""
    if hasattr(X, "toarray") or np.asarray(X).ndim <= 2:
        return _of_table(X, estimator, reset)
    if X.ndim > 3:
        raise ValueError(f"Found array with dim {X.ndim}, while dim <= 3 is required.")
    if min(X.shape) == 0:
        what = ("sample", "step", "channel")[X.shape.index(0)]
        raise ValueError(f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")
    if reset:
        _forget_features(estimator)
    arrays = [_numbers(row, place) for place, row in enumerate(X)]
    return Sequences(arrays, range(len(arrays)), channel_names(X.shape[2]))


def _of_table(X: Any, estimator: Any, reset: bool) -> Sequences:
    """Sequences of one channel, each in a row of a 2-D array or frame."""
    from sklearn.utils.validation import check_array, validate_data

    if estimator is None:
        array = check_array(X, dtype=np.float64, ensure_all_finite=False, input_name="X")
    else:
        array = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite=False)
    return Sequences(list(array[:, :, None]), range(len(array)), channel_names(1))


def _of_list(rows: list[Any]) -> Sequences:
    """Texts, or arrays of unequal length."""
    if any(isinstance(row, str) for row in rows):
        for place, row in enumerate(rows):
            if not isinstance(row, str):
                raise TypeError(f"X must be all texts or all arrays. Got {_kind(row)} for X[{place}].")
        return Sequences([str(row) for row in rows], range(len(rows)))
    arrays = [_numbers(row, place) for place, row in enumerate(rows)]
    channels = arrays[0].shape[1]
    for place, array in enumerate(arrays):
        if array.shape[1] != channels:
            problem = f"Got {array.shape[1]} in sequence {place}"
            raise ValueError(f"X must have {channels} channels in each sequence, as X[0]. {problem}.")
    return Sequences(arrays, range(len(arrays)), channel_names(channels))


def _numbers(row: Any, place: int) -> Values:
    """One sequence as float64 ``[T, I]``."""
    try:
        array = np.asarray(row)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"{array.dtype} is not a type of real numbers")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as wrong:
        if np.iscomplexobj(row):
            raise ValueError(f"Complex data not supported\n{quoted(str(row))[:80]}\n") from wrong
        problem = f"Got {_kind(row)} for X[{place}] ({quoted(str(wrong))[:200]})"
        raise type(wrong)(f"X must have arrays [T, I] of numbers. {problem}.") from wrong
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.size == 0:
        expected = "of at least one step and one channel"
        raise ValueError(f"X must have arrays [T, I] {expected}. Got shape {array.shape} for X[{place}].")
    return array


def _of_frame(X: Any, id: str | None, time: str | None) -> Sequences | None:
    """Sequences of a frame in long format, or its only column of texts; None if it is of another kind."""
    table, levels = to_arrow(X)
    names = table.column_names
    if levels:
        id, time = levels if id is None else (id, time)
    elif id is None and ID in names:
        id = ID
    if id is None:
        if any(holds_lists(table, name) for name in names):
            return _of_lists_in(table)
        return Sequences(texts_of(table, names[0]), range(len(table))) if _is_text(table) else None
    if time is None and TIME in names and id != TIME:
        time = TIME
    return long_format(table, id, time, [name for name in names if name not in (id, time)])


def _of_lists_in(table: Any) -> Sequences:
    """Sequences of a frame whose columns are lists."""
    from gatewise.tasks.shared.lists import are_channels, arrays_of_lists

    names = table.column_names
    others = [name for name in names if not holds_lists(table, name)]
    if others:
        raise error(table, f"columns of lists stand beside {listed(others)}; leave these out")
    if len(names) > 1 and not are_channels(table, names):
        raise error(table, f"columns of lists must be of numbers, if there are several: {listed(names)}")
    arrays: list[Any] = arrays_of_lists(table, names)
    channels = names if len(names) > 1 else channel_names(arrays[0].shape[1]) if arrays else ()
    return Sequences(arrays, range(len(arrays)), tuple(channels))


def long_format(table: Any, id: str, time: str | None, columns: Sequence[str]) -> Sequences:
    """Sequences from an Arrow table with one row a step.

    Raises:
        TableError: a column does not exist or holds no numbers, an id is missing, or there are no rows.
    """
    groups = grouped(table, id, time)
    if not columns:
        raise error(table, f"there is no column of numbers beside {id!r}")
    return Sequences(list(groups.split(matrix(table, columns))), groups.ids, tuple(columns))


def _is_text(table: Any) -> bool:
    return table.num_columns == 1 and holds_texts(table, table.column_names[0])


def _kind(row: Any) -> str:
    missing = row is None or (isinstance(row, float) and row != row)
    return "a missing value" if missing else type(row).__name__


def _forget_features(estimator: Any) -> None:
    """Remove what scikit-learn knows of an earlier fit on 2-D input."""
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator, name):
            delattr(estimator, name)


def _check_finite(sequences: Sequences) -> None:
    if sequences.is_text:
        return
    for place, array in enumerate(sequences.arrays):
        if np.isinf(array).any():
            step, channel = map(int, np.argwhere(np.isinf(array))[0])
            named = f", channel {quoted(sequences.channels[channel])!r}" if array.shape[1] > 1 else ""
            where = f"sequence {sequences.ids[place]}, step {step}{named}"
            raise ValueError(f"Input X contains infinity: {where}.")


def _matched(sequences: Sequences, fitted: tuple[str, ...], estimator: Any) -> Sequences:
    """Sequences with the channels of the fit, in its order."""
    name = type(estimator).__name__
    if sequences.is_text != (not fitted):
        kinds = ("texts", "sequences of numbers")
        wanted, got = kinds if sequences.is_text is False else kinds[::-1]
        raise ValueError(f"X must be {wanted}, as in the fit of this {name}. Got {got}.")
    found = sequences.channels
    both_named = channel_names(len(found)) != found and channel_names(len(fitted)) != fitted
    if both_named:
        missing = [channel for channel in fitted if channel not in found]
        if missing:
            raise ValueError(f"X must have the channels {', '.join(fitted)}. It lacks {', '.join(missing)}.")
        return sequences.with_channels(fitted)
    if len(found) != len(fitted):
        hint = " A single sequence [T, I] is given as [x]." if len(found) == 1 else ""
        raise ValueError(
            f"X must have {len(fitted)} channels, as in the fit of this {name}. Got {len(found)}.{hint}"
        )
    return Sequences(sequences.values, sequences.ids, fitted)
