"""Finds the lines of a learner's cell that are wrong, by comparison with the right cell.

First it looks for one edit that makes the whole cell right. If there is none, it goes through the values that
the right cell has too, in order. It puts the right value in place of each wrong one and goes on, so that it
finds several wrong lines.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import NamedTuple, final

from gatewise.language import Cell, CellError
from gatewise.language.graph import Node
from gatewise.language.reading import read_function
from gatewise.learn.comparing import Gates, Parting, Probe, orders, parting, roles
from gatewise.learn.edits import Edit, edits, edits_of

_RIGHT = "right_"
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


class Fault(NamedTuple):
    """A wrong line.

    Attributes:
        line: its number in the file.
        said: sentences: what differs, with numbers, and what was probably meant.
        suggestion: the line as it would be right; empty if none was found.
    """

    line: int
    said: tuple[str, ...]
    suggestion: str = ""


class _Repair(NamedTuple):
    """An edit that makes a function right; `agrees` says whether all its named values are right too."""

    edit: Edit
    probe: Probe
    gates: Gates
    agrees: bool


def faults(function: ast.FunctionDef, mine: Cell | None, rights: Sequence[Probe]) -> list[Fault]:
    """What is wrong with a function that is none of the right cells.

    Args:
        function: the learner's function.
        mine: the cell that it is, or None if it cannot be read.
        rights: the right cells. The fewest changes to any of them count.
    """
    if repair := _best(_repairs(function, rights)):
        return [_repaired(mine, repair)]
    if mine is None:
        return list(_unreadable(function, rights[0]))[:1]
    fitting = [(probe, gates) for probe in rights for gates in orders(mine, probe.right)]
    if not fitting:
        return []
    chains = [_chain(function, probe, gates) for probe, gates in fitting[:8]]
    whole = [chain for chain in chains if chain]
    return min(whole, key=len) if whole else [_last(function, mine, *fitting[0])]


def _best(repairs: Iterator[_Repair]) -> _Repair | None:
    """The first one after which all named values are right, else the first one."""
    found = []
    for repair in repairs:
        if repair.agrees:
            return repair
        found.append(repair)
    return found[0] if found else None


def _repairs(function: ast.FunctionDef, rights: Sequence[Probe]) -> Iterator[_Repair]:
    """The edits that make a function right, the least far-fetched ones first."""
    for edit in sorted(edits(function), key=lambda edit: edit.cost):
        if (cell := cell_of(edit.function)) is None:
            continue
        found = ((probe, gates) for probe in rights for gates in orders(cell, probe.right))
        for probe, gates in found:
            if probe.same(cell, gates):
                names = roles(cell, probe.right, gates)
                yield _Repair(edit, probe, gates, all(probe.agrees(cell, gates, names).values()))
                break


def cell_of(function: ast.FunctionDef) -> Cell | None:
    """The cell that a function is, or None if it breaks a rule of the language."""
    try:
        return read_function(function)
    except CellError:
        return None


def _repaired(mine: Cell | None, repair: _Repair) -> Fault:
    """The fault that one edit removes, with the numbers at which the cells part, if both can be run."""
    said, right = [_sentence(repair.edit.says)], repair.probe.right
    fitting = [] if mine is None else list(orders(mine, right))
    if mine is not None and fitting:
        gates = repair.gates if repair.gates in fitting else fitting[0]
        if parted := parting(mine, right, gates):
            said.insert(0, _numbers(parted, mine, right, gates))
    return Fault(repair.edit.line, tuple(said), repair.edit.shown)


def _numbers(parted: Parting, mine: Cell, right: Cell, gates: Gates) -> str:
    names = {role: name for name, role in roles(mine, right, gates).items()}
    should, yours = _told_apart(parted.should, parted.yours)
    before = f" All agree up to step {parted.step - 1}." if parted.step > 1 else ""
    name = names.get(parted.name, parted.name)
    return f"{name} should be {should} at step {parted.step}; yours is {yours}.{before}"


def _told_apart(a: float, b: float) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to see that they differ, at least four."""
    for digits in range(4, 17):
        if (texts := (f"{a:.{digits}g}", f"{b:.{digits}g}"))[0] != texts[1]:
            break
    return texts


def _chain(function: ast.FunctionDef, probe: Probe, gates: Gates) -> list[Fault]:
    """The wrong lines, found one after the other; empty if not all can be found."""
    body = _Body(_with_named_results(function), probe.right, gates)
    found: list[Fault] = []
    for name, place in body.last_assignments():
        cell = cell_of(body.function)
        if cell is None:
            return []
        names = roles(cell, probe.right, gates)
        if name in names and not probe.agrees(cell, gates, names).get(name, True):
            found.append(_of_line(body, cell, place, name, probe))
    cell = cell_of(body.function)
    return _joined(found) if cell is not None and probe.same(cell, gates) else []


def _unreadable(function: ast.FunctionDef, probe: Probe) -> Iterator[Fault]:
    """The line that makes a function right, if it is replaced, where the function cannot be read as it is."""
    right = probe.right
    gates = {p.name: p.name for p in right.parameters}
    if {arg.arg for arg in function.args.kwonlyargs} != gates.keys() or len(_states(function)) != len(
        right.states
    ):
        return
    named = _with_named_results(function)
    of = dict(zip(_states(function), right.states, strict=True)) | {name: name for name in right.values}
    for name, place in _Body(named, right, gates).last_assignments():
        if name in of:
            body = _Body(named, right, gates)
            body.overridden[place].append((name, of[name]))
            cell = cell_of(body.function)
            if cell is not None and any(probe.same(cell, order) for order in orders(cell, right)):
                yield Fault(named.body[place].lineno, ())


def _of_line(body: _Body, cell: Cell, place: int, name: str, probe: Probe) -> Fault:
    """The fault of one statement, in a function whose earlier values are right. It is mended in `body`."""
    gates, statement = body.gates, body.statements[place]
    said = []
    role = roles(cell, probe.right, gates)[name]
    if parted := parting(cell, probe.right, gates, role):
        said.append(_numbers(parted, cell, probe.right, gates))
    function = body.function
    at = next(n for n, node in enumerate(function.body) if node is statement)
    for edit in sorted(edits_of(function, at), key=lambda edit: edit.cost):
        if (changed := cell_of(edit.function)) is not None:
            names = roles(changed, probe.right, gates)
            if names.get(name) == role and probe.agrees(changed, gates, names).get(name):
                body.statements[place] = edit.function.body[at]
                return Fault(edit.line, (*said, _sentence(edit.says)), edit.shown)
    body.overridden[place].append((name, role))
    return Fault(statement.lineno, tuple(said))


def _joined(found: Sequence[Fault]) -> list[Fault]:
    """The faults with those of one line as one. The last suggestion has all changes."""
    lines: dict[int, Fault] = {}
    for fault in found:
        before = lines.get(fault.line, Fault(fault.line, ()))
        whole = fault.suggestion if before.suggestion or not before.said else ""
        lines[fault.line] = Fault(fault.line, before.said + fault.said, whole)
    return list(lines.values())


@final
class _Body:
    """The body of a function in which right values can be put in place of wrong ones.

    Attributes:
        overridden: the names that get the right value after a statement, each with the name of that value in
            the right cell, by the index of the statement.
    """

    def __init__(self, function: ast.FunctionDef, right: Cell, gates: Gates) -> None:
        self.gates, self.statements = gates, list(function.body)
        self.overridden: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self._function, self._right = function, right
        self._start = int(ast.get_docstring(function) is not None)

    @property
    def function(self) -> ast.FunctionDef:
        """The function with the right values."""
        needed = {of: None for pairs in self.overridden.values() for _, of in pairs}
        own = {of: name for name, of in self.gates.items()}
        states = dict(zip(self._right.states, _states(self._function), strict=True))
        new: list[ast.stmt] = []
        for place, statement in enumerate(self.statements):
            if place == self._start:
                for of in needed:
                    text = _expression(self._right.values[of], own | states)
                    new += ast.parse(f"{_RIGHT}{of} = {text}").body
            new.append(statement)
            for name, of in self.overridden[place]:
                new += ast.parse(f"{name} = {_RIGHT}{of}").body
        changed = copy(self._function)
        changed.body = new
        return changed

    def last_assignments(self) -> list[tuple[str, int]]:
        """Each assigned name, with the index of the statement that assigns it last, in order."""
        found: dict[str, int] = {}
        for place, statement in enumerate(self.statements):
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    found.pop(node.id, None)
                    found[node.id] = place
        return list(found.items())


def _states(function: ast.FunctionDef) -> list[str]:
    return [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]


def _with_named_results(function: ast.FunctionDef) -> ast.FunctionDef:
    """The function with ``h, c = ...`` before its return, if it returns anything but names."""
    last = function.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        return function
    given = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
    if all(isinstance(value, ast.Name) for value in given) or len(given) != len(_states(function)):
        return function
    left = ", ".join(_states(function))
    assignment, end = ast.parse(f"{left} = 0\nreturn {left}").body
    assert isinstance(assignment, ast.Assign)
    assignment.value = last.value
    new = copy(function)
    new.body = [*function.body[:-1], ast.copy_location(assignment, last), ast.copy_location(end, last)]
    return ast.fix_missing_locations(new)


def _expression(node: Node, names: Mapping[str, str]) -> str:
    """A node as Python, down to states and gates, which have the given names."""
    if node.op == "constant":
        return repr(node.value)
    if not node.args:
        return names[node.name] + (f".{node.part}" if node.part else "")
    inner = [_expression(arg, names) for arg in node.args]
    if node.op in _INFIX:
        return f"({inner[0]} {_INFIX[node.op]} {inner[1]})"
    return f"(-{inner[0]})" if node.op == "neg" else f"{node.op}({', '.join(inner)})"


def _last(function: ast.FunctionDef, mine: Cell, probe: Probe, gates: Gates) -> Fault:
    """The fault of the first state that is wrong, where it is not known why."""
    parted = parting(mine, probe.right, gates)
    body = _Body(function, probe.right, gates)
    if parted is None:
        return Fault(function.lineno, ("its states differ from the right ones for some values",))
    name = next(name for name, role in roles(mine, probe.right, gates).items() if role == parted.name)
    place = dict(body.last_assignments()).get(name, len(function.body) - 1)
    return Fault(function.body[place].lineno, (_numbers(parted, mine, probe.right, gates),))


def _sentence(text: str) -> str:
    return f"It seems that {text}."
