"""The layers that are compared, as functions without arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import gatewise.nn

Run = Callable[[], object]
KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Shape(NamedTuple):
    """Batch, steps, inputs, units."""

    B: int
    T: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"B{self.B} T{self.T} I{self.I} H{self.H}"

    def operations(self, kind: str, training: bool) -> float:
        """Floating-point operations of the products; training counts three times."""
        forward = 2.0 * GATES[kind] * self.H * (self.H + self.I) * self.B * self.T
        return 3 * forward if training else forward


SHAPES = [
    Shape(1, 200, 32, 64),
    Shape(1, 200, 128, 128),
    Shape(1, 100, 512, 512),
    Shape(16, 100, 64, 128),
    Shape(32, 100, 128, 256),
    Shape(64, 200, 64, 64),
    Shape(256, 365, 32, 64),
    Shape(64, 100, 512, 512),
    Shape(128, 50, 1024, 1024),
]


def pair(kind: str, shape: Shape) -> tuple[nn.Module, nn.Module, Tensor]:
    """Our layer and torch's with the same weights, and an input."""
    theirs = getattr(nn, KINDS[kind])(shape.I, shape.H)
    ours = getattr(gatewise.nn, KINDS[kind])(shape.I, shape.H)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs, torch.randn(shape.T, shape.B, shape.I)


def inference(layer: nn.Module, x: Tensor) -> Run:
    """The forward pass without gradients."""

    def run() -> object:
        with torch.no_grad():
            return layer(x)

    return run


def training(layer: nn.Module, x: Tensor) -> Run:
    """Forward, backward, all gradients, the input's among them."""
    x = x.clone().requires_grad_()
    by_output = torch.randn(*x.shape[:2], layer.get_parameter("weight_hh_l0").size(1))

    def run() -> object:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x)[0].backward(by_output)
        return x.grad

    return run


def onnx_runtime(kind: str, shape: Shape, threads: int) -> Run:
    """ONNX Runtime's operator on random weights of the same size."""
    B, T, I, H = shape
    rng = np.random.default_rng(0)
    rows = GATES[kind] * H
    sizes = {"W": (1, rows, I), "R": (1, rows, H), "B": (1, 2 * rows)}
    weights = {k: (rng.standard_normal(s) / H**0.5).astype(np.float32) for k, s in sizes.items()}
    node = helper.make_node(KINDS[kind], ["X", "W", "R", "B"], ["Y"], hidden_size=H)
    if kind == "gru":
        node.attribute.append(helper.make_attribute("linear_before_reset", 1))
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, B, H])],
        [onnx.numpy_helper.from_array(w, k) for k, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"X": rng.standard_normal((T, B, I)).astype(np.float32)}
    return lambda: session.run(None, feed)
