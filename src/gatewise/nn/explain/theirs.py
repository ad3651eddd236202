"""The part of `explain` for recurrent modules of `torch.nn`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, final

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.nn.explain.found import IDLE, Explained, short
from gatewise.nn.modules.accelerate import Row, accelerate
from gatewise.nn.modules.unswapped import everything, is_theirs
from gatewise.nn.walk.listening import TORCH


@final
class Theirs:
    """Counts the calls of the recurrent modules of `torch.nn` in a model, with the shapes of their inputs."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._thread = model, threading.get_ident()
        modules = [module for _, module in everything(model) if is_theirs(module)]
        self._calls: dict[nn.Module, int] = dict.fromkeys(modules, 0)
        self._shapes: dict[nn.Module, tuple[int, ...]] = {}

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen while the context is open."""
        with ExitStack() as stack:
            for module in self._calls:
                stack.callback(module.register_forward_pre_hook(self._note, with_kwargs=True).remove)
            yield

    def _note(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() != self._thread:
            return
        x = args[0] if args else kwargs.get("input")
        x = x.data if isinstance(x, PackedSequence) else x
        self._calls[module] += 1
        self._shapes[module] = tuple(x.shape) if isinstance(x, Tensor) else ()

    def layers(self) -> Iterator[Explained]:
        """The result for each module, in the order of the model."""
        rows = [row for row in accelerate.report(self._model).rows if row.runs_in == "torch"]
        for row, (module, calls) in zip(rows, self._calls.items(), strict=True):
            if not calls:
                yield Explained(row.path, row.module, IDLE)
                continue
            dtype = short(next(module.parameters()).dtype)
            size: Any = module.hidden_size
            faster = tuple(_faster(row, module, calls))
            shape = self._shapes[module]
            yield Explained(row.path, row.module, TORCH, calls, dtype, shape, size, faster=faster)


def _faster(row: Row, module: nn.Module, calls: int) -> Iterator[str]:
    # For a single step of a few rows, torch takes less time than the call of a kernel from Python.
    if isinstance(module, nn.RNNBase):
        yield f"left to torch: {row.why}"
    elif calls > 1:
        yield f"use a layer over the sequence, where it is known: {calls} single steps were taken"
