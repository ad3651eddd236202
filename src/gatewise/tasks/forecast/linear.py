"""The linear part of a forecaster: ridge regressions on the past, in closed form (Hoerl & Kennard 1970).

Several are tried: with few or many lags, with and without the level and the inputs of the last step, shrunk
to persistence or to the seasonal naive forecast, more or less. Each is judged at several places of the
series, by forecasts of what comes after the steps that it was fitted to. The mean of the best three is a
linear map again.

Shapes: ``N`` steps, ``S`` origins (the last step that a forecast knows), ``L`` numbers that are read at an
origin, ``K`` steps of the horizon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from gatewise.runtime.jobs.lags import MOST_AHEAD, Reads
from gatewise.tasks.forecast.naive import Numbers, Whole, future
from gatewise.tasks.forecast.windows import Windows

PENALTIES = tuple(10.0**power for power in range(-7, 3))  # for standardised numbers
AVERAGED = 3  # regressions that are averaged
FEW, MORE = 8, 24  # lags
MOST_SEASONAL = 512  # most lags of the season before
MOST_FITTED = 65_536  # most origins that a regression is fitted to
MOST_JUDGED = 2_000_000  # most forecast values that a regression is judged by
ALLOWED = 0.005  # share by which errors may rise where a map is centred
LEAST = 4  # fewest origins that a regression is fitted to
CHUNK = 2**22  # numbers that are read at once


@dataclass(frozen=True)
class Regression:
    """A ridge regression.

    Attributes:
        reads: what it reads.
        seasonal: whether it corrects the seasonal naive forecast rather than persistence.
        penalty: the weight of the squared coefficients; with infinity it is the naive forecast itself.
    """

    reads: Reads
    seasonal: bool
    penalty: float


@dataclass(frozen=True)
class Linear:
    """A linear map from what is read at an origin to the changes from the last value.

    Attributes:
        weight: ``[K, L]``.
        bias: ``[K]``.
    """

    weight: Numbers
    bias: Numbers

    def __call__(self, read: Numbers) -> Numbers:
        """The changes of ``read [..., L]``, ``[..., K]``."""
        changes: Numbers = read @ self.weight.T + self.bias
        return changes


@dataclass(frozen=True)
class Fold:
    """Origins ``fitted [S]`` to fit to, and later ones ``judged [S]`` to judge by."""

    fitted: Whole
    judged: Whole


def choose(windows: Windows, folds: Sequence[Fold]) -> tuple[Regression, ...]:
    """The regressions with the smallest mean absolute errors over all folds; none if there is too little.

    `windows` may read anything.
    """
    windows = replace(windows, reads=_everything(windows))
    scores: dict[Regression, float] = {}
    for fold in folds:
        moments = Moments.of(windows, fold.fitted)
        if moments.count < LEAST:
            continue
        most = max(MOST_JUDGED // windows.horizon, 1)
        read, changes = _pairs(windows, _some(fold.judged, most))
        for regression, linear in _fits(moments, windows):
            error = float(np.nanmean(np.abs(linear(read) - changes)))
            scores[regression] = scores.get(regression, 0.0) + error
    best: dict[tuple[Reads, bool], Regression] = {}
    for regression in sorted(scores, key=lambda each: scores[each]):
        best.setdefault((regression.reads, regression.seasonal), regression)
    return tuple(best.values())[:AVERAGED]


def reads_of(regressions: Sequence[Regression]) -> Reads:
    """What the regressions read together."""
    lags = sorted({lag for each in regressions for lag in each.reads.lags})
    inputs = any(each.reads.inputs for each in regressions)
    return Reads(tuple(lags), inputs, max((each.reads.ahead for each in regressions), default=0))


def fit(windows: Windows, origins: Whole, regressions: Sequence[Regression]) -> Linear:
    """The mean of the regressions, fitted to the forecasts at `origins`.

    `windows` read what `reads_of` returns.
    """
    moments = Moments.of(windows, origins)
    fits = [moments.solve(windows, each) for each in regressions]
    weight = np.mean([each.weight for each in fits], axis=0)
    return Linear(weight, np.mean([each.bias for each in fits], axis=0))


def errors_of(windows: Windows, origins: Whole, linear: Linear | None) -> Numbers:
    """The errors ``[S, K]`` of the linear forecasts at some origins; without one, of persistence."""
    read, changes = _pairs(windows, _some(origins, max(MOST_JUDGED // windows.horizon, 1)))
    return changes if linear is None else changes - linear(read)


def centred(linear: Linear, errors: Numbers) -> tuple[Linear, Numbers]:
    """The map moved so that half of its errors ``[S, K]`` lie on each side, and these errors.

    A regression forecasts means, but absolute errors are smallest at medians.
    """
    middle = np.median(errors, axis=0)
    return Linear(linear.weight, linear.bias + middle), errors - middle


def may_centre(windows: Windows, folds: Sequence[Fold], regressions: Sequence[Regression]) -> bool:
    """Whether later forecasts by maps that are `centred` are no worse, over all folds."""
    errors = np.zeros(2)
    for fold in folds:
        linear = fit(windows, fold.fitted, regressions)
        moved, _ = centred(linear, errors_of(windows, fold.fitted, linear))
        errors += [np.abs(errors_of(windows, fold.judged, each)).mean() for each in (linear, moved)]
    return bool(errors[1] < (1 + ALLOWED) * errors[0])


@dataclass(frozen=True)
class Moments:
    """What ridge regressions need of the data: means, and products of standardised numbers.

    Attributes:
        count: the number of origins.
        mean, scale: ``[L]``, of what is read.
        products: ``[L, L]``, the mean products of what is read.
        changes: ``[K]``, the mean changes.
        shared: ``[L, K]``, the mean products of what is read with the changes.
    """

    count: int
    mean: Numbers
    scale: Numbers
    products: Numbers
    changes: Numbers
    shared: Numbers

    @classmethod
    def of(cls, windows: Windows, origins: Whole) -> Moments:
        """The moments of at most `MOST_FITTED` of some origins."""
        L, K, count = windows.reads.size(windows.inputs.shape[1]), windows.horizon, 0
        sums, squares = np.zeros(L + K), np.zeros((L, L + K))
        for some in _chunks(_some(origins, MOST_FITTED), max(CHUNK // (L + K), 1)):
            read, changes = _pairs(windows, some)
            both = np.concatenate([read, changes], axis=1)
            sums += both.sum(axis=0)
            squares += read.T @ both
            count += len(both)
        means = sums / max(count, 1)
        squares = squares / max(count, 1) - np.outer(means[:L], means)
        scale = np.sqrt(np.maximum(squares.diagonal(), 0))
        scale[scale <= 1e-9 * (1 + np.abs(means[:L]))] = np.inf  # constant: its coefficient is 0
        products = squares[:, :L] / np.outer(scale, scale)
        return cls(count, means[:L], scale, products, means[L:], squares[:, L:] / scale[:, None])

    def solve(self, windows: Windows, regression: Regression) -> Linear:
        """Fit a regression."""
        return next(iter(self.path(windows, regression.reads, regression.seasonal, [regression.penalty])))

    def path(
        self, windows: Windows, reads: Reads, seasonal: bool, penalties: Sequence[float]
    ) -> Iterator[Linear]:
        """Fit regressions that differ in their penalty."""
        L, K = self.shared.shape
        start = _seasonal(windows, L) if seasonal else np.zeros((L, K))
        columns = _columns(windows, reads)
        scale, mean = self.scale[columns], self.mean
        values, vectors = np.linalg.eigh(self.products[np.ix_(columns, columns)])
        values = np.maximum(values, 0)
        scaled = np.where(np.isinf(self.scale), 0, self.scale)[:, None]
        shared = vectors.T @ (self.shared - self.products @ (start * scaled))[columns]
        for penalty in penalties:
            weight = start.copy()
            if np.isinf(penalty):
                yield Linear(weight.T, np.zeros(K))
                continue
            weight[columns] += vectors @ (shared / (values + penalty)[:, None]) / scale[:, None]
            yield Linear(weight.T, self.changes - mean @ weight)


def _fits(moments: Moments, windows: Windows) -> Iterator[tuple[Regression, Linear]]:
    """All regressions that are tried, fitted."""
    seasons = [False, True] if windows.season > 1 and _seasonal_lags(windows) else [False]
    for few, level, inputs in product(_shortest(windows), (False, True), (False, True)):
        lags = {*range(not level, few), *_seasonal_lags(windows)}
        reads = Reads(tuple(sorted(lags)), inputs, _values_ahead(windows))
        if not reads.size(windows.inputs.shape[1]):
            continue
        for seasonal in seasons:
            linears = moments.path(windows, reads, seasonal, PENALTIES)
            for penalty, linear in zip(PENALTIES, linears, strict=True):
                yield Regression(reads, seasonal, penalty), linear
    for seasonal in seasons:
        naive = Regression(Reads(_seasonal_lags(windows) if seasonal else ()), seasonal, np.inf)
        yield naive, moments.solve(windows, naive)


def _shortest(windows: Windows) -> list[int]:
    """The numbers of lags that are tried, without those of the season before."""
    return sorted({min(lags, windows.history) for lags in (FEW, MORE, windows.history)})


def _seasonal_lags(windows: Windows) -> tuple[int, ...]:
    """The lags of the seasonal naive forecast, and of the season itself."""
    if windows.season == 1:
        return ()
    least = max(windows.season - windows.horizon, 1)
    return tuple(range(least, windows.season + 1)) if windows.season - least < MOST_SEASONAL else ()


def _everything(windows: Windows) -> Reads:
    return Reads(
        tuple(sorted({*range(windows.history), *_seasonal_lags(windows)})),
        inputs=True,
        ahead=_values_ahead(windows),
    )


def _values_ahead(windows: Windows) -> int:
    """How many values of inputs whose future is known are read; 0 if there are too many."""
    values = windows.horizon * windows.ahead.shape[1]
    return values if values <= MOST_AHEAD else 0


def _columns(windows: Windows, reads: Reads) -> Whole:
    """The places of `reads` among what the windows read."""
    lags = np.searchsorted(windows.reads.lags, reads.lags)
    L = windows.reads.size(windows.inputs.shape[1])
    inputs = np.arange(len(windows.reads.lags), L - windows.reads.ahead)
    ahead = np.arange(L - windows.reads.ahead, L)
    parts = [lags, inputs[: len(inputs) * reads.inputs], ahead if reads.ahead else ahead[:0]]
    return np.concatenate(parts).astype(np.int64)


def _seasonal(windows: Windows, L: int) -> Numbers:
    """The map ``[L, K]`` that is the seasonal naive forecast."""
    ahead = np.arange(1, windows.horizon + 1)
    lags = windows.season * ((ahead - 1) // windows.season + 1) - ahead
    weight = np.zeros((L, windows.horizon))
    steps = np.nonzero(lags > 0)[0]
    weight[np.searchsorted(windows.reads.lags, lags[steps]), steps] = 1
    return weight


def _pairs(windows: Windows, origins: Whole) -> tuple[Numbers, Numbers]:
    """What is read at origins ``[S, L]``, and the changes ``[S, K]`` that came.

    Origins with missing values ahead are left out, if this leaves half of them. Otherwise the last known
    value stands for a missing one.
    """
    coming = future(origins, windows.horizon)
    truth = windows.truth.numpy()[coming].astype(np.float64)
    whole = ~np.isnan(truth).any(axis=1)
    if 2 * whole.sum() >= len(origins):
        origins, coming = origins[whole], coming[whole]
    changes = windows.held[coming] - windows.held[origins][:, None]
    return windows.read(origins).astype(np.float64), changes


def _some(origins: Whole, most: int) -> Whole:
    """At most `most` origins, evenly spaced."""
    if len(origins) <= most:
        return origins
    return origins[np.linspace(0, len(origins) - 1, most).astype(np.int64)]


def _chunks(origins: Whole, most: int) -> Iterator[Whole]:
    for first in range(0, len(origins), most):
        yield origins[first : first + most]
