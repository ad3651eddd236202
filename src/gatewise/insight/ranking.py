"""Which units of a network matter most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from gatewise.insight.finding import Finding
from gatewise.insight.flow import gradient_flow
from gatewise.insight.watch import watch


@final
@dataclass(frozen=True, repr=False, eq=False)
class Ranking(Finding):
    """Units of all layers by how much they matter.

    Attributes:
        by: the measure.
        scores: by layer, ``[H]``, not negative.
        order: layer and unit, the one that matters most first.
    """

    by: str
    scores: dict[str, Tensor]
    order: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        layer, unit = self.order[0]
        falling = torch.cat(list(self.scores.values())).sort(descending=True).values
        shares = falling / falling.sum()
        half = int((shares.cumsum(0) < 0.5).sum()) + 1
        return (
            f"By {self.by}, unit {unit} of {layer} matters most, with {shares[0]:.0%} of the sum over "
            f"{len(self.order)} units in {len(self.scores)} layers; the first {half} have half of it."
        )


def rank_units(model: nn.Module, loss: Callable[[], Tensor], by: str = "effect") -> Ranking:
    """Rank the units of all gatewise layers that a loss depends on.

    Args:
        model: any torch module with gatewise layers in it.
        loss: calls the model and gives a number, ``lambda: criterion(model(x), y)``.
        by: ``"effect"``, how much the loss would change, to first order, without the unit's output at all
            steps; or ``"activity"``, the standard deviation of its output over steps and rows.

    Raises:
        TypeError: `model` is no module.
        ValueError: it has no gatewise layer, the loss does not depend on any, or `by` is neither.

    Source: effect: Molchanov et al. 2017, "Pruning convolutional neural networks for resource efficient
    inference", whose criterion is here summed over time.

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.ranking import rank_units
        >>> layer, x = gatewise.nn.GRU(3, 8), torch.randn(20, 4, 3)
        >>> ranking = rank_units(layer, lambda: layer(x)[0][-1, :, 5].square().sum())
        >>> ranking.order[0]
        ('l0', 5)
    """
    if by not in _MEASURES:
        raise ValueError(f"rank_units: by must be one of {', '.join(_MEASURES)}. Got {by!r}.")
    scores = _MEASURES[by](model, loss)
    units = [(layer, unit) for layer, found in scores.items() for unit in range(len(found))]
    order = sorted(units, key=lambda place: -float(scores[place[0]][place[1]]))
    return Ranking(by, scores, tuple(order))


def _effects(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    flows = gradient_flow(model, loss)
    return {name: next(iter(flow.effects.values())).abs() for name, flow in flows.items()}


def _activities(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    with watch(model) as seen, torch.no_grad():
        loss()
    outputs = {name: values[values.cell.states[0]].double().flatten(0, 1) for name, values in seen.items()}
    return {name: output[~output.isnan().any(1)].std(0).nan_to_num() for name, output in outputs.items()}


_MEASURES: dict[str, Callable[[nn.Module, Callable[[], Tensor]], dict[str, Tensor]]] = {
    "effect": _effects,
    "activity": _activities,
}
