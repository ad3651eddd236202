"""Forecasts of a model of one step, fed with its own forecasts.

Shapes: ``S`` origins, ``R`` rows that are continued side by side, ``N`` steps of each: the steps of the
past that are read, then the ``K`` steps of the horizon. ``I`` inputs, ``F`` inputs whose future is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, final

import numpy as np

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs import distributions
from gatewise.runtime.jobs.affine import Affine
from gatewise.runtime.jobs.constant import narrowed
from gatewise.runtime.jobs.correction import Correction
from gatewise.runtime.jobs.distributions import LEVELS
from gatewise.runtime.jobs.encoding import FAR, Encoding
from gatewise.runtime.jobs.lags import Reads
from gatewise.runtime.jobs.made import Head, Made
from gatewise.runtime.jobs.naive import Numbers, Truth, Whole, seasonal_naive

PATHS = 200  # sampled futures of which quantiles are taken
_TOGETHER = 1000  # rows that are continued side by side


@dataclass(frozen=True)
class Begun:
    """The past of some origins, and what is known of the steps ahead.

    Attributes:
        held: ``[S, N]``, the scaled target without gaps, 0 in the steps ahead.
        inputs: ``[S, N, I]``. Inputs that are made of the target are wrong in the steps ahead.
        ahead: ``[S, N, F]``, the inputs whose future is known.
        past: the number of steps before the horizon.
    """

    held: Numbers
    inputs: Array
    ahead: Array
    past: int

    @classmethod
    def at(
        cls, encoding: Encoding, columns: Mapping[str, Numbers], positions: Numbers, origins: Whole,
        past: int, horizon: int,
    ) -> Begun:  # fmt: skip
        """The past of ``origins [S]``. An input whose future is not known is missing in the steps ahead."""
        N, known = past + horizon, encoding.ahead(columns)
        held = np.zeros((len(origins), N))
        inputs = np.empty((len(origins), N, encoding.input_size), np.float32)
        ahead = np.empty((len(origins), N, known.shape[1]), np.float32)
        for place, origin in enumerate(map(int, origins)):
            first = max(origin - past - encoding.season, 0)
            later = {
                name: _continued(columns[name], origin, horizon, name, encoding) for name in encoding.columns
            }
            gap = encoding.gap or 1.0
            after = positions[origin] + gap * np.arange(1, horizon + 1)
            encoded = encoding.encoded(later, np.concatenate([positions[: origin + 1], after]), first)
            rows = np.maximum(np.arange(origin + 1 - past, origin + 1 + horizon), 0)
            inputs[place] = encoded[np.maximum(rows - first, 0)]
            held[place, :past] = encoding.held(columns[encoding.target][: origin + 1])[rows[:past]]
            ahead[place] = known[np.minimum(rows, len(known) - 1)]
        return cls(held, inputs, ahead, past)

    def part(self, places: Whole) -> Begun:
        """The part for some origins, which may repeat."""
        return Begun(self.held[places], self.inputs[places], self.ahead[places], self.past)


def _continued(values: Numbers, origin: int, horizon: int, name: str, encoding: Encoding) -> Numbers:
    """A column up to an origin, and in the steps ahead: what is known, or missing values.

    The target, which will be forecast there, has its mean.
    """
    past = values[: origin + 1]
    if name in encoding.known:
        later = values[np.minimum(np.arange(origin + 1, origin + 1 + horizon), len(values) - 1)]
    else:
        later = np.full(horizon, encoding.unscaled(np.zeros(1))[0] if name == encoding.target else np.nan)
    return np.concatenate([past, later])


class Repeatable(Protocol):
    """What computes the sizes of distributions."""

    def __call__(self, output: Array, horizon: int) -> Numbers:
        """The sizes ``[R, K, M]`` from the output of the layers ``[R, H]`` and K."""

    def repeated(self, rows: int) -> Repeatable:
        """The same for many calls with this number of rows, by one thread at a time."""


@final
class Walker:
    """Continues rows step by step, with the state of the layers carried from step to step.

    Args:
        corrections, linear, spread, encoding, described, history: of the forecaster.
        begun: the past of S origins.
        times: how many rows continue each origin; R is S times as many.
    """

    def __init__(
        self, corrections: Sequence[Correction], linear: tuple[Reads, Affine] | None,
        spread: Repeatable, encoding: Encoding, described: tuple[Array, Whole], history: int, begun: Begun,
        times: int = 1,
    ) -> None:  # fmt: skip
        places = np.repeat(np.arange(len(begun.held)), times)
        rows, N = len(places), begun.held.shape[1]
        self._corrections = [correct.repeated(rows) for correct in corrections]
        self._linear = linear and (linear[0], linear[1].repeated(rows))
        self._spread, self._encoding, self._described = spread.repeated(rows), encoding, described
        self._first = np.arange(rows) * N
        self._at = begun.past - 1
        self._changes = len(encoding.columns) + len(encoding.masked) * (2 if encoding.elapsed else 1)
        self._changes += encoding.gap > 0  # the place of the change over one season
        window = begun.inputs[:, self._at + 1 - history : self._at + 1].transpose(1, 0, 2)
        self._streams, self._outputs = [], []
        for correct in corrections:
            past = correct.layers.stream(len(begun.held))
            last = past.run(np.ascontiguousarray(correct.read(window, described)))[-1]
            stream = correct.layers.stream(rows)
            stream.state = {name: values[:, places] for name, values in past.state.items()}
            self._streams.append(stream)
            self._outputs.append(last[places])
        self._begun = begun.part(places)

    def forecast(self) -> tuple[Numbers, Numbers]:
        """The points ``[R]`` of the next step in scaled units, and the sizes ``[R, M]`` around them."""
        held, origins = self._begun.held.reshape(-1), self._first + self._at
        level = held[origins].astype(np.float32)[:, None]
        seasonal = seasonal_naive(held, origins, 1, self._encoding.season, self._first).astype(np.float32)
        coming = self._begun.ahead[:, self._at + 1, None]
        made = [
            correct.after(output, level, seasonal, coming)
            for correct, output in zip(self._corrections, self._outputs, strict=True)
        ]
        forecast: Array = made[0] if len(made) == 1 else np.mean(made, axis=0)
        if self._linear is not None:
            reads, linear = self._linear
            inputs = self._begun.inputs.reshape(len(held), -1)
            forecast = forecast + linear(reads.at(origins, held, inputs, coming, self._first))
        return forecast[:, 0].astype(np.float64), self._spread(self._outputs[0], 1)[:, 0]

    def add(self, values: Numbers) -> None:
        """Continue with ``values [R]`` in scaled units."""
        held, inputs, encoding = self._begun.held, self._begun.inputs, self._encoding
        self._at += 1
        at, change = self._at, values - held[:, self._at - 1]
        held[:, at] = np.clip(values, -FAR, FAR)
        inputs[:, at, 0] = values if encoding.step_scale is None else change / encoding.step_scale
        inputs[:, at, self._changes] = (values - held[:, at - encoding.season]) / encoding.change_scale
        for place, (stream, correct) in enumerate(zip(self._streams, self._corrections, strict=True)):
            self._outputs[place] = stream.step(correct.read(inputs[:, at], self._described))


@dataclass(frozen=True)
class Rolled(Made):
    """Forecasts at S origins for K steps, of a model of one step.

    Point forecasts are made one after another, each from the forecasts before it. Quantiles are computed
    from sampled futures, in which each step is drawn from the distribution after the steps before it.

    Attributes:
        begun: the past of the origins.
        walk: begins to continue the past of some origins, each by a number of rows.
        horizon: K.
        widths: ``[K]``, by which the distances of sampled futures from the point forecasts are multiplied;
            None if they stay as they are.
        still: ``[S]``, whether the forecast is that nothing changes; None if at no origin.
    """

    begun: Begun
    walk: Callable[[Begun, int], Walker]
    horizon: int
    widths: Numbers | None = None
    still: Truth | None = None

    @classmethod
    def of(
        cls, head: Head, encoding: Encoding, begun: Begun, walk: Callable[[Begun, int], Walker], horizon: int,
        widths: Numbers | None = None, still: Truth | None = None,
    ) -> Rolled:  # fmt: skip
        """The forecasts at the origins of `begun`."""
        nothing = np.empty((len(begun.held), 0))
        return cls(head, encoding, nothing, nothing, begun, walk, horizon, widths, still)

    @property
    def forecasts(self) -> Numbers:
        """The point forecasts, ``[S, K]``."""
        return self._shown(self._path)

    @cached_property
    def _path(self) -> Numbers:
        """The point forecasts in scaled units."""
        places = np.arange(len(self.begun.held))
        parts = [
            self._continued(places[first : first + _TOGETHER], None)
            for first in range(0, len(places), _TOGETHER)
        ]
        return np.concatenate(parts)

    def quantiles(self, levels: Sequence[float] | None = None) -> Numbers:
        """The quantiles ``[S, K, Q]`` at some levels, by default at `LEVELS`, of sampled futures.

        Raises:
            ValueError: a level is not between 0 and 1; the model forecasts points.
        """
        chosen = list(self._levels(LEVELS if levels is None else levels))
        found = np.empty((len(self.begun.held), self.horizon, len(chosen)))
        steps = np.random.default_rng(0).normal(size=(PATHS, self.horizon))
        together = _TOGETHER // PATHS
        for first in range(0, len(found), together):
            places = np.arange(first, min(first + together, len(found)))
            paths = self._sampled(places, np.tile(steps, (len(places), 1)), PATHS)
            each = np.quantile(paths.reshape(len(places), PATHS, -1), chosen, axis=1)
            found[places] = np.moveaxis(each, 0, -1)
        return found

    def samples(self, row: int, count: int, seed: int) -> Numbers:
        """Possible futures at an origin, ``[count, K]``.

        Raises:
            ValueError: the model forecasts points.
        """
        self._levels(())
        steps = np.random.default_rng(seed).normal(size=(count, self.horizon))
        return self._sampled(np.array([row]), steps, count)

    def _sampled(self, places: Whole, steps: Numbers, times: int) -> Numbers:
        """Sampled futures ``[R, K]`` of origins, in the unit of the target. Arguments as for `_continued`."""
        found = self._continued(places, steps, times)
        if self.widths is not None:
            path = np.repeat(self._path[places], times, axis=0)
            found = path + self.widths * (found - path)
        return self._shown(found)

    def _shown(self, found: Numbers) -> Numbers:
        """Values in the unit of the target."""
        made = self._allowed(self.encoding.unscaled(found))
        return np.maximum(np.rint(made), 0.0) if self._counts else made

    def _continued(self, places: Whole, steps: Numbers | None, times: int = 1) -> Numbers:
        """Futures ``[R, K]`` of origins, in scaled units.

        Args:
            places: the origins.
            steps: ``[R, K]``, samples of the standard normal distribution; None for the point forecasts.
            times: the number of futures of each origin.
        """
        found = np.empty((len(places) * times, self.horizon))
        walker = self.walk(self.begun.part(places), times)
        places = np.repeat(places, times)
        for k in range(self.horizon):
            point, sizes = walker.forecast()
            if self.still is not None:
                still = self.still[places]
                point = np.where(still, self.begun.held[places, self.begun.past - 1], point)
                sizes = np.where(still[:, None], narrowed(self.head.output, sizes), sizes)
            values = point
            if self._counts:
                level = 0.5 if steps is None else distributions.normal_levels(steps[:, k])
                counted = distributions.counts(self.encoding.unscaled(point), sizes[:, 0], level)
                values = self.encoding.scaled(counted)
            elif steps is not None:
                freedom = self.head.freedom
                values = distributions.samples(self.head.output, point, sizes, steps[None, :, k], freedom)[0]
            if self.head.non_negative:
                values = np.maximum(values, self.encoding.scaled(np.zeros(1)))
            walker.add(values)
            found[:, k] = values
        return found
