"""A layer as ONNX nodes: one of ONNX's recurrent operators, or a `Scan` for each direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from gatewise.interop.onnx.activations import numbers_of
from gatewise.interop.onnx.builder import Builder
from gatewise.interop.onnx.match import Native
from gatewise.interop.onnx.step import Scanner, array, from_input, step
from gatewise.interop.onnx.weights import Packed, packed


class Ran(NamedTuple):
    """The results of a layer: its output ``[T, B, D*H]``, and its final states, each ``[D, B, H]``."""

    output: str
    finals: list[str]


def scanned(b: Builder, scanners: Sequence[Scanner], x: str, states: Sequence[str], lengths: str) -> Ran:
    """A layer as one `Scan` for each of its directions.

    ``x [T, B, I]``, `states` each ``[D, B, H]``; `lengths` ``[B]``, or empty.
    """
    running = _running(b, x, lengths) if lengths else ""
    outputs, finals = [], []
    for direction, scanner in enumerate(scanners):
        initial = [b.node("Gather", state, b.scalar(direction), axis=0) for state in states]
        *ends, output = _scan(b, scanner, x, initial, running, reverse=direction == 1)
        outputs.append(b.node("Where", running, output, b.number(0)) if running else output)
        finals.append([b.node("Unsqueeze", end, b.integers(0)) for end in ends])
    joined = [_joined(b, column, 0) for column in zip(*finals, strict=True)]
    return Ran(_joined(b, outputs, -1), joined)


def _running(b: Builder, x: str, lengths: str) -> str:
    """A mask ``[T, B, 1]``, true where a step is before the end of its row."""
    T = b.node("Gather", b.node("Shape", x), b.scalar(0))
    steps = b.node("Range", b.scalar(0), T, b.scalar(1))
    column = b.node("Unsqueeze", steps, b.integers(1, 2))
    rows = b.node("Unsqueeze", b.node("Cast", lengths, to=TensorProto.INT64), b.integers(1))
    return b.node("Less", column, rows)


def _scan(
    b: Builder, scanner: Scanner, x: str, initial: Sequence[str], running: str, reverse: bool
) -> list[str]:
    """The final states, each ``[B, H]``, and the output ``[T, B, H]``."""
    sequences = [from_input(b, scanner, x), *([running] if running else [])]
    widths = _widths(scanner)
    body = b.inside()
    states = [body.input(body.new("state"), ["B", width]) for width in widths]
    fed = body.input(body.new("fed"), ["B", scanner.weights.weight_ih.size(0)])
    goes_on = body.input(body.new("running"), ["B", 1], bool) if running else ""
    after = step(body, scanner, fed, states)
    if running:
        pairs = zip(after, states, strict=True)
        after = [body.node("Where", goes_on, new, old) for new, old in pairs]
    for value, width in zip([*after, after[0]], [*widths, widths[0]], strict=True):
        body.output(value, ["B", width])
    return b.nodes(
        "Scan",
        len(states) + 1,
        *initial,
        *sequences,
        name=scanner.name,
        body=body.graph(f"step of {scanner.cell.name}"),
        num_scan_inputs=len(sequences),
        scan_input_directions=[int(reverse)] * len(sequences),
        scan_output_directions=[int(reverse)],
    )


def _widths(scanner: Scanner) -> list[int]:
    """The width of each state."""
    H = scanner.weights.weight_ih.size(0) // len(scanner.cell.input_gates)
    return [scanner.weights.weight_hh.size(1), *([H] * (len(scanner.cell.states) - 1))]


def _joined(b: Builder, values: Sequence[str], axis: int) -> str:
    return b.node("Concat", *values, axis=axis) if len(values) > 1 else values[0]


def operated(
    b: Builder, native: Native, scanners: Sequence[Scanner], x: str, states: Sequence[str], lengths: str
) -> Ran:
    """A layer as one of ONNX's recurrent operators; arguments as in `scanned`."""
    variant = native.variant
    columns = zip(*(packed(variant, native.names, s.cell, s.weights) for s in scanners), strict=True)
    W, R, B, P = (
        b.weight(name + scanners[0].suffix, np.stack([array(part) for part in column]))
        if column[0] is not None
        else ""
        for name, column in zip(Packed._fields, columns, strict=True)
    )
    inputs = [x, W, R, B, lengths, *states, P]
    while not inputs[-1]:
        inputs.pop()
    direction = "forward" if len(scanners) == 1 else "bidirectional"
    said = attributes(native, direction, scanners[0].weights.weight_hh.size(1))
    output, *finals = b.nodes(variant.operator, 1 + len(states), *inputs, name=scanners[0].name, **said)
    if lengths:
        finals = _kept(b, lengths, states, finals)
    by_row = b.node("Transpose", output, perm=[0, 2, 1, 3])
    return Ran(b.node("Reshape", by_row, b.integers(0, 0, -1)), finals)


def attributes(native: Native, direction: str, hidden_size: int) -> dict[str, Any]:
    """The attributes of the node; `direction` is forward, reverse or bidirectional."""
    variant, D = native.variant, 1 + (direction == "bidirectional")
    attributes: dict[str, Any] = {
        "hidden_size": hidden_size,
        "direction": direction,
        "activations": [activation.name for activation in variant.activations] * D,
    }
    for which, numbers in numbers_of(variant.activations).items():
        if numbers:
            attributes[f"activation_{which}"] = numbers * D
    if variant.clip is not None:
        attributes["clip"] = variant.clip
    own = {"GRU": {"linear_before_reset": int(variant.linear_before_reset)}}
    own["LSTM"] = {"input_forget": int(variant.input_forget)}
    return attributes | own.get(variant.operator, {})


def _kept(b: Builder, lengths: str, states: Sequence[str], finals: Sequence[str]) -> list[str]:
    """The final states. A row without steps keeps its initial state, which the standard leaves open."""
    runs = b.node("Greater", b.node("Cast", lengths, to=TensorProto.INT64), b.integers(0))
    column = b.node("Unsqueeze", runs, b.integers(1))
    pairs = zip(states, finals, strict=True)
    return [b.node("Where", column, final, state) for state, final in pairs]
