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

from gatewise.nn.walk.listening import here


def in_type_of(weight: Tensor, tensor: Tensor) -> Tensor:
    """`tensor` in the type of `weight` where autocast asks for a conversion; it leaves float64 alone."""
    castable = tensor.is_floating_point() and tensor.dtype not in (weight.dtype, torch.float64)
    if not castable or not _autocasting(tensor.device.type):
        return tensor
    for listener in here.listeners:
        listener.converted(tensor)
    return tensor.to(weight.dtype)


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A context in which operations on `device_type` keep the types that they are given.

    A module enters it once a call, when `in_type_of` has seen what came.
    """
    around = _autocasting(device_type)
    for listener in here.listeners:
        listener.autocast(torch.get_autocast_dtype(device_type) if around else None)
    return torch.autocast(device_type, enabled=False) if around else nullcontext()


def _autocasting(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
