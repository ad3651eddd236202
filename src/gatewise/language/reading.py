"""`read_cell`: the text of a cell becomes a `Cell`, without being run as Python.

The text is parsed with Python's own parser. Assignments, arithmetic, comparisons and calls of the language's
functions are then applied to symbols, as running the function would; everything else is refused.
"""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from textwrap import dedent
from typing import Any, NoReturn, final

from gatewise.language import operations
from gatewise.language.cell import Cell, Origin, Ran, built
from gatewise.language.parameters import KINDS_BY_NAME, Kind, Parameter
from gatewise.language.symbols import CellError, Condition, SplitGate, Symbol, Trace

_MOST = 100_000  # characters of a text

_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    **{
        function.__name__: function
        for function in (
            operations.sigmoid, operations.tanh, operations.relu, operations.exp, operations.log,
            operations.softplus, operations.sqrt, operations.minimum, operations.maximum, operations.where,
            operations.linear, operations.project, operations.layer_norm, operations.dropout,
            operations.zoneout,
        )
    },
}  # fmt: skip
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_HAS = "A cell is a def with assignments, arithmetic, functions of the language, and a return at the end"


def read_cell(text: str, file: str = "<cell>") -> Cell:
    """Read a cell from text, which is never run as Python.

    The text is a function as `cell` takes it, with or without the decorator: ``def name(states, *, gates):``,
    a body of assignments, and one return at the end. It may use numbers and the functions of the language by
    their own names, and nothing from outside. The cell equals the one that `cell` reads from that function.

    Args:
        text: one function, at most 100,000 characters.
        file: what error messages call the text.

    Raises:
        CellError: the text breaks a rule of the language. The message names file, line and remedy.

    Example:
        >>> from gatewise import read_cell
        >>> print(read_cell('''
        ... def minimal(h, *, f, g):
        ...     f = sigmoid(f)
        ...     return f * h + (1 - f) * tanh(g)
        ... '''))
        minimal(h, *, f, g)
          f_bar = W_f x + R_f h + b_f
          g_bar = W_g x + R_g h + b_g
          f = sigmoid(f_bar)
          h' = f * h + (1 - f) * tanh(g_bar)
    """
    return read_function(_function_in(text, file), file)


def read_function(function: ast.FunctionDef, file: str = "<cell>") -> Cell:
    """Read a cell from the syntax tree of its function, as `read_cell` does from text.

    Decorators are ignored.

    Raises:
        CellError: the function breaks a rule of the language.
    """
    source = _Text(file, function.lineno)
    trace = Trace(function.name, source)
    states, parameters = _declarations(function, trace)
    origin = Origin(function.name, function.name, "", ast.get_docstring(function))

    def run(before: list[Symbol], symbols: Mapping[str, Any]) -> Ran:
        values = dict(zip(states, before, strict=True)) | dict(symbols)
        try:
            returned = _Body(trace, source, values).run(function.body)
        except RecursionError:
            trace.fail("the line nests too deeply", "Give parts of it names of their own")
        return Ran(returned, values, source.line)

    return built(origin, states, parameters, trace, run)


@final
class _Text:
    """Equations as text: the line is that of the statement that is read."""

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.first_line = self.line = line

    def running_line(self) -> int:
        return self.line


def _function_in(text: str, file: str) -> ast.FunctionDef:
    """The one function of a text, which may import from gatewise before it."""

    def fail(what: str, line: int = 1) -> NoReturn:
        raise CellError(f"{file}:{line}: {what}. {_HAS}") from None

    if len(text) > _MOST:
        fail(f"the text has {len(text):,} characters; the limit is {_MOST:,}")
    try:
        module = ast.parse(dedent(text))
    except SyntaxError as error:
        fail(f"this line can't be read: {error.msg}", error.lineno or 1)
    except ValueError as error:  # null bytes, before Python 3.11.4
        fail(f"the text can't be read: {error}")
    except (RecursionError, MemoryError):
        fail("the text nests too deeply")
    statements = [node for node in module.body if not is_import_of_gatewise(node)]
    if not statements:
        fail("the text has no function")
    function, *more = statements
    if not isinstance(function, ast.FunctionDef):
        fail("this is not a function", function.lineno)
    if more:
        fail("the text goes on after the function", more[0].lineno)
    for decorator in function.decorator_list:
        if ast.unparse(decorator) not in ("cell", "gatewise.cell", "gw.cell"):
            fail(f"the function has the decorator @{ast.unparse(decorator)}", decorator.lineno)
    return function


def is_import_of_gatewise(node: ast.stmt) -> bool:
    """Whether a statement imports from gatewise, as a text may before its cells."""
    match node:
        case ast.ImportFrom(module="gatewise" | "__future__"):
            return True
        case ast.Import(names=[ast.alias(name="gatewise")]):
            return True
    return False


def _declarations(function: ast.FunctionDef, trace: Trace) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    """The states and parameters that the signature declares."""
    given = function.args
    if several := given.vararg or given.kwarg:
        trace.fail(f"parameter *{several.arg} takes any number of arguments", "Name each state and each gate")
    if given.defaults or any(given.kw_defaults):
        trace.fail("a parameter has a default", "States and gates have none; remove it")
    parameters = []
    for gate in given.kwonlyargs:
        annotation = "" if gate.annotation is None else ast.unparse(gate.annotation).rpartition(".")[2]
        kind = KINDS_BY_NAME.get(annotation, None if annotation else Kind.GATE)
        if kind is None:
            trace.fail(
                f"gate {gate.arg!r} is annotated {annotation!r}",
                "Use no annotation, or Split, Input or Vector",
                gate.lineno,
            )
        parameters.append(Parameter(gate.arg, kind))
    return tuple(state.arg for state in (*given.posonlyargs, *given.args)), tuple(parameters)


@final
class _Body:
    """Applies the statements of a body to symbols.

    Args:
        values: the symbols of states and parameters by name; assignments add to it.
    """

    def __init__(self, trace: Trace, source: _Text, values: dict[str, Any]) -> None:
        self._trace, self._source, self._values = trace, source, values

    def run(self, body: Iterable[ast.stmt]) -> Any:
        """What the body returns; None if it does not return."""
        for n, statement in enumerate(body):
            self._source.line = statement.lineno
            match statement:
                case ast.Return(value=value):
                    return None if value is None else self._several(value)
                case ast.Assign(targets=targets, value=value):
                    result = self._several(value)
                    for target in targets:
                        self._assign(target, result)
                case ast.Expr(value=ast.Constant(value=str())) if n == 0:  # the docstring
                    pass
                case ast.AugAssign():
                    self._trace.fail(
                        "an augmented assignment changes a value in place",
                        "Write a new value: c = c + d, not c += d",
                    )
                case ast.If() | ast.While() | ast.Match():
                    self._trace.fail(
                        "the body branches, and no value is known when the cell is read",
                        "Compute both sides and choose with where(condition, a, b)",
                    )
                case _:
                    self._fail(statement)
        return None

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target, value:
            case ast.Name(id=name), _:
                self._values[name] = value
            case ((ast.Tuple(elts=parts) | ast.List(elts=parts)), tuple()) if len(parts) == len(value):
                for part, one in zip(parts, value, strict=True):
                    self._assign(part, one)
            case ((ast.Tuple() | ast.List()), _):
                came = f"{len(value)} values" if isinstance(value, tuple) else "one value"
                self._trace.fail(f"{ast.unparse(target)} can't be taken from {came}", "Name each value")
            case _:
                self._fail(target)

    def _several(self, expression: ast.expr) -> Any:
        """A value, or several as a tuple."""
        if isinstance(expression, (ast.Tuple, ast.List)):
            return tuple(self._value(part) for part in expression.elts)
        return self._value(expression)

    def _value(self, expression: ast.expr) -> Any:
        match expression:
            case ast.Name(id=name):
                return self._named(name)
            case ast.Constant(value=bool()):
                self._fail(expression)
            case ast.Constant(value=int() | float() as number):
                return self._number(float, number)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._number(_BINARY[type(op)], self._value(left), self._value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return self._number(_UNARY[type(op)], self._value(operand))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                return self._compared(_COMPARISONS[type(op)], self._value(left), self._value(right))
            case ast.Attribute(value=ast.Name(id=name), attr="x" | "h" as part):
                if isinstance(gate := self._named(name), SplitGate):
                    return gate.x if part == "x" else gate.h
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(name, args, keywords)
        self._fail(expression)

    def _named(self, name: str) -> Any:
        if name not in self._values:
            if name in _FUNCTIONS:
                self._trace.fail(f"{name} is a function", f"Call it: {name}(...)")
            known = ", ".join(self._values)
            self._trace.fail(f"there is no {name!r} here", f"Declare it after the star. There are {known}")
        return self._values[name]

    def _number(self, function: Callable[..., Any], *values: Any) -> Any:
        """The result of an operation, which is a real number if all its arguments are numbers."""
        try:
            result = function(*values)
        except (ArithmeticError, TypeError) as error:  # of numbers; of several values at once
            self._trace.fail(f"this can't be computed: {error}", "Use real numbers and single values")
        if isinstance(result, complex):
            self._trace.fail("this is a complex number", "Use real numbers")
        return result

    def _compared(self, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
        if not any(isinstance(value, (Symbol, SplitGate)) for value in (a, b)):
            self._trace.fail(
                "no value of the cell is compared", "Compare a value of the cell: where(x > 0, a, b)"
            )
        return function(a, b)

    def _call(self, name: str, args: Iterable[ast.expr], keywords: Iterable[ast.keyword]) -> Any:
        function = _FUNCTIONS.get(name)
        if function is None:
            self._trace.fail(f"there is no function {name!r}", f"The language has {', '.join(_FUNCTIONS)}")
        given = [self._option(arg) for arg in args]
        options = {keyword.arg or "": self._option(keyword.value) for keyword in keywords}
        if not any(isinstance(value, (Symbol, SplitGate, Condition)) for value in given):
            self._trace.fail(
                f"{name} got no value of the cell", "Give it a state, a gate, or what is computed from them"
            )
        signature = inspect.signature(function)
        try:
            signature.bind(*given, **options)
        except TypeError as error:
            bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
            self._trace.fail(f"{name}: {error}", f"Write {name}{inspect.Signature(bare)}")
        return function(*given, **options)

    def _option(self, expression: ast.expr) -> Any:
        """A number, or a text such as per="sequence"."""
        if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
            return expression.value
        return self._value(expression)

    def _fail(self, node: ast.stmt | ast.expr) -> NoReturn:
        shown = ast.unparse(node).partition("\n")[0]
        self._trace.fail(f"{shown[:60]!r} is not part of the language", _HAS)
