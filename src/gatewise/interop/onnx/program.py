"""The graph of an ONNX file as a torch module that runs it node by node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from onnx import GraphProto
from torch import Tensor, nn

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.constants import Constants, Scope
from gatewise.interop.onnx.control import CONTROL, Body, Control
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.operators import NO_WEIGHTS, OPERATORS
from gatewise.interop.onnx.reading import RECURRENT, inputs_of
from gatewise.interop.onnx.recurrent import RecurrentNode

# Exceptions that torch and Python raise for impossible requests of a file.
FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError)


class Call(NamedTuple):
    """A node, the values that it takes, and the module that computes it if it is not in the table."""

    node: Node
    inputs: tuple[str, ...]
    module: str = ""


class Program(Body):
    """Runs a graph node by node. Recurrent nodes, and nodes that contain graphs, are submodules.

    The weights of the file (floating-point constants with at least one dimension) are parameters. Other
    constants, and what can be computed from constants, are buffers, computed once.

    Attributes:
        inputs, outputs: the names of the inputs and outputs.
        outside: the names of the values that it uses from the graph around it.
    """

    def __init__(self, graph: GraphProto, scope: Scope) -> None:
        super().__init__()
        constants = Constants(graph, scope)
        self.inputs = tuple(value.name for value in graph.input if value.name not in constants.own)
        self.outputs = tuple(value.name for value in graph.output)
        self._calls: list[Call] = []
        for proto in graph.node:
            node = Node.of(proto, scope.opset)
            try:
                if not constants.compute(node):
                    self._calls.append(self._call(node, constants))
            except (OnnxError, *FAILURES) as error:
                raise OnnxError(f"{node}: {error}") from error
        self._keep(constants)
        self.outside = tuple(dict.fromkeys(self._undefined()))
        self._over = list(self._last_uses())[::-1]

    def _call(self, node: Node, constants: Constants) -> Call:
        """A node, prepared to be computed at each call."""
        module = _module_of(node, constants)
        if module is None:
            return Call(node, node.inputs)
        outside = () if isinstance(module, RecurrentNode) else module.outside
        inputs = inputs_of(node) if isinstance(module, RecurrentNode) else (*node.inputs, *outside)
        name = self._free(node.name or node.outputs[0])
        self.add_module(name, module)
        return Call(node.without_graphs(), inputs, name)

    def _free(self, name: str) -> str:
        """A free attribute name, as close to `name` as possible."""
        name = re.sub(r"\W+", "_", name) or "_"
        while hasattr(self, name):
            name += "_"
        return name

    def _keep(self, constants: Constants) -> None:
        """Register the constants that the nodes use, as parameters or buffers."""
        self._attributes: dict[str, str] = {}
        self.fixed = frozenset(self._not_trained())
        weights = constants.weights - self.fixed
        for name in dict.fromkeys([*(name for call in self._calls for name in call.inputs), *self.outputs]):
            if name in constants.own:
                self._attributes[name] = attribute = self._free(name)
                value = constants.values[name]
                if name in weights:
                    self.register_parameter(attribute, nn.Parameter(value))
                else:
                    self.register_buffer(attribute, value)

    def _not_trained(self) -> Iterator[str]:
        """Names of floating-point constants that are not weights: running statistics, scale factors."""
        for call in self._calls:
            places = NO_WEIGHTS.get(call.node.operator, ())
            yield from (name for k, name in enumerate(call.inputs) if k in places)
        for module in self.children():
            if isinstance(module, Control):
                yield from module.fixed

    def _undefined(self) -> Iterator[str]:
        defined = {"", *self.inputs, *self._attributes}
        for call in self._calls:
            yield from (name for name in call.inputs if name not in defined)
            defined.update(call.node.outputs)
        yield from (name for name in self.outputs if name not in defined)

    def _last_uses(self) -> Iterator[list[str]]:
        """For each node, from the last to the first, the values that no later node uses."""
        used = {"", *self.outputs}
        for call in reversed(self._calls):
            names = dict.fromkeys((*call.inputs, *call.node.outputs))
            yield [name for name in names if name not in used]
            used.update(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Run the graph. It takes the inputs, then the values of `outside`, in order."""
        values: dict[str, Tensor] = dict(zip((*self.inputs, *self.outside), given, strict=True))
        values |= {name: getattr(self, attribute) for name, attribute in self._attributes.items()}
        for call, over in zip(self._calls, self._over, strict=True):
            inputs = [values[name] if name else None for name in call.inputs]
            try:
                if call.module:
                    found = self.get_submodule(call.module)(*inputs)
                else:
                    found = OPERATORS[call.node.operator](call.node, *inputs)
            except Exception as error:
                error.add_note(f"in {call.node}")
                raise
            values.update(call.node.named(found))
            for name in over:
                values.pop(name, None)
        return tuple(values[name] for name in self.outputs)


def _module_of(node: Node, constants: Constants) -> RecurrentNode | Control | None:
    """The module that computes a node; None if it is in the table of operators."""
    if node.operator in RECURRENT:
        return RecurrentNode(node, constants.values, constants.scope.layers)
    if node.operator not in CONTROL:
        return None
    layers = constants.scope.layers
    if layers is None and node.operator == "If":
        layers = {}
    scope = constants.inside(layers)
    return CONTROL[node.operator](node, lambda graph: Program(graph, scope), constants.values)
