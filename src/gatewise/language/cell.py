"""`cell`: a function of states and gates becomes a `Cell`, by running it once on symbols."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import FrameType, FunctionType
from typing import Any, final

from gatewise.language.graph import CHANCES, Graph, Node, text, topological
from gatewise.language.parameters import Input, Kind, Parameter, Split, Vector, kind_of
from gatewise.language.printing import latex, plain
from gatewise.language.rules import all_used, names_free, norms_used, products_in_place
from gatewise.language.symbols import CellError, SplitGate, Symbol, Trace

__all__ = ["Cell", "Input", "Kind", "Parameter", "Split", "Vector", "cell"]


@final
class Cell:
    """The equations of one step, as a graph, with everything that is read off them.

    Attributes:
        name: the name of the function.
        states: names of the states, the output first.
        parameters: the learned parameters, in order of declaration; then the vectors of `layer_norm`.
        seen: what the gates see of the state: the output as it enters the step, or what chance leaves of it.
        next_states: the nodes of the states after the step, in the order of `states`.
        values: every watchable value by name: the states after the step, what the body assigned, and the
            pre-activations (``i_bar``; for a `Split` ``n_bar_x`` and ``n_bar_h``).
        graph: the graph that all nodes belong to.

    ``str(cell)`` writes the equations out, ``cell.latex()`` typesets them.
    """

    def __init__(
        self,
        function: FunctionType,
        states: tuple[str, ...],
        parameters: tuple[Parameter, ...],
        next_states: tuple[Node, ...],
        values: Mapping[str, Node],
        graph: Graph,
    ) -> None:
        self.name = function.__name__
        self.states = states
        self.parameters = parameters
        self.next_states = next_states
        self.values = dict(values)
        self.graph = graph
        self.seen = graph.leaf("state", states[0])
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__

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
        """The products `linear`, in the order of their weights."""
        nodes = (node for node in topological(self.next_states) if node.op == "linear")
        return tuple(sorted(nodes, key=lambda node: int(node.name)))

    @property
    def projects(self) -> bool:
        """Whether the output is projected."""
        return self.next_states[0].op == "project"

    @cached_property
    def takes_chances(self) -> bool:
        """Whether something in it is random while it is trained."""
        return any(node.op in CHANCES for node in topological([*self.next_states, self.seen]))

    def signature(self) -> str:
        """The equations as canonical text: equal for equal cells, whatever their file."""
        kinds = " ".join(f"{p.name}:{p.kind.value}" for p in self.parameters)
        nodes = self.next_states if self.seen.op == "state" else (*self.next_states, self.seen)
        return f"{' '.join(self.states)} * {kinds}\n{text(nodes)}"

    def latex(self) -> str:
        """The equations as a LaTeX ``aligned`` environment."""
        return latex(self)

    def __str__(self) -> str:
        return plain(self)

    def __repr__(self) -> str:
        return f"<cell {self.__module__}.{self.__qualname__}>"

    # A cell does not change, so that a deep copy is itself; a shallow one is there to become another cell.
    def __deepcopy__(self, memo: object) -> Cell:
        return self

    def __copy__(self) -> Cell:
        other = object.__new__(Cell)
        other.__dict__.update(self.__dict__)
        return other


def cell(function: Callable[..., Any]) -> Cell:
    """Read the equations of a recurrent cell.

    Positional parameters are the states carried from step to step, the output first; keyword-only ones are
    what the network learns to feed in: a gate ``W x_t + b_x + R h_{t-1} + b_h`` without annotation, or
    `Split`, `Input`, `Vector`. The body is arithmetic; it returns the next states in order.

    Raises:
        CellError: a rule is broken; the message names the file, the line and the remedy.

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
            f"@cell goes on a function. Got {type(function).__name__}. "
            "Write one with def; its constants may be variables of a function around it"
        )
    trace = Trace(function.__name__, function.__code__)
    states, parameters = _declarations(function, trace)
    symbols: dict[str, Any] = {name: Symbol(trace, trace.graph.leaf("state", name)) for name in states}
    symbols |= {p.name: _feed(p, trace) for p in parameters}
    returned, local_values, trace.line = _run(function, states, symbols)
    next_states = _returned(returned, states, trace)
    all_used(parameters, next_states, trace)
    norms_used(next_states, local_values, trace)
    parameters += tuple(_of_norms(trace))
    products_in_place(states, next_states, trace)
    values = _watchable(states, parameters, next_states, symbols, local_values, trace)
    return Cell(function, states, parameters, next_states, values, trace.graph)


def _declarations(function: FunctionType, trace: Trace) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """The states and parameters that the signature declares."""
    line = function.__code__.co_firstlineno
    states, parameters = [], []
    scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            trace.fail(f"parameter {p} stands for any number", "Name each state and each gate", line)
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
    if not states:
        trace.fail("it has no state", "Make the state the first positional parameter: def f(h, *, a)", line)
    if not any(p.sees_input for p in parameters):
        trace.fail("nothing feeds the input in", "Declare a gate after the star: def f(h, *, a)", line)
    names_free(states, parameters, trace)
    return tuple(states), tuple(parameters)


def _of_norms(trace: Trace) -> Iterator[Parameter]:
    for normal in trace.norms:
        yield Parameter(normal.gain.name, Kind.GAIN)
        yield Parameter(normal.bias.name, Kind.BIAS)


def _feed(parameter: Parameter, trace: Trace) -> Symbol | SplitGate:
    """The symbol that stands for a parameter in the body."""
    name, leaf = parameter.name, trace.graph.leaf
    if parameter.kind is Kind.VECTOR:
        return Symbol(trace, leaf("vector", name))
    if parameter.kind is Kind.SPLIT:
        x, h = (Symbol(trace, leaf("gate", name, part)) for part in ("x", "h"))
        return SplitGate(trace, name, x, h)
    return Symbol(trace, leaf("gate", name, "x" if parameter.kind is Kind.INPUT else ""))


def _run(
    function: FunctionType, states: tuple[str, ...], symbols: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], int]:
    """Run the body; also give its local variables and its line as it returns."""
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

    gates = {name: symbol for name, symbol in symbols.items() if name not in states}
    sys.settrace(look)
    try:
        returned = function(*(symbols[name] for name in states), **gates)
    finally:
        sys.settrace(previous)
    return returned, at_return, line


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
    """Names for the values of a step: pre-activations, then what the body assigned, then the next states."""
    values: dict[str, Node] = {}
    for p in (p for p in parameters if p.sees_input):
        fed = symbols[p.name]
        parts = (fed.x, fed.h) if isinstance(fed, SplitGate) else (fed,)
        values |= {name: part._node for name, part in zip(p.bars, parts, strict=True)}
    for name, value in local_values.items():
        if isinstance(value, Symbol) and name not in states and value is not symbols.get(name):
            if values.get(name, value._node) is not value._node:
                trace.fail(
                    f"it assigns to {name!r}, the name of what opens a gate",
                    "Choose another name",
                    trace.code.co_firstlineno,
                )
            values[name] = value._node
    return values | dict(zip(states, next_states, strict=True))
