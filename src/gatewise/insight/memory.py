"""What a gated state remembers, from which step, and for how long.

All analyses use ``s' = k * s + w`` (`gatewise.insight.keeping`): k keeps, w writes. Shapes: ``T`` steps,
``B`` rows, ``H`` units. Steps are in the order of time, also for a backward direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gatewise.insight.finding import Finding
from gatewise.insight.keeping import kept_state
from gatewise.insight.passage import Passage
from gatewise.insight.threads import one_thread
from gatewise.insight.values import Values

_TINY = 1e-300
_LOW, _HIGH = 0.1, 0.9  # Karpathy, Johnson & Fei-Fei 2015


@final
@dataclass(frozen=True, repr=False, eq=False)
class Ledger(Finding):
    """The final state of each row as a sum of the contributions of all steps.

    Attributes:
        layer, state, gate: the name of the layer, its state and the gate that keeps it.
        written: ``[T, B, H]``, what each step wrote, times the product of all later gates: 0 before the last
            reset, NaN past the end of a row.
        initial: ``[B, H]``, the initial state times the product of all gates.
        total: ``[B, H]``, the final state as the layer computed it; zeros for a row without steps.
        residual: the largest difference between the sum of the contributions and `total`, relative to the
            largest `total`.
    """

    layer: str
    state: str
    gate: str
    written: Tensor
    initial: Tensor
    total: Tensor
    residual: float

    def shares(self) -> Tensor:
        """``[T + 1]``: the share of the initial state, then of each step, in the sum of all magnitudes."""
        parts = torch.cat([self.initial[None], self.written]).abs().nansum((1, 2))
        return parts / parts.sum()

    def __str__(self) -> str:
        shares = self.shares()
        if shares.isnan().any():
            return f"{self.layer}: the final {self.state} is not a number."
        most = int(shares[1:].argmax())
        return (
            f"{self.layer}: the final {self.state} is the sum of what {len(self.written)} steps wrote; "
            f"step {most} has the largest share, {shares[most + 1]:.1%}, the initial state {shares[0]:.1%} "
            f"(kept by {self.gate}; residual {self.residual:.1e})."
        )


@one_thread()
def ledger(values: Values, state: str | None = None) -> Ledger:
    """The final state as the exact sum of what each step wrote, times the product of all later gates.

    ``c_T = sum_t (prod_{s > t} f_s) i_t g_t + (prod_s f_s) c_0`` for the LSTM, and in the same way for
    every state that a gate keeps. It says where the state comes from, not what it would be without a step,
    since the gates themselves depend on earlier steps.

    Source: the sum is in Murdoch & Szlam 2017, "Automatic rule extraction from long short term memory
    networks".

    Args:
        values: the recording of a layer from `gatewise.watch`.
        state: the name of a kept state; by default the last one.

    Raises:
        ValueError: no gate of the cell keeps a state, or not this one.

    Example:
        >>> import gatewise, torch
        >>> _ = torch.manual_seed(0)
        >>> layer = gatewise.nn.LSTM(3, 8)
        >>> with gatewise.watch(layer) as seen:
        ...     _ = layer(torch.randn(5, 2, 3))
        >>> ledger = seen["l0"].ledger()
        >>> bool(torch.allclose(ledger.written.sum(0), seen["l0"].c[-1].double(), atol=1e-6))
        True
    """
    passage = values.passage.exact()
    kept = kept_state(passage.cell, state, "ledger")
    found = passage.compute(kept.nodes)
    later = _kept_later(passage, found["keep"])
    written = later * found["write"]
    initial = (later * _entered(passage, found["keep"], kept.state)).nansum(0)
    total = passage.finals[passage.cell.states.index(kept.state)]
    off = (written.nansum(0) + initial - total).abs().max() / total.abs().max().clamp_min(_TINY)
    return Ledger(values.layer, kept.state, kept.gate, written, initial, total, float(off))


@final
@dataclass(frozen=True, repr=False, eq=False)
class HalfLife(Finding):
    """The half-life of each unit: the number of steps after which half of its state is gone.

    Attributes:
        layer, state, gate: the name of the layer, its state and the gate that keeps it.
        expected: ``[H]``, computed from the geometric mean k of the gate over all steps: ``ln 0.5 / ln k``.
            Infinite if the gate never closes, NaN if it is NaN at all steps.
        realised: ``[H]``, measured on the data: the interpolated lag at which the mean of ``prod k``, over
            all stretches of that length, falls below a half. Infinite if it does not within the data.
        retention: ``[K, H]``, that mean for lags 0 to K - 1, up to the lag at which all units are below a
            half.
    """

    layer: str
    state: str
    gate: str
    expected: Tensor
    realised: Tensor
    retention: Tensor

    def __str__(self) -> str:
        if self.expected.isnan().all():
            return f"{self.layer}: {self.gate} is not a number at any step."
        never = int(self.realised.isinf().sum())
        longer = f"; {never} of {len(self.realised)} units keep more than half throughout" if never else ""
        apart = (self.realised / self.expected).log2().abs()
        apart = apart[apart.isfinite()]
        factor = (
            f"; the gates' mean gives the same within a factor {2 ** apart.max():.1f}" if len(apart) else ""
        )
        return (
            f"{self.layer}: {self.gate} lets {self.state} fall to a half "
            f"within {_spread(self.realised[~self.realised.isnan()])} steps{longer}{factor}."
        )


@one_thread()
def half_life(values: Values | Tensor, state: str | None = None) -> HalfLife:
    """Half-lives of a state, from the mean of its keeping gate and as measured on the data.

    Args:
        values: the recording of a layer from `gatewise.watch`; or the values of the gate ``[T, B, H]``, NaN
            past the end of a row, for rows that run forward without resets.
        state: the name of a kept state; by default the last one.

    Raises:
        ValueError: no gate of the cell keeps a state, or not this one.

    Source: for the gate as a decay, Tallec & Ollivier 2018, "Can recurrent neural networks warp time?".

    Example:
        >>> import torch
        >>> from gatewise.insight.memory import half_life
        >>> half_life(torch.full((10, 1, 2), 0.5)).realised
        tensor([1., 1.], dtype=torch.float64)
    """
    names, keep, begins = _gate(values, state, "half_life")
    retention, expected = _retention(keep.abs(), begins), _halving(_mean_log(keep))
    realised = _first_below_half(retention).masked_fill(expected.isnan(), torch.nan)
    return HalfLife(*names, expected, realised, retention)


@final
@dataclass(frozen=True, repr=False, eq=False)
class TimeScale(Finding):
    """The time scale of the memory of each unit.

    Attributes:
        layer, state, gate: the name of the layer, its state and the gate that keeps it.
        steps: ``[H]``, the number of steps in which it falls to 1/e: ``-1 / ln k``, where k is the geometric
            mean of the gate.
        range: ``[H, 2]``, the same for the 10 % and 90 % quantiles of the gate.
    """

    layer: str
    state: str
    gate: str
    steps: Tensor
    range: Tensor

    def __str__(self) -> str:
        steps = _spread(self.steps)
        return f"{self.layer}: {self.state} falls to 1/e within {steps} steps, by the mean of {self.gate}."


def time_scale(values: Values | Tensor, state: str | None = None) -> TimeScale:
    """The time scale of the memory of each unit, from its keeping gate.

    Arguments and errors are those of `half_life`. The half-life is ``ln 2`` times the time scale.

    Source: Tallec & Ollivier 2018, "Can recurrent neural networks warp time?": a gate open by k
    keeps for about ``1 / (1 - k)`` steps, which is ``-1 / ln k`` for k near 1.

    Example:
        >>> import math, torch
        >>> from gatewise.insight.memory import time_scale
        >>> time_scale(torch.full((10, 1, 1), math.exp(-0.1))).steps.round()
        tensor([10.], dtype=torch.float64)
    """
    names, keep, _ = _gate(values, state, "time_scale")
    ends = torch.stack([keep.flatten(0, 1).abs().nanquantile(q, 0) for q in (_LOW, _HIGH)], -1)
    scale = _halving(_mean_log(keep)) / math.log(2)
    return TimeScale(*names, scale, _halving(ends.log()) / math.log(2))


@final
@dataclass(frozen=True, repr=False, eq=False)
class Saturation(Finding):
    """How often gates are nearly closed and nearly open.

    Attributes:
        layer: the name of the layer.
        gates: the names of the G values that are sigmoids.
        left, right: ``[G, H]``, the fractions of steps at which a gate is below `low`, and above `high`.
        low, high: the limits.
    """

    layer: str
    gates: tuple[str, ...]
    left: Tensor
    right: Tensor
    low: float
    high: float

    def __str__(self) -> str:
        rows = zip(self.gates, self.left, self.right, strict=True)
        parts = [
            f"{gate} < {self.low:g}: {a.mean():.0%}, > {self.high:g}: {b.mean():.0%}" for gate, a, b in rows
        ]
        stuck, units = int(((self.left == 1) | (self.right == 1)).sum()), self.left.numel()
        return f"{self.layer}: of all steps, {'; '.join(parts)}; {stuck} of {units} gates always are."


def saturation(values: Values, low: float = _LOW, high: float = _HIGH) -> Saturation:
    """The fractions of steps at which each gate is left- or right-saturated, over all rows.

    Source: Karpathy, Johnson & Fei-Fei 2015, "Visualizing and understanding recurrent networks".

    Raises:
        ValueError: no sigmoid was watched, or there were no steps.

    Example:
        >>> import gatewise, torch
        >>> layer = gatewise.nn.GRU(3, 8)
        >>> with gatewise.watch(layer) as seen:
        ...     _ = layer(torch.zeros(5, 2, 3))
        >>> saturation = seen["l0"].saturation()
        >>> saturation.gates, float(saturation.left.sum())
        (('r', 'z'), 0.0)
    """
    gates = tuple(name for name in values.names if values.cell.values[name].op == "sigmoid")
    if not gates:
        raise ValueError(f"saturation: no gate (a sigmoid) of {values.layer!r} was watched.")
    flat = [values[gate].double().flatten(0, 1) for gate in gates]
    steps = [gate[gate.isfinite().all(1)] for gate in flat]
    if not len(steps[0]):
        raise ValueError(f"saturation: {values.layer!r} has no steps at which its gates are not NaN.")
    left = torch.stack([(gate < low).double().mean(0) for gate in steps])
    right = torch.stack([(gate > high).double().mean(0) for gate in steps])
    return Saturation(values.layer, gates, left, right, low, high)


def _gate(
    values: Values | Tensor, state: str | None, who: str
) -> tuple[tuple[str, str, str], Tensor, Tensor]:
    """The names of layer, state and gate; the gate in walking order; the mask of the first steps of rows."""
    if isinstance(values, Tensor):
        running = ~values.isnan().any(-1)
        begins = running & ~torch.cat([torch.zeros_like(running[:1]), running[:-1]])
        return ("the data", "state", "the gate"), values.detach().double(), begins
    passage = values.passage.exact()
    kept = kept_state(passage.cell, state, who)
    keep = passage.compute({"keep": kept.keep})["keep"]
    return (values.layer, kept.state, kept.gate), keep[passage.order], passage.begins[passage.order]


def _kept_later(passage: Passage, keep: Tensor) -> Tensor:
    """``[T, B, H]``: the share of what each step wrote that is left at the end of its row."""
    later, left = torch.zeros_like(keep), torch.zeros_like(keep[0])
    for t in reversed(passage.order):
        left = torch.where(passage.ends[t][:, None], 1.0, left)
        later[t] = left
        kept = left * keep[t]
        left = torch.where(passage.begins[t][:, None], 0.0, kept)
        left = torch.where(passage.running[t][:, None], left, 0.0)
    return later


def _entered(passage: Passage, keep: Tensor, state: str) -> Tensor:
    """``[T, B, H]``: the initial state times the gate at the first step of a row; 0 at other steps."""
    initial = passage.initial[passage.cell.states.index(state)]
    return torch.where(passage.begins[..., None], keep * initial, 0.0)


def _mean_log(keep: Tensor) -> Tensor:
    return keep.abs().log().flatten(0, 1).nanmean(0)


def _halving(log_keep: Tensor) -> Tensor:
    """The number of steps after which ``exp(log_keep * steps)`` is a half; infinite if nothing is lost."""
    return torch.where(log_keep >= 0, torch.inf, math.log(0.5) / log_keep)


def _retention(keep: Tensor, begins: Tensor) -> Tensor:
    """``[K, H]``: the mean of ``prod k`` over lags 0, 1, ..., over stretches in which no row begins."""
    means, product = [torch.ones_like(keep[0, 0])], torch.ones_like(keep)
    for lag in range(1, len(keep)):
        product = product[:-1] * keep[lag:]
        product = product.masked_fill(begins[lag:, :, None], torch.nan)
        mean = product.flatten(0, 1).nanmean(0)
        if mean.isnan().all():
            break
        means.append(mean)
        if (mean < 0.5).all():
            break
    return torch.stack(means)


def _first_below_half(retention: Tensor) -> Tensor:
    """The lag at which retention falls below a half, interpolated on a logarithmic scale."""
    below = retention < 0.5
    lag = below.int().argmax(0).clamp_min(1)
    units = torch.arange(retention.size(1))
    before = retention[lag - 1, units].log()
    after = retention[lag.clamp_max(len(retention) - 1), units].log()
    part = (before - math.log(0.5)) / (before - after)
    return torch.where(below.any(0), lag - 1 + part, torch.inf)


def _spread(steps: Tensor) -> str:
    """The median and the 10 % and 90 % quantiles, in words."""
    low, middle, high = (float(steps.quantile(q, interpolation="nearest")) for q in (0.1, 0.5, 0.9))
    return f"{middle:.1f} ({low:.1f} to {high:.1f} for four units in five)"
