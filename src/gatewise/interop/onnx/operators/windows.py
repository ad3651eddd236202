"""Sliding windows: convolution and pooling, in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators.common import Operator, of


class Window(NamedTuple):
    """A window over each axis: its size, strides, dilations, and the padding on both sides."""

    sizes: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]

    @property
    def extents(self) -> list[int]:
        """The number of elements that it spans on each axis, including dilation."""
        return [(size - 1) * hole + 1 for size, hole in zip(self.sizes, self.dilations, strict=True)]

    @property
    def pads(self) -> list[int]:
        """The padding in the order of `torch.nn.functional.pad`."""
        return _pairs(self.begins, self.ends)


def _pairs(begins: Sequence[int], ends: Sequence[int]) -> list[int]:
    pairs = zip(reversed(begins), reversed(ends), strict=True)
    return [size for pair in pairs for size in pair]


def window_of(node: Node, x: Tensor, sizes: list[int]) -> Window:
    """The window that the attributes of a node describe, over the axes of `x` after the second."""
    rank = x.dim() - 2
    sizes = list(node.get("kernel_shape", sizes))
    strides, dilations = (list(node.get(name, [1] * rank)) for name in ("strides", "dilations"))
    pads = list(node.get("pads", [0] * 2 * rank))
    window = Window(sizes, strides, dilations, pads[:rank], pads[rank:])
    if {len(values) for values in window} != {rank}:
        raise OnnxError(f"kernel_shape, strides, dilations and pads must be for {rank} axes. Got {window}")
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return _same(window, list(x.shape[2:]), upper=auto == "SAME_UPPER")
    return window if auto == "NOTSET" else window._replace(begins=[0] * rank, ends=[0] * rank)


def _same(window: Window, places: list[int], upper: bool) -> Window:
    """The window with the padding of ``SAME_UPPER`` (an odd rest at the end) or ``SAME_LOWER``."""
    missing = [
        max((-(-n // step) - 1) * step + extent - n, 0)
        for n, step, extent in zip(places, window.strides, window.extents, strict=True)
    ]
    halves = [n // 2 for n in missing], [n - n // 2 for n in missing]
    begins, ends = halves if upper else halves[::-1]
    return window._replace(begins=begins, ends=ends)


def convolution(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Conv."""
    window = window_of(node, x, list(w.shape[2:]))
    padding = window.begins
    if window.begins != window.ends or min(padding) < 0:
        x, padding = F.pad(x, window.pads), [0] * len(padding)
    nothing = [0] * len(padding)
    groups = node.get("group", 1)
    return torch.convolution(
        x, w, b, window.strides, padding, window.dilations, False, nothing, groups
    )  # fmt: skip


def _transposed(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    window = window_of(node, x, list(w.shape[2:]))
    nothing = [0] * len(window.sizes)
    groups = node.get("group", 1)
    y = torch.convolution(x, w, None, window.strides, nothing, window.dilations, True, nothing, groups)
    y = F.pad(y, _pairs(nothing, node.get("output_padding", nothing)))
    begins, ends = _surplus(node, window, list(x.shape[2:]), list(y.shape[2:]))
    y = F.pad(y, _pairs([-n for n in begins], [-n for n in ends]))
    return y if b is None else y + b.reshape(-1, *[1] * len(nothing))


def _surplus(node: Node, window: Window, places: list[int], full: list[int]) -> tuple[list[int], list[int]]:
    """How much to cut off the full result of a transposed convolution, on both sides."""
    auto, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * step for n, step in zip(places, window.strides, strict=True)]
    if wanted is None:
        return window.begins, window.ends
    surplus = [n - size for n, size in zip(full, wanted[-len(full) :], strict=True)]
    halves = [n // 2 for n in surplus], [n - n // 2 for n in surplus]
    return halves if auto == "SAME_UPPER" else halves[::-1]


def _ceiled(node: Node, window: Window, places: list[int]) -> Window:
    """The window with extra padding at the end for a last, partial window (`ceil_mode`)."""
    if not node.get("ceil_mode", 0):
        return window
    ends = []
    for n, extent, step, begin, end in zip(
        places, window.extents, window.strides, window.begins, window.ends, strict=True
    ):
        count = -(-(n + begin + end - extent) // step) + 1
        count -= (count - 1) * step >= n + begin  # no window starts in the padding
        ends.append((count - 1) * step + extent - n - begin)
    return window._replace(ends=ends)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    window = _ceiled(node, window_of(node, x, []), list(x.shape[2:]))
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    padded = F.pad(x, window.pads, value=lowest)
    floats = padded if x.is_floating_point() else padded.double()
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(window.sizes) - 1]
    return pool(floats, window.sizes, window.strides, 0, window.dilations).to(x.dtype)


def _sums(x: Tensor, window: Window) -> Tensor:
    """The sum in each window, without padding."""
    places = x.shape[2:]
    ones = x.new_ones(1, 1, *window.sizes)
    nothing = [0] * len(places)
    flat = x.reshape(-1, 1, *places)
    found = torch.convolution(flat, ones, None, window.strides, nothing, window.dilations, False, nothing, 1)
    return found.reshape(*x.shape[:2], *found.shape[2:])


def _average_pool(node: Node, x: Tensor) -> Tensor:
    window = window_of(node, x, [])
    ceiled = _ceiled(node, window, list(x.shape[2:]))
    counted = x.new_ones(1, 1, *x.shape[2:])
    if node.get("count_include_pad", 0):
        counted = F.pad(counted, window.pads, value=1)
        more = [a - b for a, b in zip(ceiled.pads, window.pads, strict=True)]
    else:
        more = ceiled.pads
    return _sums(F.pad(x, ceiled.pads), ceiled) / _sums(F.pad(counted, more), ceiled)


def _lp_pool(node: Node, x: Tensor) -> Tensor:
    window, p = _ceiled(node, window_of(node, x, []), list(x.shape[2:])), node.get("p", 2)
    return _sums(F.pad(x, window.pads).abs().pow(p), window).pow(1 / p)


def _axes(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


WINDOWS: dict[str, Operator] = {
    "Conv": convolution,
    "ConvTranspose": _transposed,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "GlobalMaxPool": of(lambda x: x.amax(_axes(x), keepdim=True)),
    "GlobalAveragePool": of(lambda x: x.mean(_axes(x), keepdim=True)),
    "GlobalLpPool": lambda node, x: torch.linalg.vector_norm(x, node.get("p", 2), _axes(x), True),
}
