"""`accelerate`: swap the recurrent modules of torch inside a model for gatewise's, weights shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import TypeVar, final

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gatewise.nn.classic import GRU, LSTM, RNN
from gatewise.nn.layer import Layer
from gatewise.nn.step import GRUCell, LSTMCell, RNNCell

_Model = TypeVar("_Model", bound=nn.Module)

_OURS: dict[type[nn.Module], Callable[..., Layer]] = {
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNNCell: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}

_COMPILED = (torch.float32, torch.float64)


@final
@dataclass(frozen=True)
class Row:
    """One recurrent module of a model: where it is, what it is, what runs it, and why not gatewise."""

    path: str
    module: str
    runs_in: str
    why: str = ""


@final
@dataclass(frozen=True)
class Report:
    """The recurrent modules of a model; prints as a table."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        if not self.rows:
            return "The model has no recurrent modules."
        lines = [("module", "layer", "runs in", "why")]
        lines += [(row.path, row.module, row.runs_in, row.why) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
        return "\n".join(line.rstrip() for line in padded)


@final
class Accelerate:
    """``gatewise.accelerate(model)``, and ``gatewise.accelerate.report(model)``."""

    def __call__(self, model: _Model) -> _Model:
        """Swap every recurrent module of `torch.nn` inside `model` for ours, in place, and return the model.

        The parameters are the same objects, so optimisers and tied weights keep working. A module is left as
        it is where the swap could change what it does (hooks, parametrizations, tensors of its own, a
        subclass), and where no kernel is compiled for it (weights off the CPU or neither float32 nor
        float64); `report` says which and why. Single steps gain with many rows only: `LSTMCell` from some 32
        rows of 128 units on; with fewer, torch's take less time.

        Raises:
            TypeError: `model` is no module.

        Example:
            >>> import gatewise, torch
            >>> model = torch.nn.ModuleDict({"encoder": torch.nn.LSTM(3, 8), "head": torch.nn.Linear(8, 1)})
            >>> print(gatewise.accelerate.report(gatewise.accelerate(model)))
            module   layer       runs in   why
            encoder  LSTM(3, 8)  gatewise
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"accelerate: expected a torch.nn.Module, got {type(model).__name__}")
        ours = {module: _swapped(module) for module in model.modules() if _is_swappable(module)}
        for parent in list(model.modules()):
            for name, child in parent._modules.items():
                if child in ours:
                    parent._modules[name] = ours[child]
        return ours.get(model, model)  # type: ignore[return-value]  # a root that is swapped changes its class

    def report(self, model: nn.Module) -> Report:
        """Every recurrent module of `model`, what it runs in, and why it was left to torch if it was."""
        return Report(tuple(_row(path, module) for path, module in model.named_modules() if _recurs(module)))


accelerate = Accelerate()


def _recurs(module: nn.Module) -> bool:
    return isinstance(module, (Layer, nn.RNNBase, nn.RNNCellBase))


def _is_swappable(module: nn.Module) -> bool:
    return isinstance(module, (nn.RNNBase, nn.RNNCellBase)) and not _why_left(module)


def _row(path: str, module: nn.Module) -> Row:
    path, layer = path or "(the model)", str(module).splitlines()[0].rstrip("(")
    if isinstance(module, Layer):
        return Row(path, layer, "gatewise")
    return Row(path, layer, "torch", _why_left(module) or "not swapped yet: gatewise.accelerate(model)")


def _why_left(module: nn.Module) -> str:
    """Why a recurrent module of torch stays as it is; empty if it need not."""
    if is_parametrized(module):
        return "its weights are parametrized"
    if type(module) not in _OURS:
        return f"a subclass, {type(module).__name__}, may compute something else"
    if any(hooks for name, hooks in vars(module).items() if name.endswith("_hooks")):
        return "it has hooks"
    if list(_made(module)._parameters) != list(module._parameters) or module._buffers or module._modules:
        return "it holds other tensors than its weights"
    return _why_not_compiled(list(module.parameters()))


def _why_not_compiled(weights: list[nn.Parameter]) -> str:
    devices = {str(weight.device) for weight in weights}
    if devices != {"cpu"}:
        return f"its weights lie on {', '.join(sorted(devices))}; the CPU is what is compiled for"
    types = {weight.dtype for weight in weights}
    if len(types) > 1 or not types <= set(_COMPILED):
        named = ", ".join(sorted(map(str, types)))
        return f"its weights are {named}; float32 and float64 are compiled"
    return ""


def _made(module: nn.Module) -> Layer:
    """Our module with the arguments of theirs, its weights still without memory."""
    ours = _OURS[type(module)]
    given = {name: value for name, value in vars(module).items() if name in signature(ours).parameters}
    afterwards = {"dropout": given.pop("dropout")} if "dropout" in given else {}  # its warning was given once
    made = ours(**given, device="meta")  # draws no random numbers
    vars(made).update(afterwards)
    return made


def _swapped(module: nn.Module) -> Layer:
    ours = _made(module)
    ours._parameters.update(module._parameters)
    return ours.train(module.training)
