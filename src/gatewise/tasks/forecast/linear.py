"""The linear part of a forecaster: ridge regressions on the past, in closed form (Hoerl & Kennard 1970).

Several are tried: with few or many lags, with and without the level and the inputs of the last step, more or
less shrunk to a naive forecast: persistence, and the seasonal naive one or, without a season, the mean. Each
is judged at several places of the series, by forecasts of what comes after the steps that it was fitted to.
The best of each family (level or not, inputs or not, shrunk to what) are averaged, because means of unlike
forecasts err less than the one that was best in the past (Bates & Granger 1969). Their mean is a linear map
again.

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
AVERAGED = 6  # most regressions that are averaged
WORST = 1.3  # largest error of one of them, in errors of the best
FEW, MORE = 8, 24  # lags
MOST_SEASONAL = 512  # most lags of the season before, and of a whole season
MOST_FITTED = 65_536  # most origins that a regression is fitted to
MOST_JUDGED = 2_000_000  # most forecast values that a regression is judged by
ALLOWED = 0.005  # share by which errors may rise where a map is centred
LEAST = 4  # fewest origins that a regression is fitted to
CHUNK = 2**20  # numbers that are read at once


@dataclass(frozen=True)
class Regression:
    """A ridge regression.

    Attributes:
        reads: what it reads.
        seasonal: whether it corrects the seasonal naive forecast rather than persistence.
        penalty: the weight of the squared coefficients; with infinity it is the naive forecast itself.
        levels: whether the regression is on the values themselves, not on their differences to the last
            one. This shrinks forecasts to the mean. Lag 0 must be read, and `seasonal` be false.
    """

    reads: Reads
    seasonal: bool
    penalty: float
    levels: bool = False

    @property
    def family(self) -> tuple[bool, ...]:
        """What kind of regression it is, apart from the number of lags and the penalty."""
        return 0 in self.reads.lags, self.reads.inputs, self.seasonal, self.levels


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


def choose(windows: Windows, folds: Sequence[Fold], means: bool = False) -> tuple[Regression, ...]:
    """The best regressions, one of a family, by their mean absolute errors; none if there is too little.

    Where forecasts are `means`, squared errors decide: absolute errors of counts that are mostly zero are
    smallest at forecasts of zero. `windows` may read anything.
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
            missed = np.abs(linear(read) - changes)
            error = float((np.square(missed) if means else missed).mean())
            scores[regression] = scores.get(regression, 0.0) + error
    best: dict[tuple[bool, ...], Regression] = {}
    for regression in sorted(scores, key=lambda each: scores[each]):
        best.setdefault(regression.family, regression)
    least = min(scores.values(), default=0.0)
    return tuple(each for each in best.values() if scores[each] <= WORST * least)[:AVERAGED]


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
    origins = _usable(windows, _some(origins, max(MOST_JUDGED // windows.horizon, 1)))
    errors, done = np.empty((len(origins), windows.horizon)), 0
    for some in _chunks(origins, windows.most(CHUNK)):
        read, changes = _read(windows, some)
        errors[done : done + len(some)] = changes if linear is None else changes - linear(read)
        done += len(some)
    return errors


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
    """What ridge regressions need of the data: means and covariances.

    Attributes:
        count: the number of origins.
        mean: ``[L]``, of what is read.
        products: ``[L, L]``, the covariances of what is read.
        changes: ``[K]``, the mean changes.
        shared: ``[L, K]``, the covariances of what is read with the changes.
    """

    count: int
    mean: Numbers
    products: Numbers
    changes: Numbers
    shared: Numbers

    @classmethod
    def of(cls, windows: Windows, origins: Whole) -> Moments:
        """The moments of at most `MOST_FITTED` of some origins."""
        L, K, count = windows.reads.size(windows.inputs.shape[1]), windows.horizon, 0
        sums, squares = np.zeros(L + K), np.zeros((L, L + K))
        for some in _chunks(_usable(windows, _some(origins, MOST_FITTED)), windows.most(CHUNK)):
            read, changes = _read(windows, some)
            for part, columns in ((read, slice(L)), (changes, slice(L, None))):
                sums[columns] += part.sum(axis=0)
                squares[:, columns] += read.T @ part
            count += len(read)
        means = sums / max(count, 1)
        squares = squares / max(count, 1) - np.outer(means[:L], means)
        return cls(count, means[:L], squares[:, :L], means[L:], squares[:, L:])

    def solve(self, windows: Windows, regression: Regression) -> Linear:
        """Fit a regression."""
        return next(iter(self.path(windows, regression, [regression.penalty])))

    def path(self, windows: Windows, regression: Regression, penalties: Sequence[float]) -> Iterator[Linear]:
        """Fit regressions that differ from `regression` in their penalty."""
        L, K = self.shared.shape
        start, columns = _start(windows, L, regression), _columns(windows, regression.reads)
        products, mean = self.products[np.ix_(columns, columns)], self.mean[columns]
        shared = (self.shared - self.products @ start)[columns]
        if regression.levels:
            to = _levels(regression.reads, len(columns))
            products, mean, shared = to @ products @ to.T, to @ mean, to @ shared
        scale = np.sqrt(np.maximum(products.diagonal(), 0))
        scale[scale <= 1e-9 * (1 + np.abs(mean))] = np.inf  # constant: its coefficient is 0
        values, vectors = np.linalg.eigh(products / np.outer(scale, scale))
        values = np.maximum(values, 0)
        shared = vectors.T @ (shared / scale[:, None])
        for penalty in penalties:
            weight = start.copy()
            if np.isinf(penalty):
                yield Linear(weight.T, np.zeros(K))
                continue
            found = vectors @ (shared / (values + penalty)[:, None]) / scale[:, None]
            weight[columns] += to.T @ found if regression.levels else found
            yield Linear(weight.T, self.changes - self.mean @ weight)


def _fits(moments: Moments, windows: Windows) -> Iterator[tuple[Regression, Linear]]:
    """All regressions that are tried, fitted."""
    for first in _tried(windows):
        for penalty, linear in zip(PENALTIES, moments.path(windows, first, PENALTIES), strict=True):
            yield replace(first, penalty=penalty), linear
    for seasonal in _seasons(windows):
        naive = Regression(Reads(_seasonal_lags(windows) if seasonal else ()), seasonal, np.inf)
        yield naive, moments.solve(windows, naive)


def _seasons(windows: Windows) -> tuple[bool, ...]:
    """Whether regressions are shrunk to the seasonal naive forecast: no, and yes if there is one."""
    return (False, True) if _seasonal_lags(windows) else (False,)


def _tried(windows: Windows) -> Iterator[Regression]:
    """The regressions that are tried, each with one penalty."""
    size = windows.inputs.shape[1]
    for lags, level, inputs in product(_lags(windows), (False, True), (False, True)[:size]):
        reads = Reads(lags[not level :], inputs, _values_ahead(windows))
        if not reads.size(size):
            continue
        for seasonal in _seasons(windows):
            yield Regression(reads, seasonal, 0.0)
        if level and windows.season == 1:
            yield Regression(reads, False, 0.0, levels=True)


def _lags(windows: Windows) -> list[tuple[int, ...]]:
    """The lags that are tried, from 0 on.

    Lags beyond a season make, with the first ones, changes over a season. Where a season is longer than the
    history, all lags from the first to those are tried, too.
    """
    seasonal = _seasonal_lags(windows)
    furthest = windows.season + min(FEW, windows.history - 1)
    beyond = range(windows.season + 1, furthest + 1) if seasonal else ()
    found = {
        tuple(sorted({*range(few), *seasonal, *more})) for few in _shortest(windows) for more in ((), beyond)
    }
    whole = windows.season + min(windows.horizon, windows.history)
    if windows.history < windows.season and whole <= MOST_SEASONAL:
        found.add(tuple(range(whole)))
    return sorted(found)


def _shortest(windows: Windows) -> list[int]:
    """The numbers of lags that are tried. Lags of the season before are not counted."""
    return sorted({min(lags, windows.history) for lags in (FEW, MORE, windows.history)})


def _seasonal_lags(windows: Windows) -> tuple[int, ...]:
    """The lags of the seasonal naive forecast, and of the season itself."""
    if windows.season == 1:
        return ()
    least = max(windows.season - windows.horizon, 1)
    return tuple(range(least, windows.season + 1)) if windows.season - least < MOST_SEASONAL else ()


def _everything(windows: Windows) -> Reads:
    return Reads(
        tuple(sorted({lag for lags in _lags(windows) for lag in lags})),
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


def _levels(reads: Reads, size: int) -> Numbers:
    """The map ``[L, L]`` from what is read to the values themselves."""
    to = np.eye(size)
    to[: len(reads.lags), 0] = 1
    return to


def _start(windows: Windows, L: int, regression: Regression) -> Numbers:
    """The map ``[L, K]`` that a regression is shrunk to."""
    if regression.seasonal:
        return _seasonal(windows, L)
    start = np.zeros((L, windows.horizon))
    if regression.levels:
        start[0] = -1
    return start


def _seasonal(windows: Windows, L: int) -> Numbers:
    """The map ``[L, K]`` that is the seasonal naive forecast."""
    ahead = np.arange(1, windows.horizon + 1)
    lags = windows.season * ((ahead - 1) // windows.season + 1) - ahead
    weight = np.zeros((L, windows.horizon))
    steps = np.nonzero(lags > 0)[0]
    weight[np.searchsorted(windows.reads.lags, lags[steps]), steps] = 1
    return weight


def _pairs(windows: Windows, origins: Whole) -> tuple[Numbers, Numbers]:
    """What is read at the `_usable` origins, ``[S, L]``, and the changes that came after them, ``[S, K]``."""
    return _read(windows, _usable(windows, origins))


def _usable(windows: Windows, origins: Whole) -> Whole:
    """The origins without missing values ahead, if these are half of them; otherwise all."""
    whole = ~np.isnan(windows.truth.numpy()[future(origins, windows.horizon)]).any(axis=1)
    return origins[whole] if 2 * whole.sum() >= len(origins) else origins


def _read(windows: Windows, origins: Whole) -> tuple[Numbers, Numbers]:
    """What is read at origins ``[S, L]``, and the changes ``[S, K]`` that came.

    The last known value stands for a missing one.
    """
    changes = windows.held[future(origins, windows.horizon)] - windows.held[origins][:, None]
    return windows.read(origins).astype(np.float64), changes


def _some(origins: Whole, most: int) -> Whole:
    """At most `most` origins, evenly spaced."""
    if len(origins) <= most:
        return origins
    return origins[np.linspace(0, len(origins) - 1, most).astype(np.int64)]


def _chunks(origins: Whole, most: int) -> Iterator[Whole]:
    for first in range(0, len(origins), most):
        yield origins[first : first + most]
