"""Tensors as memory holds them, and memory that lives as long as a thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.compiler.run.huge_pages import prefer_huge_pages


class _Kept(threading.local):
    def __init__(self) -> None:
        self.tensors: dict[tuple[int, torch.dtype], Tensor] = {}


_kept = _Kept()
_ZEROS = -1  # a lane of their own
_MOST = 1 << 26  # bytes that are kept; larger memory is given back after the call


def in_rows(tensor: Tensor) -> Tensor:
    """The tensor, copied unless its last axis is contiguous."""
    return tensor if tensor.stride(-1) == 1 and not tensor.is_neg() else _copied(tensor)


def whole(tensor: Tensor) -> Tensor:
    """The tensor, copied unless it is contiguous."""
    return tensor if tensor.is_contiguous() and not tensor.is_neg() else _copied(tensor)


def _copied(tensor: Tensor) -> Tensor:
    # The memory of a negated view, such as part of a conjugate, has the other sign.
    return tensor.resolve_neg().contiguous()


@functools.cache
def nothing(dtype: torch.dtype) -> Tensor:
    """A tensor without elements, where there has to be one."""
    with torch.inference_mode(False):  # else it could not be kept for a gradient
        return torch.empty(0, dtype=dtype, device="cpu")


def zeros(size: int, like: Tensor) -> Tensor:
    """At least `size` zeros; nobody writes to them."""
    return _at_least((_ZEROS, like.dtype), size, torch.zeros)


def scratch(size: int, like: Tensor, lane: int = 0) -> Tensor:
    """At least `size` elements for the time of one kernel; kernels side by side have a lane each."""
    return _at_least((lane, like.dtype), size, torch.empty)


def _at_least(key: tuple[int, torch.dtype], size: int, make: Callable[..., Tensor]) -> Tensor:
    tensor = _kept.tensors.get(key)
    if tensor is None or tensor.numel() < size:
        tensor = make(size, dtype=key[1], device="cpu")
        prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
        if tensor.nbytes <= _MOST:
            _kept.tensors[key] = tensor
    return tensor
