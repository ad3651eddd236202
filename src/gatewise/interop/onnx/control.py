"""The nodes that contain graphs, If, Loop and Scan, as torch modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

import torch
from onnx import GraphProto, ValueInfoProto
from torch import Tensor, nn

from gatewise.interop.onnx.node import Node, dtype_of


class Body(nn.Module):
    """A graph inside a node. It is called with its inputs, then the values that it uses from outer graphs.

    Attributes:
        outside: the names of the values from outer graphs.
        fixed: the names of values that must not be trained.
    """

    outside: tuple[str, ...]
    fixed: frozenset[str]


Build: TypeAlias = Callable[[GraphProto], Body]


class Control(nn.Module):
    """A node that contains graphs.

    Attributes:
        bodies: the graphs, by the names of their attributes.
        outside: the names of the values that they use from outer graphs.
        fixed: the names of values that must not be trained.
    """

    def __init__(self, node: Node, build: Build, names: Sequence[str]) -> None:
        super().__init__()
        bodies = {name: build(node.attributes[name]) for name in names}
        self.bodies = nn.ModuleDict(bodies)
        self.outside = tuple(dict.fromkeys(name for body in bodies.values() for name in body.outside))
        self.fixed = frozenset(name for body in bodies.values() for name in body.fixed)


class If(Control):
    """A node If: runs one of two graphs. If the condition is a constant, only that graph is read."""

    def __init__(self, node: Node, build: Build, constants: Mapping[str, Tensor]) -> None:
        known = constants.get(node.inputs[0])
        super().__init__(node, build, _BRANCHES if known is None else [_BRANCHES[bool(known.item())]])

    def forward(self, condition: Tensor, *outside: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the chosen branch."""
        branch = cast("Body", self.bodies[_BRANCHES[bool(condition.item())]])
        values = dict(zip(self.outside, outside, strict=True))
        found: tuple[Tensor, ...] = branch(*(values[name] for name in branch.outside))
        return found


_BRANCHES = ("else_branch", "then_branch")


class Loop(Control):
    """A node Loop: repeats its body for a number of turns, or while a condition holds."""

    def __init__(self, node: Node, build: Build, constants: Mapping[str, Tensor]) -> None:
        super().__init__(node, build, ["body"])
        graph = node.attributes["body"]
        self.carried = len(node.inputs) - 2
        self.empty = [_nothing(value) for value in list(graph.output)[self.carried + 1 :]]

    def forward(self, count: Tensor | None, condition: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The final values, then the outputs of all turns, stacked."""
        values, outside = list(inputs[: self.carried]), inputs[self.carried :]
        body = self.bodies["body"]
        going = torch.tensor(True) if condition is None else condition
        given: list[Sequence[Tensor]] = []
        while bool(going.item()) and (count is None or len(given) < count.item()):
            going, *found = body(torch.tensor(len(given)), going, *values, *outside)
            values = found[: self.carried]
            given.append(found[self.carried :])
        if not given:
            return *values, *self.empty
        return *values, *(torch.stack(column) for column in zip(*given, strict=True))


class Scan(Control):
    """A node Scan: runs its body once for each step."""

    def __init__(self, node: Node, build: Build, constants: Mapping[str, Tensor]) -> None:
        super().__init__(node, build, ["body"])
        graph = node.attributes["body"]
        sequences, states = node.get("num_scan_inputs"), len(node.inputs) - node.get("num_scan_inputs")
        self.states = states
        self.backwards = node.get("scan_input_directions", [0] * sequences)
        self.axes = node.get("scan_input_axes", [0] * sequences)
        self.out_backwards = node.get("scan_output_directions", [0] * (len(node.outputs) - states))
        self.out_axes = node.get("scan_output_axes", [0] * (len(node.outputs) - states))
        self.empty = [_nothing(value) for value in list(graph.output)[states:]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The final states, then the outputs of all steps, stacked."""
        n, end = self.states, self.states + len(self.axes)
        states, outside = list(inputs[:n]), inputs[end:]
        columns = [
            x.unbind(axis)[:: -1 if back else 1]
            for x, axis, back in zip(inputs[n:end], self.axes, self.backwards, strict=True)
        ]
        given, body = [], self.bodies["body"]
        for step in zip(*columns, strict=True):
            found = body(*states, *step, *outside)
            states = found[:n]
            given.append(found[n:])
        return *states, *(self._joined(given) if given else self.empty)

    def _joined(self, given: Sequence[Sequence[Tensor]]) -> Iterator[Tensor]:
        for column, axis, back in zip(
            zip(*given, strict=True), self.out_axes, self.out_backwards, strict=True
        ):
            yield torch.stack(column[:: -1 if back else 1], axis)


def _nothing(value: ValueInfoProto) -> Tensor:
    """An empty stack of outputs, for a loop without turns. Unknown sizes become 0."""
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    return torch.zeros(0, *sizes, dtype=dtype_of(kind.elem_type) if kind.elem_type else torch.float32)


CONTROL: dict[str, type[If] | type[Loop] | type[Scan]] = {"If": If, "Loop": Loop, "Scan": Scan}
