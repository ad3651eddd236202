"""Models with one recurrent node, and functions that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper, save
from onnx.reference import ReferenceEvaluator

from tests.interop.onnx.equations import FUNCTIONS, GATES, STANDARD, Attributes

Array = NDArray[Any]
Given = dict[str, Array | None]

NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
FED = ("X", "sequence_lens", "initial_h", "initial_c")


def drawn(operator: str, seed: int, dtype: str = "float32") -> tuple[Attributes, Given]:
    """Attributes and inputs, time first; over many seeds all combinations occur."""
    rng = np.random.default_rng(seed)
    T, B, I, H = (int(n) for n in rng.integers(1, 7, 4))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    D, G = 1 + (direction == "bidirectional"), GATES[operator]

    def maybe() -> bool:
        return bool(rng.integers(2))

    def numbers(*shape: int) -> Array:
        return rng.normal(scale=0.7, size=shape).astype(dtype)

    attributes: Attributes = {"hidden_size": H, "direction": direction}
    if maybe():
        attributes["clip"] = _short(rng.uniform(0.2, 2))
    if maybe():
        attributes |= _activations(operator, D, rng)
    if operator == "GRU":
        attributes["linear_before_reset"] = int(maybe())
    if operator == "LSTM" and maybe():
        attributes["input_forget"] = int(maybe())
    given: Given = {"X": numbers(T, B, I), "W": numbers(D, G * H, I), "R": numbers(D, G * H, H)}
    optional = {
        "B": numbers(D, 2 * G * H),
        "sequence_lens": rng.integers(0, T + 1, B).astype("int32"),
        "initial_h": numbers(D, B, H),
    }
    if operator == "LSTM":
        optional |= {"initial_c": numbers(D, B, H), "P": numbers(D, 3 * H)}
    return attributes, given | {name: array for name, array in optional.items() if maybe()}


def _activations(operator: str, D: int, rng: np.random.Generator) -> Attributes:
    names = [str(name) for name in rng.choice(SPELT, len(STANDARD[operator]) * D)]
    takes = [len(FUNCTIONS[name.lower()][1]) for name in names]
    found: Attributes = {"activations": names}
    for attribute, count in (
        ("activation_alpha", sum(n > 0 for n in takes)),
        ("activation_beta", sum(n > 1 for n in takes)),
    ):
        if count:
            found[attribute] = [_short(number) for number in rng.uniform(0.1, 0.9, count)]
    return found


def _short(number: float) -> float:
    """A number that the attribute of a file can store exactly."""
    return float(np.float32(number))


# Spelled as in the standard; ONNX Runtime reads no other spelling.
SPELT = ["Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign",
         "Tanh", "ThresholdedRelu"]  # fmt: skip


def model(operator: str, attributes: Attributes, given: Given, opset: int = 22) -> ModelProto:
    """A model with one node. Weights are constants, the rest are inputs."""
    outputs = ["Y", "Y_h", "Y_c"][: 3 if operator == "LSTM" else 2]
    inputs = [name if given.get(name) is not None else "" for name in NAMES[: 8 if operator == "LSTM" else 6]]
    while not inputs[-1]:
        inputs.pop()
    there = {name: array for name, array in given.items() if array is not None}
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, outputs, "recurrent", **attributes)],
        "graph",
        [_described(name, there[name].dtype, there[name].shape) for name in FED if name in there],
        [_described(name, there["X"].dtype, [None] * (3 + (name == "Y"))) for name in outputs],
        [numpy_helper.from_array(there[name], name) for name in ("W", "R", "B", "P") if name in there],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _described(name: str, dtype: Any, shape: Any) -> Any:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def fed(given: Given) -> dict[str, Array]:
    """The inputs of the model, in the order of its graph."""
    found = {name: given.get(name) for name in FED}
    return {name: array for name, array in found.items() if array is not None}


def saved(made: ModelProto, folder: Path) -> Path:
    save(made, folder / "model.onnx")
    return folder / "model.onnx"


def by_onnx_runtime(made: ModelProto, feeds: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def by_reference(made: ModelProto, feeds: dict[str, Array]) -> list[Array]:
    return list(ReferenceEvaluator(made).run(None, feeds))
