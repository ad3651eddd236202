"""Compares two networks on the same input, gate by gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gatewise.insight.finding import Finding
from gatewise.insight.values import Values

_TINY = 1e-300


@final
@dataclass(frozen=True, repr=False, eq=False)
class Difference(Finding):
    """How one value of one layer differs between two runs.

    Attributes:
        layer, value: the names of the layer and the value, such as ``l0`` and ``f``.
        mean: the mean absolute difference, over all steps, rows and units.
        by_step: ``[T]``, the mean absolute difference at each step.
        by_unit: ``[H]``, the mean absolute difference of each unit.
        correlation: ``[H]``, of each unit with the same unit in the other run; 0 if one is constant.
    """

    layer: str
    value: str
    mean: float
    by_step: Tensor
    by_unit: Tensor
    correlation: Tensor

    def __str__(self) -> str:
        unit, step = int(self.by_unit.argmax()), int(self.by_step.argmax())
        return (
            f"{self.layer} {self.value}: differs by {self.mean:.1e} on average, most in unit {unit} "
            f"({self.by_unit.max():.1e}) and at step {step} ({self.by_step.max():.1e}); "
            f"mean correlation {self.correlation.mean():+.2f}."
        )


@final
@dataclass(frozen=True, repr=False, eq=False)
class Contrast(Finding):
    """The differences of all values that both runs have, the largest first.

    Attributes:
        differences: one for each layer and value.
        missing: layers and values that only one run has, or that differ in shape.
    """

    differences: tuple[Difference, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        lines = [str(difference) for difference in self.differences]
        return "\n".join([*lines, *(f"{name}: only in one of them" for name in self.missing)])


def contrast(first: Mapping[str, Values], second: Mapping[str, Values]) -> Contrast:
    """Compare the values of two models, or of two checkpoints of one model, for the same input.

    Units are compared by their number. That makes sense if one model was trained on from the other, or both
    from a third.

    Args:
        first, second: recordings from `gatewise.watch`.

    Raises:
        ValueError: the recordings have no layer and value in common.

    Example:
        >>> import copy, gatewise, torch
        >>> from gatewise.insight.comparison import contrast
        >>> before, x = gatewise.nn.GRU(3, 8), torch.randn(5, 2, 3)
        >>> after = copy.deepcopy(before)
        >>> _ = torch.nn.init.zeros_(after.weight_hh_l0)
        >>> with gatewise.watch(before, ["z", "h"]) as a, gatewise.watch(after, ["z", "h"]) as b:
        ...     _ = before(x), after(x)
        >>> found = contrast(a, b).differences
        >>> sorted(d.value for d in found), float(found[0].by_step[0]) < float(found[0].by_step[4])
        (['h', 'z'], True)
    """
    ours, theirs = _named(first), _named(second)
    shared = [key for key in ours if key in theirs and ours[key].shape == theirs[key].shape]
    if not shared:
        raise ValueError("contrast: the two have no layer and value of the same shape in common.")
    found = [_difference(*key, ours[key], theirs[key]) for key in shared]
    alone = [f"{layer} {value}" for layer, value in {**ours, **theirs} if (layer, value) not in shared]
    return Contrast(tuple(sorted(found, key=lambda d: -d.mean)), tuple(alone))


def _named(seen: Mapping[str, Values]) -> dict[tuple[str, str], Tensor]:
    return {(layer, name): values[name] for layer, values in seen.items() for name in values.names}


def _difference(layer: str, value: str, a: Tensor, b: Tensor) -> Difference:
    a, b = (tensor.detach().double() for tensor in (a, b))
    apart = (a - b).abs()
    return Difference(
        layer, value, float(apart.nanmean()), apart.nanmean((1, 2)), apart.nanmean((0, 1)), _correlation(a, b)
    )


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """The correlation of each unit over all steps and rows."""
    a, b = (tensor.flatten(0, 1) for tensor in (a, b))
    known = ~(a.isnan() | b.isnan()).any(1)
    a, b = a[known] - a[known].mean(0), b[known] - b[known].mean(0)
    return torch.div((a * b).sum(0), (a.norm(dim=0) * b.norm(dim=0)).clamp_min(_TINY))
