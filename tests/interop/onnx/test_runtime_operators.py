"""Operators that only ONNX Runtime has, or that the reference computes wrongly, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewise import import_onnx
from tests.interop.onnx.models import Array, by_onnx_runtime, saved
from tests.interop.onnx.test_operators import RNG, model, some


def singles(*shape: int) -> Array:
    return some(*shape).astype("float32")


def signed(*shape: int) -> Array:
    return RNG.integers(-128, 128, shape).astype("int8")


def unsigned(*shape: int) -> Array:
    return RNG.integers(0, 256, shape).astype("uint8")


def scale(*values: float) -> Array:
    return np.array(values if len(values) > 1 else values[0], "float32")


def byte(value: int) -> Array:
    return np.array(value, "uint8")


# Operators that the reference lacks: those of ONNX Runtime, and few of the standard.
BY_RUNTIME: list[tuple[str, list[Array | None], dict[str, Any]]] = [
    ("GlobalLpPool", [singles(2, 3, 5)], {}),
    ("GlobalLpPool", [singles(2, 3, 5, 2)], {"p": 3}),
    ("com.microsoft.Gelu", [singles(3, 4)], {}),
    ("com.microsoft.BiasGelu", [singles(3, 4), singles(4)], {}),
    ("com.microsoft.FastGelu", [singles(3, 4), singles(4)], {}),
    ("com.microsoft.FastGelu", [singles(3, 4)], {}),
    ("com.microsoft.QuickGelu", [singles(3, 4)], {"alpha": 1.5}),
    ("com.microsoft.FusedMatMul", [singles(2, 4, 3), singles(2, 4, 5)], {"transA": 1, "alpha": 0.5}),
    ("com.microsoft.FusedMatMul", [singles(2, 3, 4), singles(5, 4)], {"transB": 1}),
    (
        "com.microsoft.SkipLayerNormalization",
        [singles(2, 3, 8), singles(2, 3, 8), singles(8), singles(8), singles(8)],
        {},
    ),
    (
        "com.microsoft.SkipLayerNormalization",
        [singles(2, 3, 8), singles(2, 3, 8), singles(8)],
        {"epsilon": 0.1},
    ),
    ("com.microsoft.QuantizeLinear", [singles(3, 4), scale(0.02), byte(128)], {}),
    ("com.microsoft.DequantizeLinear", [unsigned(3, 4), scale(0.02), byte(100)], {}),
    (
        "com.microsoft.DynamicQuantizeMatMul",
        [singles(2, 5, 4), unsigned(4, 3), scale(0.1), byte(7), singles(3)],
        {},
    ),
    ("com.microsoft.DynamicQuantizeMatMul", [singles(5, 4), signed(4, 3), scale(0.1, 0.2, 0.3)], {}),
    (
        "com.microsoft.MatMulIntegerToFloat",
        [unsigned(5, 4), signed(4, 3), scale(0.1), scale(0.1, 0.2, 0.3), byte(3)],
        {},
    ),
    (
        "com.microsoft.QLinearAdd",
        [unsigned(5, 4), scale(0.1), byte(3), unsigned(4), scale(0.2), byte(99), scale(0.3), byte(50)],
        {},
    ),
    (
        "com.microsoft.QLinearMul",
        [unsigned(5, 4), scale(0.1), byte(3), unsigned(5, 4), scale(0.2), byte(99), scale(0.9), byte(50)],
        {},
    ),
    ("com.microsoft.QLinearSigmoid", [unsigned(5, 4), scale(0.03), byte(120), scale(1 / 256), byte(0)], {}),
    (
        "com.microsoft.QLinearLeakyRelu",
        [unsigned(5, 4), scale(0.03), byte(120), scale(0.02), byte(9)],
        {"alpha": 0.2},
    ),
    (
        "com.microsoft.QLinearGlobalAveragePool",
        [unsigned(1, 3, 5, 4), scale(0.03), byte(120), scale(0.02), byte(9)],
        {"channels_last": 0},
    ),
    (
        "com.microsoft.QLinearGlobalAveragePool",
        [unsigned(1, 5, 4, 3), scale(0.03), byte(120), scale(0.02), byte(9)],
        {"channels_last": 1},
    ),
    (
        "com.microsoft.QLinearConcat",
        [scale(0.2), byte(9), unsigned(5, 4), scale(0.1), byte(3), unsigned(5, 2), scale(0.2), byte(99)],
        {"axis": 1},
    ),
]


@pytest.mark.parametrize("case", BY_RUNTIME, ids=lambda case: case[0])
def test_an_operator_gives_what_onnx_runtime_gives(case: Any, tmp_path: Path) -> None:
    operator, inputs, attributes = case
    made = model(operator, 17, inputs, attributes, held=False)
    feeds = {f"x{k}": array for k, array in enumerate(inputs) if array is not None}
    expected = by_onnx_runtime(made, feeds)
    found = import_onnx(saved(made, tmp_path))(*(torch.from_numpy(array) for array in feeds.values()))
    assert str(found.dtype) == f"torch.{expected[0].dtype}"
    np.testing.assert_allclose(found.detach(), expected[0], rtol=1e-5, atol=1e-5)
