"""The elementwise phase: nodes of a cell's graph as instructions on one vector of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gatewise.compiler.mathematics import OPERATIONS
from gatewise.compiler.vector import Code, Value
from gatewise.language.graph import CHANCES, Node

Source = Callable[[], Value]


def operands(node: Node) -> tuple[Node, ...]:
    """What the instruction for a node reads: in a sum with a product, which is one `fma`, its factors."""
    if node.op in ("add", "sub"):
        a, b = node.args
        if a.op == "mul":
            return (*a.args, b)
        if b.op == "mul":
            return (a, *b.args)
    return node.args


class Evaluation:
    """Values of nodes, each computed once; `sources` says where those that are not computed come from.

    `strikes` gives the mask that chance decides for a node.
    """

    def __init__(
        self, code: Code, sources: Mapping[Node, Source], strikes: Callable[[Node], Value] | None = None
    ) -> None:
        self.code = code
        self._sources = sources
        self._strikes = strikes
        self._values: dict[Node, Value] = {}

    def branch(self) -> Evaluation:
        """An evaluation for code that may be skipped: it sees what is known and leaves nothing behind."""
        other = Evaluation(self.code, self._sources, self._strikes)
        other._values = dict(self._values)
        return other

    def __getitem__(self, node: Node) -> Value:
        if node not in self._values:
            self._values[node] = self._compute(node)
        return self._values[node]

    def _compute(self, node: Node) -> Value:
        if node in self._sources:
            return self._sources[node]()
        if node.op == "constant":
            return self.code.constant(node.value)
        if node.op in ("add", "sub"):
            fused = self._fused(node)
            if fused is not None:
                return fused
        args = [self[arg] for arg in node.args]
        return self._chosen(node, args) if node.op in CHANCES else OPERATIONS[node.op](self.code, *args)

    def _chosen(self, node: Node, args: list[Value]) -> Value:
        """What chance leaves of the arguments."""
        assert self._strikes is not None
        b, code, struck = self.code.b, self.code, self._strikes(node)
        if node.op == "zoneout":
            return b.select(struck, *args)
        return b.select(struck, code.constant(0), b.fmul(args[0], code.constant(1 / (1 - node.value))))

    def _fused(self, node: Node) -> Value | None:
        """A sum with a product as one `fma`. Which product depends on the graph alone, never on what else
        is computed, so that recording a value or keeping it for backward changes no bit."""
        a, b = node.args
        negate = self.code.b.fneg
        if a.op == "mul":
            rest = self[b]
            return self.code.fma(self[a.args[0]], self[a.args[1]], rest if node.op == "add" else negate(rest))
        if b.op == "mul":
            factor = self[b.args[0]]
            return self.code.fma(factor if node.op == "add" else negate(factor), self[b.args[1]], self[a])
        return None
