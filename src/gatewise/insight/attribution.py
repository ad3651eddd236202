"""Which inputs a number owes itself to: saliency, input times gradient, integrated gradients, occlusion.

They take any function of torch tensors; on gatewise layers gradients come from the compiled kernels, in
evaluation mode too. Shapes: ``T`` steps, ``B`` rows, ``I`` features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from gatewise.insight.finding import Finding

# From the input and, if they are to share, the initial states, to a number for each row, [B].
Scores: TypeAlias = Callable[..., Tensor]

_TINY = 1e-300


@final
@dataclass(frozen=True, repr=False, eq=False)
class Attribution(Finding):
    """The share of each input in the scores of its row.

    Attributes:
        method: how it was found.
        values: ``[T, B, I]`` (``[B, T, I]`` with `batch_first`), NaN past the end of a row.
        states: the shares of the other arguments, in their own shapes; the initial states, say.
        scores: ``[B]``, what was explained.
        residual: the largest difference of a row's sum of shares and its score less that of the baseline,
            relative to the largest such difference. Integrated gradients bring it to 0 with enough points; of
            the others it says how far from additive the scores are; for saliency it is NaN, since slopes are
            no shares.
    """

    method: str
    values: Tensor
    states: tuple[Tensor, ...]
    scores: Tensor
    residual: float
    batch_first: bool

    @property
    def time_first(self) -> Tensor:
        """``[T, B, I]``: the values, as `gatewise.figures.draw_attribution` takes them."""
        return self.values.transpose(0, 1) if self.batch_first else self.values

    def by_step(self) -> Tensor:
        """``[T, B]``: the sum of magnitudes over features."""
        return self.time_first.abs().sum(-1)

    def __str__(self) -> str:
        steps = self.by_step().nanmean(1)
        features = self.values.abs().flatten(0, 1).nanmean(0)
        checked = "" if np.isnan(self.residual) else f"; the shares miss the scores by {self.residual:.1e}"
        of_steps, of_features = (float(each.max() / each.nansum()) for each in (steps, features))
        return (
            f"By {self.method}, step {int(steps.argmax())} matters most, with {of_steps:.0%} of all, "
            f"and feature {int(features.argmax())}, with {of_features:.0%}{checked}."
        )


def attribute(
    function: Scores,
    x: Tensor,
    *states: Tensor,
    method: str = "integrated_gradients",
    baseline: Tensor | float = 0.0,
    lengths: Sequence[int] | None = None,
    batch_first: bool = False,
    points: int = 50,
    window: tuple[int, int | None] = (1, None),
) -> Attribution:
    """Attribute a number for each row to the steps and features of its input.

    Args:
        function: gives scores ``[B]`` for the input, ``lambda x: head(layer(x)[0][-1])[:, 2]``; for the input
            and the initial states where `states` are given.
        x: the input ``[T, B, I]``; or ``[T, I]`` where `function` takes one row and gives one number: what is
            found then has a batch of one.
        states: further tensors that share, initial states ``[L*D, B, H]``, say; their baseline is zero.
        method: ``"saliency"`` (the gradient), ``"input_x_gradient"``, ``"integrated_gradients"`` or
            ``"occlusion"``.
        baseline: what stands for no input, a number or a tensor like `x`; ``x.mean((0, 1))`` is often better
            than 0. What gradients are multiplied by is the input less the baseline.
        lengths: ``[B]``, the steps of each row; none past its end is touched. `function` must see to them
            itself, ``lambda x: layer(x, lengths=lengths)...``.
        batch_first: whether `x` is ``[B, T, I]``.
        points: at which the integral is evaluated, by the rule of Gauss and Legendre.
        window: of occlusion, so many steps and features at a time, None for all; windows do not overlap.
            Each number in a window is given the whole change. States are occluded one at a time, whole.

    Raises:
        ValueError: an unknown method, or scores that are not one for each row.

    Source: Simonyan et al. 2014 (saliency), Shrikumar et al. 2016 (input times gradient), Sundararajan, Taly
    & Yan 2017 (integrated gradients), Zeiler & Fergus 2014 (occlusion).

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.attribution import attribute
        >>> layer = gatewise.nn.LSTM(3, 8).eval()
        >>> found = attribute(lambda x: layer(x)[0][-1].sum(1), torch.randn(20, 4, 3))
        >>> found.values.shape, found.residual < 1e-4
        (torch.Size([20, 4, 3]), True)
    """
    if method not in _METHODS:
        raise ValueError(f"attribute: method must be one of {', '.join(_METHODS)}. Got {method!r}.")
    if x.dim() == 2:
        batch_first, function = False, _of_one_row(function)
        x, states = x.unsqueeze(1), tuple(state.unsqueeze(-2) for state in states)
        baseline = baseline.unsqueeze(1) if isinstance(baseline, Tensor) and baseline.dim() == 2 else baseline
    rows = x.size(0 if batch_first else 1)
    task = _Task(function, x.detach(), tuple(s.detach() for s in states), baseline, lengths, batch_first)
    scores, base = task.scores(*task.inputs), task.scores(*task.baselines)
    if scores.shape != (rows,):
        raise ValueError(
            f"attribute: function must give one number a row, [{rows}]. Got {list(scores.shape)}. "
            f"x is [{'B, T' if batch_first else 'T, B'}, I] with batch_first={batch_first}."
        )
    (values, *others), total = _METHODS[method](task, points, window)
    off = (total - (scores - base)).abs().max() / (scores - base).abs().max().clamp_min(_TINY)
    values = values.masked_fill(~task.running, torch.nan)
    return Attribution(method, values, tuple(others), scores, float(off), batch_first)


def _of_one_row(function: Scores) -> Scores:
    """The function of an input and states without a batch, for a batch of one."""
    return lambda x, *states: function(x.squeeze(1), *(state.squeeze(-2) for state in states)).reshape(1)


@dataclass(frozen=True)
class _Task:
    """What is to be explained."""

    function: Scores
    x: Tensor
    states: tuple[Tensor, ...]
    baseline: Tensor | float
    lengths: Sequence[int] | None
    batch_first: bool

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.x, *self.states)

    @property
    def running(self) -> Tensor:
        """Where a row has a step; has the dimensions of x, the last 1 long."""
        B, T = (self.x.size(d) for d in ((0, 1) if self.batch_first else (1, 0)))
        ends = torch.full((B,), T) if self.lengths is None else torch.as_tensor(self.lengths)
        running = torch.arange(T) < ends[:, None]
        return (running if self.batch_first else running.T)[..., None].to(self.x.device)

    @property
    def baselines(self) -> tuple[Tensor, ...]:
        """The baseline of each input; past the end of a row it is the input."""
        base = torch.as_tensor(self.baseline, dtype=self.x.dtype, device=self.x.device)
        base = torch.where(self.running, base.expand_as(self.x), self.x)
        return (base, *(torch.zeros_like(state) for state in self.states))

    def scores(self, *inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.function(*inputs)

    def gradients(self, *inputs: Tensor) -> list[Tensor]:
        """By each input; rows are taken not to depend on each other."""
        leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
        with torch.enable_grad():
            total = self.function(*leaves).sum()
        found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
        return list(found)

    def summed(self, shares: Sequence[Tensor]) -> Tensor:
        """``[B]``: all shares of each row."""
        values, *others = shares
        total = values.masked_fill(~self.running, 0).sum((1, 2) if self.batch_first else (0, 2))
        return torch.stack([total, *(other.movedim(-2, 0).flatten(1).sum(1) for other in others)]).sum(0)


_Window = tuple[int, int | None]
_Shared = tuple[list[Tensor], Tensor]  # for each input, and their sum for each row


def _saliency(task: _Task, points: int, window: _Window) -> _Shared:
    return task.gradients(*task.inputs), task.x.new_tensor(torch.nan)


def _input_x_gradient(task: _Task, points: int, window: _Window) -> _Shared:
    pairs = zip(task.gradients(*task.inputs), task.inputs, task.baselines, strict=True)
    shares = [slope * (x - base) for slope, x, base in pairs]
    return shares, task.summed(shares)


def _integrated_gradients(task: _Task, points: int, window: _Window) -> _Shared:
    places, weights = np.polynomial.legendre.leggauss(points)
    pairs = list(zip(task.inputs, task.baselines, strict=True))
    mean = [torch.zeros_like(x) for x in task.inputs]
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        between = [base + float(place) * (x - base) for x, base in pairs]
        mean = [m + float(weight) * slope for m, slope in zip(mean, task.gradients(*between), strict=True)]
    shares = [slope * (x - base) for slope, (x, base) in zip(mean, pairs, strict=True)]
    return shares, task.summed(shares)


def _occlusion(task: _Task, points: int, window: _Window) -> _Shared:
    x, base = task.x, task.baselines[0]
    time = 1 if task.batch_first else 0
    long, wide = window[0], window[1] or x.size(2)
    whole = task.scores(*task.inputs)
    values, total = torch.zeros_like(x), torch.zeros_like(whole)
    for start in range(0, x.size(time), long):
        steps = min(long, x.size(time) - start)
        for first in range(0, x.size(2), wide):
            hidden = torch.zeros_like(x, dtype=torch.bool)
            hidden.narrow(time, start, steps)[..., first : first + wide] = True
            lost = whole - task.scores(torch.where(hidden, base, x), *task.states)
            total = total + lost
            values += torch.where(hidden, lost[:, None, None] if task.batch_first else lost[:, None], 0)
    others = []
    for k, state in enumerate(task.states):
        left = [torch.zeros_like(s) if n == k else s for n, s in enumerate(task.states)]
        lost = whole - task.scores(x, *left)
        total = total + lost
        others.append(lost[:, None].expand_as(state).clone())
    return [values, *others], total


_METHODS: dict[str, Callable[[_Task, int, _Window], _Shared]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "occlusion": _occlusion,
}
