"""What `explain` writes down while a model runs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from gatewise.compiler.host import host
from gatewise.language import Cell
from gatewise.nn.advice import advice
from gatewise.nn.kernels import Forward, Problem
from gatewise.nn.layer import Layer
from gatewise.nn.listening import Listener
from gatewise.nn.obstacles import Obstacle
from gatewise.nn.recurrent import Recurrent
from gatewise.nn.step import Step
from gatewise.nn.weights import Weights

KERNEL, INTERPRETER, TORCH, IDLE = "compiled kernel", "eager interpreter", "torch", "not called"


@final
@dataclass(frozen=True)
class Kernel:
    """How a compiled scan was computed.

    Attributes:
        width: lanes of a vector.
        registers: vector registers of the machine.
        threads: how many worked on it.
        by_units: whether they divided the units and met after each step; else the rows of the batch.
        side_by_side: how many directions ran at once, each on one thread; 1 for one after the other.
        chunk: steps whose input products are computed at a time.
        kept_gates: bytes of gates that stay for backward.
        kept_states: bytes of states that do, the output excepted.
    """

    width: int
    registers: int
    threads: int
    by_units: bool
    side_by_side: int
    chunk: int
    kept_gates: int
    kept_states: int


@final
@dataclass(frozen=True)
class Explained:
    """One recurrent layer in one direction.

    Attributes:
        name: its path, as in `gatewise.watch`: "encoder.l0", "encoder.l0_reverse".
        what: its cell, or the module if it is torch's.
        runs_in: "compiled kernel", "eager interpreter", "torch", or "not called".
        calls: how often it was called; what follows is about the last time.
        dtype: the element type.
        input_shape: ``[T, B, I]``, ``[B, T, I]`` with `batch_first`, packed ``[N, I]``.
        hidden_size: H.
        obstacles: why it was not compiled, and the remedies.
        kernel: how it was, if it was.
        faster: what would make it faster.
    """

    name: str
    what: str
    runs_in: str
    calls: int = 0
    dtype: str = ""
    input_shape: tuple[int, ...] = ()
    hidden_size: int = 0
    obstacles: tuple[Obstacle, ...] = ()
    kernel: Kernel | None = None
    faster: tuple[str, ...] = ()


@final
@dataclass
class _Scan:
    """What is known of a scan before it is known which layer it is."""

    cell: Cell
    x: Tensor
    weight_ih: Tensor
    obstacles: tuple[Obstacle, ...]
    call: Forward | None = None
    given: Sequence[Tensor] = ()
    side_by_side: int = 1

    def explained(self, name: str, calls: int) -> Explained:
        return Explained(
            name,
            self.cell.name,
            INTERPRETER if self.obstacles else KERNEL,
            calls,
            str(self.weight_ih.dtype).removeprefix("torch."),
            tuple(self.x.shape),
            self.weight_ih.size(0) // len(self.cell.input_gates),
            self.obstacles,
            self._kernel(),
            tuple(self._faster()),
        )

    def _kernel(self) -> Kernel | None:
        call = self.call
        if call is None:
            return None
        width, registers, kept_states = call.cell.width, host().registers, call.state_steps[1:]
        kept = call.gates.nbytes, sum(states.nbytes for states in kept_states)
        return Kernel(width, registers, *call.team, self.side_by_side, call.chunk, *kept)

    def _faster(self) -> Iterator[str]:
        yield from (obstacle.remedy for obstacle in self.obstacles)
        if self.call is not None:
            yield from advice(self.call, self.given, self.side_by_side)


@final
class Notes(Listener):
    """Writes down what each layer of a model does."""

    def __init__(self, model: nn.Module) -> None:
        self._paths = {module: path for path, module in model.named_modules() if isinstance(module, Layer)}
        self._explained = {
            name: Explained(name, module.cell.name, IDLE)
            for module, path in self._paths.items()
            for name in _names(path, module)
        }
        self._scans: list[_Scan] = []
        self._handed_over = 0

    def scan(self, cell: Cell, x: Tensor, weights: Weights, obstacles: Sequence[Obstacle]) -> None:
        """Begin a new scan; a layer that is computed in segments is one."""
        if self._handed_over:
            self._scans, self._handed_over = [], 0
        if not (self._scans and self._scans[-1].weight_ih is weights.weight_ih):
            self._scans.append(_Scan(cell, x, weights.weight_ih, tuple(obstacles)))

    def kernel(self, call: Forward, given: Sequence[Tensor]) -> None:
        """Keep the call beside its scan."""
        for scan in self._scans:
            if scan.weight_ih is given[1]:
                scan.call, scan.given = call, given

    def side_by_side(self, calls: Sequence[Problem]) -> None:
        """Note it of each scan."""
        for scan in self._scans:
            if scan.call in calls:
                scan.side_by_side = len(calls)

    def layer(self, module: Layer, name: str) -> None:
        """Write the next scan down under its name."""
        path = self._paths.get(module, f"({type(module).__name__})")
        name = f"{path}.{name}" if path else name
        calls = self._explained[name].calls + 1 if name in self._explained else 1
        # Directions that share their weights are written down once.
        scan = self._scans[min(self._handed_over, len(self._scans) - 1)]
        self._handed_over += 1
        explained = scan.explained(name, calls)
        if isinstance(module, Step) and calls > 1:
            steps = f"use a layer over the sequence: {calls} single steps were taken"
            explained = replace(explained, faster=(steps, *explained.faster))
        self._explained[name] = explained

    def layers(self) -> Iterable[Explained]:
        """What was written down, in the order of the model."""
        return self._explained.values()


def _names(path: str, module: Layer) -> Iterator[str]:
    """The names of a module's layers and directions."""
    suffixes = ["_l0"]
    if isinstance(module, Recurrent):
        suffixes = [suffix for k in range(module.num_layers) for suffix in module._suffixes(k)]
    return (f"{path}.{suffix[1:]}" if path else suffix[1:] for suffix in suffixes)
