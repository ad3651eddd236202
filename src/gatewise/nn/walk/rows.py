"""How many steps each row has, and how many rows each step: what callers say, checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shape_of_lengths(lengths: Tensor | Sequence[int], B: int) -> Tensor:
    """The steps of each row, ``[B]`` whole numbers, as a tensor on the CPU."""
    try:
        found = torch.as_tensor(lengths, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # one of torch's many words for what makes no tensor
        raise TypeError(f"lengths must be whole numbers. Got {_shown(lengths)}.") from None
    if found.numel() and (found.dtype == torch.bool or found.is_floating_point() or found.is_complex()):
        raise TypeError(f"lengths must be whole numbers. Got {found.dtype}.")
    if not found.dtype.is_signed:
        found = found.long()  # torch compares no uint16
    if found.shape != (B,):
        raise ValueError(f"lengths must have shape (batch,) = ({B},). Got {tuple(found.shape)}.")
    return found


def _shown(value: object) -> str:
    """A value in an error."""
    if isinstance(value, Tensor):
        return f"a tensor on {value.device}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def row_lengths(lengths: Tensor | Sequence[int], B: int, T: int) -> Tensor:
    """The steps of each row, ``[B]`` whole numbers from 0 to T, as an int64 tensor on the CPU."""
    found = shape_of_lengths(lengths, B)
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) <= T:
        came = f"{int(found.min())} to {int(found.max())}"
        raise ValueError(f"lengths must be from 0 to {T}, the steps of the input. Got {came}.")
    return found.long()


def batch_sizes(sizes: Tensor, N: int) -> Tensor:
    """How many of the N rows of packed data each step has: not more than the step before, at least one."""
    expected = f"batch_sizes of a PackedSequence must be int64 on the CPU, [T], and add up to its {N} rows, "
    if sizes.dtype != torch.int64 or sizes.dim() != 1 or not sizes.is_cpu:
        came = f"{sizes.dtype} of shape {tuple(sizes.shape)} on {sizes.device}"
        raise RuntimeError(f"{expected}none of them larger than the one before. Got {came}.")
    # As NumPy's, which takes less time than torch for so few numbers.
    numbers = sizes.numpy()
    if not len(numbers) or numbers[-1] < 1 or numbers.sum() != N or (numbers[1:] > numbers[:-1]).any():
        raise RuntimeError(f"{expected}none of them larger than the one before or 0. Got {numbers.tolist()}.")
    return sizes


def row_order(order: Tensor | None, back: Tensor | None, B: int) -> Tensor:
    """Which of the B rows of a batch each row of packed data is, ``[B]`` on the CPU; `back` undoes it."""
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
