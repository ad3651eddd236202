"""Checks of lengths, and of the parts of a `PackedSequence`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shape_of_lengths(lengths: Tensor | Sequence[int], B: int) -> Tensor:
    """Check the type and shape of the lengths ``[B]``. Returns them as a tensor on the CPU."""
    try:
        found = torch.as_tensor(lengths, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # torch raises any of these if it cannot make a tensor
        raise TypeError(f"lengths must be whole numbers. Got {_shown(lengths)}.") from None
    if found.numel() and (found.dtype == torch.bool or found.is_floating_point() or found.is_complex()):
        raise TypeError(f"lengths must be whole numbers. Got {found.dtype}.")
    if not found.dtype.is_signed:
        found = found.long()  # torch cannot compare uint16
    if found.shape != (B,):
        raise ValueError(f"lengths must have shape (batch,) = ({B},). Got {tuple(found.shape)}.")
    return found


def _shown(value: object) -> str:
    """A value for an error message, shortened."""
    if isinstance(value, Tensor):
        return f"a tensor on {value.device}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def row_lengths(lengths: Tensor | Sequence[int], B: int, T: int) -> Tensor:
    """Check lengths ``[B]``, which must be from 0 to T. Returns them as an int64 tensor on the CPU."""
    found = shape_of_lengths(lengths, B)
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) <= T:
        came = f"{int(found.min())} to {int(found.max())}"
        raise ValueError(f"lengths must be from 0 to {T}, the steps of the input. Got {came}.")
    return found.long()


def batch_sizes(sizes: Tensor, N: int) -> Tensor:
    """Check the batch sizes of packed data with N rows: positive, not increasing, with the sum N."""
    expected = f"batch_sizes of a PackedSequence must be int64 on the CPU, [T], and add up to its {N} rows, "
    if sizes.dtype != torch.int64 or sizes.dim() != 1 or not sizes.is_cpu:
        came = f"{sizes.dtype} of shape {tuple(sizes.shape)} on {sizes.device}"
        raise RuntimeError(f"{expected}none of them larger than the one before. Got {came}.")
    # NumPy takes less time than torch for few numbers.
    numbers = sizes.numpy()
    if not len(numbers) or numbers[-1] < 1 or numbers.sum() != N or (numbers[1:] > numbers[:-1]).any():
        raise RuntimeError(f"{expected}none of them 0 or larger than the one before. Got {numbers.tolist()}.")
    return sizes


def row_order(order: Tensor | None, back: Tensor | None, B: int) -> Tensor:
    """Check the order of packed rows ``[B]`` and its inverse `back`. Returns the order, on the CPU."""
    rows = torch.arange(B, device="cpu")
    found = rows if order is None else order.cpu()
    if found.dtype != torch.int64 or found.shape != (B,) or not torch.equal(found.sort()[0], rows):
        raise RuntimeError(
            f"sorted_indices of a PackedSequence must hold each of 0 to {B - 1} once, as int64. "
            f"Got {found.tolist()}."
        )
    if back is not None and not torch.equal(back.cpu(), found.argsort()):
        raise RuntimeError(
            f"unsorted_indices of a PackedSequence must undo its sorted_indices, {found.tolist()}. "
            f"Got {back.tolist()}."
        )
    return found
