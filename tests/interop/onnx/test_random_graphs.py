"""Random graphs around recurrent nodes, in every operator set, against ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from gatewise import import_onnx
from tests.interop.onnx.models import Array, by_onnx_runtime, saved


class Maker:
    """Adds nodes in a chain. The values between them have shape ``[B, width, T]``."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.opset = draw(st.integers(7, 22))
        self.width = draw(st.integers(1, 3)) * 2
        self.nodes: list[Any] = []
        self.held: dict[str, Array] = {}
        self.rng = np.random.default_rng(draw(st.integers(0, 99)))

    def one(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def hold(self, array: Any) -> str:
        name = f"c{len(self.held)}"
        self.held[name] = np.asarray(array)
        return name

    def weights(self, *shape: int) -> str:
        return self.hold(self.rng.normal(scale=0.5, size=shape).astype("float32"))

    def wholes(self, *numbers: int) -> str:
        return self.hold(np.array(numbers, "int64"))

    def put(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}" + "'" * k for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0]

    def listed(self, operator: str, x: str, since: int, name: str, *numbers: int, **attributes: Any) -> str:
        """A node with a list of numbers: an input in newer versions, an attribute in older ones."""
        if self.opset >= since:
            return self.put(operator, x, self.wholes(*numbers), **attributes)
        attributes[name] = list(numbers)
        return self.put(operator, x, **attributes)


def windowed(m: Maker) -> dict[str, Any]:
    auto = m.one("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    found = {"strides": [m.one(1, 2)], "auto_pad": auto, "kernel_shape": [m.one(2, 3)]}
    return found | ({"pads": [m.one(0, 1), m.one(0, 1)]} if auto == "NOTSET" else {})


def conv(m: Maker, x: str) -> str:
    groups, old, window = m.one(1, 2), m.width, windowed(m)
    m.width = 2 * m.one(1, 2, 3)
    dilation: dict[str, Any] = {"dilations": [m.one(1, 2)]} if window["auto_pad"] == "NOTSET" else {}
    weight = m.weights(m.width, old // groups, *window["kernel_shape"])
    bias = [m.weights(m.width)] if m.one(True, False) else []
    return m.put("Conv", x, weight, *bias, group=groups, **window, **dilation)


def conv_transpose(m: Maker, x: str) -> str:
    stride, size = m.one(1, 2), m.one(2, 3)
    window: dict[str, Any] = {"strides": [stride], "kernel_shape": [size], "pads": [m.one(0, 1), m.one(0, 1)]}
    weights = m.weights(m.width, m.width, size), m.weights(m.width)
    return m.put("ConvTranspose", x, *weights, **window, output_padding=[m.one(0, stride - 1)])


def pool(m: Maker, x: str) -> str:
    operator, window = m.one("MaxPool", "AveragePool"), windowed(m)
    if operator == "AveragePool":
        window["count_include_pad"] = m.one(0, 1)
    if window["auto_pad"] == "NOTSET" and m.opset >= (10 if operator == "MaxPool" else 19):
        window["dilations"] = [m.one(1, 2)]
    if window["auto_pad"] == "NOTSET" and m.opset >= 10 and "count_include_pad" not in window:
        window["ceil_mode"] = m.one(0, 1)
    return m.put(operator, x, **window)


def normalized(m: Maker, x: str) -> str:
    kinds = ["batch", "instance", *["layer"] * (m.opset >= 17), *["group"] * (m.opset >= 21)]
    kind, scale, shift = m.one(*kinds), m.weights(m.width), m.weights(m.width)
    if kind == "batch":
        spread = m.hold(m.rng.uniform(0.5, 2, m.width).astype("float32"))
        return m.put(
            "BatchNormalization", x, scale, shift, m.weights(m.width), spread, epsilon=m.one(1e-5, 0.1)
        )
    if kind == "instance":
        return m.put("InstanceNormalization", x, scale, shift, epsilon=0.1)
    if kind == "group":
        return m.put("GroupNormalization", x, scale, shift, num_groups=2, epsilon=0.1)
    turned = m.put("Transpose", x, perm=[0, 2, 1])
    return m.put("Transpose", m.put("LayerNormalization", turned, scale, shift, epsilon=0.1), perm=[0, 2, 1])


ACTIVATIONS: list[tuple[str, int, dict[str, float]]] = [
    ("Relu", 7, {}), ("Sigmoid", 7, {}), ("Tanh", 7, {}), ("Softplus", 7, {}), ("Softsign", 7, {}),
    ("HardSigmoid", 7, {"alpha": 0.3, "beta": 0.4}), ("HardSigmoid", 7, {}), ("LeakyRelu", 7, {"alpha": 0.2}),
    ("Elu", 7, {"alpha": 0.7}), ("Selu", 7, {}), ("Erf", 9, {}), ("ThresholdedRelu", 10, {"alpha": 0.1}),
    ("Celu", 12, {"alpha": 0.5}), ("HardSwish", 14, {}), ("Mish", 18, {}), ("Gelu", 20, {}), ("Sin", 7, {}),
    ("Abs", 7, {}), ("Neg", 7, {}), ("Shrink", 9, {"bias": 0.1, "lambd": 0.2}),
]  # fmt: skip


def activated(m: Maker, x: str) -> str:
    operator, _, attributes = m.one(*(entry for entry in ACTIVATIONS if entry[1] <= m.opset))
    return m.put(operator, x, **attributes)


def clipped(m: Maker, x: str) -> str:
    if m.opset < 11:
        return m.put("Clip", x, min=-0.5, max=0.75)
    low, high = (m.hold(np.array(number, "float32")) for number in (-0.5, 0.75))
    return m.put("Clip", x, *m.one((low, high), ("", high), (low,)))


def padded(m: Maker, x: str) -> str:
    mode = m.one("constant", "reflect", "edge")
    return m.listed("Pad", x, 11, "pads", 0, 0, m.one(0, 1, 2), 0, 0, m.one(0, 1, 2), mode=mode)


def softmax(m: Maker, x: str) -> str:
    return m.put(m.one("Softmax", "LogSoftmax"), x, axis=m.one(1, 2))


REDUCTIONS = ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceLogSumExp"]


def reduced(m: Maker, x: str) -> str:
    operator = m.one(*REDUCTIONS)
    since = 13 if operator == "ReduceSum" else 18
    whole = m.listed(operator, x, since, "axes", m.one(1, 2, -1), keepdims=1)
    broadcasting = ("Sub", "Mul", "Max") if m.opset >= 8 else ("Sub", "Mul")  # Max since operator set 8
    return m.put(m.one(*broadcasting), x, whole)


def chosen(m: Maker, x: str) -> str:
    if m.opset < 9:
        return x
    condition = m.put(m.one("Less", "Greater"), x, m.hold(np.array(0.1, "float32")))
    condition = m.put("Not", condition) if m.one(True, False) else condition
    return m.put("Where", condition, x, m.put("Tanh", m.put("Neg", x)))


def sliced(m: Maker, x: str) -> str:
    if m.opset < 10:
        return m.put("Slice", x, starts=[1], ends=[2**31], axes=[2])
    step = m.one(1, 1, -1)
    ends = 2**31 if step == 1 else -(2**31)
    return m.put("Slice", x, m.wholes(1 if step == 1 else -1), m.wholes(ends), m.wholes(2), m.wholes(step))


def joined(m: Maker, x: str) -> str:
    y = m.put("Concat", x, m.put("Tanh", x), axis=1)
    m.width *= 2
    return m.put("Concat", y, y, axis=2) if m.one(True, False) else y


def halved(m: Maker, x: str) -> str:
    if m.width % 4:
        return x
    m.width //= 2
    return m.listed("Split", x, 13, "split", m.width, m.width, axis=1, outputs=2)


def permuted(m: Maker, x: str) -> str:
    return m.put("Gather", x, m.hold(m.rng.permutation(m.width)), axis=1)


def summed(m: Maker, x: str) -> str:
    if m.opset < 11:
        return x
    return m.put("CumSum", x, m.hold(np.array(2)), exclusive=m.one(0, 1), reverse=m.one(0, 1))


def squared(m: Maker, x: str) -> str:
    square = m.put("Pow", x, m.hold(np.array(2, "float32")))
    return m.put("Sqrt", m.put("Add", square, m.hold(np.array(0.1, "float32"))))


def branched(m: Maker, x: str) -> str:
    first, other = m.one("Relu", "Tanh"), m.one("Neg", "Sigmoid")
    total = m.put("ReduceMax", x, keepdims=0)
    condition = m.put("Greater", total, m.hold(np.array(0.3, "float32")))
    branches = {
        f"{way}_branch": helper.make_graph(
            [helper.make_node(operator, [x], [f"{x} {way}"])],
            way,
            [],
            [helper.make_tensor_value_info(f"{x} {way}", TensorProto.FLOAT, None)],
        )
        for way, operator in (("then", first), ("else", other))
    }
    return m.put("If", condition, **branches)


def recurrent(m: Maker, x: str) -> str:
    operator, direction = m.one("RNN", "GRU", "LSTM"), m.one("forward", "reverse", "bidirectional")
    D, H, G = 1 + (direction == "bidirectional"), m.one(2, 4), {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    inputs = [m.put("Transpose", x, perm=[2, 0, 1]), m.weights(D, G * H, m.width), m.weights(D, G * H, H)]
    options: dict[str, Any] = {"linear_before_reset": m.one(0, 1)} if operator == "GRU" else {}
    if m.one(True, False):
        inputs.append(m.weights(D, 2 * G * H))
    y = m.put(operator, *inputs, hidden_size=H, direction=direction, outputs=2, **options)
    m.width = D * H
    turned = m.put("Transpose", y, perm=[2, 1, 3, 0])  # [B, D, H, T]
    return m.put("Reshape", turned, m.wholes(0, m.width, -1))


STEPS: list[Callable[[Maker, str], str]] = [
    conv, conv_transpose, pool, normalized, activated, clipped, padded, softmax, reduced, chosen, sliced,
    joined, halved, permuted, summed, squared, branched, recurrent,
]  # fmt: skip


@st.composite
def models(draw: Any) -> ModelProto:
    m = Maker(draw)
    width, x = m.width, "x"
    steps = draw(st.lists(st.sampled_from(STEPS), max_size=4))
    for step in (*steps, recurrent, *draw(st.lists(st.sampled_from(STEPS), max_size=3))):
        x = step(m, x)
    graph = helper.make_graph(
        m.nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", width, "T"])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in m.held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", m.opset)], ir_version=8)


@given(models(), st.lists(st.tuples(st.integers(1, 3), st.integers(40, 50)), min_size=2, max_size=2))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_graph_gives_what_onnx_runtime_gives(made: ModelProto, sizes: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        module = import_onnx(saved(made, Path(folder)))
    width = made.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    for B, T in sizes:
        x = np.random.default_rng(T).normal(size=(B, width, T)).astype("float32")
        (expected,) = by_onnx_runtime(made, {"x": x})
        found = module(torch.from_numpy(x))
        assert str(found.dtype) == f"torch.{expected.dtype}"
        scale = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(found.detach() / scale, expected / scale, rtol=1e-4, atol=1e-4)
    found.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
