"""Symbols: the arguments of a cell's function while it is traced. Operations on them write down a graph."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from numbers import Real
from types import CodeType
from typing import Any, NamedTuple, NoReturn, Protocol, Self, final

from gatewise.language.graph import Graph, Node


class CellError(ValueError):
    """Raised for a cell that breaks a rule of the language. The message names file, line and remedy."""


class Normal(NamedTuple):
    """One result of a `layer_norm`, with its gain, its bias and the line of the call."""

    value: Node
    gain: Node
    bias: Node
    line: int


class Source(Protocol):
    """Where the equations of a cell stand, for error messages."""

    @property
    def file(self) -> str: ...  # noqa: D102
    @property
    def first_line(self) -> int: ...  # noqa: D102

    def running_line(self) -> int | None:
        """The line that is read at the moment; None if all have been read."""


@final
class Code:
    """The equations as a function that runs on symbols."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self.file = code.co_filename
        self.first_line = code.co_firstlineno

    def running_line(self) -> int | None:
        """The line of the function that is running."""
        frame = sys._getframe()
        while frame is not None and frame.f_code is not self._code:
            frame = frame.f_back  # type: ignore[assignment]
        return None if frame is None else frame.f_lineno


@final
class Trace:
    """One reading of a cell's equations on symbols: the graph that it writes, and lines for error messages.

    Attributes:
        line: the line of the return, once all has been read.
    """

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.source = source
        self.line = source.first_line
        self.graph = Graph()
        self.norms: list[Normal] = []
        self._count: Counter[str] = Counter()

    def fail(self, what: str, remedy: str, line: int | None = None) -> NoReturn:
        """Raise a `CellError` for `line`, by default the running line, or the return after the run."""
        where = f"{self.source.file}:{line or self.running_line()}"
        raise CellError(f"{where}: cell {self.name!r}: {what}. {remedy}") from None

    def running_line(self) -> int:
        """The line that is running, or the line of the return if all has been read."""
        return self.source.running_line() or self.line

    def number(self, of: str) -> int:
        """Count calls of a kind: 0 for the first, 1 for the second, ..."""
        self._count[of] += 1
        return self._count[of] - 1

    def symbol(self, op: str, *args: object, name: str = "", part: str = "", value: float = 0.0) -> Symbol:
        """The symbol for `op` of symbols and numbers."""
        nodes = (self.node_of(a, op) for a in args)
        return Symbol(self, self.graph.node(op, *nodes, name=name, part=part, value=value))

    def node_of(self, value: object, op: str) -> Node:
        """The node of a symbol of this cell, or of a number."""
        if isinstance(value, Real):
            return self.graph.constant(float(value))
        if isinstance(value, Symbol):
            if value._trace is not self:
                self.fail(
                    f"{op} mixes its symbols with those of cell {value._trace.name!r}",
                    "A cell may use only its own parameters; put both equations into one cell",
                )
            return value._node
        self._reject(value, op)

    def _reject(self, value: object, op: str) -> NoReturn:
        if isinstance(value, SplitGate):
            self.fail(
                f"{op} got the Split gate {value._name!r} as a whole",
                f"Use its two parts, {value._name}.x (from the input) and {value._name}.h (from the state)",
            )
        if isinstance(value, Condition):
            self.fail(f"{op} got a comparison", "Turn it into a value: where(condition, a, b)")
        self.fail(f"{op} got a {type(value).__name__}", "Use the parameters of the cell and plain numbers")

    def condition(self, op: str, a: object, b: object) -> Condition:
        """A comparison of two symbols or numbers."""
        name = "a comparison"
        return Condition(self, self.graph.node(op, self.node_of(a, name), self.node_of(b, name)))


def _refused(what: str) -> Callable[..., NoReturn]:
    """A method that raises the error "`what` is not part of the language"."""

    def refuse(self: _Traced, *args: object) -> NoReturn:
        self._unknown(what)

    return refuse


# NumPy functions by their operation here: a NumPy number on the left of an operator calls them.
_UFUNCS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div"}


class _Traced:
    """Raises a clear error for every use that is not part of the language."""

    __slots__ = ("_node", "_trace")

    def __init__(self, trace: Trace, node: Node) -> None:
        self._trace = trace
        self._node = node

    def __bool__(self) -> NoReturn:
        self._trace.fail(
            "the body branches on a value, which is not known when the cell is defined",
            "Compute both sides and choose with where(condition, a, b)",
        )

    __float__ = __int__ = __complex__ = __index__ = __round__ = _refused(
        "a conversion to a number (as in the functions of math)"
    )
    __iter__ = __len__ = __contains__ = _refused("iterating over units")
    __matmul__ = __rmatmul__ = _refused("the matrix product @")
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = _refused(
        "division with remainder"
    )
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = _refused("an operation on bits")
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refused("an operation on bits")

    def __getitem__(self, index: object) -> NoReturn:
        self._unknown("indexing units")

    def __setitem__(self, index: object, value: object) -> NoReturn:
        self._in_place("assigning to units")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._unknown(f"'.{name}'")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: object, **options: object) -> Symbol:
        if ufunc.__name__ not in _UFUNCS:
            self._unknown(f"numpy.{ufunc.__name__}")
        return self._trace.symbol(_UFUNCS[ufunc.__name__], *args)

    @classmethod
    def __torch_function__(cls, func: Any, types: object, args: Any = (), options: object = None) -> NoReturn:
        traced = next(a for a in args if isinstance(a, _Traced))
        traced._unknown(f"torch.{func.__name__}")

    def _unknown(self, what: str) -> NoReturn:
        self._trace.fail(
            f"{what} is not part of the language",
            "It has + - * / **, comparisons inside where, and sigmoid tanh relu exp log softplus abs sqrt "
            "minimum maximum where linear project layer_norm dropout zoneout from gatewise",
        )

    def _in_place(self, what: str) -> NoReturn:
        self._trace.fail(f"{what} changes a value in place", "Write a new value: c = c + d, not c += d")


@final
class Condition(_Traced):
    """A comparison; only `where` takes it."""

    __slots__ = ()

    def __add__(self, other: object) -> NoReturn:
        self._trace._reject(self, "arithmetic")

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
    __pow__ = __rpow__ = __neg__ = __and__ = __or__ = __invert__ = __add__


class Symbol(_Traced):
    """A vector with one number per unit, known once the cell runs."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __add__(self, other: object) -> Symbol:
        return self._trace.symbol("add", self, other)

    def __radd__(self, other: object) -> Symbol:
        return self._trace.symbol("add", other, self)

    def __sub__(self, other: object) -> Symbol:
        return self._trace.symbol("sub", self, other)

    def __rsub__(self, other: object) -> Symbol:
        return self._trace.symbol("sub", other, self)

    def __mul__(self, other: object) -> Symbol:
        return self._trace.symbol("mul", self, other)

    def __rmul__(self, other: object) -> Symbol:
        return self._trace.symbol("mul", other, self)

    def __truediv__(self, other: object) -> Symbol:
        return self._trace.symbol("div", self, other)

    def __rtruediv__(self, other: object) -> Symbol:
        return self._trace.symbol("div", other, self)

    def __neg__(self) -> Symbol:
        return self._trace.symbol("neg", self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Symbol:
        return self._trace.symbol("abs", self)

    def __pow__(self, exponent: object) -> Symbol:
        if isinstance(exponent, Real) and float(exponent).is_integer():
            return self._integer_power(int(float(exponent)))
        if isinstance(exponent, Real) and float(exponent) == 0.5:
            return self._trace.symbol("sqrt", self)
        logarithm = self._trace.symbol("log", self)
        return self._trace.symbol("exp", self._trace.symbol("mul", exponent, logarithm))

    def __rpow__(self, base: object) -> Symbol:
        logarithm = self._trace.symbol("log", base)
        return self._trace.symbol("exp", self._trace.symbol("mul", self, logarithm))

    def _integer_power(self, n: int) -> Symbol:
        if n < 0:
            return 1 / self._integer_power(-n)
        if n == 0:
            return Symbol(self._trace, self._trace.graph.constant(1))
        if n == 1:
            return self
        half = self._integer_power(n // 2)
        return half * half * self if n % 2 else half * half

    def __lt__(self, other: object) -> Condition:
        return self._trace.condition("less", self, other)

    def __le__(self, other: object) -> Condition:
        return self._trace.condition("less_equal", self, other)

    def __gt__(self, other: object) -> Condition:
        return self._trace.condition("less", other, self)

    def __ge__(self, other: object) -> Condition:
        return self._trace.condition("less_equal", other, self)

    def __eq__(self, other: object) -> NoReturn:
        self._unknown("comparing for equality")

    __ne__ = __eq__

    def __iadd__(self, other: object) -> NoReturn:
        self._in_place("an augmented assignment")

    __isub__ = __imul__ = __itruediv__ = __ipow__ = __iadd__


class SplitGate:
    """A gate whose two parts stay apart: `.x` from the input, `.h` from the state."""

    __slots__ = ("_name", "_trace", "h", "x")

    def __init__(self, trace: Trace, name: str, x: Symbol, h: Symbol) -> None:
        for slot, value in (("_trace", trace), ("_name", name), ("x", x), ("h", h)):
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._trace._reject(self, f"'.{name}'")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        self._trace.fail(
            f"assigning to {self._name}.{name} changes a value in place",
            f"Give the new value a name of its own: {self._name}_{name} = ...",
        )

    def __add__(self, other: object) -> NoReturn:
        self._trace._reject(self, "arithmetic")

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
    __pow__ = __rpow__ = __neg__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __getitem__ = __add__
