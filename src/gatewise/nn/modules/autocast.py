"""Layers under autocast: a layer computes in the element type of its weights.

A recurrence feeds its rounding errors back at every step, and a shorter type would not make the compiled
kernels faster. So input and states are converted to the type of the weights, and the output has this type
too. (Under CPU autocast, the output of `torch.nn.LSTM` and `RNN` has the short type, that of `GRU` the type
of its weights.)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gatewise.nn.walk.listening import here


def in_type_of(weight: Tensor, tensor: Tensor) -> Tensor:
    """Convert `tensor` to the type of `weight` under autocast. As in torch, float64 is not converted."""
    castable = tensor.is_floating_point() and tensor.dtype not in (weight.dtype, torch.float64)
    if not castable or not _autocasting(tensor.device.type):
        return tensor
    for listener in here.listeners:
        listener.converted(tensor)
    return tensor.to(weight.dtype)


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A context without autocast for operations on `device_type`.

    A module enters it once in each call, after `in_type_of` has converted the input and the states.
    """
    around = _autocasting(device_type)
    for listener in here.listeners:
        listener.autocast(torch.get_autocast_dtype(device_type) if around else None)
    return torch.autocast(device_type, enabled=False) if around else nullcontext()


def _autocasting(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
