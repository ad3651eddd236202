"""What ``gatewise look`` shows of the models of jobs, run on a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def _tagger(file: Path, on: Path, reading: Any) -> dict[str, Any]:
    from gatewise.tasks.tagging.look import shown
    from gatewise.tasks.tagging.reading import read_tagged
    from gatewise.tasks.tagging.tagger import Tagger

    return shown(Tagger.load(file), read_tagged(on, encoding=reading.encoding).corpus.words)


def _writer(file: Path, on: Path, reading: Any) -> dict[str, Any]:
    from gatewise.tasks.writing.look import shown
    from gatewise.tasks.writing.reading import read_texts
    from gatewise.tasks.writing.writer import Writer

    return shown(Writer.load(file), read_texts(on, encoding=reading.encoding))


def _classifier(file: Path, on: Path, reading: Any) -> dict[str, Any]:
    from gatewise.tasks.classification.classifier import Classifier
    from gatewise.tasks.classification.look import shown
    from gatewise.tasks.classification.tables import read_tables, sequences_of

    classifier = Classifier.load(file)
    table = next(iter(read_tables(on, reading)))
    return shown(classifier, sequences_of(classifier.model_, table).values)


# For each task, the arguments of `gatewise.look` for a model, a file, and how the file is read.
SHOWN: dict[str, Callable[[Path, Path, Any], dict[str, Any]]] = {
    "classify": _classifier,
    "tag": _tagger,
    "write": _writer,
}
