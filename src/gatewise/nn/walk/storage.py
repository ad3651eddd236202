"""Checks that tensors have enough memory."""

from __future__ import annotations

from torch import Tensor


def is_stored(tensor: Tensor) -> bool:
    """Whether a tensor has memory. (Some tensors of torch have none, such as fake tensors.)

    Raises:
        RuntimeError: the storage is too small for the elements.
    """
    try:
        held = tensor.untyped_storage().nbytes()
    except NotImplementedError:
        return False
    if (held != tensor.nbytes or tensor.storage_offset()) and held < _reach(tensor):
        raise RuntimeError(
            f"A tensor of shape {tuple(tensor.shape)} needs {_reach(tensor)} bytes of storage. Its storage "
            f"holds {held}: it was resized, as by untyped_storage().resize_(0)."
        )
    return bool(tensor.data_ptr() or not tensor.numel())


def _reach(tensor: Tensor) -> int:
    """The number of bytes of its storage that a tensor needs."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return int(tensor.storage_offset() + last + 1) * tensor.itemsize
