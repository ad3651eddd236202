"""Whether tensors are as plain calls were prepared for, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from gatewise.nn.walk.obstacles import PLAIN
from gatewise.nn.walk.storage import is_stored


@final
class Expected:
    """Tensors of one type, each of a known shape and with its memory in one piece."""

    def __init__(self, shapes: Sequence[torch.Size], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._shapes = [(shape, prod(shape) * dtype.itemsize) for shape in shapes]  # and their bytes

    def addresses(self, tensors: Sequence[Any]) -> list[int] | None:
        """Where tensors lie; None unless all are as expected."""
        if len(tensors) != len(self._shapes):
            return None
        dtype, itemsize, strided = self._dtype, self._dtype.itemsize, torch.strided
        found = []
        try:
            for tensor, (shape, nbytes) in zip(tensors, self._shapes, strict=True):
                if not (
                    type(tensor) in PLAIN
                    and tensor.shape == shape
                    and tensor.dtype is dtype
                    and tensor.is_cpu
                    and tensor.layout is strided
                    and tensor.is_contiguous()
                    and not tensor.is_neg()
                    and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                ):
                    return None
                address = tensor.data_ptr()
                if not address and nbytes:  # of zeros that have no memory, though they say so
                    return None
                found.append(address)
        except RuntimeError:  # of tensors that have no storage to ask
            return None
        return found

    def are_at(self, tensors: Sequence[Tensor], addresses: Sequence[int]) -> bool:
        """Whether tensors that were as expected still have all of their memory, at these addresses."""
        itemsize = self._dtype.itemsize
        try:
            return all(
                tensor.data_ptr() == address
                and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                for tensor, address, (_, nbytes) in zip(tensors, addresses, self._shapes, strict=True)
            )
        except RuntimeError:  # of what is no plain tensor any more
            return False


def fit(gradients: Sequence[Tensor | None], shapes: Sequence[torch.Size], dtype: torch.dtype) -> bool:
    """Whether kernels may read the gradients of results of these shapes, in one piece or not."""
    for by, shape in zip(gradients, shapes, strict=True):
        if by is not None and not (
            type(by) in PLAIN
            and by.shape == shape
            and by.dtype is dtype
            and by.is_cpu
            and not by.is_neg()
            and is_stored(by)
        ):
            return False
    return True
