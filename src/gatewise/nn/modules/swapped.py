"""The classes of accelerated modules: subclasses of torch's classes with the `forward` of gatewise.

Only the class of an accelerated module changes. Its parameters, hooks, attributes and all references to it
stay the same, and ``isinstance(module, torch.nn.LSTM)`` still holds. For a user's subclass of torch's class,
gatewise's class stands between the two in the method resolution order, so ``super().forward(...)`` calls it:

    class Mine(nn.LSTM)        # before: Mine, nn.LSTM, ...
    swapped_class(Mine)        # after:  Mine, Mine, swapped nn.LSTM, Swapped, gatewise.nn.LSTM, nn.LSTM, ...
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import getattr_static
from types import new_class
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gatewise import cells
from gatewise.language import Cell
from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.step import GRUCell, LSTMCell
from gatewise.nn.modules.torch_names import GRU, LSTM, RNN, RNN_CELLS
from gatewise.nn.walk import under_compile

OURS: dict[type[nn.Module], type[Layer]] = {
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
# Methods of both classes for which the one of torch is used; some of them also work on other devices.
_TORCHS = ("__init__", "reset_parameters", "flatten_parameters", "all_weights", "extra_repr")


class Swapped:
    """Base class of all accelerated modules."""

    stands_for: ClassVar[type[nn.Module]]
    """The class of the module before it was swapped."""

    def forward(self, input: Any, hx: Any = None, *more: Any, **named: Any) -> Any:
        """Compute the module by gatewise."""
        if not isinstance(self, Swapped):  # a bound method that was kept from before `swap_back`
            return type(self).forward(self, input, hx, *more, **named)
        forward: Callable[..., Any] = super().forward  # type: ignore[misc]  # of the next class
        return _whole(forward, input, hx, *more, **named)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "qconfig":  # torch sets it on every module, quantized or not
            warnings.warn(
                "torch.ao.quantization looks at the exact class of a module, so it does not quantize "
                f"{type(self).__name__}. To quantize it, call gatewise.accelerate.undo(model) first.",
                stacklevel=2,
            )
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle the class from before the swap, and the state. Loading swaps the class again."""
        return _empty, (self.stands_for,), self.__getstate__()

    def __prepare_scriptable__(self) -> Swapped:
        """Swap the module back for `torch.jit.script`, which then compiles torch's module."""
        assert isinstance(self, Layer)
        self.refuse_edits("torch.jit.script")
        warnings.warn(
            f"torch.jit.script compiles torch's {type(self).__name__}, and the model keeps this module. Call "
            "gatewise.accelerate(model) again to use the model with gatewise.",
            stacklevel=2,
        )
        swap_back(self)
        return self


def _whole(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call a function that `torch.compile` either puts into a graph as a whole, or skips as a whole.

    `torch.compile` puts no recurrent module of torch into its graphs, unless
    ``torch._dynamo.config.allow_rnn`` is set. Without this function, it would then compile the functions of
    gatewise inside the module one by one.
    """
    return function(*given, **named)


_frames = torch._C._dynamo.eval_frame
if hasattr(_frames, "set_code_exec_strategy"):  # since torch 2.7
    _skip = _frames._FrameAction.SKIP
    _frames.set_code_exec_strategy(_whole.__code__, _frames._FrameExecStrategy(_skip, _skip))


def _empty(stands_for: type[nn.Module]) -> nn.Module:
    swapped = swapped_class(stands_for)
    return swapped.__new__(swapped)


def kind_of(theirs: type) -> type[nn.Module] | None:
    """The recurrent class of torch that `theirs` is or derives from."""
    return next((base for base in theirs.__mro__ if base in OURS), None)


def class_for(module: nn.Module) -> type[nn.Module]:
    """The class of `module` after a swap.

    `torch.nn.utils.parametrize` gives a module a class of its own, derived from the old class, and later
    expects this order. So such a class stays first, and its base is swapped.

    Raises:
        TypeError: the class refuses to be subclassed.
    """
    theirs = type(module)
    if not is_parametrized(module):
        return swapped_class(theirs)
    return _on_top_of(tuple(map(swapped_class, theirs.__bases__)), theirs)


def swap(module: nn.Module) -> None:
    """Let gatewise compute what a recurrent module of torch computes."""
    module.__class__ = class_for(module)


def swap_back(module: nn.Module) -> None:
    """Undo `swap`."""
    assert isinstance(module, Layer)
    module.__class__ = _restored(type(module))
    for name in ("_in_thread", "_edits", "_plain"):  # these exist if the layer was watched, edited or called
        vars(module).pop(name, None)


def _restored(swapped: type) -> type:
    """The class in which every swapped base is replaced by its class from before the swap."""
    if not issubclass(swapped, Swapped):
        return swapped
    if "stands_for" in vars(swapped):
        return swapped.stands_for
    return _on_top_of(tuple(map(_restored, swapped.__bases__)), swapped)


def _on_top_of(bases: tuple[type, ...], theirs: type) -> type:
    """A copy of the class `theirs` with other bases."""
    own = {name: value for name, value in vars(theirs).items() if name not in ("__dict__", "__weakref__")}
    return new_class(theirs.__name__, bases, {"metaclass": type(theirs)}, lambda space: space.update(own))


_made: dict[type, type[nn.Module]] = {}


def swapped_class(theirs: type[nn.Module]) -> type[nn.Module]:
    """The class of accelerated modules for modules of class `theirs`; it has the same name.

    Raises:
        TypeError: `theirs` refuses to be subclassed.
    """
    if theirs not in _made:
        _made[theirs] = _swapped_class(theirs)
    return _made[theirs]


def _swapped_class(theirs: type[nn.Module]) -> type[nn.Module]:
    kind = kind_of(theirs)
    assert kind
    own: dict[str, Any] = {name: getattr(theirs, name) for name in ("__module__", "__qualname__", "__doc__")}
    own |= {"stands_for": theirs, "__reduce_ex__": Swapped.__reduce_ex__}
    bases: tuple[type, ...]
    if theirs is kind:
        bases = (Swapped, OURS[kind], kind)
        own |= {name: getattr_static(kind, name) for name in _TORCHS if hasattr(kind, name)}
        for cell in (cells.lstm, cells.gru, *RNN_CELLS.values()):
            under_compile.work_out(cell)  # as the constructors of layers do
        own |= {"cell": _CELLS[kind], "_names": property(_names)}
    else:
        bases = (theirs, swapped_class(kind))
    return new_class(theirs.__name__, bases, exec_body=lambda space: space.update(own))


def _names(layer: Any) -> list[list[str]]:
    """The names of the parameters of each layer and direction."""
    names: list[list[str]] = layer._all_weights
    return names


def _cell_of_rnn(layer: nn.RNN) -> Cell:
    return RNN_CELLS["relu" if layer.mode == "RNN_RELU" else "tanh"]


_CELLS: dict[type[nn.Module], Cell | property] = {
    nn.RNN: property(_cell_of_rnn),
    nn.LSTM: cells.lstm,
    nn.GRU: cells.gru,
    nn.LSTMCell: cells.lstm,
    nn.GRUCell: cells.gru,
}
