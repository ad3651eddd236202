"""Classes from tables, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from gatewise.runtime.jobs.classifier import Classifier
from gatewise.tasks.shared import frames, tables
from gatewise.tasks.shared.reading.errors import listed
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.sequences import ID, Sequences


def predict_table(model: Classifier, table: pa.Table) -> pa.Table:
    """The classes of the sequences in a table.

    Returns:
        A row for each sequence: ``id``; ``class`` (for several labels ``labels``, lists), ``probability`` of
        that class, and after how many ``steps`` it could have been decided, if it can be decided early; then
        the probability of each class, ``p(CLASS)``.

    Raises:
        TableError: the table does not have the columns that the model reads.
    """
    return classified(model, sequences_of(model, table))


def sequences_of(model: Classifier, table: pa.Table) -> Sequences:
    """The sequences in a table that is like the table of training.

    Raises:
        TableError: the table does not have the columns that the model reads.
    """
    told = model.columns
    _check_kind(model, table)
    columns = [told["text"]] if told["text"] else list(model.channels)
    named = columns if columns and set(columns) <= set(table.column_names) else None
    found = tables.sequences_from(table, told["id"], told["time"], None, named).sequences
    width = len(model.channels)
    if not found.is_text and len(found.channels) != width:
        reads = f"the model reads {width} {'channel' if width == 1 else 'channels'}"
        raise frames.error(table, f"{reads}, but the sequences have {len(found.channels)}")
    return found


def _check_kind(model: Classifier, table: pa.Table) -> None:
    """Refuse a table without texts for a model of texts, or without measurements for one of these."""
    names, told = table.column_names, model.columns
    texts = [name for name in names if frames.holds_texts(table, name)]
    if not model.preparation.is_text:
        if not set(names) - {*texts, told["id"], told["time"]}:
            channels = listed(list(model.channels))
            raise frames.error(table, f"the model reads measurements ({channels}), but the table has texts")
        return
    if not texts:
        raise frames.error(table, f"the model reads texts, but there are none in {listed(names)}")
    if told["text"] not in names and len(texts) > 1:
        column = f"the column {told['text']!r}" if told["text"] else "a single column"
        raise frames.error(table, f"the model reads texts in {column}, but the table has {listed(texts)}")


def read_tables(path: Path, reading: Reading | None = None) -> Iterator[pa.Table]:
    """The tables in a file, also in a ``.ts`` file (in long format), or in a folder of Parquet files."""
    if path.suffix.lower() != ".ts":
        yield from tables.read_tables(path, reading)
        return
    sequences = tables.read_ts(path, reading.encoding if reading else None).sequences
    lengths = sequences.lengths
    steps = np.concatenate(sequences.arrays)
    columns = {name: steps[:, n] for n, name in enumerate(sequences.channels)}
    yield pa.table({ID: np.repeat(np.arange(len(sequences)), lengths), **columns})


def classified(model: Classifier, sequences: Sequences) -> pa.Table:
    """The table of `predict_table` for sequences."""
    probabilities = model.predict_proba(sequences.values)
    classes = model.classes.tolist()
    made: dict[str, pa.Array] = {"id": pa.array(list(sequences.ids))}
    if model.several:
        chosen = [[k for k, p in zip(classes, row, strict=True) if p > 0.5] for row in probabilities]
        made["labels"] = pa.array(chosen, pa.list_(pa.array(classes).type))
    else:
        made["class"] = pa.array([classes[k] for k in probabilities.argmax(axis=1)])
        made["probability"] = pa.array(probabilities.max(axis=1))
        if model.deciding is not None:
            made["steps"] = pa.array(model.decide(sequences.values).steps)
    return pa.table(
        {**made, **{f"p({k})": pa.array(p) for k, p in zip(classes, probabilities.T, strict=True)}}
    )
