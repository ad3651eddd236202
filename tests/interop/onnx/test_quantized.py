"""Networks of 8-bit integers: exact, except for the LSTM, whose weights become floating-point numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

from gatewise import import_onnx, watch
from tests.interop.onnx.models import Array, by_onnx_runtime, saved

RNG = np.random.default_rng(0)
T, B, I, H, C = 9, 3, 5, 8, 4


def some(*shape: int) -> Array:
    return RNG.normal(size=shape).astype("float32")


def made(
    nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, int], held: dict[str, Array]
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, element, None) for name, element in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def quantized(weight: Array, per_channel: bool, signed: bool) -> tuple[Array, Array, Array]:
    """Integers ``[D, I, 4*H]``, with scales and zero points for each direction or for each column."""
    low, high = weight.min(1, keepdims=True), weight.max(1, keepdims=True)
    if not per_channel:
        low, high = low.min(2, keepdims=True), high.max(2, keepdims=True)
    first, last = (-128, 127) if signed else (0, 255)
    scale = (high - low) / 255
    zero = np.round(first - low / scale)
    integers = np.clip(np.round(weight / scale + zero), first, last)
    if signed:  # ONNX Runtime accepts signed weights only with zero point 0
        scale, zero = np.maximum(-low, high) / 127, np.zeros_like(zero)
        integers = np.round(weight / scale)
    kind = "int8" if signed else "uint8"
    shape = (len(weight), -1) if per_channel else (len(weight),)
    return integers.astype(kind), scale.reshape(shape).astype("float32"), zero.reshape(shape).astype(kind)


def lstm(direction: str, per_channel: bool, signed: bool, peepholes: bool) -> tuple[ModelProto, ModelProto]:
    """A DynamicQuantizeLSTM, and the LSTM whose weights are its integers times their scales."""
    D = 1 + (direction == "bidirectional")
    held = {"B": some(D, 8 * H)} | ({"P": some(D, 3 * H)} if peepholes else {})
    scales: dict[str, Array] = {}
    for name, width in (("W", I), ("R", H)):
        integers, scale, zero = quantized(some(D, width, 4 * H) / 2, per_channel, signed)
        scales |= {f"{name}q": integers, f"{name} scale": scale, f"{name} zero": zero}
        spread = [x.reshape(D, 1, -1).astype("float32") for x in (scale, zero)]
        held[name] = ((integers - spread[1]) * spread[0]).transpose(0, 2, 1).copy()
    inputs = {"X": ["T", "B", I], "h": [D, "B", H], "c": [D, "B", H]}
    outputs: dict[str, int] = dict.fromkeys(("Y", "Y_h", "Y_c"), TensorProto.FLOAT)
    tail = ["B", "", "h", "c", "P" if peepholes else ""]
    options: dict[str, Any] = {"hidden_size": H, "direction": direction}
    names = ["W scale", "W zero", "R scale", "R zero"]
    mine = node("DynamicQuantizeLSTM", ["X", "Wq", "Rq", *tail, *names], list(outputs), "lstm",
                domain="com.microsoft", **options)  # fmt: skip
    plain = node("LSTM", ["X", "W", "R", *tail], list(outputs), "lstm", **options)
    own = {name: array for name, array in held.items() if name not in "WR"}
    return made([mine], inputs, outputs, own | scales), made([plain], inputs, outputs, held)


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize(("per_channel", "signed"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_quantized_lstm(
    direction: str, per_channel: bool, signed: bool, peepholes: bool, tmp_path: Path
) -> None:
    model, floats = lstm(direction, per_channel, signed, peepholes)
    module, D = import_onnx(saved(model, tmp_path)), 1 + (direction == "bidirectional")
    for steps, rows in ((1, 1), (T, B)):
        feeds = {"X": some(steps, rows, I), "h": some(D, rows, H) / 2, "c": some(D, rows, H)}
        found = module(*map(torch.from_numpy, feeds.values()))
        exact, rounded = by_onnx_runtime(floats, feeds), by_onnx_runtime(model, feeds)
        for mine, same, near in zip(found, exact, rounded, strict=True):
            np.testing.assert_allclose(mine.detach(), same, rtol=1e-4, atol=1e-5)
            # ONNX Runtime also rounds the factors of the weights, to 255 values.
            assert np.abs(mine.detach().numpy() - near).mean() < 0.02


def test_a_quantized_lstm_is_watched_and_trained(tmp_path: Path) -> None:
    model, _ = lstm("forward", per_channel=True, signed=True, peepholes=False)
    module = import_onnx(saved(model, tmp_path))
    with watch(module) as seen:
        module(*map(torch.from_numpy, (some(T, B, I), some(1, B, H), some(1, B, H))))[0].sum().backward()
    assert seen["program.lstm.directions.0.l0"].f.shape == (T, B, H)
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def dense() -> ModelProto:
    """A linear layer on integers, as ONNX Runtime's quantiser writes it, followed by a convolution."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("MatMulInteger", ["q", "w", "z", "w zero"], ["sums"]),
        node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
        node("Mul", ["s", "w scale"], ["scale"]),
        node("Mul", ["floats", "scale"], ["product"]),
        node("Add", ["product", "b"], ["y"]),
        node("QuantizeLinear", ["y", "y scale", "y zero"], ["p"]),
        node("ConvInteger", ["p", "k", "y zero"], ["c"], pads=[1, 1]),
        node("DequantizeLinear", ["c", "c scale"], ["out"]),
    ]
    held = {
        "w": RNG.integers(0, 256, (T, 6)).astype("uint8"), "w zero": np.array(120, "uint8"),
        "w scale": np.array(0.01, "float32"), "b": some(6), "y scale": np.array(0.2, "float32"),
        "y zero": np.array(128, "uint8"), "k": RNG.integers(0, 256, (4, C, 3)).astype("uint8"),
        "c scale": np.array(0.02, "float32"),
    }  # fmt: skip
    return made(nodes, {"x": ["B", C, T]}, {"out": TensorProto.FLOAT, "p": TensorProto.UINT8}, held)


def test_integers_are_exact(tmp_path: Path) -> None:
    model = dense()
    module = import_onnx(saved(model, tmp_path))
    for rows in (1, 4):
        x = some(rows, C, T)
        for mine, theirs in zip(module(torch.from_numpy(x)), by_onnx_runtime(model, {"x": x}), strict=True):
            assert str(mine.dtype) == f"torch.{theirs.dtype}"
            np.testing.assert_array_equal(mine.detach(), theirs)


def test_gradients_are_those_of_the_dequantized_numbers(tmp_path: Path) -> None:
    module = import_onnx(saved(dense(), tmp_path))
    x, same = (torch.from_numpy(np.full((1, C, T), 0.3, "float32")).requires_grad_() for _ in range(2))
    weight, kernel = (module.program.get_buffer(name).float() for name in "wk")
    bias = module.program.get_parameter("b")
    floats = torch.matmul(same, (weight - 120) * 0.01) + bias
    floats = torch.nn.functional.conv1d(floats / 0.2, kernel * 0.02, padding=1)
    out, _ = module(x)
    seed = torch.from_numpy(some(*out.shape))
    for given in (x, bias):
        (expected,) = torch.autograd.grad(floats, same if given is x else given, seed, retain_graph=True)
        (found,) = torch.autograd.grad(out, given, seed, retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
