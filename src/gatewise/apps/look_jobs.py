"""What ``gatewise look`` shows of the models of jobs, run on a file, or on the sample of their training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class NothingToReadError(ValueError):
    """Raised without a file for a model that was not trained on a sample. The message is one sentence."""


def _tagger(file: Path, on: Path | None, reading: Any) -> dict[str, Any]:
    from gatewise.runtime.jobs.loading import load
    from gatewise.tasks.shared.samples import python_tokens
    from gatewise.tasks.tagging.tables import read_known

    words = None if on is None else read_known(load(file), on, reading).corpus.words
    from gatewise.tasks.tagging.look import shown  # imports torch: the file has been read
    from gatewise.tasks.tagging.tagger import Tagger

    tagger = Tagger.load(file)
    if words is not None:
        return shown(tagger, words)
    if tagger.metrics_.get("data", {}).get("training", {}).get("file") == "python_tokens":
        return shown(tagger, python_tokens().words)
    raise _nothing(file, "sentences")


def _writer(file: Path, on: Path | None, reading: Any) -> dict[str, Any]:
    from gatewise.tasks.shared.reading.options import refuse_all_but_encoding
    from gatewise.tasks.shared.samples import python_topics
    from gatewise.tasks.writing.reading import read_texts

    refuse_all_but_encoding(on or file, reading, "text")
    texts = None if on is None else read_texts(on, encoding=reading.encoding)
    from gatewise.tasks.writing.look import shown  # imports torch: the file has been read
    from gatewise.tasks.writing.writer import Writer

    writer = Writer.load(file)
    if texts is not None:
        return shown(writer, texts)
    if str(writer.metrics_.get("text", {}).get("name", "")).startswith("Python "):
        return shown(writer, [python_topics()])
    raise _nothing(file, "texts")


def _classifier(file: Path, on: Path | None, reading: Any) -> dict[str, Any]:
    from gatewise.tasks.classification.reading import SAMPLES, sampled
    from gatewise.tasks.classification.tables import read_tables, sequences_of

    table = None if on is None else next(iter(read_tables(on, reading)))
    from gatewise.tasks.classification.classifier import Classifier  # imports torch: the file has been read
    from gatewise.tasks.classification.look import shown

    classifier = Classifier.load(file)
    name = classifier.metrics_.get("data", {}).get("file")
    if table is not None:
        sequences = sequences_of(classifier.model_, table)
        names = [f"sequence {id}" for id in sequences.ids]
        found = shown(classifier, sequences.values)
        return {**found, "row_names": names[: len(found["lengths"])]}
    if name not in SAMPLES:
        raise _nothing(file, "sequences")
    return shown(classifier, sampled(name).sequences.values)


def _nothing(file: Path, what: str) -> NothingToReadError:
    return NothingToReadError(f"--on must name what it reads: {file} holds a model that reads {what}.")


# For each task, the arguments of `gatewise.look` for a model, a file, and how the file is read.
SHOWN: dict[str, Callable[[Path, Path | None, Any], dict[str, Any]]] = {
    "classify": _classifier,
    "tag": _tagger,
    "write": _writer,
}
