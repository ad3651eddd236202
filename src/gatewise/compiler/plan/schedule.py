"""The order in which the nodes of a graph are computed: phases and passes.

Most nodes are computed unit by unit. Two kinds need whole vectors: a product with a matrix, and a mean over
the units. So a step is a sequence of *phases*, each of which begins with a product, and a phase is a sequence
of *passes* over the units of a row. Pass 0 goes tile by tile, on sums that are still in the first cache. Only
a mean makes further passes necessary; they go row by row.

A *level* is (phase, pass). Each output is computed in the first pass in which all its arguments are known,
and its arguments in the same pass. An argument that a later pass needs again is spilled (stored), unless it
takes only a few sums and products of what is in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

from gatewise.compiler.plan.fusing import operands
from gatewise.language.graph import COMPARISONS, PRODUCTS, Node, topological

_CHEAP = frozenset(
    {
        "add",
        "sub",
        "mul",
        "neg",
        "abs",
        "relu",
        "minimum",
        "maximum",
        "less",
        "less_equal",
        "where",
        "stop_gradient",
    }
)


class Level(NamedTuple):
    """A pass of a phase."""

    phase: int
    number: int


START = Level(0, 0)


@final
@dataclass(frozen=True)
class Pass:
    """One pass over the units.

    Attributes:
        level: its phase and number.
        means: the means whose arguments it adds up.
        outputs: the results of the step that it stores.
        readable: nodes that it stores for backward, and that later passes read too.
        spills: nodes that it stores for later passes only.
    """

    level: Level
    means: tuple[Node, ...] = ()
    outputs: tuple[Node, ...] = ()
    readable: tuple[Node, ...] = ()
    spills: tuple[Node, ...] = ()


@final
@dataclass(frozen=True)
class Phase:
    """The products that it begins with (none for the first phase: the product of the state), and its passes.

    Several `linear` of one vector share a phase; any other product has a phase of its own.
    """

    products: tuple[Node, ...]
    passes: tuple[Pass, ...]


@final
@dataclass(frozen=True)
class Schedule:
    """The phases of a step."""

    phases: tuple[Phase, ...]

    @property
    def is_single(self) -> bool:
        """Whether there is one pass only."""
        return len(self.phases) == 1 and len(self.phases[0].passes) == 1

    @cached_property
    def last(self) -> Level:
        """The last pass over the units; only that of a projected output comes after it."""
        wide = (p for p in self.phases if not p.products or p.products[0].op != "project")
        return max(one.level for phase in wide for one in phase.passes)

    @cached_property
    def means(self) -> list[Node]:
        """All means."""
        return [mean for phase in self.phases for one in phase.passes for mean in one.means]

    @cached_property
    def spilled(self) -> list[Node]:
        """All nodes that are stored for later passes only."""
        return [node for phase in self.phases for one in phase.passes for node in one.spills]

    @cached_property
    def products(self) -> list[Node]:
        """All products but the first, which is not a node."""
        return [node for phase in self.phases for node in phase.products]


def schedule(
    outputs: Iterable[Node],
    *,
    readable: Iterable[Node] = (),
    given: Iterable[Node] = (),
    momentary: Mapping[Node, Level] | None = None,
    start: Level = START,
    together: bool = False,
) -> Schedule:
    """A schedule that stores all of `outputs`, all of `readable`, and the vectors that products multiply.

    In memory from the start are the nodes `given`, and all leaves but the `momentary` ones, which can be read
    in one pass only. Everything else begins at `start`. With `together`, all outputs are stored in the last
    pass over the units, as they may overwrite what others read; a projected output has a pass of its own.
    """
    planner = _Planner(frozenset(given), dict(momentary or {}), start)
    planner.plan(list(outputs), list(readable), together)
    return Schedule(tuple(planner.phases()))


class _Planner:
    def __init__(self, given: frozenset[Node], momentary: dict[Node, Level], start: Level) -> None:
        self._given, self._momentary, self._start = given, momentary, start
        self._levels: dict[Node, Level] = {}
        self._phase_of: dict[Node, int] = {}  # of a product; of `linear`, by the vector that it multiplies
        self._multiplied: dict[Node, None] = {}
        self._of_the_row: set[Node] = set()  # nodes that are the same for all units of a row
        self._home: dict[Node, Level] = {}  # the pass that computes a node of `_dear`
        # Dictionaries without values are sets that keep their order.
        self._outputs: dict[Level, dict[Node, None]] = defaultdict(dict)
        self._stores: dict[Level, dict[Node, None]] = defaultdict(dict)
        self._spills: dict[Level, dict[Node, None]] = defaultdict(dict)
        self._means: dict[Level, dict[Node, None]] = defaultdict(dict)

    def plan(self, outputs: list[Node], readable: list[Node], together: bool) -> None:
        nodes = list(topological([*outputs, *readable]))
        # With a projection phase 0 handles the output alone; `project_back` begins the phase at `start`.
        self._phase_of = {node: self._start.phase for node in nodes if node.op == "project_back"}
        for node in nodes:
            self._levels[node] = self._level(node)
            if node.op in ("constant", "mean") or (node.args and self._of_the_row.issuperset(node.args)):
                self._of_the_row.add(node)
        self._readable = dict.fromkeys([*readable, *self._multiplied])
        for node in self._readable:
            self._stores[self._levels[node]][node] = None
        for phase in (START.phase, *self._phase_of.values()):
            self._stores[Level(phase, 0)]  # every phase has a pass 0, even if it stores nothing
        projected = {self._levels[node].phase for node in outputs if node.op == "project"}
        levels = [*self._stores, *self._means, *(self._levels[node] for node in outputs)]
        last = max(level for level in levels if level.phase not in projected)
        for node in outputs:
            at = last if together and node.op != "project" else self._levels[node]
            self._outputs[at][node] = None
        for level in self._all_levels():
            args = (arg for mean in self._means[level] for arg in mean.args)
            self._need([*self._stores[level], *self._outputs[level], *args], level)

    def phases(self) -> Iterator[Phase]:
        levels = self._all_levels()
        parts = (self._means, self._outputs, self._stores, self._spills)
        for phase in sorted({level.phase for level in levels}):
            products = (n for n in self._levels if n.op in PRODUCTS and self._levels[n] == (phase, 0))
            passes = (
                Pass(level, *(tuple(part[level]) for part in parts))
                for level in levels
                if level.phase == phase
            )
            yield Phase(tuple(n for n in products if not self._is_free(n)), tuple(passes))

    def _all_levels(self) -> list[Level]:
        return sorted({*self._stores, *self._means, *self._outputs})

    def _level(self, node: Node) -> Level:
        if node in self._momentary:
            return self._momentary[node]
        if self._is_free(node):
            return self._start
        latest = max(self._levels[arg] for arg in node.args)
        if node.op in PRODUCTS:
            (vector,) = node.args
            self._multiplied[vector] = None
            # The matrices of several `linear` of one vector lie side by side: one product serves all.
            of = vector if node.op == "linear" else node
            next_phase = max([latest.phase, *self._phase_of.values()]) + 1
            return Level(self._phase_of.setdefault(of, next_phase), 0)
        if node.op == "mean":
            adding = Level(latest.phase, max(latest.number, 1))  # pass 0 sees tiles, not rows
            self._means[adding][node] = None
            return Level(adding.phase, adding.number + 1)
        return latest

    def _is_free(self, node: Node) -> bool:
        """Whether a node is in memory from the start."""
        return node in self._given or (not node.args and node not in self._momentary)

    def _is_in_memory(self, node: Node) -> bool:
        return self._is_free(node) or node.op == "mean"

    def _comes_with_a_product(self, node: Node) -> bool:
        return node in self._momentary or node.op in PRODUCTS

    def _need(self, nodes: list[Node], here: Level) -> None:
        """Let nodes be computed in pass `here`, and let earlier passes spill what they need."""
        dear, seen = self._dear(), set()
        stack = nodes[::-1]
        while stack:
            node = stack.pop()
            if node in seen or self._is_in_memory(node):
                continue
            seen.add(node)
            if self._comes_with_a_product(node):
                home = self._levels[node]
            elif node.op not in COMPARISONS and (node in self._home or node in dear):
                home = self._home.setdefault(node, here)
            else:
                home = here  # a comparison is not a number, so its arguments are spilled instead
            if home < here:
                if node not in self._readable:
                    self._spills[home][node] = None
            elif not self._comes_with_a_product(node):
                stack.extend(reversed(operands(node)))

    def _dear(self) -> set[Node]:
        """Nodes that need other operations than sums and products of values in memory."""
        dear: set[Node] = set()
        for node in self._levels:  # in topological order
            if self._is_in_memory(node) or self._comes_with_a_product(node) or node in self._of_the_row:
                continue
            if node not in self._home and (node.op not in _CHEAP or not dear.isdisjoint(operands(node))):
                dear.add(node)
        return dear
