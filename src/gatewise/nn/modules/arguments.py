"""The arguments of constructors, as dataclasses made of `gatewise.runtime.layer_options`.

A constructor that `takes` such a class has its fields as arguments, for callers, `help` and type checkers.
The constructor itself gets them as one object. Fields of base classes come first, and those of the last base
class before all others. So the classes here have their arguments in the order of `torch.nn`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import torch

from gatewise.language import Cell
from gatewise.runtime.layer_options import LayerOptions, Sizes, Stack, StepOptions

_P = ParamSpec("_P")
_Arguments = TypeVar("_Arguments", bound=Sizes)
_Module = TypeVar("_Module")


@dataclass(frozen=True)
class OfCell:
    """The first argument of modules that run any cell."""

    cell: Cell


@dataclass(frozen=True)
class _Placed:
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None


@dataclass(frozen=True)
class LayerArguments(_Placed, LayerOptions):
    """The arguments of `LSTM` and `GRU`."""


@dataclass(frozen=True)
class RecurrentArguments(LayerArguments, OfCell):
    """The arguments of `Recurrent`."""


@dataclass(frozen=True)
class _Rectifiable(Stack):
    nonlinearity: str = "tanh"


@dataclass(frozen=True)
class RNNArguments(LayerArguments, _Rectifiable):
    """The arguments of `RNN`."""


@dataclass(frozen=True)
class StepArguments(_Placed, StepOptions):
    """The arguments of `LSTMCell` and `GRUCell`."""


@dataclass(frozen=True)
class AnyStepArguments(StepArguments, OfCell):
    """The arguments of `Step`."""


@dataclass(frozen=True)
class _RectifiableStep(StepOptions):
    nonlinearity: str = "tanh"


@dataclass(frozen=True)
class RNNCellArguments(StepArguments, _RectifiableStep):
    """The arguments of `RNNCell`."""


def takes(
    arguments: Callable[_P, _Arguments],
) -> Callable[[Callable[[_Module, _Arguments], None]], Callable[Concatenate[_Module, _P], None]]:
    """Make a constructor of one that is handed all `arguments` as an object of that class."""
    assert isinstance(arguments, type)
    hints = get_type_hints(arguments)
    parameters = [
        p.replace(annotation=hints[p.name]) for p in inspect.signature(arguments).parameters.values()
    ]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def decorated(
        construct: Callable[[_Module, _Arguments], None],
    ) -> Callable[Concatenate[_Module, _P], None]:
        def __init__(self: _Module, /, *args: _P.args, **named: _P.kwargs) -> None:  # noqa: N807
            try:
                given = arguments(*args, **named)
            except TypeError as error:  # which names the class of the arguments
                ours = str(error).replace(arguments.__qualname__, type(self).__qualname__, 1)
                raise TypeError(ours) from None
            construct(self, given)

        made: Any = __init__
        made.__qualname__, made.__module__ = construct.__qualname__, construct.__module__
        made.__signature__ = inspect.Signature([itself, *parameters], return_annotation=None)
        made.__annotations__ = {**{p.name: p.annotation for p in parameters}, "return": None}
        return __init__

    return decorated
