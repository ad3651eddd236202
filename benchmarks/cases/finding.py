"""The settings and the results of a case."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from benchmarks.layers import Shape

_TINY = Shape(B=3, T=7, I=5, H=9)


class Settings(NamedTuple):
    """How long to measure, and on how many threads; `tiny` only checks that the cases run."""

    rounds: int
    seconds: float
    threads: int
    tiny: bool = False

    def shape(self, shape: Shape) -> Shape:
        """The shape to measure."""
        return Shape(*map(min, shape, _TINY)) if self.tiny else shape


class Target(NamedTuple):
    """The range in which a figure should be."""

    bound: float
    at_least: bool = False

    def met_by(self, figure: float) -> bool:
        """Whether a figure is in the range."""
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class Finding:
    """A figure, in `unit`, with its target; `beside` holds other figures in the same unit, by name."""

    what: str
    figure: float
    unit: str
    target: Target
    beside: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the figure meets its target."""
        return self.target.met_by(self.figure)

    def document(self) -> dict[str, Any]:
        """For `json.dump`."""
        return asdict(self) | {"target": self.target._asdict(), "met": self.met}
