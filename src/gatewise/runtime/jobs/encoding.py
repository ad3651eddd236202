"""Turns the columns of a series into the inputs of a forecaster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs.naive import Numbers, hold

FAR = 1e12  # most standard deviations that a value may lie from the mean
_SMALLEST, _LARGEST = 1e-300, 1e300  # limits of numbers that are safe to divide by


@dataclass(frozen=True)
class Encoding:
    """Scalers, masks and seasons of a series with target and past inputs.

    The inputs ``[N, I]`` of the network are, in this order: every column, scaled, with missing values
    replaced by the last known one; a mask of the observed values, for columns with missing ones; the change
    of the target over one season; the phase within each season, as two sines and two cosines.

    Attributes:
        columns: the columns used, the target first. Columns that never change in training are not used.
        mean: the mean of each column.
        scale: the standard deviation of each column.
        masked: the columns that have a mask. Columns with the same missing steps share that of the first.
        season: the season, in steps (1: none).
        change_scale: the standard deviation of the scaled target's change over one season.
        phases: the seasons whose phase is an input, in steps.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    masked: tuple[str, ...]
    season: int
    change_scale: float
    phases: tuple[int, ...]

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return self.columns[0]

    @property
    def input_size(self) -> int:
        """The number ``I`` of inputs at every step."""
        return len(self.columns) + len(self.masked) + 1 + 4 * len(self.phases)

    def scaled(self, values: Numbers) -> Numbers:
        """Scale values of the target."""
        return (values - self.mean[0]) / self.scale[0]

    def unscaled(self, values: Numbers) -> Numbers:
        """Convert scaled values back to the unit of the target."""
        return values * self.scale[0] + self.mean[0]

    def held(self, values: Numbers) -> Numbers:
        """The scaled target ``[N]``, missing values replaced by the last known one (0 before the first)."""
        return np.nan_to_num(hold(self.scaled(values)), nan=0.0)

    def encoded(self, columns: Mapping[str, Numbers], positions: Numbers) -> NDArray[np.float32]:
        """The inputs ``[N, I]``. Each row depends only on its own step and earlier ones.

        Args:
            columns: float64 ``[N]`` for each of the columns, missing values as NaN.
            positions: ``[N]``, the whole positions of the steps on the clock.

        Raises:
            ValueError: a column has values that are far from those in training.
        """
        self.check(columns)
        parts: list[NDArray[Any]] = []
        for name, mean, scale in zip(self.columns, self.mean, self.scale, strict=True):
            parts.append(np.nan_to_num(hold((columns[name] - mean) / scale), nan=0.0)[:, None])
        held = self.held(columns[self.target])
        before = held[np.maximum(np.arange(len(held)) - self.season, 0)]
        parts += [~np.isnan(columns[name])[:, None] for name in self.masked]
        parts += [((held - before) / self.change_scale)[:, None]]
        parts += [_phase(positions, season) for season in self.phases]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def check(self, columns: Mapping[str, Numbers]) -> None:
        """Refuse values that are far from those in training.

        Raises:
            ValueError: a column has some.
        """
        for name, mean, scale in zip(self.columns, self.mean, self.scale, strict=True):
            with np.errstate(over="ignore"):
                if (np.abs((columns[name] - mean) / scale) > FAR).any():
                    away = f"{FAR:g} times as far from their mean as those in training"
                    raise ValueError(f"series: {name!r} has values {away}")

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The encoding in a header.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        columns, masked = _strings(data["columns"], "columns"), _strings(data["masked"], "masked")
        mean, scale = numbers(data["mean"], "mean"), _scales(data["scale"], "scale")
        change = _scales([data["change_scale"]], "change_scale")
        if not 0 < len(columns) == len(mean) == len(scale):
            raise ValueError("columns must each have a mean and a scale")
        if not set(masked) <= set(columns):
            raise ValueError(f"masked must be among the columns. Got {masked!r:.60}")
        phases = tuple(whole(phase, "phases") for phase in _list(data["phases"], "phases"))
        return cls(columns, mean, scale, masked, whole(data["season"], "season"), change[0], phases)


def _phase(positions: Numbers, season: int) -> Numbers:
    """The phase of each step within the season: two sines and two cosines, ``[N, 4]``."""
    angle = 2 * np.pi * (positions % season) / season
    return np.column_stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)])


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list. Got {values!r:.60}")
    return values


def _strings(values: Any, name: str) -> tuple[str, ...]:
    for value in _list(values, name):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be texts. Got {value!r:.60}")
        value.encode("utf-8")  # raises a ValueError for a name that cannot be encoded
    if len(set(values)) < len(values):
        raise ValueError(f"{name} must differ. Got {values!r:.60}")
    return tuple(values)


def numbers(values: Any, name: str) -> tuple[float, ...]:
    """Check that a value from a file is a list of finite numbers."""
    for value in _list(values, name):
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:
            raise ValueError(f"{name} must be finite numbers. Got {value!r:.60}")
    return tuple(map(float, values))


def _scales(values: Any, name: str) -> tuple[float, ...]:
    scales = numbers(values, name)
    if not all(scale >= _SMALLEST for scale in scales):
        raise ValueError(f"{name} must be above 0. Got {values!r:.60}")
    return scales


def whole(value: Any, name: str) -> int:
    """Check that a value from a file is a whole number of at least 1."""
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be a whole number of at least 1. Got {value!r:.60}")
    return value
