"""What recurrent layers are made with besides their cell: each option once, with its type and its default.

Constructors, representations and model files follow from here, and tests hold the documentation to it. What
the options mean is said at `gatewise.nn.Recurrent`. To add one, add a field here, say there what it does, and
name it in the tables of ``docs/layers.md`` and ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields
from functools import partial
from typing import Any, TypeAlias

from gatewise.language.form import MOST_STATES
from gatewise.language.form_reading import FormError, items, number, real, shown

# Gives a value from a file, whose name is the text, as an argument; raises FormError if it is none.
Check: TypeAlias = Callable[[Any, str], Any]

_MOST = 2**31 - 1
_size, _count = partial(number, least=1, most=_MOST), partial(number, least=0, most=_MOST)


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise FormError(f"{what} must be true or false. Got {shown(value)}")
    return value


def _share(value: Any, what: str) -> float:
    share = real(value, what)
    if not 0 <= share <= 1:
        raise FormError(f"{what} must be a number from 0 to 1. Got {shown(value)}")
    return share


def _rate(value: Any, what: str) -> float:
    if real(value, what) == 1:
        raise FormError(f"{what} must be a number below 1. Got {shown(value)}")
    return _share(value, what)


def _rates(value: Any, what: str) -> tuple[float, ...]:
    return tuple(_rate(rate, what) for rate in items(value, what, 0, MOST_STATES))


def _saved(check: Check, *, always: bool = True, in_training: bool = False) -> dict[str, Any]:
    """What is known of an option that a file holds.

    Args:
        check: takes its value from a file.
        always: whether all files have it; else some are older than the option, and its default stands.
        in_training: whether it changes nothing that a layer computes outside of training.
    """
    return {"check": check, "always": always, "in_training": in_training}


@dataclass(frozen=True)
class Sizes:
    """The widths of the input and of the states."""

    input_size: int = field(metadata=_saved(_size))
    hidden_size: int = field(metadata=_saved(_size))


@dataclass(frozen=True)
class StepOptions(Sizes):
    """The options of a single step."""

    bias: bool = field(default=True, metadata=_saved(_flag))


@dataclass(frozen=True)
class Stack(Sizes):
    """The sizes of a stack of layers."""

    num_layers: int = field(default=1, metadata=_saved(_size))


@dataclass(frozen=True)
class LayerOptions(Stack):
    """The options of layers, in the order of the arguments of `torch.nn`; those that it lacks go by name."""

    bias: bool = field(default=True, metadata=_saved(_flag))
    batch_first: bool = field(default=False, metadata=_saved(_flag))
    dropout: float = field(default=0.0, metadata=_saved(_share, in_training=True))
    bidirectional: bool = field(default=False, metadata=_saved(_flag))
    proj_size: int = field(default=0, metadata=_saved(_count))
    _: KW_ONLY
    checkpoint: int = field(default=0, metadata=_saved(_count, in_training=True))
    zoneout: float | Sequence[float] = field(default=(), metadata=_saved(_rates, always=False))
    recurrent_dropout: float = field(default=0.0, metadata=_saved(_rate, always=False, in_training=True))
    weight_drop: float = field(default=0.0, metadata=_saved(_rate, always=False, in_training=True))
    init: str = "torch"
    forget_bias: float | None = None
    max_steps: int | None = None
    learn_initial_state: bool = field(default=False, metadata=_saved(_flag, always=False))


def checks(options: type[Sizes]) -> dict[str, Check]:
    """The options that a file holds, and what takes each of them from there."""
    return {some.name: some.metadata["check"] for some in fields(options) if some.metadata}


# All options that have a default.
DEFAULTS = {some.name: some.default for some in fields(LayerOptions) if some.default is not MISSING}
# Those that the layers of torch do not have.
OWN = [some.name for some in fields(LayerOptions) if some.kw_only]
# Those that all files have, and those that change nothing that a layer computes outside of training.
ALWAYS, IN_TRAINING = (
    [some.name for some in fields(LayerOptions) if some.metadata.get(kind)]
    for kind in ("always", "in_training")
)
