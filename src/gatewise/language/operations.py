"""The functions that equations are written with, each elementwise over the units.

They take symbols (and plain numbers beside them) inside the body of a cell, and nothing else.
"""

from __future__ import annotations

from gatewise.language.symbols import CellError, Condition, SplitGate, Symbol, Trace

Value = Symbol | float


def _trace_of(op: str, *args: object) -> Trace:
    for value in args:
        if isinstance(value, (Symbol, Condition, SplitGate)):
            return value._trace
    kinds = ", ".join(type(value).__name__ for value in args)
    raise CellError(
        f"{op} works on the parameters of a cell while the cell is defined. Got {kinds}; "
        "for numbers use math, for tensors torch."
    )


def sigmoid(x: Symbol) -> Symbol:
    """``1 / (1 + exp(-x))``: how far a gate is open, between 0 and 1."""
    return _trace_of("sigmoid", x).symbol("sigmoid", x)


def tanh(x: Symbol) -> Symbol:
    """The hyperbolic tangent, between -1 and 1."""
    return _trace_of("tanh", x).symbol("tanh", x)


def relu(x: Symbol) -> Symbol:
    """``x`` where it is positive, else 0; its derivative at 0 is 0."""
    return _trace_of("relu", x).symbol("relu", x)


def exp(x: Symbol) -> Symbol:
    """The exponential."""
    return _trace_of("exp", x).symbol("exp", x)


def log(x: Symbol) -> Symbol:
    """The natural logarithm: NaN below 0, minus infinity at 0."""
    return _trace_of("log", x).symbol("log", x)


def softplus(x: Symbol) -> Symbol:
    """``log(1 + exp(x))`` without overflow."""
    return _trace_of("softplus", x).symbol("softplus", x)


def sqrt(x: Symbol) -> Symbol:
    """The square root: NaN below 0."""
    return _trace_of("sqrt", x).symbol("sqrt", x)


def minimum(a: Value, b: Value) -> Symbol:
    """The smaller of two, NaN where either is; at equals each takes half of the derivative."""
    return _trace_of("minimum", a, b).symbol("minimum", a, b)


def maximum(a: Value, b: Value) -> Symbol:
    """The larger of two, NaN where either is; at equals each takes half of the derivative."""
    return _trace_of("maximum", a, b).symbol("maximum", a, b)


def where(condition: Condition, a: Value, b: Value) -> Symbol:
    """``a`` where the comparison holds, else ``b``: ``where(x > 1, x, x * x)``."""
    trace = _trace_of("where", condition, a, b)
    if not isinstance(condition, Condition):
        trace.fail(
            "where is given a condition that is no comparison", "Compare two values: where(x > 0, a, b)"
        )
    if condition._trace is not trace:
        trace.fail("where mixes the symbols of two cells", "Put both equations into one cell")
    chosen = trace.graph.node("where", condition._node, trace.node_of(a, "where"), trace.node_of(b, "where"))
    return Symbol(trace, chosen)
