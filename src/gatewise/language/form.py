"""The form of a cell: its graph as plain data, for files, and back again.

``docs/format.md`` specifies it for readers in other languages. Reading a form executes and imports nothing,
and checks everything: `from_form` returns a cell that keeps every rule of the language, or raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.language import form_rules
from gatewise.language.cell import Cell, Kind, Origin, Parameter
from gatewise.language.form_reading import (
    FormError,
    fields,
    identifier,
    items,
    label,
    number,
    pair,
    real,
    shown,
    written,
)
from gatewise.language.graph import RANDOM, Graph, Node
from gatewise.language.parameters import Leaf

VERSION = 2
MOST_STATES, MOST_PARAMETERS, MOST_NODES, MOST_VALUES, MOST_ARGUMENTS = 64, 256, 4096, 1024, 64

Form = dict[str, Any]

# How many arguments each operation takes; None stands for one or more.
ARITY: dict[str, int | None] = {
    **dict.fromkeys(("neg", "exp", "log", "sqrt", "abs", "tanh", "sigmoid", "softplus", "relu"), 1),
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "less", "less_equal"), 2),
    "where": 3,
    "mean": None,
    "norm": None,
    "linear": 1,
    "project": 1,
    "dropout": 1,
    "zoneout": 2,
}
# The keys of an entry besides ``op`` and ``args``. Leaves have no ``args``.
_SAYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "state": ("name",),
    "gate": ("name", "part"),
    "vector": ("name",),
    "linear": ("name",),
    "norm": ("name", "value"),
    **dict.fromkeys(RANDOM, ("name", "part", "value")),
}
_KEYS = ("form", "name", "states", "parameters", "nodes", "next_states", "seen", "values")


def to_form(cell: Cell) -> Form:
    """The equations of a cell as JSON data: lists, objects, texts and numbers.

    Raises:
        FormError: the cell is larger than a form may be, or has the constant NaN.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.language.form import from_form, to_form
        >>> form = to_form(cells.rnn)
        >>> form["nodes"]
        [{'op': 'gate', 'name': 'a', 'part': ''}, {'op': 'tanh', 'args': [0]}, {'op': 'state', 'name': 'h'}]
        >>> from_form(form).signature() == cells.rnn.signature()
        True
    """
    places = {node: place for place, node in enumerate(cell.nodes)}
    form: Form = {
        "form": VERSION,
        "name": cell.name,
        "states": list(cell.states),
        "parameters": [[p.name, p.kind.value] for p in cell.parameters],
        "nodes": [_entry(node, places) for node in cell.nodes],
        "next_states": [places[node] for node in cell.next_states],
        "seen": places[cell.seen],
        "values": [[name, places[node]] for name, node in cell.values.items()],
    }
    try:
        from_form(form)  # make sure that it can be read again
    except FormError as error:
        raise FormError(f"cell {cell.name!r} cannot be written as a form: {error}") from error
    return form


def from_form(form: Any) -> Cell:
    """The cell that a form describes. Its name is a label: no function of that name is looked for.

    Raises:
        FormError: the form does not describe a cell, is of a newer version, or is too large.
    """
    version = form.get("form") if isinstance(form, dict) else None
    if type(version) is int and version > VERSION:
        raise FormError(
            f"the form of the equations has version {version}; this gatewise reads versions up to {VERSION}"
        )
    parts = fields(form, "form", _KEYS)
    number(parts["form"], "form", 1, VERSION)
    name = label(parts["name"], "name")
    graph, states, parameters = Graph(), _states(parts["states"]), _parameters(parts["parameters"])
    _check_distinct("parameters", [*states, *(p.name for p in parameters)])
    nodes = _nodes(parts["nodes"], graph, form_rules.leaves(states, parameters))
    after = items(parts["next_states"], "next_states", len(states), len(states))
    next_states = tuple(_at(nodes, place, "next_states") for place in after)
    values, seen = _values(parts["values"], nodes), _at(nodes, parts["seen"], "seen")
    # The module of the cell is this one, where no name holds a cell: so it is pickled by its form.
    cell = Cell(Origin(name, name, __name__), states, parameters, next_states, values, seen)
    form_rules.check(cell, nodes)
    return cell


def same(one: Cell, other: Cell) -> bool:
    """Whether two cells have the same equations, with the same names except for those of the cells."""
    return {**to_form(one), "name": ""} == {**to_form(other), "name": ""}


def _entry(node: Node, places: Mapping[Node, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {"op": node.op}
    entry |= {key: getattr(node, key) for key in _SAYS.get(node.op, ()) if key != "value"}
    if "value" in _SAYS.get(node.op, ()):
        entry["value"] = written(node.value, f"{node.op!r}")
    return entry | ({"args": [places[arg] for arg in node.args]} if node.args else {})


def _states(data: Any) -> tuple[str, ...]:
    states = items(data, "states", 1, MOST_STATES)
    return tuple(identifier(name, "each state") for name in states)


def _parameters(data: Any) -> tuple[Parameter, ...]:
    return tuple(_parameter(entry) for entry in items(data, "parameters", 1, MOST_PARAMETERS))


def _parameter(entry: Any) -> Parameter:
    name, kind = pair(entry, "each parameter")
    kinds = {kind.value: kind for kind in Kind}
    if not isinstance(kind, str) or kind not in kinds:
        raise FormError(f"the kind of a parameter must be one of {', '.join(kinds)}. Got {shown(kind)}")
    return Parameter(identifier(name, "the name of a parameter"), kinds[kind])


def _nodes(data: Any, graph: Graph, declared: Mapping[Leaf, str]) -> list[Node]:
    nodes: list[Node] = []
    for place, entry in enumerate(items(data, "nodes", 1, MOST_NODES)):
        nodes.append(_node(entry, f"node {place}", nodes, graph, declared))
    return nodes


def _node(entry: Any, what: str, earlier: Sequence[Node], graph: Graph, declared: Mapping[Leaf, str]) -> Node:
    op = entry.get("op") if isinstance(entry, dict) else None
    if not isinstance(op, str) or not (op in ARITY or op in _SAYS):
        raise FormError(f"{what} must be an operation that this version knows. Got {shown(op)}")
    says = _SAYS.get(op, ())
    fields(entry, what, ("op", *says, *(("args",) if op in ARITY else ())))
    name, part = (label(entry[key], f"{what}: {key}") if entry.get(key) else "" for key in ("name", "part"))
    value = real(entry["value"], f"{what}: value") if "value" in says else 0.0
    if op == "constant":
        return graph.constant(value)
    if op not in ARITY:
        if (op, name, part) not in declared:
            raise FormError(f"{what}: no {op} {form_rules.shown_name(name, part)} is declared")
        return graph.leaf(op, name, part)
    least, most = (ARITY[op] or 1), (ARITY[op] or MOST_ARGUMENTS)
    args = [
        _at(earlier, arg, f"{what}: each arg") for arg in items(entry["args"], f"{what}: args", least, most)
    ]
    return graph.node(op, *args, name=name, part=part, value=value)


def _values(data: Any, nodes: Sequence[Node]) -> dict[str, Node]:
    entries = [pair(entry, "each value") for entry in items(data, "values", 1, MOST_VALUES)]
    _check_distinct("values", [identifier(name, "the name of a value") for name, _ in entries])
    return {name: _at(nodes, place, f"values: {name!r}") for name, place in entries}


def _at(nodes: Sequence[Node], place: Any, what: str) -> Node:
    if not nodes:
        raise FormError(f"{what}: no node comes before it")
    return nodes[number(place, what, 0, len(nodes) - 1)]


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormError(f"{what}: {twice!r} appears twice")
