"""The graph of an ONNX file as a torch module: its constants, and its nodes one after another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from onnx import GraphProto
from torch import Tensor, nn

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.cells import GATES
from gatewise.interop.onnx.node import Node, tensor_of
from gatewise.interop.onnx.operators import OPERATORS
from gatewise.interop.onnx.reading import inputs_of
from gatewise.interop.onnx.recurrent import RecurrentNode

# The operators that are known.
SERVED = frozenset({*GATES, "Scan", *OPERATORS})
# What is raised when a file asks for what cannot be.
FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError)


class Call(NamedTuple):
    """A node, the values that it takes, and the module that computes it if none of the table does."""

    node: Node
    inputs: tuple[str, ...]
    module: str = ""


class Program(nn.Module):
    """A graph that is run node by node; nodes RNN, GRU, LSTM and Scan are modules of their own.

    The numbers that the file holds for its nodes are parameters if they are floating-point. What is computed
    from constants alone is computed once, and kept as a buffer.

    Attributes:
        inputs, outputs: the names of what it takes and gives.
        outside: names that it uses and does not have: those of the graph around it.
    """

    def __init__(self, graph: GraphProto, opset: int) -> None:
        super().__init__()
        held = {proto.name: tensor_of(proto) for proto in graph.initializer}
        self.inputs = tuple(value.name for value in graph.input if value.name not in held)
        self.outputs = tuple(value.name for value in graph.output)
        self._calls: list[Call] = []
        known = dict(held)
        for proto in graph.node:
            node = Node.of(proto, opset)
            try:
                self._add(node, known)
            except (OnnxError, *FAILURES) as error:
                raise OnnxError(f"{node}: {error}") from error
        self._keep(held, known)
        self.outside = tuple(dict.fromkeys(self._undefined()))

    def _add(self, node: Node, known: dict[str, Tensor]) -> None:
        """Compute a node now if it can be, else put it down for later."""
        if node.operator in GATES:
            module = self._named(node.name or node.outputs[0], RecurrentNode(node, known))
            self._calls.append(Call(node, inputs_of(node), module))
        elif node.operator == "Scan":
            scan = ScanNode(node)
            module = self._named(node.name or node.outputs[0], scan)
            self._calls.append(Call(node, (*node.inputs, *scan.outside), module))
        elif all(not name or name in known for name in node.inputs):
            with torch.no_grad():
                known.update(_results(node, OPERATORS[node.operator](node, *map(known.get, node.inputs))))
        else:
            self._calls.append(Call(node, node.inputs))

    def _named(self, name: str, module: nn.Module) -> str:
        name = self._free(name)
        self.add_module(name, module)
        return name

    def _free(self, name: str) -> str:
        """The nearest name to `name` that an attribute may have."""
        name = re.sub(r"\W+", "_", name) or "_"
        while hasattr(self, name):
            name += "_"
        return name

    def _keep(self, held: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
        """Hold the constants that will be asked for."""
        self._attributes: dict[str, str] = {}
        for name in dict.fromkeys([*(name for call in self._calls for name in call.inputs), *self.outputs]):
            if name in known:
                self._attributes[name] = attribute = self._free(name)
                if name in held and held[name].is_floating_point():
                    self.register_parameter(attribute, nn.Parameter(known[name]))
                else:
                    self.register_buffer(attribute, known[name])

    def _undefined(self) -> Iterator[str]:
        defined = {"", *self.inputs, *self._attributes}
        for call in self._calls:
            yield from (name for name in call.inputs if name not in defined)
            defined.update(call.node.outputs)
        yield from (name for name in self.outputs if name not in defined)

    def forward(self, *given: Tensor) -> list[Tensor]:
        """The outputs, from the inputs and then what is `outside`, in order."""
        values: dict[str, Tensor] = dict(zip((*self.inputs, *self.outside), given, strict=True))
        values |= {name: getattr(self, attribute) for name, attribute in self._attributes.items()}
        for call in self._calls:
            compute = self.get_submodule(call.module) if call.module else OPERATORS[call.node.operator]
            inputs = [values[name] if name else None for name in call.inputs]
            try:
                found = compute(*inputs) if call.module else compute(call.node, *inputs)
            except Exception as error:
                error.add_note(f"in {call.node}")
                raise
            values.update(_results(call.node, found))
        return [values[name] for name in self.outputs]


class ScanNode(nn.Module):
    """A node Scan: its body once for each step, in a loop."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.body = Program(node.attributes.pop("body"), node.opset)
        self.outside = self.body.outside
        sequences, states = node.get("num_scan_inputs"), len(node.inputs) - node.get("num_scan_inputs")
        self.states = states
        self.backwards = node.get("scan_input_directions", [0] * sequences)
        self.axes = node.get("scan_input_axes", [0] * sequences)
        self.out_backwards = node.get("scan_output_directions", [0] * (len(node.outputs) - states))
        self.out_axes = node.get("scan_output_axes", [0] * (len(node.outputs) - states))

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """The final states and the sequences of what each step gives."""
        n, end = self.states, self.states + len(self.axes)
        states, outside = list(inputs[:n]), inputs[end:]
        columns = [
            x.unbind(axis)[:: -1 if back else 1]
            for x, axis, back in zip(inputs[n:end], self.axes, self.backwards, strict=True)
        ]
        given = []
        for step in zip(*columns, strict=True):
            found = self.body(*states, *step, *outside)
            states = found[:n]
            given.append(found[n:])
        return [*states, *self._joined(given)]

    def _joined(self, given: Sequence[Sequence[Tensor]]) -> Iterator[Tensor]:
        for column, axis, back in zip(
            zip(*given, strict=True), self.out_axes, self.out_backwards, strict=True
        ):
            yield torch.stack(column[:: -1 if back else 1], axis)


def _results(node: Node, found: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
    """What a node gave, by name; what has no name is not asked for."""
    several = [found] if isinstance(found, Tensor) else found
    return {name: value for name, value in zip(node.outputs, several, strict=False) if name}
