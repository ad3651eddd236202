"""The listener of `explain`, which collects the facts of each layer while a model runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from gatewise.compiler.run.host import host
from gatewise.language import Cell
from gatewise.nn.explain.advice import Called, advice
from gatewise.nn.explain.found import IDLE, Explained, Kernel, short
from gatewise.nn.modules.edited import Edited
from gatewise.nn.modules.layer import Layer
from gatewise.nn.walk.listening import KernelCall, Listener
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.walk import Weights


@final
@dataclass
class _Scan:
    """The facts of a scan, collected before the name of its layer is known."""

    cell: Cell
    x: Tensor
    weight_ih: Tensor
    obstacles: tuple[Obstacle, ...]
    way: str
    in_grad_mode: bool
    call: KernelCall | None = None
    side_by_side: int = 1

    def called(self, module: Layer, calls: int) -> Called | None:
        if self.call is None:
            return None
        trains = self.in_grad_mode and self.call.wants_gradient
        return Called(self.call, self.side_by_side, trains, module, calls)

    def kernel(self, called: Called) -> Kernel:
        call = called.call
        alone = self.side_by_side == 1
        kept_states = call.kept_segments if called.in_segments else call.kept_states if called.trains else 0
        return Kernel(
            width=call.kernels.width,
            registers=host().registers,
            threads=call.team.threads if alone else 1,
            by_units=call.team.by_units and alone,
            side_by_side=self.side_by_side,
            chunk=call.chunk,
            kept_gates=call.kept_gates,
            kept_states=kept_states,
        )


@final
class Notes(Listener):
    """Collects how each layer of a model is computed.

    A call of a module reports, in this order: its autocast, each scan with its kernel call, and last the
    layer names, in the order of the scans.
    """

    def __init__(self, model: nn.Module) -> None:
        self._paths = {module: path for path, module in model.named_modules() if isinstance(module, Layer)}
        self._explained = {
            _full(path, name): Explained(_full(path, name), module.cell.name, IDLE)
            for module, path in self._paths.items()
            for name in module._layer_names
        }
        self._scans: list[_Scan] = []
        self._handed_over = 0
        self._autocast: torch.dtype | None = None
        self._converted: set[torch.dtype] = set()
        self._to_convert: set[torch.dtype] = set()

    def converted(self, tensor: Tensor) -> None:
        """Store the element type of a converted tensor, for the module whose call is starting."""
        self._to_convert.add(tensor.dtype)

    def autocast(self, dtype: torch.dtype | None) -> None:
        """Store the autocast type of the module whose call is starting."""
        self._autocast = dtype
        self._converted, self._to_convert = self._to_convert, set()

    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle], way: str) -> None:
        """Start the facts of a new scan."""
        if self._handed_over:
            self._scans, self._handed_over = [], 0
        if not (self._scans and self._scans[-1].weight_ih is weights.weight_ih):
            in_grad_mode = torch.is_grad_enabled()
            self._scans.append(_Scan(cell, x, weights.weight_ih, tuple(obstacles), way, in_grad_mode))

    def kernel(self, call: KernelCall) -> None:
        """Add the kernel call to the facts of its scan."""
        for scan in self._scans:
            if scan.weight_ih is call.weight_ih:
                scan.call = call

    def side_by_side(self, calls: Sequence[KernelCall]) -> None:
        """Add the calls, and their number, to the facts of their scans."""
        for call in calls:
            self.kernel(call)
            for scan in self._scans:
                if scan.call is call:
                    scan.side_by_side = len(calls)

    def layer(self, module: nn.Module, name: str) -> None:
        """Store the facts of the next scan under the name of its layer."""
        assert isinstance(module, Layer)
        path = self._paths.get(module, f"({type(module).__name__})")
        full_name = _full(path, name)
        before = self._explained.get(full_name)
        # Directions that share their weights have one scan.
        scan = self._scans[min(self._handed_over, len(self._scans) - 1)]
        self._handed_over += 1
        calls = before.calls + 1 if before else 1
        called = scan.called(module, calls)
        remedies = (obstacle.remedy for obstacle in scan.obstacles)
        self._explained[full_name] = Explained(
            full_name,
            scan.cell.name,
            scan.way,
            calls,
            short(scan.weight_ih.dtype),
            tuple(scan.x.shape),
            module.hidden_size,
            scan.obstacles,
            scan.kernel(called) if called else None,
            tuple(self._remarks(scan, module._edits_here.get(name))),
            (*remedies, *(advice(called) if called else ())),
        )

    def _remarks(self, scan: _Scan, edited: Edited | None) -> Iterator[str]:
        if self._autocast:
            own = f"{short(scan.weight_ih.dtype)}, the type of its weights"
            came = ", ".join(sorted(map(short, self._converted)))
            way = f"tensors of {came} were converted to {own}" if came else f"it computes in {own}"
            yield f"autocast to {short(self._autocast)} is on: {way}"
        if edited:
            columns = sum(edit.size[1] for edit in edited.edits)
            yield f"it is edited: its input has {columns} more columns, which say what is edited where"

    def layers(self) -> Iterable[Explained]:
        """The result for each layer, in the order of the model."""
        return self._explained.values()


def _full(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
