"""Reads the ``.ts`` format of aeon and sktime: one sequence in each line, of unequal length.

A line has the channels with colons between, the values of each with commas between, and at the end the label.
``?`` or ``NaN`` is a missing value. Lines above ``@data`` describe the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.tasks.shared.reading.content import decoded, read_content
from gatewise.tasks.shared.reading.errors import TableError, quoted
from gatewise.tasks.shared.sequences import Labelled, Sequences, Values, channel_names

_YES, _NO = "true", "false"


@dataclass
class _Header:
    """What the lines above ``@data`` say: whether each line ends with a label, of which classes."""

    labelled: bool = False
    classes: list[str] = field(default_factory=list)
    target: bool = False
    lines: int = 0


def read_ts(path: str | Path, encoding: str | None = None) -> Labelled:
    """Read a ``.ts`` file. Labels are texts; those of ``@targetLabel`` are numbers.

    Raises:
        TableError: the file has no ``@data``, has times at its values, or a line is damaged. Rows are counted
            from 1 below ``@data``.
    """
    path = Path(path)
    lines = decoded(path, read_content(path), encoding).splitlines()
    header = _header(path, lines)
    arrays: list[Values] = []
    labels: list[Any] = []
    for row, line in enumerate(lines[header.lines :], start=1):
        text = line.strip()
        if text and not text.startswith(("#", "%")):
            channels = text.split(":")
            if header.labelled:
                labels.append(_label(path, channels, header, row))
            arrays.append(_array(path, channels, arrays, row))
    if not arrays:
        raise TableError(path, "the file has no sequences below @data")
    names = channel_names(arrays[0].shape[1])
    found = np.array(labels) if header.labelled else None
    return Labelled(str(path), Sequences(arrays, range(len(arrays)), names), found)


def _header(path: Path, lines: list[str]) -> _Header:
    header = _Header()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0][0] in "#%":
            continue
        name, told = words[0].lower(), [word.lower() for word in words[1:2]]
        if name == "@data":
            header.lines = number
            return header
        if not name.startswith("@"):
            break
        if name == "@timestamps" and told == [_YES]:
            raise TableError(
                path, "the file has a time at each value (@timestamps true), which is not supported"
            )
        if name in ("@classlabel", "@targetlabel") and told == [_YES]:
            header.labelled, header.target = True, name == "@targetlabel"
            header.classes = words[2:]
    raise TableError(path, "the file has no line @data, which begins the sequences of a .ts file")


def _label(path: Path, channels: list[str], header: _Header, row: int) -> Any:
    """Take the label from the end of a line."""
    label = channels.pop().strip()
    if not channels:
        raise TableError(path, "the line has no label after a colon", row=row)
    if header.target:
        try:
            return float(label)
        except ValueError:
            raise TableError(path, f"the label {quoted(label)} is not a number", row=row) from None
    if header.classes and label not in header.classes:
        problem = f"the label {quoted(label)} is not among those of @classLabel"
        raise TableError(path, f"{problem}: {', '.join(map(quoted, header.classes[:12]))}", row=row)
    return label


def _array(path: Path, channels: list[str], above: list[Values], row: int) -> Values:
    """One sequence ``[T, I]``."""
    if above and len(channels) != above[0].shape[1]:
        problem = f"there are {len(channels)} channels where lines above have {above[0].shape[1]}"
        raise TableError(path, problem, row=row)
    columns = [_numbers(path, text, place, row) for place, text in enumerate(channels)]
    for place, column in enumerate(columns):
        if len(column) != len(columns[0]):
            problem = f"channel {place} has {len(column)} steps, but channel 0 has {len(columns[0])}"
            raise TableError(path, problem, row=row)
    return np.stack(columns, axis=1)


def _numbers(path: Path, text: str, place: int, row: int) -> Values:
    words = [word.strip() for word in text.split(",")]
    try:
        numbers = np.array([np.nan if word in ("?", "") else float(word) for word in words])
    except ValueError:
        wrong = next(word for word in words if word not in ("?", "") and not _is_number(word))
        raise TableError(path, f"channel {place}: {quoted(wrong)} is not a number", row=row) from None
    if not text.strip() or np.isinf(numbers).any():
        problem = "has an infinite value" if text.strip() else "has no values"
        raise TableError(path, f"channel {place} {problem}", row=row)
    return numbers


def _is_number(word: str) -> bool:
    try:
        return bool(float(word) or True)
    except ValueError:
        return False
