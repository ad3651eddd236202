"""The meaning of single units: where a set of units is on together, and which signal they follow.

Shapes: ``T`` steps, ``B`` rows, ``H`` units; NaN past the end of a row, as `gatewise.watch` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gatewise.insight.finding import Finding
from gatewise.insight.threads import one_thread

_TINY = 1e-300
_SHOWN = 5  # most places that are printed


@final
@dataclass(frozen=True, repr=False)
class Place(Finding):
    """A stretch of steps at which units are on together.

    Attributes:
        row, start, stop: the row, and the first step and the end of the stretch.
        shared: the number of wanted units that are on throughout.
        union: the number of units that are wanted, or on throughout, or both.
        text: the tokens of the stretch, if tokens were passed.
    """

    row: int
    start: int
    stop: int
    shared: int
    union: int
    text: str = ""

    @property
    def jaccard(self) -> float:
        """``shared / union``: 1 if exactly the wanted units are on."""
        return self.shared / self.union if self.union else 0.0

    def __str__(self) -> str:
        where = f"row {self.row}, steps {self.start} to {self.stop - 1}"
        return f"{where}{self.text and ': '}{self.text} ({self.shared} shared, Jaccard {self.jaccard:.2f})"


@final
@dataclass(frozen=True, repr=False, eq=False)
class Matches(Finding):
    """The units that are on throughout a span, and other places where they are on together.

    Attributes:
        span: the queried place.
        units: ``[K]``, the units that are on throughout it.
        threshold: a unit is on from this value.
        places: the other places, best first: most shared units, then fewest additional units, then longest.
    """

    span: Place
    units: Tensor
    threshold: float
    places: tuple[Place, ...]

    def __str__(self) -> str:
        if not len(self.units):
            return f"No unit is above {self.threshold:g} in {self.span}."
        lines = [
            f"{len(self.units)} units are above {self.threshold:g} in {self.span}; "
            f"they are together in {len(self.places)} other places:"
        ]
        return "\n".join([*lines, *(f"  {place}" for place in self.places[:_SHOWN])])


def match(
    states: Tensor,
    span: tuple[int, int],
    threshold: float = 0.3,
    row: int = 0,
    *,
    off_before: bool = False,
    off_after: bool = False,
    at_least: int | None = None,
    corpus: Tensor | None = None,
    tokens: Sequence[Sequence[str]] | None = None,
) -> Matches:
    """Find the units that are on throughout a span, and where else they are on together.

    Args:
        states: ``[T, B, H]``, any values of a layer: ``seen["l0"].h``.
        span: start and stop of the queried steps.
        threshold: a unit is on from this value.
        row: the row of the span.
        off_before: take only units that are off at the step before the span.
        off_after: take only units that are off at the step after it.
        at_least: the number of units that must be on at each step of a place; by default all.
        corpus: values ``[T', B', H]`` in which to search for other places; by default `states`.
        tokens: words for the steps of each searched row, ``tokens[row][step]``.

    Raises:
        ValueError: the span is empty, or not within the row.

    Source: Strobelt et al. 2018, "LSTMVis: a tool for visual analysis of hidden state dynamics in recurrent
    neural networks".

    Example:
        >>> import torch
        >>> from gatewise.insight.units import match
        >>> h = torch.zeros(8, 1, 3)
        >>> h[1:3, 0, :2] = h[5:8, 0, :2] = 1.0
        >>> found = match(h, (1, 3), tokens=["a(b)c-d-"])
        >>> found.units.tolist(), str(found.places[0])
        ([0, 1], 'row 0, steps 5 to 7: -d- (2 shared, Jaccard 1.00)')
    """
    start, stop = span
    on = states >= threshold  # false where it is NaN
    if not 0 <= start < stop <= len(states) or states[start:stop, row].isnan().any():
        raise ValueError(
            f"match: span must be a start and a stop within the {len(states)} steps of row {row}. Got {span}."
        )
    chosen = on[start:stop, row].all(0)
    if off_before and start:
        chosen &= ~on[start - 1, row]
    if off_after and stop < len(states):
        chosen &= ~on[stop, row]
    units = chosen.nonzero().flatten()
    own = corpus is None
    searched = on if corpus is None else corpus >= threshold
    wanted = len(units) if at_least is None else at_least
    asked = _place(on, row, start, stop, chosen, tokens if own else None)
    places = _places(searched, chosen, max(1, wanted), tokens) if len(units) else []
    if own:
        places = [p for p in places if p.row != row or p.stop <= start or p.start >= stop]
    places.sort(key=lambda p: (-p.shared, p.union, p.start - p.stop))
    return Matches(asked, units, threshold, tuple(places))


def _places(on: Tensor, chosen: Tensor, wanted: int, tokens: Sequence[Sequence[str]] | None) -> list[Place]:
    """The stretches in which at least `wanted` of the chosen units are on at each step."""
    enough = (on & chosen).sum(-1) >= wanted  # [T, B]
    edge = torch.zeros_like(enough[:1])
    padded = torch.cat([edge, enough, edge]).int()
    changes = padded[1:] - padded[:-1]
    found = []
    for row in range(on.size(1)):
        starts, stops = ((changes[:, row] == sign).nonzero().flatten().tolist() for sign in (1, -1))
        found += [_place(on, row, *ends, chosen, tokens) for ends in zip(starts, stops, strict=True)]
    return found


def _place(
    on: Tensor, row: int, start: int, stop: int, chosen: Tensor, tokens: Sequence[Sequence[str]] | None
) -> Place:
    throughout = on[start:stop, row].all(0)
    text = "" if tokens is None else _joined(tokens[row][start:stop])
    shared, union = int((throughout & chosen).sum()), int((throughout | chosen).sum())
    return Place(row, start, stop, shared, union, text)


def _joined(tokens: Sequence[str]) -> str:
    """Tokens as text: characters joined directly, words with spaces."""
    return ("" if all(len(token) == 1 for token in tokens) else " ").join(tokens)


@final
@dataclass(frozen=True, repr=False, eq=False)
class Probe(Finding):
    """How well units follow a signal.

    Attributes:
        correlation: ``[H]``, the Pearson correlation of each unit with the signal; 0 for a constant unit.
        weights: ``[H + 1]``, the weights of the linear probe; the last is its intercept.
        score: R^2 of the probe on held-out steps. 0 is as good as the mean; it can be negative.
        control: ``[S]``, the scores of probes for the signal shifted in time; minus infinity if the shifted
            signal does not vary.
    """

    correlation: Tensor
    weights: Tensor
    score: float
    control: Tensor

    @property
    def unit(self) -> int:
        """The unit that follows the signal best."""
        return int(self.correlation.abs().argmax())

    def __str__(self) -> str:
        better = int((self.control >= self.score).sum())
        return (
            f"Unit {self.unit} follows the signal with correlation {self.correlation[self.unit]:+.2f}; "
            f"all units together explain {self.score:.0%} of its variance on steps held out. Of the signal "
            f"shifted in time they explain {self.control.max():.0%} at best; {better} of {len(self.control)} "
            "shifts do as well."
        )


@one_thread()
def probe(
    values: Tensor,
    signal: Tensor,
    ridge: float = 1.0,
    held_out: float = 0.25,
    shifts: int = 20,
    seed: int = 0,
) -> Probe:
    """Does a layer carry a known signal: in one unit, or linearly in all of them?

    The probe is a ridge regression on standardised units, fitted to the first rows (or the first steps of a
    single row) and scored on the others. Neighbouring steps are similar, so a score means little by itself.
    It must be compared with controls: probes for the same signal shifted in time by a random amount, which is
    as smooth but no longer aligned.

    Args:
        values: ``[T, B, H]``, values of a layer, such as ``seen["l0"].c``.
        signal: ``[T, B]``, numbers or booleans. Steps at which the signal or a value is NaN are ignored.
        ridge: the penalty, in units of the variance of one unit over one step.
        held_out: the fraction of steps to score on.
        shifts: S, the number of controls.
        seed: the seed of the random shifts.

    Raises:
        ValueError: shapes do not fit together, or the signal does not vary.

    Source: Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes"; controls:
    Hewitt & Liang 2019.

    Example:
        >>> import torch
        >>> from gatewise.insight.units import probe
        >>> _ = torch.manual_seed(0)
        >>> values = torch.randn(100, 4, 8)
        >>> found = probe(values, 2 * values[..., 3] + 1)
        >>> found.unit, round(found.score, 2), bool((found.control < 0.2).all())
        (3, 1.0, True)
    """
    if values.dim() != 3 or signal.shape != values.shape[:2]:
        came = f"{list(signal.shape)} for {list(values.shape)}"
        raise ValueError(f"probe: signal must be [T, B] for values [T, B, H]. Got {came}.")
    units = values.detach().double().transpose(0, 1).flatten(0, 1)  # row after row
    target = signal.detach().double().T.flatten()
    known = ~(units.isnan().any(1) | target.isnan())
    units, target = units[known], target[known]
    fitted = len(target) - max(1, round(held_out * len(target)))
    if fitted < 2 or not (_varies(target[:fitted]) and _varies(target[fitted:])):
        raise ValueError("probe: signal must vary, over the steps fitted to and over those held out.")
    weights, score = _ridge(units, target, fitted, ridge)
    generator = torch.Generator().manual_seed(seed)
    tenth = max(1, len(target) // 10)
    offsets = torch.randint(tenth, max(tenth + 1, len(target) - tenth), (shifts,), generator=generator)
    control = [_ridge(units, target.roll(int(offset)), fitted, ridge)[1] for offset in offsets]
    return Probe(_correlation(units, target), weights, score, torch.tensor(control, dtype=torch.float64))


def _ridge(units: Tensor, target: Tensor, fitted: int, ridge: float) -> tuple[Tensor, float]:
    """The weights for the values before standardisation, and R^2 on the held-out steps."""
    mean, scale = units[:fitted].mean(0), units[:fitted].std(0).clamp_min(1e-12)
    normal = (units - mean) / scale
    x, y = normal[:fitted], target[:fitted] - target[:fitted].mean()
    w = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.size(1), dtype=x.dtype), x.T @ y) / scale
    weights = torch.cat([w, (target[:fitted].mean() - w @ mean)[None]])
    truth = target[fitted:]
    wrong = (units[fitted:] @ w + weights[-1] - truth).square().sum()
    score = 1 - wrong / (truth - truth.mean()).square().sum() if _varies(truth) else -torch.inf
    return weights, float(score)


def _varies(signal: Tensor) -> bool:
    return bool((signal != signal[0]).any())


def _correlation(units: Tensor, target: Tensor) -> Tensor:
    a, b = units - units.mean(0), target - target.mean()
    return torch.div(a.T @ b, (a.norm(dim=0) * b.norm()).clamp_min(_TINY))
