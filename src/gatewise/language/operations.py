"""The functions that equations are written with.

They take symbols and plain numbers inside the body of a cell, and nothing else. All work on each unit by
itself, except the three that have weights: `linear`, `project`, `layer_norm`.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TypeGuard, overload

from gatewise.language import names
from gatewise.language.symbols import CellError, Condition, Normal, SplitGate, Symbol, Trace

Value = Symbol | float


def _trace_of(op: str, *args: object) -> Trace:
    for value in args:
        if isinstance(value, (Symbol, Condition, SplitGate)):
            return value._trace
    kinds = ", ".join(type(value).__name__ for value in args)
    raise CellError(
        f"{op} must be called in the body of a cell, on its parameters. Got {kinds}; "
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
    """The smaller of two, NaN if either is NaN. Equal values get half of the derivative each."""
    return _trace_of("minimum", a, b).symbol("minimum", a, b)


def maximum(a: Value, b: Value) -> Symbol:
    """The larger of two, NaN if either is NaN. Equal values get half of the derivative each."""
    return _trace_of("maximum", a, b).symbol("maximum", a, b)


def where(condition: Condition, a: Value, b: Value) -> Symbol:
    """``a`` where the comparison holds, else ``b``: ``where(x > 1, x, x * x)``."""
    trace = _trace_of("where", condition, a, b)
    if not isinstance(condition, Condition):
        trace.fail("the condition of where is not a comparison", "Compare two values: where(x > 0, a, b)")
    if condition._trace is not trace:
        trace.fail("where mixes the symbols of two cells", "Put both equations into one cell")
    chosen = trace.graph.node("where", condition._node, trace.node_of(a, "where"), trace.node_of(b, "where"))
    return Symbol(trace, chosen)


def linear(v: Symbol) -> Symbol:
    """``M v + b``, a product in the middle of a step, with its own matrix ``M [H, H]`` and bias ``b [H]``.

    Each call has its own matrix and bias. The layer stacks them in ``weight_linear`` and ``bias_linear``.

    Example:
        >>> from gatewise import Input, cell, linear, sigmoid, tanh
        >>> @cell
        ... def reset_first(h, *, r, n: Input):
        ...     return tanh(n + linear(sigmoid(r) * h))
    """
    trace = _trace_of("linear", v)
    return trace.symbol("linear", v, name=str(trace.number("linear")))


def project(v: Symbol) -> Symbol:
    """``W v`` with a matrix ``W [P, H]``: a narrower output (Sak et al. 2014).

    Only the first state, the output, may be projected. Its width P is the layer's ``proj_size``, and the
    recurrent weights are P wide too.
    """
    trace = _trace_of("project", v)
    if trace.number("project"):
        trace.fail("it projects twice", "Only the output is projected: h = project(...), once")
    return trace.symbol("project", v)


@overload
def layer_norm(v: Symbol, /, *, eps: float = 1e-5) -> Symbol: ...


@overload
def layer_norm(v: Symbol, w: Symbol, /, *more: Symbol, eps: float = 1e-5) -> tuple[Symbol, ...]: ...


def layer_norm(*v: Symbol, eps: float = 1e-5) -> Symbol | tuple[Symbol, ...]:
    """Layer normalisation (Ba, Kiros & Hinton 2016), over all units of all arguments together.

    ``gain * (v - mean) / sqrt(variance + eps) + bias``, with one mean and one variance for all arguments, and
    a learned gain and bias for each unit of each argument. Returns one vector for one argument, a tuple for
    several: ``i, f, g, o = layer_norm(i, f, g, o)``.
    """
    if not v:
        raise CellError("layer_norm must have at least one argument. Got none.")
    trace = _trace_of("layer_norm", *v)
    if not _is_number(eps) or not 0 <= eps < math.inf:
        trace.fail(f"the eps of layer_norm is {_shown(eps)}", "Use a small plain number, such as 1e-5")
    normal = []
    for n in range(len(v)):
        gain, bias = (trace.graph.leaf("vector", name) for name in names.norm(trace.number("norm")))
        scaled = trace.symbol("norm", *v, name=str(n), value=float(eps)) * Symbol(trace, gain)
        normal.append(scaled + Symbol(trace, bias))
        trace.norms.append(Normal(normal[-1]._node, gain, bias, trace.running_line()))
    return normal[0] if len(normal) == 1 else tuple(normal)


def dropout(v: Symbol, rate: float, per: str = "step") -> Symbol:
    """0 with probability `rate`, else ``v / (1 - rate)``.

    Drawn for each unit of each row, at each step or, with ``per="sequence"`` (Gal & Ghahramani 2016), once
    for the whole sequence. Outside of training it is `v`.
    """
    trace = _trace_of("dropout", v)
    _fraction(trace, "dropout", rate)
    if per not in ("step", "sequence"):
        trace.fail(f"dropout is drawn per {per!r}", 'Use per="step" or per="sequence"')
    return trace.symbol("dropout", v, name=str(trace.number("chance")), part=per, value=float(rate))


def zoneout(old: Value, new: Value, rate: float) -> Symbol:
    """`old` with probability `rate`, else `new` (Krueger et al. 2017).

    Drawn for each unit of each row at each step. Outside of training it is the expected value,
    ``rate * old + (1 - rate) * new``.
    """
    trace = _trace_of("zoneout", old, new)
    _fraction(trace, "zoneout", rate)
    return trace.symbol("zoneout", old, new, name=str(trace.number("chance")), part="step", value=float(rate))


def _fraction(trace: Trace, op: str, rate: object) -> None:
    if not _is_number(rate) or not 0 <= rate < 1:
        trace.fail(f"the rate of {op} is {_shown(rate)}", "Use a plain number from 0 to less than 1")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A wrong argument as an error message shows it."""
    return repr(value) if isinstance(value, (Real, str)) else f"of type {type(value).__name__}"
