"""Attribution: how much each input contributed to a number.

The methods are saliency, input times gradient, integrated gradients and occlusion. All work on any function
of torch tensors. Through gatewise layers the gradients come from the compiled kernels, also in evaluation
mode. Shapes: ``T`` steps, ``B`` rows, ``I`` features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from gatewise.insight.finding import Finding

# From the input, and the initial states if they are attributed too, to one number per row, [B].
Scores: TypeAlias = Callable[..., Tensor]

_TINY = 1e-300


@final
@dataclass(frozen=True, repr=False, eq=False)
class Attribution(Finding):
    """The share of each input in the scores of its row.

    Attributes:
        method: the method, as passed to `attribute`.
        values: ``[T, B, I]`` (``[B, T, I]`` with `batch_first`), NaN past the end of a row.
        states: the shares of the other arguments, such as the initial states, in the shapes of these.
        scores: ``[B]``, the numbers that were explained.
        residual: the shares of a row should add up to its score minus the score of the baseline. This is the
            largest error of that sum, relative to the largest such difference of scores. For integrated
            gradients it goes to 0 with more points. For the other methods it says how far the scores are from
            additive; for saliency it is NaN, as slopes are not shares.
    """

    method: str
    values: Tensor
    states: tuple[Tensor, ...]
    scores: Tensor
    residual: float
    batch_first: bool

    @property
    def time_first(self) -> Tensor:
        """``[T, B, I]``: the values in the layout for `gatewise.figures.draw_attribution`."""
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
        function: returns scores ``[B]`` for the input, as ``lambda x: head(layer(x)[0][-1])[:, 2]``. It is
            called with the input and the `states`.
        x: the input ``[T, B, I]``; or ``[T, I]`` if `function` takes one row and returns one number. The
            result then has a batch of one.
        states: further tensors to attribute to, such as initial states ``[L*D, B, H]``. Their baseline is 0.
        method: ``"saliency"`` (the gradient), ``"input_x_gradient"``, ``"integrated_gradients"`` or
            ``"occlusion"``.
        baseline: the input that counts as "no input", a number or a tensor like `x`; ``x.mean((0, 1))`` is
            often better than 0. Gradients are multiplied by the input minus the baseline.
        lengths: ``[B]``, the steps of each row. Steps past the end are not attributed. `function` must use
            the lengths itself, as ``lambda x: layer(x, lengths=lengths)...``.
        batch_first: whether `x` is ``[B, T, I]``.
        points: the number of points for the integral (Gauss-Legendre quadrature).
        window: the steps and features that occlusion replaces at a time, None for all. Windows do not
            overlap, and each number in a window gets the whole change of the score. A state is occluded as a
            whole.

    Raises:
        ValueError: `method` is unknown, or `function` does not return one score per row.

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
            f"attribute: function must return one number for each row, [{rows}]. Got {list(scores.shape)}. "
            f"x is [{'B, T' if batch_first else 'T, B'}, I] with batch_first={batch_first}."
        )
    (values, *others), total = _METHODS[method](task, points, window)
    off = (total - (scores - base)).abs().max() / (scores - base).abs().max().clamp_min(_TINY)
    values = values.masked_fill(~task.running, torch.nan)
    return Attribution(method, values, tuple(others), scores, float(off), batch_first)


def _of_one_row(function: Scores) -> Scores:
    """A function of inputs without a batch axis, turned into one for a batch of one."""
    return lambda x, *states: function(x.squeeze(1), *(state.squeeze(-2) for state in states)).reshape(1)


@dataclass(frozen=True)
class _Task:
    """The function and the inputs to explain."""

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
        """A mask of the steps before the end of each row, with the dimensions of x; the last has size 1."""
        B, T = (self.x.size(d) for d in ((0, 1) if self.batch_first else (1, 0)))
        ends = torch.full((B,), T) if self.lengths is None else torch.as_tensor(self.lengths)
        running = torch.arange(T) < ends[:, None]
        return (running if self.batch_first else running.T)[..., None].to(self.x.device)

    @property
    def baselines(self) -> tuple[Tensor, ...]:
        """The baseline of each input. Past the end of a row it equals the input."""
        base = torch.as_tensor(self.baseline, dtype=self.x.dtype, device=self.x.device)
        base = torch.where(self.running, base.expand_as(self.x), self.x)
        return (base, *(torch.zeros_like(state) for state in self.states))

    def scores(self, *inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.function(*inputs)

    def gradients(self, *inputs: Tensor) -> list[Tensor]:
        """The gradients by each input, assuming that rows do not depend on each other."""
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
_Shared = tuple[list[Tensor], Tensor]  # the shares of each input, and their sum for each row


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
