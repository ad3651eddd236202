"""Forecasts that were made: points, quantiles and samples in the unit of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gatewise.runtime.jobs import distributions
from gatewise.runtime.jobs.distributions import LEVELS
from gatewise.runtime.jobs.encoding import Encoding
from gatewise.runtime.jobs.naive import Numbers


@dataclass(frozen=True)
class Head:
    """The kind of distribution that a model forecasts.

    Attributes:
        output: "point", "quantiles", "gaussian", "student-t" or "negative-binomial".
        non_negative: whether values below 0 are replaced by 0.
        freedom: the degrees of freedom of Student's t.
        correlation: of the errors one step apart.
    """

    output: str = "point"
    non_negative: bool = False
    freedom: float = 4.0
    correlation: float = 0.0


@dataclass(frozen=True)
class Made:
    """Forecasts at S origins for K steps.

    Attributes:
        head: the kind of distribution.
        encoding: the scales of the series.
        point: ``[S, K]``, in scaled units.
        sizes: ``[S, K, M]``, of the distributions; see `distributions.quantiles`.
    """

    head: Head
    encoding: Encoding
    point: Numbers
    sizes: Numbers

    @cached_property
    def unscaled(self) -> Numbers:
        """The points in the unit of the target, ``[S, K]``."""
        return self.encoding.unscaled(self.point)

    @property
    def forecasts(self) -> Numbers:
        """The point forecasts, ``[S, K]``: the medians, whole numbers for counts."""
        if self._counts:
            return distributions.counts(self.unscaled, self.sizes[..., 0], 0.5)
        return self._allowed(self.unscaled)

    def quantiles(self, levels: Sequence[float] | None = None) -> Numbers:
        """The quantiles ``[S, K, Q]`` at some levels, by default at `LEVELS`.

        Raises:
            ValueError: a level is not between 0 and 1; the model forecasts points.
        """
        found = self._levels(LEVELS if levels is None else levels)
        point = self.unscaled if self._counts else self.point
        made = distributions.quantiles(self.head.output, point, self.sizes, found, self.head.freedom)
        return made if self._counts else self._allowed(self.encoding.unscaled(made))

    def samples(self, row: int, count: int, seed: int) -> Numbers:
        """Possible futures at an origin, ``[count, K]``.

        Raises:
            ValueError: the model forecasts points.
        """
        self._levels(())
        rng, correlation = np.random.default_rng(seed), self.head.correlation
        steps = rng.normal(size=(count, self.point.shape[1]))
        for k in range(1, steps.shape[1]):
            steps[:, k] = correlation * steps[:, k - 1] + np.sqrt(1 - correlation**2) * steps[:, k]
        point = (self.unscaled if self._counts else self.point)[row]
        made = distributions.samples(self.head.output, point, self.sizes[row], steps, self.head.freedom)
        return made if self._counts else self._allowed(self.encoding.unscaled(made))

    @property
    def _counts(self) -> bool:
        return self.head.output == "negative-binomial"

    def _allowed(self, values: Numbers) -> Numbers:
        return np.maximum(values, 0.0) if self.head.non_negative else values

    def _levels(self, levels: Sequence[float]) -> Sequence[float]:
        if self.head.output == "point":
            raise ValueError('the model forecasts points: train it with output="quantiles"')
        for level in levels:
            if not 0 < level < 1:
                raise ValueError(f"levels must be between 0 and 1. Got {level!r}")
        return levels
