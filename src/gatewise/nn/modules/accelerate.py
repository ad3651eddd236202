"""`accelerate`: let gatewise compute the recurrent modules of torch inside a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, final

from torch import nn

from gatewise.nn.modules.layer import Layer
from gatewise.nn.modules.swapped import Swapped, swap, swap_back
from gatewise.nn.modules.unswapped import everything, is_theirs, recurrent, why_not_swapped

_Model = TypeVar("_Model", bound=nn.Module)


@final
@dataclass(frozen=True)
class Row:
    """One recurrent module of a model.

    Attributes:
        path: the path of the module in the model.
        module: the module, as torch prints it.
        runs_in: "gatewise", "torch" or "its own code".
        why: why gatewise does not run it, or empty.
    """

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

        A swapped module is the same object, but its class is a subclass of its old class. Its parameters,
        hooks, buffers, attributes and all references to it stay as they are, and
        ``isinstance(module, torch.nn.LSTM)`` holds. Only `forward` is replaced by that of gatewise, which
        also takes `lengths` and `reset` (see `gatewise.nn.Recurrent`). If the module is of a subclass, its
        own `forward` still runs, and ``super().forward(...)`` in it calls gatewise. Modules in lists, tuples
        and dictionaries that are attributes are found too.

        A module is not swapped in three cases; `report` names each such module and the reason.

        - The swap could change its results: it is a subclass that computes by itself, or its `forward` was
          replaced.
        - It cannot be compiled: its weights are not on the CPU, or are neither float32 nor float64.
        - It is an `RNNCell`, which torch trains in less time.

        Args:
            model: any module, changed in place.

        Returns:
            `model`.

        Raises:
            TypeError: `model` is not a module.

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
            if is_theirs(module) and not why_not_swapped(module):
                swap(module)
        return model

    def undo(self, model: _Model) -> _Model:
        """Change all swapped modules back to their classes of torch, in place, and return the model.

        Args:
            model: any module, changed in place.

        Returns:
            `model`.

        Raises:
            TypeError: `model` is not a module.
            ValueError: a layer is edited (`gatewise.edit`), which torch cannot compute.

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
        """List every recurrent module of `model`, with what runs it, and why it was not swapped.

        The list includes modules whose class name looks recurrent (such as "LiGRU"), but which contain no
        recurrent module of torch.

        Raises:
            TypeError: `model` is not a module.
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
    return Row(path, layer, runs_in, why_not_swapped(module) or "not swapped yet: gatewise.accelerate(model)")
