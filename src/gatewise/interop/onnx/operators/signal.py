"""Operators on signals: Fourier transforms and windows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from gatewise.interop.onnx.node import Node, dtype_of
from gatewise.interop.onnx.operators.common import Function, Operator, integers


def _complex(x: Tensor) -> Tensor:
    """``[..., 1]`` (real) or ``[..., 2]`` (real and imaginary part) as complex numbers."""
    return x[..., 0] if x.size(-1) == 1 else torch.view_as_complex(x.contiguous())


def _dft(node: Node, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    along = node.get("axis", 1 if node.opset < 20 else -2) if axis is None else integers(axis)[0]
    along %= x.dim()
    n = None if length is None else integers(length)[0]
    inverse, onesided = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    found = _TRANSFORMS[inverse, onesided](_complex(x), n, along)
    return torch.view_as_real(found) if found.is_complex() else found.unsqueeze(-1)


_TRANSFORMS: dict[tuple[bool, bool], Function] = {
    (False, False): torch.fft.fft,
    (False, True): torch.fft.rfft,
    (True, False): torch.fft.ifft,
    (True, True): torch.fft.irfft,
}


def _stft(
    node: Node, signal: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> Tensor:
    if length is None and window is None:
        raise ValueError("window or frame_length must be given")
    n = integers(length)[0] if length is not None else len(window)  # type: ignore[arg-type]
    window = torch.ones(n, dtype=signal.dtype, device=signal.device) if window is None else window
    x = signal if signal.dim() == 2 else _complex(signal)
    onesided = bool(node.get("onesided", 1))
    frames = x.unfold(1, n, integers(step)[0]) * window
    spectrum = torch.fft.rfft(frames) if onesided and not x.is_complex() else torch.fft.fft(frames)
    return torch.view_as_real(spectrum[..., : n // 2 + 1] if onesided else spectrum)


def _window(function: Function, node: Node, size: Tensor) -> Tensor:
    dtype = dtype_of(node.get("output_datatype", 1))
    return function(integers(size)[0], bool(node.get("periodic", 1)), dtype=dtype)


SIGNAL: dict[str, Operator] = {
    "DFT": _dft,
    "STFT": _stft,
    "HannWindow": partial(_window, torch.hann_window),
    "HammingWindow": partial(_window, partial(torch.hamming_window, alpha=25 / 46, beta=21 / 46)),
    "BlackmanWindow": partial(_window, torch.blackman_window),
}
