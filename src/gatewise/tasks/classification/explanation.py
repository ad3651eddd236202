"""Which steps decided: what each step of a sequence adds to the difference between two classes.

Shapes: ``T`` steps, ``B`` sequences, ``I`` inputs, ``C`` channels, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.insight.attribution import attribute
from gatewise.runtime.jobs.preparation import Preparation
from gatewise.tasks.classification.network import ClassificationNetwork

Array = NDArray[Any]
POINTS = (64, 256, 1024)  # of the integral: more, while the sum is off by more than PRECISE
PRECISE = 0.01


@final
@dataclass(frozen=True)
class Explanation:
    """Why a sequence got its class rather than another one.

    Attributes:
        label: the class that is explained.
        against: the class that it is compared with.
        difference: the logit of `label` minus that of `against`.
        baseline: the same difference for a sequence of the same length without information: every channel at
            its mean, or every word unknown.
        steps: ``[T]``, what each step adds. Their sum is ``difference - baseline``, up to the residual.
        channels: ``[T, C]``, the same for each channel of measurements; ``[T, 1]`` for a text.
        residual: how far the sum is off, relative to ``difference - baseline``.
        words: the words or characters of a text; None for measurements.
    """

    label: Any
    against: Any
    difference: float
    baseline: float
    steps: Array
    channels: Array
    residual: float
    words: tuple[str, ...] | None

    def __str__(self) -> str:
        most = int(np.abs(self.steps).argmax())
        share = abs(self.steps[most]) / (np.abs(self.steps).sum() or 1.0)
        named = f"step {most}" if self.words is None else f"{self.words[most]!r} (step {most})"
        return (
            f"{self.label!r} rather than {self.against!r}, by a logit difference of {self.difference:.2f}: "
            f"{named} matters most, with {share:.0%} of all steps "
            f"(their sum misses the difference by {self.residual:.1e})."
        )


@dataclass(frozen=True)
class Explained:
    """Shares of padded sequences ``[T, B, I]``, NaN past an end, and what they should add up to."""

    shares: Array
    differences: Array
    baselines: Array


def explain(
    network: ClassificationNetwork, inputs: Tensor, lengths: Tensor, compared: tuple[Tensor, Tensor],
    nothing: Tensor,
) -> Explained:  # fmt: skip
    """Integrated gradients of the difference of two logits, from sequences without information.

    Args:
        network: the network.
        inputs: padded sequences, as in a batch.
        lengths: ``[B]``.
        compared: ``[B]`` each, the numbers of the class to explain and of the one to compare with.
        nothing: the baseline of a step ``[I]``: scaled measurements, or the vector of an unknown word.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks".
    """
    network.eval()
    with torch.no_grad():
        x = network.embedded(inputs)
    rows = torch.arange(len(lengths))

    def difference(x: Tensor) -> Tensor:
        logits = network.classified(x, lengths).double()
        return logits[rows, compared[0]] - logits[rows, compared[1]]

    baseline = nothing.expand_as(x)
    for points in POINTS:
        found = attribute(difference, x, baseline=baseline, lengths=lengths.tolist(), points=points)
        if found.residual <= PRECISE:
            break
    with torch.no_grad():
        base = difference(baseline)
    return Explained(found.values.double().numpy(), found.scores.numpy(), base.numpy())


def nothing(network: ClassificationNetwork, prepared: Preparation) -> Tensor:
    """A step without information ``[I]``: every channel known and at its mean, or the unknown word."""
    if network.embedding is not None:
        assert prepared.vocabulary is not None
        return network.embedding.weight[prepared.vocabulary.unknown_id or 0].detach()
    assert prepared.scaling is not None
    step = torch.ones(prepared.scaling.outputs)
    step[: prepared.scaling.inputs] = 0
    return step


def compared(logits: Array, classes: Array, label: Any, against: Any) -> tuple[Array, Array]:
    """The numbers of the two classes to compare, ``[N]`` each; None stands for the most probable ones.

    Raises:
        ValueError: there is one class alone, a class is unknown, or both are the same.
    """
    if len(classes) < 2:
        raise ValueError("an explanation compares two classes. Got one class in fit")
    fixed = [None if one is None else _number(classes, one) for one in (label, against)]
    if fixed[0] is not None and fixed[0] == fixed[1]:
        raise ValueError(f"against must be another class than label. Got {against!r}")
    free = logits.copy()
    if fixed[1] is not None:
        free[:, fixed[1]] = -np.inf
    one = free.argmax(axis=1) if fixed[0] is None else np.full(len(logits), fixed[0])
    rest = logits.copy()
    rest[np.arange(len(rest)), one] = -np.inf
    other = rest.argmax(axis=1) if fixed[1] is None else np.full(len(logits), fixed[1])
    return one, other


def _number(classes: Array, label: Any) -> int:
    places = {one: k for k, one in enumerate(classes.tolist())}
    if label not in places:
        raise ValueError(f"label must be one of the classes {', '.join(map(str, places))}. Got {label!r}")
    return places[label]


def explanations(
    found: Explained, lengths: Sequence[int], labels: Sequence[Any], against: Sequence[Any],
    words: Sequence[Sequence[str]] | None, channels: int,
) -> list[Explanation]:  # fmt: skip
    """One explanation for each sequence. A mask of known values is counted to its channel."""
    made = []
    for row, length in enumerate(lengths):
        shares = found.shares[:length, row]
        if words is not None:
            shares = shares.sum(axis=1, keepdims=True)
        own = shares[:, :channels].copy() if words is None else shares
        steps = shares.sum(axis=1)
        wanted = float(found.differences[row] - found.baselines[row])
        residual = abs(float(steps.sum()) - wanted) / max(abs(wanted), 1e-12)
        made.append(
            Explanation(
                labels[row],
                against[row],
                float(found.differences[row]),
                float(found.baselines[row]),
                steps,
                own,
                residual,
                None if words is None else tuple(words[row]),
            )
        )
    return made
