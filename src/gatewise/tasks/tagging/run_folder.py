"""The run folder of a tagger: model, metrics, the tagged test part, and pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gatewise
from gatewise.runtime.jobs.tags import Tagged
from gatewise.tasks.tagging.evaluation import ColumnResult
from gatewise.tasks.tagging.reading import SUFFIXES, TaggedFile
from gatewise.tasks.tagging.tagger import Tagger

PICTURES = {
    "confusions.png": "which tags are taken for which",
    "frequency.png": "accuracy by how often training has a word",
    "sentences.png": "sentences with the probabilities of their tags",
}
SENTENCES = {  # of all sentences, ordered by their least certain word
    "As certain as most": 0.5,
    "Nine of ten are more certain": 0.1,
    "The least certain": 0.0,
}
_SHORTEST, _LONGEST = 5, 24  # words of a sentence that is drawn


def files_of(test: TaggedFile) -> dict[str, str]:
    """The files of the folder, with their meaning."""
    return {
        "model.safetensors": "the trained model, for gatewise predict and gatewise.tasks.load",
        "metrics.json": "accuracy of every column, of unseen words, of every tag; confusions",
        f"tagged{SUFFIXES[test.format]}": "the test part with the tags of the tagger",
        **PICTURES,
    }


def write_run(
    folder: Path, tagger: Tagger, training: TaggedFile, test: TaggedFile,
    tagged: Sequence[Sequence[Tagged]], results: Sequence[ColumnResult],
) -> dict[str, Any]:  # fmt: skip
    """Write all files of a run. Returns the metrics."""
    from gatewise.insight.figures import save_figure
    from gatewise.tasks.tagging.pictures import confusion_picture, frequency_picture, sentence_picture

    metrics = metrics_of(tagger, training, test, results)
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    tagger.metrics_ = {"data": metrics["data"], "test": {each.name: each.accuracy for each in results}}
    tagger.save(folder / "model.safetensors")
    made = {each.name: each.mades for each in results}
    (folder / f"tagged{SUFFIXES[test.format]}").write_text(test.written(made), encoding="utf-8", newline="")
    counts = Counter(word for words in training.corpus.words for word in words)
    first = results[0]
    save_figure(confusion_picture(first), folder / "confusions.png")
    save_figure(frequency_picture(first, counts), folder / "frequency.png")
    save_figure(sentence_picture(first.name, chosen(tagger, test, tagged)), folder / "sentences.png")
    return metrics


def metrics_of(
    tagger: Tagger, training: TaggedFile, test: TaggedFile, results: Sequence[ColumnResult]
) -> dict[str, Any]:
    """A run as JSON data. It does not contain the current time, so equal runs give equal files."""
    parts = {"training": training.corpus, "test": test.corpus}
    parameters = {name: value for name, value in tagger.get_params().items() if name != "trainer"}
    return {
        "gatewise": gatewise.__version__,
        "data": {
            name: {"file": Path(corpus.name).name, "sentences": len(corpus), "words": corpus.tokens}
            for name, corpus in parts.items()
        },
        "model": parameters | {"cell": tagger.equations.name},
        "columns": [
            {"name": column.name, "tags": len(column.tags), "scheme": column.scheme}
            for column in tagger.columns_
        ],
        "training": {
            "epochs": tagger.epochs_,
            "best_epoch": tagger.best_epoch_,
            "validation_error": tagger.validation_error_,
            "padding": tagger.padding_,
            "interrupted": tagger.interrupted_,
        },
        "test": {result.name: result.metrics() for result in results},
    }


def chosen(tagger: Tagger, test: TaggedFile, tagged: Sequence[Sequence[Tagged]]) -> list[tuple[str, Any]]:
    """The sentences to draw, chosen by how certain the tags are."""
    from gatewise.tasks.tagging.pictures import Shown

    lengths = np.array([len(sentence) for sentence in tagged])
    fits = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    rows = fits if len(fits) else np.flatnonzero(lengths > 0)
    least = np.array([min(word.probabilities[0] for word in tagged[int(row)]) for row in rows])
    order = rows[np.argsort(least, kind="stable")]
    drawn = []
    for title, share in SENTENCES.items():
        row = int(order[int(share * (len(order) - 1))])
        words, column = test.corpus.words[row], tagger.columns_[0]
        chances = tagger.model_.predict_proba([words])[0][0]
        truth = test.corpus.tags[column.name][row]
        drawn.append(
            (title, Shown(words, truth, [each.tags[0] for each in tagged[row]], column.tags, chances))
        )
    return drawn
