"""What a layer does under autocast: its recurrence stays in the element type of its weights.

A recurrence feeds its own rounding errors back at every step, and the compiled kernels have nothing to gain
from a shorter type; so input and states are brought to the type of the weights, and the result has it too.
(Under CPU autocast `torch.nn.LSTM` and `RNN` give the short type, `GRU` that of its weights.)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def in_type_of(weight: Tensor, tensor: Tensor) -> Tensor:
    """`tensor` in the type of `weight` where autocast asks for a conversion; it leaves float64 alone."""
    castable = tensor.is_floating_point() and tensor.dtype not in (weight.dtype, torch.float64)
    return tensor.to(weight.dtype) if castable and _autocasting(tensor.device.type) else tensor


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A context in which operations on `device_type` keep the types that they are given."""
    return torch.autocast(device_type, enabled=False) if _autocasting(device_type) else nullcontext()


def _autocasting(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
