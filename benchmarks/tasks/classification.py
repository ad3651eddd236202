"""Classification: accuracy on sets that come inside Python packages, beside 1-NN DTW and published figures.

The sets are read from the wheel of aeon, without installing it::

    pip download --no-deps -d data aeon==1.6.0
    python -m benchmarks.tasks classify --data data --set JapaneseVowels --seeds 0 1 2 3 4

``--set docstrings`` needs no download: texts of Python's own library, beside TF-IDF with logistic regression.
``--speed`` measures one prediction beside the network alone. Test parts are those of the archives; no
default was chosen on them.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.classification.dividing import split
from gatewise.tasks.classification.preparing import padded

Array = NDArray[Any]

# Published accuracies of a fully convolutional and a residual network: means of 10 runs, hfawaz/dl-4-tsc.
PUBLISHED: dict[str, tuple[float | None, float | None]] = {
    "JapaneseVowels": (99.3, 99.2),
    "GunPoint": (100.0, 99.1),
    "ItalyPowerDemand": (96.1, 96.3),
    "BasicMotions": (None, None),
    "ArrowHead": (84.3, 84.5),
    "OSULeaf": (97.7, 97.9),
    "ACSF1": (None, None),
}


class Set(NamedTuple):
    """Sequences and classes of the training and the test part."""

    training: list[Array]
    classes: list[str]
    test: list[Array]
    truth: list[str]


def read_set(data: Path, name: str) -> Set:
    """A set of the archives of UCR and UEA."""
    (wheel,) = sorted(data.glob("aeon-*.whl"))
    parts: list[Any] = []
    with zipfile.ZipFile(wheel) as packed:
        for part in ("TRAIN", "TEST"):
            text = packed.read(f"aeon/datasets/data/{name}/{name}_{part}.ts").decode()
            parts += _parsed(text)
    return Set(*parts)


def _parsed(text: str) -> tuple[list[Array], list[str]]:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    start = next(n for n, line in enumerate(lines) if line.lower() == "@data") + 1
    sequences, classes = [], []
    for line in lines[start:]:
        *channels, label = line.split(":")
        values = [[float("nan") if v == "?" else float(v) for v in some.split(",")] for some in channels]
        sequences.append(np.array(values).T)
        classes.append(label)
    return sequences, classes


def dtw_accuracy(data: Set) -> float:
    """The accuracy of the nearest neighbour by dynamic time warping, over all channels, without a window."""
    scale = np.concatenate(data.training).std(axis=0) if data.training[0].shape[1] > 1 else np.ones(1)
    training = [x / scale for x in data.training]
    nearest = [_nearest(x / scale, training) for x in data.test]
    found = [data.classes[row] == truth for row, truth in zip(nearest, data.truth, strict=True)]
    return float(np.mean(found))


def _nearest(x: Array, others: Sequence[Array]) -> int:
    """The index of the closest sequence. Costs are summed one diagonal at a time, for all others at once."""
    n, longest = len(x), max(map(len, others))
    padded = np.full((len(others), longest, x.shape[1]), np.inf)
    for row, other in enumerate(others):
        padded[row, : len(other)] = other
    before = last = np.full((len(others), n + 1), np.inf)
    ends = np.empty(len(others))
    for diagonal in range(n + longest - 1):
        i = np.arange(max(0, diagonal - longest + 1), min(n, diagonal + 1))
        now = np.full_like(last, np.inf)
        least = np.minimum(np.minimum(last[:, i], last[:, i + 1]), before[:, i])
        if diagonal == 0:
            least = np.zeros((len(others), 1))
        now[:, i + 1] = ((x[i] - padded[:, diagonal - i]) ** 2).sum(axis=2) + least
        for row, other in enumerate(others):
            if diagonal == n + len(other) - 2:
                ends[row] = now[row, n]
        before, last = last, now
    return int(ends.argmin())


def measured(data: Set, seeds: Sequence[int], options: dict[str, Any]) -> dict[str, Any]:
    """Accuracy at the end and of early decisions, share read, calibration and seconds, over seeds."""
    rows = []
    for seed in seeds:
        start = time.process_time()
        classifier = Classifier(seed=seed, **options).fit(data.training, data.classes)
        seconds = time.process_time() - start
        overall = classifier.evaluate(data.test, data.truth).overall()
        early = overall.get("early", {})
        rows.append(
            {
                "accuracy": overall["accuracy"],
                "log_loss": overall["log_loss"],
                "calibration_error": overall["calibration_error"],
                "early_accuracy": early.get("accuracy"),
                "early_read": early.get("earliness"),
                "epochs": classifier.epochs_,
                "cpu_seconds": seconds,
            }
        )
        print(json.dumps({"seed": seed, **rows[-1]}), flush=True)
    every = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    return {name: float(np.mean(values)) for name, values in every.items() if values} | {
        "accuracies": [row["accuracy"] for row in rows]
    }


def docstrings() -> Set:
    """Docstrings of Python's own library; the class is the package. A fifth of each class is for the test."""
    from gatewise.tasks.shared.samples import docstrings as sample

    found = sample()
    assert found.labels is not None
    texts, labels = found.sequences.texts, found.labels.tolist()
    places = {label: k for k, label in enumerate(sorted({*labels}))}
    rows, test = split(np.array([places[label] for label in labels]), 0.2, 0)
    every: Any = (
        [texts[row] for row in rows], [labels[row] for row in rows],
        [texts[row] for row in test], [labels[row] for row in test],
    )  # fmt: skip
    return Set(*every)


def tf_idf(data: Set) -> dict[str, float]:
    """TF-IDF of words and pairs of words with logistic regression, whose C is chosen by cross-validation."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    start = time.process_time()
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
    search = GridSearchCV(pipeline, {"logisticregression__C": [3, 30, 300]}, cv=3)
    search.fit(data.training, data.classes)
    seconds = time.process_time() - start
    return {"accuracy": float(search.score(data.test, data.truth)), "cpu_seconds": seconds}


def speed(data: Set) -> dict[str, float]:
    """Milliseconds of CPU for one sequence: `predict`, the model without torch, the network in torch."""
    classifier = Classifier(max_epochs=2, refit=False).fit(data.training, data.classes)
    x = [data.test[0]]
    inputs, lengths = padded([classifier.preparation_(x[0])])
    network = classifier.network_

    def in_torch() -> None:
        with torch.no_grad():
            network(inputs, lengths)

    return {
        "predict_ms": _milliseconds(lambda: classifier.predict(x)),
        "without_torch_ms": _milliseconds(lambda: classifier.model_.predict(x)),
        "network_in_torch_ms": _milliseconds(in_torch),
    }


def _milliseconds(call: Callable[[], Any], calls: int = 300) -> float:
    for _ in range(20):
        call()
    start = time.process_time()
    for _ in range(calls):
        call()
    return 1000 * (time.process_time() - start) / calls


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks classify", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with the wheel")
    parser.add_argument("--set", choices=[*PUBLISHED, "docstrings"], default="JapaneseVowels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--options", type=json.loads, default={}, help='of Classifier, as {"cell": "lstm"}')
    parser.add_argument("--dtw", action="store_true", help="only 1-NN DTW")
    parser.add_argument("--speed", action="store_true", help="only the time of one prediction")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    data = docstrings() if given.set == "docstrings" else read_set(given.data, given.set)
    if given.dtw:
        print(json.dumps({"set": given.set, "dtw_accuracy": dtw_accuracy(data)}))
        return
    if given.speed:
        print(json.dumps({"set": given.set, **speed(data)}))
        return
    if given.set == "docstrings":
        print(json.dumps({"tf_idf": tf_idf(data)}), flush=True)
    found = measured(data, given.seeds, given.options)
    published = dict(zip(("fcn", "resnet"), PUBLISHED.get(given.set, (None, None)), strict=True))
    print(json.dumps({"set": given.set, "options": given.options, **found, "published": published}))
