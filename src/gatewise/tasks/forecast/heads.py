"""What a forecast says beside a point: the sizes of a distribution around it, and how they are trained.

Shapes: ``S`` forecasts per window, ``B`` windows, ``K`` steps of the horizon, ``M`` sizes, ``H`` hidden
units.
"""

from __future__ import annotations

from math import inf, lgamma, log, pi

import numpy as np
import torch
from torch import Tensor, nn

from gatewise.runtime.jobs.distributions import BELOW, LEVELS, SIZES, student_quantile
from gatewise.tasks.forecast.naive import Numbers
from gatewise.tasks.forecast.pinball import pinball

LEAST = 1e-4  # the least size, in standard deviations of the target
FREEDOMS = (2.5, 3.0, 4.0, 6.0, 10.0, 30.0)  # degrees of freedom of Student's t that are tried
USUAL = 4.0  # degrees of freedom before the validation part has been seen
FACTORS = tuple(2.0 ** (k / 8) for k in range(-32, 33))  # that sizes are multiplied by, tried
APART = 4  # steps between the forecasts that sizes are trained on
PRIOR = 60  # blocks of forecasts that a factor of 1 counts as, when factors are chosen
STEPS_PRIOR = 5  # blocks of forecasts that a width of 1 counts as, when widths are chosen
WIDTHS = 1.0, 8.0  # limits of widths
EXCESS = 0.1  # of negative binomial distributions, to begin with


class SpreadPart(nn.Module):
    """The sizes of the distribution at each step: a linear map of the network's output, made positive.

    They are trained beside the point forecast and do not change it: no gradient goes to the layers below.

    Attributes:
        map: the linear map, whose weights begin at zero.
        factors: ``[M]``, what the sizes are multiplied by, chosen in the validation part.
        freedom: ``[1]``, the degrees of freedom of Student's t.
        correlation: ``[1]``, of the errors one step apart.
    """

    factors: Tensor
    freedom: Tensor
    correlation: Tensor

    def __init__(self, output: str, hidden_size: int, horizon: int) -> None:
        super().__init__()
        self.output, self.horizon = output, horizon
        self.map = nn.Linear(hidden_size, horizon * SIZES[output])
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.register_buffer("factors", torch.ones(SIZES[output]))
        self.register_buffer("freedom", torch.full((1,), USUAL))
        self.register_buffer("correlation", torch.zeros(1))

    def begin(self, sizes: Numbers) -> None:
        """Begin with ``sizes [K, M]``, the same ones always."""
        sizes = np.maximum(sizes, LEAST)
        with torch.no_grad():
            inverse = sizes + np.log(-np.expm1(-sizes))  # of softplus
            self.map.bias.copy_(torch.from_numpy(inverse.reshape(-1)))

    def forward(self, output: Tensor) -> Tensor:
        """The sizes ``[S, B, K, M]`` from the network's output ``[S, B, H]``."""
        raw: Tensor = self.map(output.detach())
        sizes: Tensor = nn.functional.softplus(raw).reshape(*raw.shape[:-1], self.horizon, -1)
        return sizes * self.factors

    def trained(self, output: Tensor, errors: Tensor, known: Tensor | None) -> Tensor:
        """The sum of losses of errors ``[S, B, K]`` under the distributions of ``output [S, B, H]``.

        Forecasts one step apart are much alike: every fourth one is computed, and counts four times.

        Args:
            output, errors: as above.
            known: the errors that count, booleans ``[S, B, K]``; None for all.
        """
        some = slice((len(output) - 1) % APART, None, APART)
        times = len(output) / len(range(len(output))[some])
        output, errors, known = output[some], errors[some], None if known is None else known[some]
        if self.output == "quantiles":
            counted = None if known is None else known.flatten(0, -2)
            given = output.flatten(0, -2), self.map, self.factors, errors.flatten(0, -2), counted
            return times * pinball(*given)
        sizes = self(output)
        if known is None:
            return times * self.loss(sizes.flatten(0, -2), errors.flatten())
        return times * self.loss(sizes[known], errors[known])

    def loss(self, sizes: Tensor, errors: Tensor) -> Tensor:
        """The sum of losses of errors ``[N]`` under distributions other than quantiles, ``sizes [N, M]``."""
        if self.output == "negative-binomial":
            return sizes.sum() * 0  # the excess is chosen in the validation part alone
        scores, log_size = errors / (sizes[:, 0] + LEAST), (sizes[:, 0] + LEAST).log()
        if self.output == "gaussian":
            return (scores.square() / 2 + log_size).sum()
        return (student_loss(scores, float(self.freedom)) + log_size).sum()


def student_loss(scores: Tensor, freedom: float) -> Tensor:
    """The negative logarithm of the density of Student's t, but for its constant."""
    return (freedom + 1) / 2 * torch.log1p(scores.square() / freedom)


def sizes_of(errors: Numbers, output: str) -> Numbers:
    """The sizes of errors ``[N, K]`` at each step, ``[K, M]``."""
    if output == "quantiles":
        found = np.quantile(errors, LEVELS, axis=0)
        found[BELOW] = 0
        low = np.maximum.accumulate(np.maximum(-found[:BELOW][::-1], LEAST), axis=0)
        high = np.maximum.accumulate(np.maximum(found[BELOW + 1 :], LEAST), axis=0)
        parts = [np.diff(side, axis=0, prepend=np.zeros_like(side[:1])) for side in (low, high)]
        found = np.concatenate(parts).T
        return found
    if output == "negative-binomial":
        return np.full((errors.shape[1], 1), EXCESS)
    spread: Numbers = np.sqrt(np.square(errors).mean(axis=0))
    return (spread if output == "gaussian" else spread / np.sqrt(USUAL / (USUAL - 2)))[:, None]


def calibrated(output: str, errors: Numbers, sizes: Numbers, blocks: int) -> tuple[Numbers, float]:
    """Factors ``[M]`` of sizes, and degrees of freedom, by which errors are as likely as they should be.

    Forecasts that share steps miss together, so factors are trusted as far as there are blocks of forecasts
    that share none. And because a few blocks do not show all that happens, all factors have a margin.

    Args:
        output: the kind of distribution.
        errors: ``[N, K]``, in the validation part; NaN where unknown.
        sizes: ``[N, K, M]``, of the distributions.
        blocks: how many of the forecasts there are without common steps.
    """
    known = ~np.isnan(errors)
    trust, margin = blocks / (blocks + PRIOR), 1 + 1 / max(blocks, 1)
    missed, sizes = errors[known], sizes[known]
    if not len(missed):
        return np.ones(sizes.shape[-1]), USUAL
    if output == "quantiles":
        factors = [*_factors(-missed, sizes[:, :BELOW], LEVELS[:BELOW][::-1])]
        factors += _factors(missed, sizes[:, BELOW:], [1 - level for level in LEVELS[BELOW + 1 :]])
        return margin * np.array(factors) ** trust, USUAL
    if output == "gaussian":
        return margin * np.sqrt(np.square(missed / sizes[:, 0]).mean(keepdims=True)) ** trust, inf
    scores = np.abs(missed / sizes[:, 0])
    best = (inf, 1.0, USUAL)
    for freedom in FREEDOMS:
        middle = max(float(np.median(scores)), 1e-9) / student_quantile(0.75, freedom)
        for factor in (middle * other for other in FACTORS[16:49]):
            best = min(best, (_student(scores / factor, freedom) + log(factor), factor, freedom))
    return np.array([margin * best[1] ** trust]), best[2]


def widths_of(errors: Numbers, quantiles: Numbers, blocks: int) -> tuple[float, ...]:
    """Widths ``[K]`` by which sampled futures are spread as far as errors at each step ahead.

    The errors of later steps hang together in ways that a model of one step does not know. The width that
    makes four fifths of the errors of a step lie between its quantiles at 0.1 and 0.9 is smoothed: its
    logarithm is a straight line over that of the step's number. It is at least 1. The margin is a fourth of
    that of `calibrated`, which widens every step already.

    Args:
        errors: ``[S, K]``, of the point forecasts; NaN where unknown.
        quantiles: ``[S, K, 2]``, those at 0.1 and 0.9, less the point forecasts.
        blocks: as in `calibrated`.
    """
    low, high = np.maximum(-quantiles[..., 0], LEAST), np.maximum(quantiles[..., 1], LEAST)
    scores = np.where(errors < 0, -errors / low, errors / high)
    known = np.flatnonzero(~np.isnan(scores).all(axis=0))
    steps = np.log1p(np.arange(errors.shape[1]))
    if not len(known):
        return (1.0,) * len(steps)
    wanted = np.log(np.maximum(np.nanquantile(scores[:, known], 0.8, axis=0), 1 / WIDTHS[1]))
    line = np.polynomial.Polynomial.fit(steps[known], wanted, min(len(known) - 1, 1))
    trust, margin = blocks / (blocks + STEPS_PRIOR), 1 + 1 / (4 * max(blocks, 1))
    return tuple(np.clip(margin * np.exp(trust * line(steps)), *WIDTHS).tolist())


def _factors(missed: Numbers, sizes: Numbers, beyond: list[float] | tuple[float, ...]) -> list[float]:
    """Factors of gaps, inner ones first, so that the share `beyond` of errors exceeds each sum of gaps."""
    factors, offset = [], np.zeros(len(missed))
    for place, share in enumerate(beyond):
        wanted = np.quantile((missed - offset) / sizes[:, place], 1 - share)
        factors.append(float(np.clip(wanted, FACTORS[0], FACTORS[-1])))
        offset = offset + factors[-1] * sizes[:, place]
    return factors


def _student(scores: Numbers, freedom: float) -> float:
    """The mean negative logarithm of the density of Student's t."""
    constant = lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - log(freedom * pi) / 2
    return float(((freedom + 1) / 2 * np.log1p(np.square(scores) / freedom)).mean() - constant)


def excess_of(truth: Numbers, mean: Numbers) -> float:
    """The excess of negative binomial distributions under which counts are most likely."""
    known = ~np.isnan(truth)
    counts, means = np.rint(np.maximum(truth[known], 0)), np.maximum(mean[known], 1e-3)
    if not len(counts):
        return EXCESS
    tried: list[float] = [EXCESS * factor * factor for factor in FACTORS]
    return min(tried, key=lambda excess: _negative_binomial(counts, means, excess))


def _negative_binomial(counts: Numbers, means: Numbers, excess: float) -> float:
    """The mean negative logarithm of the probability of counts, but for a constant."""
    size = 1 / excess
    ratio = torch.lgamma(torch.from_numpy(counts + size)).numpy() - lgamma(size)
    likely = ratio + counts * np.log(means / (means + size)) - size * np.log1p(means / size)
    return -float(likely.mean())


def correlation_of(errors: Numbers) -> float:
    """The correlation of errors ``[N, K]`` one step apart, from 0 to 0.99."""
    before, after = errors[:, :-1].ravel(), errors[:, 1:].ravel()
    known = ~(np.isnan(before) | np.isnan(after))
    scale = np.sqrt(np.square(before[known]).mean() * np.square(after[known]).mean()) if known.any() else 0.0
    return float(np.clip((before[known] * after[known]).mean() / scale, 0, 0.99)) if scale > 0 else 0.0
