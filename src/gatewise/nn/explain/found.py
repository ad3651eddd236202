"""The result of `explain` for one layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from gatewise.nn.walk.obstacles import Obstacle

IDLE = "not called"


@final
@dataclass(frozen=True)
class Kernel:
    """How a compiled scan was computed.

    Attributes:
        width: the number of lanes in a vector.
        registers: the number of vector registers of the machine.
        threads: the number of threads that computed the scan.
        by_units: whether the threads divided the units, with a barrier after each step. If False, they
            divided the rows of the batch.
        side_by_side: the number of directions or layers that ran at the same time, each on one thread. It is
            1 if they ran one after another.
        chunk: the number of steps whose input products are computed together.
        kept_gates: the bytes of gates and of `layer_norm` statistics saved for backward.
        kept_states: the bytes of states saved for backward, including a separate copy of the output if there
            is one. With `checkpoint`, the bytes of the states before each segment.
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
    """One recurrent layer in one direction, or a whole recurrent module of `torch.nn`.

    Attributes:
        name: the path of the layer, as in `gatewise.watch`: "encoder.l0", "encoder.l0_reverse".
        what: the name of the cell, or the module of torch.
        runs_in: "compiled kernel", "eager interpreter", "torch" (torch's own operators), or "not called".
        calls: how often the layer was called. All attributes below are about the last call.
        dtype: the element type.
        input_shape: ``[T, B, I]``; ``[B, T, I]`` with `batch_first`; ``[N, I]`` if packed.
        hidden_size: H.
        obstacles: why the layer was not compiled, and the remedies.
        kernel: how the compiled scan ran. None if the layer was not compiled.
        remarks: other facts that decided how the layer was computed.
        faster: advice on what would make the layer faster.
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
    remarks: tuple[str, ...] = ()
    faster: tuple[str, ...] = ()


def short(dtype: object) -> str:
    """An element type without the name of the package: "float32"."""
    return str(dtype).removeprefix("torch.")


def in_bytes(n: int) -> str:
    """A number of bytes as text, in MB or kB."""
    return f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB" if n else "nothing"
