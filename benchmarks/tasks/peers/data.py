"""Data in files that every package can read, and the measurement; imports NumPy alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WRITTEN = 5_000  # characters


def save(path: Path, sequences: list[Any], labels: list[str]) -> None:
    """Write sequences ``[T, C]`` and their labels."""
    lengths = [len(sequence) for sequence in sequences]
    np.savez(path, steps=np.concatenate(sequences), lengths=lengths, labels=np.array(labels, str))


def load(path: str) -> tuple[list[Any], Any]:
    """Read sequences and labels."""
    with np.load(path) as file:
        return np.split(file["steps"], np.cumsum(file["lengths"])[:-1]), file["labels"]


def load_sentences(path: str) -> tuple[Any, Any]:
    """Read sentences and their tags."""
    words, tags = json.loads(Path(path).read_text(encoding="utf-8"))
    return words, tags


def load_texts(path: str) -> tuple[str, str]:
    """Read the training and the test text."""
    train, test = json.loads(Path(path).read_text(encoding="utf-8"))
    return train, test


def flat(sentences: list[list[str]]) -> list[str]:
    """The tags of all sentences."""
    return [tag for tags in sentences for tag in tags]


class Timer:
    """CPU seconds from its creation to `report` or `score`, which print them with a figure as JSON."""

    def __init__(self) -> None:
        self.begun = time.process_time()

    def report(self, predicted: Any, truth: Any) -> None:
        """Print the seconds and the accuracy."""
        seconds, right = (
            time.process_time() - self.begun,
            float(np.mean(np.asarray(predicted) == np.asarray(truth))),
        )
        json.dump({"seconds": seconds, "accuracy": right}, sys.stdout)

    def score(self, bits: float, write: Callable[[int], str]) -> None:
        """Print the seconds, the bits per character, and the characters a second of `write`."""
        seconds = time.process_time() - self.begun
        write(100)
        begun = time.process_time()
        write(WRITTEN)
        rate = WRITTEN / (time.process_time() - begun)
        json.dump({"seconds": seconds, "bits": bits, "rate": rate}, sys.stdout)
