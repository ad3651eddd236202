"""What `explain` finds of one layer."""

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
        width: lanes of a vector.
        registers: vector registers of the machine.
        threads: how many worked on it.
        by_units: whether they divided the units and met after each step; else the rows of the batch.
        side_by_side: how many directions or layers ran at once, each on one thread; 1 for one after another.
        chunk: steps whose input products are computed at a time.
        kept_gates: bytes of gates that stay for backward, and of what `layer_norm` normalised by.
        kept_states: bytes of states that do, one's own of an output that is handed out among them; under
            `checkpoint` of those that enter the segments.
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
    """One recurrent layer in one direction; a module of `torch.nn` as a whole.

    Attributes:
        name: its path, as in `gatewise.watch`: "encoder.l0", "encoder.l0_reverse".
        what: its cell, or the module if it is torch's.
        runs_in: "compiled kernel", "eager interpreter", "torch" (its own operators), or "not called".
        calls: how often it was called; what follows is about the last time.
        dtype: the element type.
        input_shape: ``[T, B, I]``, ``[B, T, I]`` with `batch_first`, packed ``[N, I]``.
        hidden_size: H.
        obstacles: why it was not compiled, and the remedies.
        kernel: how it was, if it was.
        remarks: what else decided how it was computed.
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
    remarks: tuple[str, ...] = ()
    faster: tuple[str, ...] = ()


def short(dtype: object) -> str:
    """An element type without the name of the package: "float32"."""
    return str(dtype).removeprefix("torch.")


def in_bytes(n: int) -> str:
    """So many bytes, for people."""
    return f"{n / 1e6:.1f} MB" if n >= 1e5 else f"{n / 1e3:.1f} kB" if n else "nothing"
