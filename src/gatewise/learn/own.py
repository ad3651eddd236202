"""Tries a cell that a learner has invented: whether it can be trained, and how far it remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.language import Cell
from gatewise.nn import Recurrent

STEPS, ROWS, INPUTS, UNITS = 50, 8, 2, 16
MOST = 12_000  # training sequences


class Tried(NamedTuple):
    """What a new network of the cell does over 50 steps of random input.

    Attributes:
        infinite: the first value that is not finite, and its step from 1 on; None if all are finite.
        idle: the parameters that get no gradient.
        undefined: the parameters whose gradient is not finite.
    """

    infinite: tuple[str, int] | None
    idle: tuple[str, ...]
    undefined: tuple[str, ...]

    @property
    def trainable(self) -> bool:
        """Whether all values and gradients are finite, and everything learned gets a gradient."""
        return self.infinite is None and not self.idle and not self.undefined


class Remembered(NamedTuple):
    """The result of training on the adding problem over 50 steps.

    Attributes:
        learned: whether 99 % of new sequences are right.
        right: the share of new sequences that are right.
        sequences: the training sequences.
        biases: what was added to the first biases of gates, by name.
    """

    learned: bool
    right: float
    sequences: int
    biases: dict[str, float]


def tried(cell: Cell) -> Tried:
    """Run a new network of the cell forward and backward."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = Recurrent(cell, INPUTS, UNITS, proj_size=UNITS // 2 if cell.projects else 0).eval()
        x = torch.randn(STEPS, ROWS, INPUTS)
    output, states = layer(x)
    infinite = _first_infinite(cell, layer, x)
    states = states if isinstance(states, tuple) else (states,)
    torch.autograd.backward([output.square().sum(), *(state.square().sum() for state in states)])
    gradients = dict(_gradients(cell, layer))
    return Tried(
        infinite,
        tuple(name for name, g in gradients.items() if not g.any()),
        tuple(name for name, g in gradients.items() if not g.isfinite().all()),
    )


def _first_infinite(cell: Cell, layer: Recurrent, x: Tensor) -> tuple[str, int] | None:
    from gatewise.insight.watch import watch

    with watch(layer) as seen, torch.no_grad():
        layer(x)
    values = seen["l0"]
    bad = [(int((~values[name].isfinite()).flatten(1).any(1).int().argmax()) + 1, name)
           for name in cell.values if not values[name].isfinite().all()]  # fmt: skip
    return (min(bad)[1], min(bad)[0]) if bad else None


def _gradients(cell: Cell, layer: Recurrent) -> Iterator[tuple[str, Tensor]]:
    """The gradient of everything learned, by the name of its gate or vector."""
    by_input = layer.get_parameter("weight_ih_l0").grad
    assert by_input is not None
    yield from zip(cell.input_gates, torch.split(by_input, UNITS), strict=True)
    for name in cell.vectors:
        gradient = layer.get_parameter(f"{name}_l0").grad
        assert gradient is not None
        yield name, gradient


def remembered(cell: Cell, most: int = MOST) -> Remembered:
    """Train the cell on the adding problem over 50 steps, on at most `most` sequences."""
    from gatewise.tasks.synthetic import TASKS
    from gatewise.tasks.synthetic.network import first_biases
    from gatewise.tasks.synthetic.training import Settings, train

    biases = first_biases(cell)
    run = train(TASKS["adding"], cell, STEPS, 0, Settings(most=most, biases=biases), lambda check: None)
    return Remembered(run.learned, run.right, run.sequences, biases)
