"""The rules that the graph of a cell keeps. A form can break them; equations in Python cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from gatewise.language import names
from gatewise.language.cell import Cell, Kind, Parameter
from gatewise.language.form_reading import FormError
from gatewise.language.graph import COMPARISONS, RANDOM, Node, topological
from gatewise.language.parameters import Leaf

# Compile time that a node adds to a kernel, in milliseconds, as measured.
_COSTS = {
    **dict.fromkeys(("linear", "project"), 80),
    **dict.fromkeys(RANDOM, 50),
    **dict.fromkeys(("gate", "state"), 40),
    **dict.fromkeys(("exp", "log", "sqrt", "tanh", "sigmoid", "softplus", "div"), 6),
}
_COST_OF_ANOTHER, _COST_OF_TWO_NORMS = 2, 5
MOST_COST = 12_000


def leaves(states: Iterable[str], parameters: Iterable[Parameter]) -> dict[Leaf, str]:
    """Every declared leaf (operation, name, part), with the name of its value, or "" if it has none."""
    found: dict[Leaf, str] = {("state", state, ""): "" for state in states}
    for p in parameters:
        found |= zip(p.leaves, p.bars or ("",), strict=True)
    return found


def shown_name(name: str, part: str) -> str:
    """The name of a leaf for a message: ``'n'``, or ``'n.x'`` for a part."""
    return repr(f"{name}.{part}" if part else name)


def check(cell: Cell, nodes: Sequence[Node]) -> None:
    """Refuse a cell that breaks a rule. `nodes` are all nodes of its graph, each after its arguments.

    Raises:
        FormError: the message names the first broken rule.
    """
    _check_names(cell)
    _check_use(cell, nodes)
    _check_comparisons(cell, nodes)
    _check_products(cell, nodes)
    _check_norms(nodes)
    _check_chances(cell, nodes)
    _check_cost(nodes)


def _check_names(cell: Cell) -> None:
    for state, node in zip(cell.states, cell.next_states, strict=True):
        if cell.values.get(state) is not node:
            raise FormError(f"values: {state!r} is not the next value of the state {state!r}")
    for leaf, value in leaves(cell.states, cell.parameters).items():
        if value and cell.values.get(value) is not cell.leaf(*leaf):
            wrong = "is not its pre-activation" if value in cell.values else "is missing"
            raise FormError(f"values: {value!r} {wrong}")
    for p in cell.parameters:
        if p.kind is Kind.VECTOR and names.is_of_norm(p.name):
            raise FormError(f"parameters: {p.name!r} is reserved for the gain or bias of a norm")


def _check_use(cell: Cell, nodes: Sequence[Node]) -> None:
    if not any(p.sees_input for p in cell.parameters):
        raise FormError("parameters: no gate sees the input")
    used = set(topological(cell.next_states))
    fed = {(node.op, node.name, node.part) for node in used}
    for leaf in leaves((), cell.parameters):
        if leaf not in fed:
            raise FormError(f"parameters: {shown_name(*leaf[1:])} is never used in the next states")
    wasted = next((node for node in nodes if node.op == "linear" and node not in used), None)
    if wasted:
        raise FormError(f"nodes: linear {wasted.name} is never used in the next states")
    if len(cell.nodes) < len(nodes):
        raise FormError(f"nodes: {len(nodes) - len(cell.nodes)} of them are unused or appear twice")


def _check_comparisons(cell: Cell, nodes: Sequence[Node]) -> None:
    """A comparison is only used as the first argument of `where`, and that argument is a comparison."""
    for node in nodes:
        for n, arg in enumerate(node.args):
            if (arg.op in COMPARISONS) != (node.op == "where" and n == 0):
                raise FormError(f"nodes: argument {n} of {node.op!r} cannot be {arg.op!r}")
    for name, node in cell.values.items():
        if node.op in COMPARISONS:
            raise FormError(f"values: {name!r} is a comparison, not a number")


def _check_products(cell: Cell, nodes: Sequence[Node]) -> None:
    linears = sorted(node.name for node in nodes if node.op == "linear")
    if linears != sorted(map(str, range(len(linears)))):
        raise FormError(f"nodes: the {len(linears)} linear must be numbered from 0 on, each once")
    projected = [node for node in nodes if node.op == "project"]
    if not projected:
        return
    first, *others = cell.next_states
    values = [node for name, node in cell.values.items() if name != cell.states[0]]
    if projected != [first] or first in {*others, *values, *(arg for node in nodes for arg in node.args)}:
        raise FormError(
            f"nodes: only the next value of {cell.states[0]!r} may be projected, and nothing else may use it"
        )
    if cell.reads_output:
        raise FormError(
            f"nodes: {cell.states[0]!r} is projected, and narrower than the values that it is combined with"
        )


def _check_norms(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.op != "norm":
            continue
        if node.name not in map(str, range(len(node.args))):
            raise FormError(f"nodes: 'norm' has no argument number {node.name!r}")
        if not 0 <= node.value < inf:
            raise FormError(f"nodes: 'norm' must add a number from 0 on to the variance. Got {node.value!r}")


def _check_chances(cell: Cell, nodes: Sequence[Node]) -> None:
    drawn = set()
    for node in nodes:
        if node.op not in RANDOM:
            continue
        if not node.name.isdecimal() or str(int(node.name[:9])) != node.name or node.name in drawn:
            raise FormError(f"nodes: each {node.op!r} must have its own number. Got {node.name!r}")
        if node.part not in (("step", "sequence") if node.op == "dropout" else ("step",)):
            raise FormError(f"nodes: {node.op!r} must be drawn per step or per sequence. Got {node.part!r}")
        if not 0 <= node.value < 1:
            raise FormError(
                f"nodes: the rate of {node.op!r} must be from 0 to less than 1. Got {node.value!r}"
            )
        drawn.add(node.name)
    output = cell.leaf("state", cell.states[0])
    if cell.seen is not output and (cell.seen.op != "dropout" or cell.seen.args != (output,)):
        raise FormError(f"seen must be the state {output.name!r} or a dropout of it")


def _check_cost(nodes: Sequence[Node]) -> None:
    """Refuse what would take long to compile. Each norm adds passes, which repeat sums and products."""
    norms = sum(node.op in ("norm", "mean") for node in nodes)
    costs = [_COSTS.get(node.op, _COST_OF_ANOTHER) for node in nodes]
    again = sum(cost for cost in costs if cost == _COST_OF_ANOTHER)
    cost = sum(costs) + norms * again + norms**2 * _COST_OF_TWO_NORMS
    if cost > MOST_COST:
        most = f"more than {MOST_COST // 1000} s"
        raise FormError(f"nodes: compiling them would take some {cost / 1000:.0f} s, {most}")
