"""Single edits of a cell's text: another name, another function, a missing factor, two lines exchanged.

`edits` tries what a learner may have meant. Each edit changes one thing in the syntax tree of a function, and
says in words which mistake it undoes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from itertools import combinations, permutations
from typing import NamedTuple

_ACTIVATIONS = ("sigmoid", "tanh", "relu")
_OPERATORS: dict[str, type[ast.operator]] = {"+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div}
_SIGNS = {kind: sign for sign, kind in _OPERATORS.items()}
_CONSTANTS = (0, 1, 2, 0.5)
_KINDS = ("Split", "Input", "")
_MOST_EXPRESSIONS = 80  # of a function; a longer one is not searched


class Edit(NamedTuple):
    """One change of a function.

    Attributes:
        function: the changed function.
        line: the line that the edit changes.
        shown: the changed statement, or the signature, as text.
        says: what was wrong if this edit makes the function right: ``h stands where c belongs``.
        cost: how far-fetched the edit is; the first ones are 1.
    """

    function: ast.FunctionDef
    line: int
    shown: str
    says: str
    cost: int


def edits(function: ast.FunctionDef) -> Iterator[Edit]:
    """All single edits of a function. A function that is too long to be searched has none."""
    if sum(isinstance(node, ast.expr) for node in ast.walk(function)) > _MOST_EXPRESSIONS:
        return
    yield from _of_signature(function)
    yield from _of_order(function)
    yield from _missing_lines(function)
    for place in range(len(function.body)):
        yield from edits_of(function, place)


def edits_of(function: ast.FunctionDef, place: int) -> Iterator[Edit]:
    """The edits of one statement of the body."""
    match function.body[place]:
        case ast.Assign(targets=[target], value=value):
            yield from _of_targets(function, place, target)
            yield from _of_expression(function, place, value)
        case ast.Return(value=value) if value is not None:
            yield from _of_targets(function, place, value)
            yield from _of_expression(function, place, value)


def signature(function: ast.FunctionDef) -> str:
    """The first line of a function: ``def gru(h, *, r, z, n: Split):``."""
    return f"def {function.name}({ast.unparse(function.args)}):"


def written(statement: ast.stmt) -> str:
    """A statement as text, without brackets around several values."""
    match statement:
        case ast.Assign(targets=[target], value=ast.Tuple(elts=values)):
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            return f"{_listed(names)} = {_listed(values)}"
        case ast.Return(value=ast.Tuple(elts=values)):
            return f"return {_listed(values)}"
    return ast.unparse(statement)


def _listed(expressions: Sequence[ast.expr]) -> str:
    return ", ".join(map(ast.unparse, expressions))


def _of_signature(function: ast.FunctionDef) -> Iterator[Edit]:
    """Another kind of one gate."""
    for n, gate in enumerate(function.args.kwonlyargs):
        now = "" if gate.annotation is None else ast.unparse(gate.annotation).rpartition(".")[2]
        for kind in _KINDS:
            if kind != now:
                new = deepcopy(function)
                new.args.kwonlyargs[n].annotation = ast.Name(kind) if kind else None
                wanted = f"must be declared {gate.arg}: {kind}" if kind else f"must not be declared {now}"
                yield Edit(new, function.lineno, signature(new), f"{gate.arg} {wanted}", 1)


def _of_order(function: ast.FunctionDef) -> Iterator[Edit]:
    """Two statements exchanged."""
    places = [n for n, node in enumerate(function.body) if isinstance(node, ast.Assign)]
    for a, b in combinations(places, 2):
        new = deepcopy(function)
        new.body[a], new.body[b] = new.body[b], new.body[a]
        first, second = function.body[a], function.body[b]
        says = f"lines {first.lineno} and {second.lineno} are in the wrong order"
        yield Edit(new, first.lineno, written(second), says, 1 + (b - a > 1))


def _missing_lines(function: ast.FunctionDef) -> Iterator[Edit]:
    """``f = sigmoid(f)`` before the first statement."""
    start = int(ast.get_docstring(function) is not None)
    if start >= len(function.body):
        return
    for gate in function.args.kwonlyargs:
        for activation in _ACTIVATIONS:
            new = deepcopy(function)
            line = f"{gate.arg} = {activation}({gate.arg})"
            new.body.insert(start, ast.parse(line).body[0])
            at = _first_use(function, gate.arg)
            yield Edit(new, at, line, f"{gate.arg} is used without {activation}", 3)


def _first_use(function: ast.FunctionDef, name: str) -> int:
    """The first line of the body that reads a name."""
    found = (
        node.lineno
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    )
    return min(found, default=function.lineno)


def _of_targets(function: ast.FunctionDef, place: int, target: ast.expr) -> Iterator[Edit]:
    """Two of the names on the left, or of the returned values, exchanged."""
    if not isinstance(target, ast.Tuple):
        return
    for a, b in combinations(range(len(target.elts)), 2):
        one, other = target.elts[a], target.elts[b]
        new = _replaced(function, place, {id(one): other, id(other): one})
        says = f"{ast.unparse(one)} and {ast.unparse(other)} are exchanged"
        line = getattr(one, "lineno", function.body[place].lineno)
        yield Edit(new, line, written(new.body[place]), says, 1)


class _Change(NamedTuple):
    """A new expression in place of one, what that says, and its cost."""

    new: ast.expr
    says: str
    cost: int


def _of_expression(function: ast.FunctionDef, place: int, whole: ast.expr) -> Iterator[Edit]:
    def line(part: ast.expr) -> int:
        return getattr(part, "lineno", function.body[place].lineno)  # parts that an edit made have none

    names = _names(function, place)
    parts = list(_parts(whole))
    for part in parts:
        for change in _changes(part, names):
            new = _replaced(function, place, {id(part): change.new})
            yield Edit(new, line(part), written(new.body[place]), change.says, change.cost)
    for part in whole.elts if isinstance(whole, ast.Tuple) else [whole]:
        for change in _missing_terms(part, names):
            new = _replaced(function, place, {id(part): change.new})
            yield Edit(new, line(part), written(new.body[place]), change.says, change.cost)
    loaded = [part for part in parts if isinstance(part, ast.Name)]
    for one, other in combinations(loaded, 2):
        if one.id != other.id:
            new = _replaced(function, place, {id(one): other, id(other): one})
            says = f"{one.id} and {other.id} are exchanged"
            yield Edit(new, line(one), written(new.body[place]), says, 1)


def _names(function: ast.FunctionDef, place: int) -> list[str]:
    """The states and gates, and the names that are assigned before a statement."""
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    for statement in function.body[:place]:
        if isinstance(statement, ast.Assign):
            names += [
                node.id
                for target in statement.targets
                for node in ast.walk(target)
                if isinstance(node, ast.Name)
            ]
    return list(dict.fromkeys(names))


def _parts(expression: ast.expr) -> Iterator[ast.expr]:
    """An expression and all inside it, without names of functions and the gate before ``.x``."""
    yield expression
    match expression:
        case ast.Call(args=inner):
            pass
        case ast.BinOp(left=left, right=right):
            inner = [left, right]
        case ast.UnaryOp(operand=operand):
            inner = [operand]
        case ast.Tuple(elts=inner):
            pass
        case _:
            inner = []
    for part in inner:
        yield from _parts(part)


def _changes(part: ast.expr, names: Sequence[str]) -> Iterator[_Change]:
    if isinstance(part, ast.Tuple):
        return
    match part:
        case ast.Name(id=name):
            yield from (
                _Change(ast.Name(other), f"{name} stands where {other} belongs", 1)
                for other in names
                if other != name
            )
        case ast.Attribute(value=value, attr="x" | "h" as side):
            other = "h" if side == "x" else "x"
            shown = ast.unparse(value)
            yield _Change(
                ast.Attribute(value, other), f"{shown}.{side} stands where {shown}.{other} belongs", 1
            )
        case ast.Constant(value=int() | float() as value):
            yield from (
                _Change(ast.Constant(c), f"{value} stands where {c} belongs", 1)
                for c in _CONSTANTS
                if c != value
            )
        case ast.BinOp():
            yield from _of_operation(part)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield _Change(operand, "the minus sign is too much", 1)
        case ast.Call(func=ast.Name(id=function), args=[argument]):
            yield from _of_call(function, argument)
    yield from _around(part, names)


def _of_operation(part: ast.BinOp) -> Iterator[_Change]:
    left, right, sign = ast.unparse(part.left), ast.unparse(part.right), _SIGNS.get(type(part.op))
    if sign is None:
        return
    for other, kind in _OPERATORS.items():
        if other != sign:
            yield _Change(ast.BinOp(part.left, kind(), part.right), f"{sign} stands where {other} belongs", 1)
    if sign in "-/":
        yield _Change(ast.BinOp(part.right, part.op, part.left), f"the two sides of {sign} are exchanged", 1)
    yield _Change(part.right, f"{left} {sign} is too much", 2)
    yield _Change(part.left, f"{sign} {right} is too much", 2)


def _of_call(function: str, argument: ast.expr) -> Iterator[_Change]:
    for other in _ACTIVATIONS:
        if other != function:
            yield _Change(_call(other, argument), f"{function} stands where {other} belongs", 1)
    yield _Change(argument, f"{function} around {ast.unparse(argument)} is too much", 2)


def _around(part: ast.expr, names: Sequence[str]) -> Iterator[_Change]:
    """Something missing around an expression."""
    shown = ast.unparse(part)
    for activation in _ACTIVATIONS:
        yield _Change(_call(activation, part), f"{activation} around {shown} is missing", 2)
    if not isinstance(part, ast.Constant):
        yield _Change(_complement(part), f"{shown} stands where 1 - {shown} belongs", 2)
        yield _Change(ast.UnaryOp(ast.USub(), part), f"the minus sign before {shown} is missing", 3)
    for name in names:
        yield _Change(
            ast.BinOp(ast.Name(name), ast.Mult(), part), f"the factor {name} before {shown} is missing", 2
        )
        complement = ast.BinOp(_complement(ast.Name(name)), ast.Mult(), part)
        yield _Change(complement, f"the factor 1 - {name} before {shown} is missing", 2)
        yield _Change(ast.BinOp(part, ast.Add(), ast.Name(name)), f"+ {name} after {shown} is missing", 2)


def _missing_terms(part: ast.expr, names: Sequence[str]) -> Iterator[_Change]:
    """A product of two names, or of ``1 - z`` and a name, missing in a sum."""
    for one, other in permutations(names, 2):
        for factor in (ast.Name(one), _complement(ast.Name(one))):
            term = ast.BinOp(factor, ast.Mult(), ast.Name(other))
            says = f"+ {ast.unparse(term)} after {ast.unparse(part)} is missing"
            yield _Change(ast.BinOp(part, ast.Add(), term), says, 3)


def _call(function: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(function), [argument], [])


def _complement(part: ast.expr) -> ast.BinOp:
    return ast.BinOp(ast.Constant(1), ast.Sub(), part)


def _replaced(function: ast.FunctionDef, place: int, new: Mapping[int, ast.expr]) -> ast.FunctionDef:
    """The function with other expressions, by the `id` of the old ones, in the statement at `place`."""

    def changed(node: ast.AST) -> ast.AST:
        if id(node) in new:
            return new[id(node)]
        twin = copy(node)
        for name, value in ast.iter_fields(node):
            setattr(twin, name, each(value))
        return twin

    def each(value: object) -> object:
        if isinstance(value, list):
            return [each(one) for one in value]
        return changed(value) if isinstance(value, ast.expr) else value

    twin, statement = copy(function), changed(function.body[place])
    assert isinstance(statement, ast.stmt)
    twin.body = [*function.body[:place], statement, *function.body[place + 1 :]]
    return twin
