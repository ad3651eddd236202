"""The options of recurrent layers: every constructor argument besides the cell, with its type and default.

Constructors, `repr` and model files use these classes, and tests compare the documentation with them. To add
an option, add a field here, describe it in the docstring of `gatewise.nn.Recurrent`, and name it in the
tables of ``docs/layers.md`` and ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields
from functools import partial
from typing import Any, TypeAlias

from gatewise.language.form import MOST_STATES
from gatewise.language.form_reading import FormError, items, number, real, shown

# Takes a value from a file, and its name for the error. Returns the argument, or raises FormError.
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
    """The metadata of an option that model files contain.

    Args:
        check: converts its value from a file.
        always: whether all files have it. If not, older files lack it, and its default is used.
        in_training: whether it has no effect in evaluation mode.
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
    """The options of layers, in the order of `torch.nn`. Options that torch lacks are keyword-only."""

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
    """For each option that model files contain, the function that converts its value."""
    return {some.name: some.metadata["check"] for some in fields(options) if some.metadata}


# All options that have a default.
DEFAULTS = {some.name: some.default for some in fields(LayerOptions) if some.default is not MISSING}
# The options that the layers of torch do not have.
OWN = [some.name for some in fields(LayerOptions) if some.kw_only]
# The options that all files have, and those without an effect in evaluation mode.
ALWAYS, IN_TRAINING = (
    [some.name for some in fields(LayerOptions) if some.metadata.get(kind)]
    for kind in ("always", "in_training")
)
