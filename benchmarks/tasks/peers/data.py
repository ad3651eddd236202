"""Sequences of unequal length in a file that every package can read; imports NumPy alone."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def save(path: Path, sequences: list[Any], labels: list[str]) -> None:
    """Write sequences ``[T, C]`` and their labels."""
    lengths = [len(sequence) for sequence in sequences]
    np.savez(path, steps=np.concatenate(sequences), lengths=lengths, labels=np.array(labels, str))


def load(path: str) -> tuple[list[Any], Any]:
    """Read sequences and labels."""
    with np.load(path) as file:
        return np.split(file["steps"], np.cumsum(file["lengths"])[:-1]), file["labels"]


class Timer:
    """CPU seconds from its creation to `report`, which prints them with the accuracy as JSON."""

    def __init__(self) -> None:
        self.begun = time.process_time()

    def report(self, predicted: Any, truth: Any) -> None:
        """Print the result."""
        seconds, right = time.process_time() - self.begun, float(np.mean(np.asarray(predicted) == truth))
        json.dump({"seconds": seconds, "accuracy": right}, sys.stdout)
