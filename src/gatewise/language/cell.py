"""`cell`: a function of states and gates becomes a `Cell`, by running it once on symbols."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import FrameType, FunctionType
from typing import Any, NamedTuple, final

from gatewise.language.graph import RANDOM, Graph, Node, text, topological
from gatewise.language.parameters import Input, Kind, Leaf, Parameter, Split, Vector, kind_of
from gatewise.language.rules import all_used, declarations_complete, norms_used, products_in_place
from gatewise.language.symbols import CellError, Code, SplitGate, Symbol, Trace
from gatewise.language.writing.html import html
from gatewise.language.writing.latex import latex
from gatewise.language.writing.text import text as plain

__all__ = ["Cell", "Input", "Kind", "Origin", "Parameter", "Split", "Vector", "cell"]


class Origin(NamedTuple):
    """The name, qualified name, module and docstring of the function that a cell was read from."""

    name: str
    qualname: str
    module: str
    doc: str | None = None


class Ran(NamedTuple):
    """What the body of a cell returned, its local variables, and the line at which it returned."""

    returned: Any
    local_values: Mapping[str, Any]
    line: int


@final
@dataclass(eq=False, repr=False)
class Cell:
    """The equations of one step, as a graph, and what can be read from them.

    A cell is immutable; `dataclasses.replace` makes a changed copy.

    Attributes:
        origin: the name of the cell and the function that it was read from.
        states: names of the states, the output first.
        parameters: the learned parameters, in order of declaration; then the vectors of `layer_norm`.
        next_states: the nodes of the states after the step, in the order of `states`.
        values: every watchable value by name: the states after the step, what the body assigned, and the
            pre-activations (``i_bar``; for a `Split` ``n_bar_x`` and ``n_bar_h``).
        seen: what the recurrent weights multiply: the previous output, or a dropout of it.

    ``str(cell)`` writes the equations out, ``cell.latex()`` typesets them.
    """

    origin: Origin
    states: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    next_states: tuple[Node, ...]
    values: Mapping[str, Node]
    seen: Node

    def __post_init__(self) -> None:
        self.name = self.__name__ = self.origin.name
        self.__qualname__ = self.origin.qualname
        self.__module__ = self.origin.module
        self.__doc__ = self.origin.doc

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes of `values`, `next_states` and `seen`, each after its arguments."""
        return tuple(topological([*self.values.values(), *self.next_states, self.seen]))

    @cached_property
    def _leaves(self) -> dict[Leaf, Node]:
        """Every declared leaf, used or not."""
        found = {(node.op, node.name, node.part): node for node in self.nodes if not node.args}
        declared: list[Leaf] = [("state", state, "") for state in self.states]
        declared += [leaf for p in self.parameters for leaf in p.leaves]
        return {leaf: found.get(leaf) or Graph().leaf(*leaf) for leaf in declared}

    def leaf(self, op: str, name: str, part: str = "") -> Node:
        """The node of a state, a gate (or a part of one) or a vector."""
        return self._leaves[op, name, part]

    def graph(self) -> Graph:
        """A new graph that holds the nodes of the cell. Adding nodes to it does not change the cell."""
        return Graph([*self._leaves.values(), *self.nodes])

    @cached_property
    def input_gates(self) -> tuple[str, ...]:
        """Names of the parameters with rows in the input weights, in the order of the rows."""
        return tuple(p.name for p in self.parameters if p.sees_input)

    @cached_property
    def state_gates(self) -> tuple[str, ...]:
        """Names of the parameters with rows in the recurrent weights, in the order of the rows."""
        return tuple(p.name for p in self.parameters if p.sees_state)

    @cached_property
    def vectors(self) -> tuple[str, ...]:
        """Names of the learned vectors."""
        return tuple(p.name for p in self.parameters if not p.sees_input)

    @cached_property
    def linears(self) -> tuple[Node, ...]:
        """The `linear` nodes, in the order of their weights."""
        nodes = (node for node in topological(self.next_states) if node.op == "linear")
        return tuple(sorted(nodes, key=lambda node: int(node.name)))

    @property
    def projects(self) -> bool:
        """Whether the cell projects its output."""
        return self.next_states[0].op == "project"

    @cached_property
    def reads_output(self) -> bool:
        """Whether the body itself uses the previous output, not only the recurrent weights."""
        return self.leaf("state", self.states[0]) in topological(self.next_states)

    @cached_property
    def is_random(self) -> bool:
        """Whether a state or a watchable value is random in training (`dropout`, `zoneout`)."""
        values = self.values.values()
        return any(node.op in RANDOM for node in topological([*self.next_states, *values, self.seen]))

    def signature(self) -> str:
        """The equations as canonical text: equal cells have equal text, whatever file they come from."""
        kinds = " ".join(f"{p.name}:{p.kind.value}" for p in self.parameters)
        nodes = self.next_states if self.seen.op == "state" else (*self.next_states, self.seen)
        return f"{' '.join(self.states)} * {kinds}\n{text(nodes)}"

    def latex(self) -> str:
        """The equations as a LaTeX ``aligned`` environment."""
        return latex(self)

    def _repr_latex_(self) -> str:
        """What a Jupyter notebook shows where it typesets LaTeX, as in PDF."""
        return f"$$\n{self.latex()}\n$$"

    def _repr_html_(self) -> str:
        """What a Jupyter notebook shows."""
        return html(self)

    def __str__(self) -> str:
        return plain(self)

    def __repr__(self) -> str:
        return f"<cell {self.__module__}.{self.__qualname__}>"

    def __copy__(self) -> Cell:
        return self

    def __deepcopy__(self, memo: object) -> Cell:
        return self


def cell(function: Callable[..., Any]) -> Cell:
    """Read the equations of a recurrent cell.

    The function's positional parameters are the states carried from step to step, the output first. Its
    keyword-only parameters are what the network learns to feed in: without an annotation a gate, ``W x_t +
    b_x + R h_{t-1} + b_h``, else a `Split`, `Input` or `Vector`. The body is arithmetic; it returns the next
    states in order.

    Raises:
        CellError: the function breaks a rule of the language. The message names file, line and remedy.

    Example:
        >>> from gatewise import cell, sigmoid, tanh
        >>> @cell
        ... def minimal(h, *, f, g):
        ...     f = sigmoid(f)
        ...     h = f * h + (1 - f) * tanh(g)
        ...     return h
        >>> print(minimal)
        minimal(h, *, f, g)
          f_bar = W_f x + R_f h + b_f
          g_bar = W_g x + R_g h + b_g
          f = sigmoid(f_bar)
          h' = f * h + (1 - f) * tanh(g_bar)
    """
    if not isinstance(function, FunctionType):
        raise CellError(
            f"@cell must decorate a function. Got {type(function).__name__}. "
            "Write a function with def; it may use constants from the function around it"
        )
    trace = Trace(function.__name__, Code(function.__code__))
    states, parameters = _declarations(function, trace)
    origin = Origin(function.__name__, function.__qualname__, function.__module__, function.__doc__)
    return built(origin, states, parameters, trace, partial(_run, function))


def built(
    origin: Origin,
    states: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    trace: Trace,
    run: Callable[[list[Symbol], Mapping[str, Any]], Ran],
) -> Cell:
    """The cell whose equations `run` computes, from the symbols of the states and those of the parameters.

    Raises:
        CellError: the equations break a rule of the language.
    """
    declarations_complete(states, parameters, trace)
    symbols: dict[str, Any] = {name: Symbol(trace, trace.graph.leaf("state", name)) for name in states}
    before = list(symbols.values())
    symbols |= {p.name: _feed(p, trace) for p in parameters}
    returned, local_values, trace.line = run(before, {p.name: symbols[p.name] for p in parameters})
    next_states = _returned(returned, states, trace)
    all_used(parameters, next_states, trace)
    norms_used(next_states, local_values, trace)
    parameters += tuple(_of_norms(trace))
    products_in_place(states, next_states, trace)
    values = _watchable(states, parameters, next_states, symbols, local_values, trace)
    return Cell(origin, states, parameters, next_states, values, before[0]._node)


def _declarations(function: FunctionType, trace: Trace) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """The states and parameters that the signature declares."""
    line = function.__code__.co_firstlineno
    states, parameters = [], []
    scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            trace.fail(f"parameter {p} takes any number of arguments", "Name each state and each gate", line)
        if p.default is not p.empty:
            trace.fail(f"parameter {p.name!r} has a default", "States and gates have none; remove it", line)
        if p.kind is not p.KEYWORD_ONLY:
            states.append(p.name)
        elif kind := kind_of(p.annotation, scope):
            parameters.append(Parameter(p.name, kind))
        else:
            trace.fail(
                f"gate {p.name!r} is annotated {p.annotation!r}",
                "Use no annotation, or Split, Input or Vector",
                line,
            )
    return tuple(states), tuple(parameters)


def _of_norms(trace: Trace) -> Iterator[Parameter]:
    for normal in trace.norms:
        yield Parameter(normal.gain.name, Kind.GAIN)
        yield Parameter(normal.bias.name, Kind.BIAS)


def _feed(parameter: Parameter, trace: Trace) -> Symbol | SplitGate:
    """The symbol that stands for a parameter in the body."""
    fed = [Symbol(trace, trace.graph.leaf(*leaf)) for leaf in parameter.leaves]
    return SplitGate(trace, parameter.name, *fed) if parameter.kind is Kind.SPLIT else fed[0]


def _run(function: FunctionType, states: list[Symbol], parameters: Mapping[str, Any]) -> Ran:
    """Run the body of a function."""
    at_return: dict[str, Any] = {}
    line = function.__code__.co_firstlineno
    previous = sys.gettrace()

    def look(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        nonlocal line
        if frame.f_code is not function.__code__:
            return None
        if event == "return":
            at_return.update(frame.f_locals)
            line = frame.f_lineno
        return look

    sys.settrace(look)
    try:
        returned = function(*states, **parameters)
    finally:
        sys.settrace(previous)
    return Ran(returned, at_return, line)


def _returned(returned: Any, states: tuple[str, ...], trace: Trace) -> tuple[Node, ...]:
    """The nodes of the next states."""
    values = returned if isinstance(returned, tuple) else (returned,)
    expected = ", ".join(states)
    if returned is None:
        trace.fail("it returns nothing", f"End with: return {expected}")
    if len(values) != len(states):
        came, wanted = (
            f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(values), "value"), (len(states), "state"))
        )
        trace.fail(
            f"it returns {came} for {wanted}",
            f"Return the next value of each state, in order: return {expected}",
        )
    return tuple(trace.node_of(value, "the return") for value in values)


def _watchable(
    states: tuple[str, ...],
    parameters: tuple[Parameter, ...],
    next_states: tuple[Node, ...],
    symbols: Mapping[str, Any],
    local_values: Mapping[str, Any],
    trace: Trace,
) -> dict[str, Node]:
    """The named values of a step: pre-activations, then what the body assigned, then the next states."""
    values: dict[str, Node] = {}
    for p in (p for p in parameters if p.sees_input):
        fed = symbols[p.name]
        parts = (fed.x, fed.h) if isinstance(fed, SplitGate) else (fed,)
        values |= {name: part._node for name, part in zip(p.bars, parts, strict=True)}
    for name, value in local_values.items():
        if isinstance(value, Symbol) and name not in states and value is not symbols.get(name):
            if values.get(name, value._node) is not value._node:
                gate = next(p.name for p in parameters if name in p.bars)
                trace.fail(
                    f"it assigns to {name!r}, which is reserved for the pre-activation of gate {gate!r}",
                    "Choose another name",
                    trace.source.first_line,
                )
            values[name] = value._node
    return values | dict(zip(states, next_states, strict=True))
