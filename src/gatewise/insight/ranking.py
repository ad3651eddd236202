"""Ranks the units of a network by how much they matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isclose
from typing import final

import torch
from torch import Tensor, nn

from gatewise.insight.edit import once_more
from gatewise.insight.finding import Finding
from gatewise.insight.flow import gradient_flow
from gatewise.insight.watch import full_name, layers_of, watch
from gatewise.nn.modules.recurrent import Recurrent

_THE_SAME = 1e-6  # relative to the loss; sums on several threads may differ in the last bits


@final
@dataclass(frozen=True, repr=False, eq=False)
class Ranking(Finding):
    """Units of all layers by how much they matter.

    Attributes:
        by: the name of the measure.
        scores: the scores by layer, ``[H]``, not negative.
        order: pairs of layer and unit, the most important first.
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


def rank_units(
    model: nn.Module,
    loss: Callable[[], Tensor],
    by: str = "effect",
    name: str | None = None,
    value: float = 0.0,
) -> Ranking:
    """Rank the units of all gatewise layers that a loss depends on.

    "effect" takes one backward pass, "silenced" one call of the loss per unit. They differ where the loss is
    not linear between the unit as it is and the unit removed. A unit that saturates others has a small slope,
    yet its removal may matter. A redundant unit has a slope, but its removal does not matter. And at a
    minimum of the loss all slopes are 0.

    Args:
        model: any torch module that contains gatewise layers.
        loss: calls the model and returns a number, as ``lambda: criterion(model(x), y)``.
        by: ``"effect"``, the first-order change of the loss if the unit's output is 0 at all steps;
            ``"silenced"``, the exact change; or ``"activity"``, the standard deviation of its output over
            steps and rows.
        name: for "silenced", the value to hold instead of the output, such as a gate.
        value: for "silenced", the number at which it is held.

    Raises:
        TypeError: `model` is not a module.
        ValueError: the model has no gatewise layer, the loss does not depend on one, `by` is unknown, no
            layer has the value `name`, or the loss differs from call to call.

    Source: effect: Molchanov et al. 2017, "Pruning convolutional neural networks for resource efficient
    inference", whose criterion is here summed over time.

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.ranking import rank_units
        >>> layer, x = gatewise.nn.GRU(3, 8), torch.randn(20, 4, 3)
        >>> ranking = rank_units(layer, lambda: layer(x)[0][-1, :, 5].square().sum(), by="silenced")
        >>> ranking.order[0]
        ('l0', 5)
    """
    if by not in _MEASURES:
        raise ValueError(f"rank_units: by must be one of {', '.join(_MEASURES)}. Got {by!r}.")
    if by != "silenced" and (name is not None or value):
        raise ValueError(f"rank_units: name and value are for by='silenced'. Got by={by!r}.")
    scores = _MEASURES[by](model, loss, name, value)
    units = [(layer, unit) for layer, found in scores.items() for unit in range(len(found))]
    if not units:
        raise ValueError("rank_units: the loss calls no gatewise layer over sequences.")
    order = sorted(units, key=lambda place: -float(scores[place[0]][place[1]]))
    held = f"{name or 'the output'} held at {value:g}" if name or value else by
    return Ranking(held, scores, tuple(order))


def _effects(model: nn.Module, loss: Callable[[], Tensor], *_: object) -> dict[str, Tensor]:
    flows = gradient_flow(model, loss)
    return {name: next(iter(flow.effects.values())).abs() for name, flow in flows.items()}


def _activities(model: nn.Module, loss: Callable[[], Tensor], *_: object) -> dict[str, Tensor]:
    with watch(model) as seen, torch.no_grad():
        loss()
    outputs = {name: values[values.cell.states[0]].double().flatten(0, 1) for name, values in seen.items()}
    known = {name: output[~output.isnan().any(1)] for name, output in outputs.items()}
    return {n: o.std(0) if len(o) > 1 else torch.zeros(o.size(1)).double() for n, o in known.items()}


@torch.no_grad()
def _changes(
    model: nn.Module, loss: Callable[[], Tensor], name: str | None, value: float
) -> dict[str, Tensor]:
    """The change of the loss when one value of a unit is held, for each unit."""
    with watch(model, names=[]) as seen:
        before = float(loss())
    if not isclose(float(loss()), before, rel_tol=_THE_SAME, abs_tol=_THE_SAME):
        raise ValueError("rank_units: the loss changes from call to call. Call model.eval() first.")
    modules = {
        full_name(path, layer): (module, layer)
        for path, module in layers_of(model, "rank_units").items()
        if isinstance(module, Recurrent)
        for layer in module._layer_names
    }
    found = {}
    for who in (who for who in modules if who in seen):
        module, layer = modules[who]
        edited = once_more(module, layer, who, name or module.cell.states[0], value, units=[])
        units = edited.edits[-1].units  # the choice of units is data, so the kernel is compiled once
        changes = []
        with module.editing(layer, edited):
            for unit in range(module.hidden_size):
                units.zero_()[unit] = 1
                changes.append(abs(float(loss()) - before))
        found[who] = torch.tensor(changes, dtype=torch.float64)
    return found


_MEASURES: dict[str, Callable[..., dict[str, Tensor]]] = {
    "effect": _effects,
    "silenced": _changes,
    "activity": _activities,
}
