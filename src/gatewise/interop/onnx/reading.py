"""Reads the equations and the weights of a node RNN, GRU or LSTM, in each direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.activations import activations
from gatewise.interop.onnx.cells import ACTIVATIONS, GATES, PEEPHOLES, Variant
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.weights import Packed

# ONNX Runtime's own LSTM with 8-bit integer weights.
QUANTIZED_LSTM = "com.microsoft.DynamicQuantizeLSTM"
# The operators that run over a sequence.
RECURRENT = frozenset({*GATES, QUANTIZED_LSTM})

_SCALES = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P", *_SCALES)


def weights_named(node: Node) -> dict[str, str]:
    """The names of the inputs that must be constants: weights, and the scales of integer weights."""
    given = dict(zip(_INPUTS, node.inputs, strict=False))
    return {name: given.get(name, "") for name in (*Packed._fields, *_SCALES)}


def as_floats(node: Node, constants: Mapping[str, Tensor]) -> tuple[Node, Mapping[str, Tensor]]:
    """Convert an LSTM node with quantized weights to one with floating-point weights.

    ONNX Runtime also rounds the activations to 8 bits. That is not done here.
    """
    if node.operator != QUANTIZED_LSTM:
        return node, constants
    found = {name: constants[value] for name, value in weights_named(node).items() if value}
    floats = {name: _floats(found, name) for name in ("W", "R") if name in found}
    inputs = tuple(
        f"{name} as floats" if name in floats else value
        for name, value in zip(_INPUTS[:8], node.inputs, strict=False)
    )
    renamed = {f"{name} as floats": value for name, value in floats.items()}
    return replace(node, operator="LSTM", inputs=inputs), {**constants, **renamed}


def _floats(found: Mapping[str, Tensor], name: str) -> Tensor:
    """Integer weights ``[D, I, 4*H]``, with scales and zero points, as floating-point ``[D, 4*H, I]``."""
    scale, zero = (found[f"{name}_{kind}"] for kind in ("scale", "zero_point"))
    scale, zero = (x.reshape(len(x), 1, -1) for x in (scale, zero))
    return ((found[name].to(scale.dtype) - zero.to(scale.dtype)) * scale).mT


def inputs_of(node: Node) -> tuple[str, ...]:
    """The names of the inputs besides the weights: X, sequence_lens and the states ("" if omitted)."""
    given = dict(zip(_INPUTS, node.inputs, strict=False))
    states = ("initial_h",) if node.operator in ("RNN", "GRU") else ("initial_h", "initial_c")
    return tuple(given.get(name, "") for name in ("X", "sequence_lens", *states))


def weights_of(node: Node, constants: Mapping[str, Tensor], D: int) -> list[Packed]:
    """The weights of each direction, checked against the attributes."""
    found = {name: _constant(node, name, constants) for name in Packed._fields}
    W, R = found["W"], found["R"]
    if W is None or R is None or W.dim() != 3 or R.dim() != 3:
        raise OnnxError("W and R must be there, with 3 dimensions")
    H, G = int(node.get("hidden_size", R.size(2))), len(GATES[node.operator])
    expected = {"W": (D, G * H, W.size(2)), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    expected["P"] = (D, len(PEEPHOLES) * H)
    for name, tensor in found.items():
        if tensor is not None and tensor.shape != expected[name]:
            raise OnnxError(f"{name} must have shape {expected[name]}. Got {tuple(tensor.shape)}")
    B, P = found["B"], found["P"]
    return [Packed(W[k], R[k], None if B is None else B[k], None if P is None else P[k]) for k in range(D)]


def _constant(node: Node, name: str, constants: Mapping[str, Tensor]) -> Tensor | None:
    value = dict(zip(_INPUTS, node.inputs, strict=False)).get(name, "")
    if value and value not in constants:
        raise OnnxError(f"{name} must be a constant of the file. Got {value!r}, which is computed")
    return constants[value] if value else None


def variants_of(node: Node, D: int, peepholes: bool) -> list[Variant]:
    """The equations of each direction."""
    standard = ACTIVATIONS[node.operator]
    names = node.get("activations", standard * D)
    if len(names) != len(standard) * D:
        raise OnnxError(f"activations must be {len(standard) * D} names. Got {len(names)}")
    named = activations(names, node.get("activation_alpha", ()), node.get("activation_beta", ()))
    return [
        Variant(
            node.operator,
            named[start : start + len(standard)],
            node.get("clip"),
            bool(node.get("linear_before_reset", 0)),
            bool(node.get("input_forget", 0)),
            peepholes,
        )
        for start in range(0, len(named), len(standard))
    ]
