"""The findings of the page: sentences with numbers, and with a residual where they use an identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from gatewise.insight.attribution import Attribution
from gatewise.insight.memory import HalfLife, Ledger
from gatewise.insight.page.layers import Studied
from gatewise.insight.page.sample import Sample
from gatewise.insight.units import probe

Words: TypeAlias = Sequence[Sequence[str]]

_LARGE = 0.1  # share of the largest state from which a unit is worth a sentence
_MISSED = 0.1  # the residual of an attribution from which it says nothing
_PROBED = 12  # most features that are probed


@final
@dataclass(frozen=True)
class Sentence:
    """One finding. If it is about a step, row or unit, the page links to it.

    `brief` is the finding in words, without its numbers.
    """

    text: str
    layer: str = ""
    unit: int | None = None
    row: int | None = None
    step: int | None = None
    brief: str = ""

    def shown(self, sample: Sample) -> dict[str, Any]:
        """The finding as data, without a link if the page does not show the place."""
        there = (self.row or 0) < sample.rows and sample.first <= (self.step or sample.first) < sample.stop
        return vars(self) if there else {**vars(self), "row": None, "step": None}


def sentences(
    layers: Sequence[Studied],
    called: Names,
    sample: Sample,
    attribution: Attribution | None,
    explained: str,
) -> list[Sentence]:
    """All findings, those about memory first."""
    found = []
    for layer in layers:
        for state, half in layer.half_lives.items():
            found += _old_writing(layer.ledgers[state], layer, called, sample)
            found.append(_longest(half, len(layer.values.passage.order)))
    if attribution is not None:
        found.append(_inputs(attribution, called, explained))
    for layer in layers:
        name = layer.values.layer
        found += [Sentence(str(half), name) for half in layer.half_lives.values()]
        found += [Sentence(str(ledger), name) for ledger in layer.ledgers.values()]
        found += [Sentence(str(layer.saturation), name)] if layer.saturation else []
        found += [Sentence(_flow(layer, explained), name)] if layer.flow else []
    return found


def followed(layers: Sequence[Studied], x: Tensor, names: Sequence[str]) -> list[Sentence]:
    """For each layer, the unit and the input feature (of ``x [T, B, I]``) that correlate most."""
    found = []
    for layer in layers:
        values = layer.values[layer.cell.states[-1]].double()
        probes = []
        for feature, name in enumerate(names[:_PROBED]):
            try:
                probes.append((name, probe(values, x[..., feature].double(), shifts=1)))
            except ValueError:  # the feature does not vary
                continue
        if probes:
            name, best = max(probes, key=lambda pair: float(pair[1].correlation.abs().max()))
            strength = float(best.correlation[best.unit])
            text = (
                f"{layer.values.layer}: unit {best.unit} follows {name} most closely of all units "
                f"and inputs, with correlation {strength:+.2f}."
            )
            found.append(Sentence(text, layer.values.layer, best.unit))
    return found


def _longest(half: HalfLife, steps: int) -> Sentence:
    """The unit that remembers longest."""
    if half.expected.isnan().all():
        return Sentence(str(half), half.layer)
    never = half.realised.isinf()
    longest = half.expected.where(never, half.realised) if never.any() else half.realised
    unit = int((longest + never * 1e9).nan_to_num(-1, torch.inf).argmax())
    kept = (
        f"more than half of its {half.state} is still there after all {steps} steps"
        if never[unit]
        else f"half of its {half.state} is gone after {half.realised[unit]:.1f} steps"
    )
    middle = half.realised.nanquantile(0.5)
    others = f"; the middle unit loses half within {float(middle):.1f} steps"
    return Sentence(
        f"{half.layer}: unit {unit} remembers longest: {kept}{others if middle.isfinite() else ''}.",
        half.layer,
        unit,
    )


def _old_writing(ledger: Ledger, layer: Studied, called: Names, sample: Sample) -> list[Sentence]:
    """The oldest memory: among units whose final state comes mostly from one step, the earliest step."""
    passage = layer.values.passage
    sizes = ledger.written.abs().nan_to_num()
    large = ledger.total.abs() >= _LARGE * ledger.total.abs().max()
    largest = (sizes == sizes.amax(0)) & (sizes > ledger.initial.abs()) & large
    age = (_age(passage.order, passage.ends)[..., None] * largest)[sample.first : sample.stop, : sample.rows]
    if int(age.max()) < 1:
        return []
    step = int(age.amax((1, 2)).argmax())
    row, unit = divmod(int(age[step].argmax()), age.size(2))
    steps, step = int(age[step, row, unit]), step + sample.first
    part, total = float(ledger.written[step, row, unit]), float(ledger.total[row, unit])
    text = (
        f"{layer.values.layer}: unit {unit} remembers {called(step, row)} of {called.row(row)}: "
        f"of the {total:+.3g} in its {ledger.state} at the end, the largest part, {part:+.3g}, "
        f"was written there and kept for {steps} step{'s' * (steps != 1)} "
        f"(all steps' parts sum to the state; residual {ledger.residual:.0e})."
    )
    brief = (
        f"The oldest memory here: at the end of {called.row(row)}, unit {unit} still holds what it wrote "
        f"at {called(step, row)}, {steps} step{'s' * (steps != 1)} before."
    )
    return [Sentence(text, layer.values.layer, unit, row, step, brief)]


def _age(order: Sequence[int], ends: Tensor) -> Tensor:
    """``[T, B]``: the number of steps, in walking order, from a step to the end of its row."""
    place = torch.tensor(order).argsort()[:, None].expand_as(ends)  # of each step in the walk
    last = torch.where(ends, place, 0).amax(0)
    return last - place


def _inputs(found: Attribution, called: Names, explained: str) -> Sentence:
    steps = found.by_step()  # [T, B]
    share = steps / steps.nansum(0)
    row = int(share.nan_to_num().amax(0).argmax())
    step = int(share[:, row].nan_to_num().argmax())
    if not share[step, row].isfinite():
        return Sentence(f"What matters for {explained} cannot be told: there are no numbers to attribute.")
    if found.residual > _MISSED:
        return Sentence(
            f"What matters for {explained} cannot be told: the shares that integrated gradients give to the "
            f"steps miss the score by {found.residual:.0e} of it. More points than a page computes may help "
            "(gatewise.attribute)."
        )
    text = (
        f"What matters most for {explained} is {called(step, row)} of {called.row(row)}: "
        f"{share[step, row]:.0%} of all that integrated gradients give to the steps of the sequence "
        f"(the shares miss the score by {found.residual:.0e})."
    )
    return Sentence(text, row=row, step=step)


def _flow(layer: Studied, explained: str) -> str:
    """How much of the gradient reaches the first walked step."""
    assert layer.flow is not None
    parts, passage = [], layer.values.passage
    walked = [t for t in passage.order if passage.running[t].any()]
    for state, norms in layer.flow.states.items():
        mean = norms.nanmean(1)[walked]
        if not mean[0].isfinite():
            parts.append(f"by {state} is not a number")
            continue
        most = float(mean[mean.isfinite()].max())
        reaches = float(mean[0]) / most if most else 0.0
        parts.append(f"by {state} is {reaches:.2g} times its largest ({most:.2g})")
    return (
        f"{layer.values.layer}: at the first step, the derivative of {explained} {' and '.join(parts)} "
        f"(the steps' shares sum to the gradient; residual {layer.flow.residual:.0e})."
    )


@final
@dataclass(frozen=True)
class Names:
    """What steps and rows are called in sentences: by their numbers, or what is given.

    Attributes:
        tokens: a word for each step of each row.
        times: a time for each step of each row.
        rows: a name for each row.
    """

    tokens: Words | None = None
    times: Words | None = None
    rows: Sequence[str] | None = None

    def __call__(self, step: int, row: int) -> str:
        """A step by number, with its word and time if there are any."""
        word = "" if self.tokens is None else f" \u201c{self.tokens[row][step]}\u201d"
        return f"step {step}{word}" + ("" if self.times is None else f", {self.times[row][step]}")

    def row(self, row: int) -> str:
        """A row."""
        return f"sequence {row}" if self.rows is None else self.rows[row]
