"""The nodes of a cell's graph as instructions on one vector of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gatewise.compiler.emit.mathematics import MAY_UNDERFLOW, OPERATIONS
from gatewise.compiler.emit.vector import Code, Value
from gatewise.compiler.plan.fusing import operands, product_in
from gatewise.language.graph import RANDOM, Node

Source = Callable[[], Value]


class Evaluation:
    """Values of nodes, each computed once.

    Args:
        code: the writer of the function.
        sources: the nodes that are loaded instead of computed, each with a function that writes the load.
        masks: a function that returns the random mask of a `dropout` or `zoneout`.
    """

    def __init__(
        self, code: Code, sources: Mapping[Node, Source], masks: Callable[[Node], Value] | None = None
    ) -> None:
        self.code = code
        self._sources = sources
        self._masks = masks
        self._values: dict[Node, Value] = {}

    def branch(self) -> Evaluation:
        """An evaluation for a branch of the code. It has the values so far, but not the other way round."""
        other = Evaluation(self.code, self._sources, self._masks)
        other._values = dict(self._values)
        return other

    def __getitem__(self, node: Node) -> Value:
        stack = [node]  # no recursion: a graph may be deeper than Python's stack
        while node not in self._values:
            top = stack[-1]
            needs = () if top in self._sources else operands(top)
            missing = next((need for need in needs if need not in self._values), None)
            if missing is None:
                self._values[stack.pop()] = self._compute(top)
            else:
                stack.append(missing)
        return self._values[node]

    def _compute(self, node: Node) -> Value:
        if node in self._sources:
            return self._sources[node]()
        if node.op == "constant":
            return self.code.constant(node.value)
        product = product_in(node)
        if product is not None:
            return self.code.flushed(self._fused(node, product))
        args = [self._values[arg] for arg in node.args]
        if node.op in RANDOM:
            return self._masked(node, args)
        value = OPERATIONS[node.op](self.code, *args)
        return self.code.flushed(value) if node.op in MAY_UNDERFLOW else value

    def _masked(self, node: Node, args: list[Value]) -> Value:
        """`dropout` or `zoneout`."""
        assert self._masks is not None
        b, code, mask = self.code.b, self.code, self._masks(node)
        if node.op == "zoneout":
            return b.select(mask, *args)
        return b.select(mask, code.constant(0), b.fmul(args[0], code.constant(1 / (1 - node.value))))

    def _fused(self, node: Node, product: Node) -> Value:
        """``a * b + c`` as one `fma`; of a difference, the subtracted side is negated first."""
        factor, other, rest = (self._values[operand] for operand in operands(node))
        if node.op == "sub" and product is node.args[0]:
            rest = self.code.b.fneg(rest)
        elif node.op == "sub":
            factor = self.code.b.fneg(factor)
        return self.code.fma(factor, other, rest)
