"""The element types of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from llvmlite import ir


@final
@dataclass(frozen=True)
class Number:
    """An element type, which is an IEEE 754 binary format."""

    name: str
    bits: int
    fraction: int  # the number of bits of the fraction: 23 or 52

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return self.bits // 8

    @property
    def type(self) -> Any:
        """The LLVM type."""
        return ir.FloatType() if self.bits == 32 else ir.DoubleType()

    @property
    def integer(self) -> Any:
        """The LLVM integer of the same size."""
        return ir.IntType(self.bits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return np.dtype(self.name)

    @property
    def bias(self) -> int:
        """The bias of the exponent: 127 or 1023."""
        return int((1 << (self.bits - self.fraction - 2)) - 1)


FLOAT32 = Number("float32", 32, 23)
FLOAT64 = Number("float64", 64, 52)
NUMBERS = {number.name: number for number in (FLOAT32, FLOAT64)}
