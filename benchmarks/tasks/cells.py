"""Which cell? The same jobs with each cell, on the data that is there without a download.

    python -m benchmarks.tasks cells --cells rnn lstm gru mgu min_gru --seeds 0 1 2

All cells have the same width and options, so a cell with fewer gates has fewer weights. Options are small, so
that the table takes minutes; they were not chosen for any cell. A figure is the mean over seeds, with the
standard deviation. Seconds are of processor time, for training alone, after the kernels were compiled.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from gatewise.tasks import Classifier, Forecaster, Tagger, Writer
from gatewise.tasks.series.weather import HORIZON, weather
from gatewise.tasks.shared.samples import digits, docstrings, python_tokens, python_topics

HELD_OUT = 5  # every fifth group of lines of Python; a fifth of the sequences


class Result(NamedTuple):
    """A test figure, and the seconds of training."""

    figure: float
    seconds: float


def timed(train: Callable[[], Any]) -> float:
    start = time.process_time()
    train()
    return time.process_time() - start


def of_digits(cell: str, seed: int) -> Result:
    """Accuracy on 360 digits."""
    return classified(digits(), Classifier(cell=cell, convolution=False, max_epochs=20, seed=seed))


def of_docstrings(cell: str, seed: int) -> Result:
    """Accuracy on a fifth of the docstrings."""
    return classified(docstrings(), Classifier(cell=cell, convolution=False, max_epochs=10, seed=seed))


def classified(sample: Any, classifier: Any) -> Result:
    X, Xt, y, yt = train_test_split(
        sample.sequences, sample.labels, test_size=1 / HELD_OUT, random_state=0, stratify=sample.labels
    )
    seconds = timed(lambda: classifier.fit(X, y))
    return Result(100 * classifier.score(Xt, yt), seconds)


def of_tokens(cell: str, seed: int) -> Result:
    """Accuracy on the words of modules that were held out."""
    sample = python_tokens()
    groups = sorted(set(sample.groups))[:10]
    parts: dict[bool, tuple[list[list[str]], list[list[str]]]] = {False: ([], []), True: ([], [])}
    for words, tags, group in zip(sample.words, sample.tags, sample.groups, strict=True):
        if group in groups:
            part = parts[groups.index(group) % HELD_OUT == 0]
            part[0].append(words)
            part[1].append(tags)
    tagger = Tagger(cell=cell, hidden_size=64, num_layers=1, max_epochs=4, seed=seed)
    seconds = timed(lambda: tagger.fit(*parts[False]))
    return Result(100 * tagger.score(*parts[True]), seconds)


def of_topics(cell: str, seed: int) -> Result:
    """Bits per character of the last tenth of the first 150,000 characters."""
    text = python_topics()[:150_000]
    cut = len(text) * 9 // 10
    writer = Writer(cell=cell, hidden_size=128, max_epochs=8, seed=seed)
    seconds = timed(lambda: writer.fit([text[:cut]]))
    return Result(-writer.score([text[cut:]]), seconds)


def of_weather(cell: str, seed: int) -> Result:
    """Mean absolute error of forecasts of 24 hours, in degrees."""
    series = weather()
    rows = len(series) * 85 // 100
    forecaster = Forecaster(HORIZON, cell=cell, max_epochs=8, seed=seed)
    seconds = timed(lambda: forecaster.fit(series.head(rows)))
    mae = forecaster.backtest(series, rows).overall()["model"]["mae"]
    assert mae is not None
    return Result(mae, seconds)


SETS: dict[str, tuple[str, Callable[[str, int], Result]]] = {
    "digits": ("accuracy, %", of_digits),
    "docstrings": ("accuracy, %", of_docstrings),
    "python_tokens": ("accuracy, %", of_tokens),
    "python_topics": ("bits per character", of_topics),
    "weather": ("MAE, °C", of_weather),
}


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.tasks cells", description=__doc__)
    parser.add_argument("--cells", nargs="+", default=["rnn", "lstm", "gru", "mgu", "min_gru"])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)
    found: dict[str, dict[str, list[Result]]] = {name: {} for name in options.sets}
    for name in options.sets:
        figure, run = SETS[name]
        for cell in options.cells:
            found[name][cell] = [run(cell, seed) for seed in options.seeds]
            figures, seconds = (np.array(column) for column in zip(*found[name][cell], strict=True))
            print(
                f"{name:14} {figure:18} {cell:8} {figures.mean():7.3f} ± {figures.std():5.3f}"
                f"  {seconds.min():6.1f} s",
                flush=True,
            )
            if options.out:
                options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
