"""Reads labelled sequences from files, for the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.tasks.classification.dividing import split
from gatewise.tasks.shared import frames, samples
from gatewise.tasks.shared.reading.errors import TableError, listed
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.sequences import ID, Labelled, Sequences
from gatewise.tasks.shared.tables import read_table, read_ts, sequences_from

Array = NDArray[Any]
LABELS = ("label", "class", "target")  # the names of a column of classes, if none is given
TESTED = 0.2  # share of the sequences of a file that is held out
SAMPLES = {"digits": samples.digits, "docstrings": samples.docstrings}


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used (None or () for: find out), and how labels are read.

    Attributes:
        label, id, time, channels: the columns.
        separator: the mark between the labels of a sequence that has several.
        skip_unlabelled: whether sequences without a label are left out.
    """

    label: str | None = None
    id: str | None = None
    time: str | None = None
    channels: tuple[str, ...] = ()
    separator: str | None = None
    skip_unlabelled: bool = False

    def stored(self, text: str | None) -> dict[str, str | None]:
        """What a model file keeps of it, to read like tables; `text` is the column of texts."""
        return {"id": self.id, "time": self.time, "text": text}


@dataclass(frozen=True)
class LabelledFile:
    """Sequences with their labels.

    Attributes:
        name: the file, or the name of a bundled data set.
        sequences: the N sequences.
        labels: N labels, or N lists of labels.
        notes: decisions made while reading, in words.
        columns: what was asked for.
        text: the column of texts.
    """

    name: str
    sequences: Sequences
    labels: Sequence[Any]
    notes: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)
    text: str | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, rows: Array) -> LabelledFile:
        """Some of the sequences."""
        labels = [self.labels[row] for row in rows]
        return LabelledFile(self.name, self.sequences[rows], labels, self.notes, self.columns, self.text)

    @property
    def several(self) -> bool:
        """Whether a sequence has several labels."""
        return self.columns.separator is not None

    def described(self) -> str:
        """The sequences in words."""
        lengths = self.sequences.lengths
        span = f"{lengths.min():,} to {lengths.max():,}" if np.ptp(lengths) else f"{lengths[0]:,}"
        if self.sequences.is_text:
            return f"{len(self):,} texts of {span} characters for training"
        channels = len(self.sequences.channels)
        missing = sum(int(np.isnan(array).sum()) for array in self.sequences.arrays)
        gaps = f", {missing:,} values missing" if missing else ""
        width = f"{channels} channels" if channels > 1 else "one channel"
        return f"{len(self):,} for training, of {span} steps and {width}{gaps}"

    def classes(self) -> str:
        """The classes in words, with their numbers of sequences."""
        every = [label for some in self.labels for label in some] if self.several else self.labels
        counts = Counter(every).most_common()
        shown = ", ".join(f"{label} ({count:,})" for label, count in counts[:8])
        return shown if len(counts) <= 8 else f"{shown} and {len(counts) - 8} more"


def sampled(name: str) -> LabelledFile:
    """A bundled data set.

    Raises:
        ValueError: it does not exist.
    """
    if name not in SAMPLES:
        raise ValueError(f"--sample must be one of {', '.join(SAMPLES)}. Got {name!r}.")
    found = SAMPLES[name]()
    assert found.labels is not None
    return LabelledFile(found.name, found.sequences, found.labels.tolist(), found.notes)


def read_labelled(path: Path, columns: Columns, options: dict[str, Any]) -> LabelledFile:
    """Read the sequences and labels of a file.

    Raises:
        TableError: the file has no usable sequences or labels. The message names file, column and row.
    """
    answers: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()}
    reading = Reading(**answers)
    text = None
    if path.suffix.lower() == ".ts":
        found = read_ts(path, reading.encoding)
    else:
        table = read_table(path, reading)
        label = columns.label or _label_of(path, table.column_names)
        table, skipped = _with_labels(table, label, columns)
        found = sequences_from(table, columns.id, columns.time, label, list(columns.channels) or None)
        if found.sequences.is_text:
            used = columns.channels or [n for n in table.column_names if frames.holds_texts(table, n)]
            text = next(name for name in used if name not in (label, columns.id))
        if skipped:
            found = replace(found, notes=(*found.notes, f"{skipped:,} rows without a label left out"))
    return _labelled(path, found, columns, text)


def _with_labels(table: Any, label: str, columns: Columns) -> tuple[Any, int]:
    """The table without unlabelled sequences, if they shall be skipped, and the number of rows left out.

    Otherwise a missing label stands for none of the labels, where a sequence can have several.

    Raises:
        TableError: a label is missing.
    """
    labels = frames.column(table, label)
    missing = np.asarray(labels.is_null(nan_is_null=True))
    if not missing.any():
        return table, 0
    if columns.skip_unlabelled:
        rows = np.flatnonzero(~_unlabelled(table, missing, columns))
        return frames.taken(table, rows), len(table) - len(rows)
    if columns.separator is None:
        problem = "the label is missing; --skip-unlabelled leaves such sequences out"
        raise frames.error(table, problem, label, int(missing.argmax()))
    filled = labels.cast("large_string").fill_null("")
    return table.set_column(table.column_names.index(label), label, filled), 0


def _unlabelled(table: Any, missing: Array, columns: Columns) -> Array:
    """Which rows belong to sequences without a label. In long format every row of the sequence lacks it."""
    id = columns.id or (ID if ID in table.column_names else None)
    if id is None:
        return missing
    groups = frames.grouped(table, id)
    found = np.empty(len(table), bool)
    for rows in np.split(groups.order, groups.ends[:-1]):
        found[rows] = missing[rows].all()
    return found


def _labelled(path: Path, found: Labelled, columns: Columns, text: str | None) -> LabelledFile:
    if found.labels is None:
        raise TableError(path, "the file has no labels; --label names their column")
    labels: list[Any] = found.labels.tolist()
    if not labels:
        raise TableError(path, "no sequence has a label")
    if columns.separator is not None:
        parts = ([part.strip() for part in str(some).split(columns.separator)] for some in labels)
        labels = [tuple(part for part in some if part) for some in parts]
    elif len({*labels}) < 2:
        raise TableError(path, f"all sequences have the label {labels[0]!r}")
    elif found.labels.dtype.kind == "f" and not (found.labels == np.rint(found.labels)).all():
        raise TableError(path, "the labels are not classes: they are numbers with fractions")
    return LabelledFile(str(path.name), found.sequences, labels, found.notes, columns, text)


def _label_of(path: Path, names: list[str]) -> str:
    """The column of labels, if none is given."""
    for name in names:
        if name.lower() in LABELS:
            return name
    raise TableError(path, f"--label must name the column of classes, of {listed(names)}")


def divided(whole: LabelledFile) -> tuple[LabelledFile, LabelledFile]:
    """Training and test part: a fifth of each class is held out, the same in every run.

    Raises:
        TableError: there are too few sequences.
    """
    if len(whole) < 5:
        raise TableError(whole.name, f"at least 5 sequences are needed, to hold out a test. Got {len(whole)}")
    places = {label: k for k, label in enumerate(dict.fromkeys(map(str, whole.labels)))}
    encoded = np.array([0 if whole.several else places[str(label)] for label in whole.labels])
    training, tested = split(encoded, TESTED, 0)
    return whole[training], whole[tested]
