"""Memory that lives as long as a thread, for what every call needs and no call keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.compiler.memory import prefer_huge_pages

_kept = threading.local()
_MOST = 1 << 26  # bytes that are kept; larger memory is given back after the call


def zeros(size: int, like: Tensor) -> Tensor:
    """At least `size` zeros; nobody writes to them."""
    return _at_least("zeros", size, like, torch.zeros)


def scratch(size: int, like: Tensor, lane: int = 0) -> Tensor:
    """At least `size` elements for the time of one kernel; kernels side by side have a lane each."""
    return _at_least(f"scratch_{lane}", size, like, torch.empty)


def _at_least(name: str, size: int, like: Tensor, make: Callable[..., Tensor]) -> Tensor:
    key = f"{name}_{like.dtype}"
    tensor: Tensor | None = getattr(_kept, key, None)
    if tensor is None or tensor.numel() < size:
        tensor = make(size, dtype=like.dtype, device=like.device)
        prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
        if tensor.nbytes <= _MOST:
            setattr(_kept, key, tensor)
    return tensor
