"""The quantile loss of a distribution head, with its gradients in closed form.

Autograd would keep a dozen arrays as large as all quantiles of a batch, and walk over each of them twice.
Here a few hundred forecasts at a time are computed in the cache, with their gradients.

Shapes: ``N`` forecasts, ``K`` steps of the horizon, ``M`` sizes, ``H`` hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gatewise.nn.modules.autocast import without_autocast
from gatewise.runtime.jobs.distributions import BELOW, LEVELS

CHUNK = 2**17  # sizes that are computed together
_SIDES = (  # the sign of the errors of a side, its sizes, and its levels, inner ones first
    (-1, slice(0, BELOW), LEVELS[:BELOW][::-1]),
    (1, slice(BELOW, None), LEVELS[BELOW + 1 :]),
)


def pinball(output: Tensor, map: nn.Linear, factors: Tensor, errors: Tensor, known: Tensor | None) -> Tensor:
    """The sum of the quantile losses, twice their mean over the levels around the median.

    It is differentiable once by the weights of the map, and by nothing else.

    Args:
        output: ``[N, H]``, what the map reads.
        map: the map to ``K * M`` numbers, of which softplus makes the sizes.
        factors: ``[M]``, what the sizes are multiplied by.
        errors: ``[N, K]``, of the median.
        known: ``[N, K]``, which errors count; None for all.
    """
    given = output.detach(), map.weight, map.bias, factors, errors.detach(), known
    found: Tensor = _Pinball.apply(*given)  # type: ignore[no-untyped-call]
    return found


class _Pinball(torch.autograd.Function):
    """`pinball` with its gradients."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, weight: Tensor, bias: Tensor, factors: Tensor, errors: Tensor,
        known: Tensor | None,
    ) -> Tensor:  # fmt: skip
        K, M = errors.shape[1], len(factors)
        with without_autocast(output.device.type):
            # All numbers of a size lie side by side: [M, K, N].
            weights, biases = weight.view(K, M, -1).transpose(0, 1), bias.view(K, M).t()
            weights, biases = weights.reshape(M * K, -1), biases.reshape(M * K, 1)
            total, by_weights = weight.new_zeros(()), torch.zeros_like(weights)
            by_biases = torch.zeros_like(biases)
            most = max(CHUNK // (M * K), 1)
            for first in range(0, len(output), most):
                part = slice(first, first + most)
                some = output[part]
                raw = torch.addmm(biases, weights, some.t())
                counted = None if known is None else known[part].t().reshape(-1)
                missed = errors[part].t().reshape(-1)
                total += _losses(raw.view(M, -1), factors, missed, counted)
                by_weights.addmm_(raw, some)
                by_biases += raw.sum(1, keepdim=True)
            scale = 2 / (len(LEVELS) - 1)
            by_weight = (by_weights * scale).view(M, K, -1).transpose(0, 1).reshape(weight.shape)
            by_bias = (by_biases * scale).view(M, K).t().reshape(-1)
        ctx.save_for_backward(by_weight, by_bias)
        return total * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_total: Tensor) -> tuple[Tensor | None, ...]:
        by_weight, by_bias = ctx.saved_tensors
        return None, by_weight * by_total, by_bias * by_total, None, None, None


def _losses(raw: Tensor, factors: Tensor, errors: Tensor, known: Tensor | None) -> Tensor:
    """The sum of losses of errors ``[E]``. Their gradients replace ``raw [M, E]``, what sizes are made of."""
    offsets, slope = nn.functional.softplus(raw).mul_(factors[:, None]), raw.sigmoid().mul_(factors[:, None])
    total = raw.new_zeros(())
    for sign, side, levels in _SIDES:
        gaps, by_gaps = offsets[side], raw[side]
        for place, level in enumerate(levels):
            if place:
                gaps[place] += gaps[place - 1]
            missed = torch.sub(errors, gaps[place], alpha=sign)
            share = missed.sign().mul_(0.5).add_(level - 0.5)  # level above the quantile, level - 1 below it
            if known is not None:
                share *= known
            total += torch.dot(missed, share)
            torch.mul(share, -sign, out=by_gaps[place])
        for place in range(len(levels) - 2, -1, -1):
            by_gaps[place] += by_gaps[place + 1]
    raw *= slope
    return total
