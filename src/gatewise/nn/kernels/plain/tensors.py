"""Checks that tensors are as plain calls expect them, and their addresses."""

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
    """The expected tensors: contiguous, all of one type, each with a certain shape."""

    def __init__(self, shapes: Sequence[torch.Size], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._shapes = [(shape, prod(shape) * dtype.itemsize) for shape in shapes]  # with bytes

    def addresses(self, tensors: Sequence[Any]) -> list[int] | None:
        """The addresses of tensors, or None if one is not as expected."""
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
                if not address and nbytes:  # a tensor of zeros without memory
                    return None
                found.append(address)
        except RuntimeError:  # the tensor has no storage
            return None
        return found

    def are_at(self, tensors: Sequence[Tensor], addresses: Sequence[int]) -> bool:
        """Whether tensors that were as expected still have their memory at these addresses."""
        itemsize = self._dtype.itemsize
        try:
            return all(
                tensor.data_ptr() == address
                and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                for tensor, address, (_, nbytes) in zip(tensors, addresses, self._shapes, strict=True)
            )
        except RuntimeError:  # it is not a plain tensor any more
            return False


def fit(gradients: Sequence[Tensor | None], shapes: Sequence[torch.Size], dtype: torch.dtype) -> bool:
    """Whether kernels can read these gradients of results, contiguous or not."""
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
