"""Contiguous tensors for kernels, and scratch memory that each thread keeps."""

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
_ZEROS = -1  # the lane of zeros
_MOST = 1 << 26  # bytes; larger memory is freed after the call


def in_rows(tensor: Tensor) -> Tensor:
    """The tensor itself if its last axis is contiguous, else a copy."""
    return tensor if tensor.stride(-1) == 1 and not tensor.is_neg() else _copied(tensor)


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself if it is contiguous, else a copy."""
    return tensor if tensor.is_contiguous() and not tensor.is_neg() else _copied(tensor)


def _copied(tensor: Tensor) -> Tensor:
    # The memory of a negated view, such as part of a conjugate, has the other sign.
    return tensor.resolve_neg().contiguous()


@functools.cache
def nothing(dtype: torch.dtype) -> Tensor:
    """An empty tensor, for arguments that need a tensor."""
    with torch.inference_mode(False):  # else autograd could not save it
        return torch.empty(0, dtype=dtype, device="cpu")


def zeros(size: int, like: Tensor) -> Tensor:
    """At least `size` zeros. They must not be written to."""
    return _at_least((_ZEROS, like.dtype), size, torch.zeros)


def scratch(size: int, like: Tensor, lane: int = 0) -> Tensor:
    """Scratch memory of at least `size` elements for one kernel. Kernels side by side have other lanes."""
    return _at_least((lane, like.dtype), size, torch.empty)


def _at_least(key: tuple[int, torch.dtype], size: int, make: Callable[..., Tensor]) -> Tensor:
    tensor = _kept.tensors.get(key)
    if tensor is None or tensor.numel() < size:
        tensor = make(size, dtype=key[1], device="cpu")
        prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
        if tensor.nbytes <= _MOST:
            _kept.tensors[key] = tensor
    return tensor
