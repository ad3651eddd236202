"""ONNX Runtime's operator with the weights of a torch layer; an optional peer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.layers import GATES, KINDS

NAME = "ONNX Runtime"
_ORDER = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}  # torch's gates as ONNX has them: iofc, zrh


def missing() -> list[str]:
    """The missing packages."""
    return [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]


def onnx_layer(
    kind: str, layer: nn.Module, x: Tensor, threads: int
) -> Callable[[], list[NDArray[np.float32]]]:
    """A call of the operator on ``x [T, B, I]``; it returns a list of one array ``[T, 1, B, H]``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = _model(kind, layer, x)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {"X": x.numpy()}
    return lambda: session.run(None, feed)


def _model(kind: str, layer: nn.Module, x: Tensor) -> bytes:
    """A graph of one operator; its weights have a first axis for directions, here one."""
    from onnx import TensorProto, helper, numpy_helper

    (T, B, I), H = x.shape, layer.get_parameter("weight_hh_l0").size(1)
    biases = [_ordered(kind, layer, name) for name in ("bias_ih_l0", "bias_hh_l0")]
    weights = {
        "W": _ordered(kind, layer, "weight_ih_l0"),
        "R": _ordered(kind, layer, "weight_hh_l0"),
        "B": torch.cat(biases, 1),
    }
    node = helper.make_node(KINDS[kind], ["X", *weights], ["Y"], hidden_size=H)
    if kind == "gru":
        node.attribute.append(helper.make_attribute("linear_before_reset", 1))
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(weight.numpy(), name) for name, weight in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _ordered(kind: str, layer: nn.Module, name: str) -> Tensor:
    """A parameter ``[G*H, ...]`` with ONNX's order of gates, ``[1, G*H, ...]``."""
    gates = layer.get_parameter(name).detach().chunk(GATES[kind])
    return torch.cat([gates[k] for k in _ORDER[kind]]).unsqueeze(0)
