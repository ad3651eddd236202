"""The classes of accelerated modules: subclasses of torch's, in which `forward` is gatewise's.

A module is accelerated by changing its class and nothing else, so that its parameters, hooks, attributes and
every reference to it stay what they were, and ``isinstance(module, torch.nn.LSTM)`` still holds. In a
subclass of a class of torch, gatewise's comes between the two in the order in which methods are looked up:
``super().forward(...)`` reaches it.
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
# What both have and torch's does as well, or for other devices too.
_TORCHS = ("__init__", "reset_parameters", "flatten_parameters", "all_weights", "extra_repr")


class Swapped:
    """What all accelerated modules have in common."""

    stands_for: ClassVar[type[nn.Module]]
    """The class that the module had before."""

    def forward(self, input: Any, hx: Any = None, *more: Any, **named: Any) -> Any:
        """gatewise's forward."""
        if not isinstance(self, Swapped):  # a method that somebody kept, of a module that was swapped back
            return type(self).forward(self, input, hx, *more, **named)
        forward: Callable[..., Any] = super().forward  # type: ignore[misc]  # of the next class
        return _whole(forward, input, hx, *more, **named)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "qconfig":  # given to every module, with no word of whether this one was meant
            warnings.warn(
                "torch.ao.quantization goes by the exact class of a module and leaves "
                f"{type(self).__name__} as it is. Call gatewise.accelerate.undo(model) before if it is to be "
                "quantized.",
                stacklevel=2,
            )
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """As an empty module of the class that is stood for, swapped, and what `__getstate__` gives."""
        return _empty, (self.stands_for,), self.__getstate__()

    def __prepare_scriptable__(self) -> Swapped:
        """What `torch.jit.script` compiles, and puts in the place of the module: torch's module."""
        assert isinstance(self, Layer)
        self.refuse_edits("torch.jit.script")
        warnings.warn(
            f"torch.jit.script compiles torch's {type(self).__name__} and leaves it in the model. Call "
            "gatewise.accelerate(model) again if the model is to be used besides.",
            stacklevel=2,
        )
        swap_back(self)
        return self


def _whole(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call a function that `torch.compile` takes into a graph, or leaves alone with all that it calls.

    It takes no recurrent modules of torch into its graphs, unless ``torch._dynamo.config.allow_rnn`` is set,
    and would then compile the pieces of gatewise that it meets on the way, one by one.
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
    """The class of `module` when it is swapped.

    A class that `torch.nn.utils.parametrize` put on top of another one, which it expects to find there, stays
    on top.

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
    for name in ("_in_thread", "_edits", "_plain"):  # left by those who watched
        vars(module).pop(name, None)


def _restored(swapped: type) -> type:
    """The class in which every swapped base is the one that it stands for."""
    if not issubclass(swapped, Swapped):
        return swapped
    if "stands_for" in vars(swapped):
        return swapped.stands_for
    return _on_top_of(tuple(map(_restored, swapped.__bases__)), swapped)


def _on_top_of(bases: tuple[type, ...], theirs: type) -> type:
    """A class made after another one was: the same on top of other bases."""
    own = {name: value for name, value in vars(theirs).items() if name not in ("__dict__", "__weakref__")}
    return new_class(theirs.__name__, bases, {"metaclass": type(theirs)}, lambda space: space.update(own))


_made: dict[type, type[nn.Module]] = {}


def swapped_class(theirs: type[nn.Module]) -> type[nn.Module]:
    """The class, of the same name, of modules of class `theirs` that are accelerated.

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
            under_compile.work_out(cell)  # which the constructors of layers do
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
