"""`accelerate`: let gatewise compute what the recurrent modules of torch inside a model compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, final

from torch import nn

from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.left import everything, is_theirs, recurrent, why_left
from gatewise.nn.modules.swapped import Swapped, swap, swap_back

_Model = TypeVar("_Model", bound=nn.Module)


@final
@dataclass(frozen=True)
class Row:
    """One recurrent module of a model: where it is, what it is, what runs it, and why not gatewise."""

    path: str
    module: str
    runs_in: str
    why: str = ""


@final
@dataclass(frozen=True, repr=False)
class Report:
    """The recurrent modules of a model; prints as a table."""

    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        if not self.rows:
            return "The model has no recurrent modules."
        lines = [("module", "layer", "runs in", "why")]
        lines += [(row.path, row.module, row.runs_in, row.why) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
        return "\n".join(line.rstrip() for line in padded)


@final
class Accelerate:
    """``gatewise.accelerate(model)``, its ``.undo(model)`` and its ``.report(model)``."""

    def __call__(self, model: _Model) -> _Model:
        """Swap the recurrent modules of `torch.nn` inside `model`, in place, and return the model.

        A swapped module is the same object, of a subclass of its class: its parameters, hooks, buffers,
        attributes and everything that refers to it stay as they are, ``isinstance(module, torch.nn.LSTM)``
        holds, and only `forward` is gatewise's, which also takes `lengths` and `reset` (see
        `gatewise.nn.Recurrent`). Of a subclass the call of ``super().forward(...)`` is served. Modules in
        lists, tuples and dictionaries that are attributes are found too.

        A module is left as it is where the swap could change what it does (a subclass that computes by
        itself, a `forward` that was replaced), and where no kernel is compiled for it (weights off the CPU or
        neither float32 nor float64), and `RNNCell`, which torch trains in less time; `report` says which and
        why.

        Raises:
            TypeError: `model` is no module.

        Example:
            >>> import gatewise, torch
            >>> model = torch.nn.ModuleDict({"encoder": torch.nn.LSTM(3, 8), "head": torch.nn.Linear(8, 1)})
            >>> print(gatewise.accelerate.report(gatewise.accelerate(model)))
            module   layer       runs in   why
            encoder  LSTM(3, 8)  gatewise
            >>> isinstance(model["encoder"], torch.nn.LSTM)
            True
        """
        _check(model, "accelerate")
        for _, module in list(everything(model)):
            if is_theirs(module) and not why_left(module):
                swap(module)
        return model

    def undo(self, model: _Model) -> _Model:
        """Give the modules that were swapped their classes of torch back, in place, and return the model.

        Raises:
            TypeError: `model` is no module.
            ValueError: `gatewise.edit` changed a layer, which torch cannot compute.

        Example:
            >>> import gatewise, torch
            >>> layer = gatewise.accelerate(torch.nn.GRU(3, 8))
            >>> type(gatewise.accelerate.undo(layer)) is torch.nn.GRU
            True
        """
        _check(model, "accelerate.undo")
        swapped = [module for _, module in everything(model) if isinstance(module, Swapped)]
        for module in swapped:
            assert isinstance(module, Layer)
            module.refuse_edits("accelerate.undo")
        for module in swapped:
            swap_back(module)
        return model

    def report(self, model: nn.Module) -> Report:
        """Every recurrent module of `model`, what runs it, and why it was left as it is.

        Modules that are recurrent by their name and hold no recurrent module of torch are named too.

        Raises:
            TypeError: `model` is no module.
        """
        _check(model, "accelerate.report")
        return Report(tuple(_row(path, module) for path, module in recurrent(model)))


accelerate = Accelerate()


def _check(model: object, who: str) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{who}: model must be a torch.nn.Module. Got {type(model).__name__}.")


def _row(path: str, module: nn.Module) -> Row:
    path, layer = path or "(the model)", str(module).splitlines()[0].rstrip("(")
    if isinstance(module, Layer):
        return Row(path, layer, "gatewise")
    runs_in = "torch" if is_theirs(module) else "its own code"
    return Row(path, layer, runs_in, why_left(module) or "not swapped yet: gatewise.accelerate(model)")
