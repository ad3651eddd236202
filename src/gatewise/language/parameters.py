"""What a cell's parameters after the star can stand for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, final

from gatewise.language import names

if TYPE_CHECKING:
    # In the body a parameter is a symbol, and its name may be reused for what is made of it.
    Split: TypeAlias = Any
    Input: TypeAlias = Any
    Vector: TypeAlias = Any
else:

    class Split:
        """Annotation of a gate whose two parts stay apart.

        ``n: Split`` gives ``n.x = W x_t + b_x`` and ``n.h = R h_{t-1} + b_h``.
        """

    class Input:
        """Annotation of a gate that sees the input alone: ``W x_t + b_x``."""

    class Vector:
        """Annotation of one learned number per unit, e.g. a peephole."""


class Kind(Enum):
    """What a learned parameter of a cell stands for; the last two belong to `layer_norm`."""

    GATE = "gate"
    SPLIT = "split"
    INPUT = "input"
    VECTOR = "vector"
    GAIN = "gain"
    BIAS = "bias"


KINDS: dict[object, Kind] = {
    inspect.Parameter.empty: Kind.GATE,
    Split: Kind.SPLIT,
    "Split": Kind.SPLIT,
    Input: Kind.INPUT,
    "Input": Kind.INPUT,
    Vector: Kind.VECTOR,
    "Vector": Kind.VECTOR,
}


@final
@dataclass(frozen=True)
class Parameter:
    """What the network learns to feed into a cell, by name."""

    name: str
    kind: Kind

    @property
    def sees_input(self) -> bool:
        """Whether it has rows in the input weights."""
        return self.kind in (Kind.GATE, Kind.SPLIT, Kind.INPUT)

    @property
    def sees_state(self) -> bool:
        """Whether it has rows in the recurrent weights."""
        return self.kind in (Kind.GATE, Kind.SPLIT)

    @property
    def bars(self) -> tuple[str, ...]:
        """The names of its pre-activations."""
        if self.kind is Kind.SPLIT:
            return names.bar(self.name, "x"), names.bar(self.name, "h")
        return (names.bar(self.name),) if self.sees_input else ()
