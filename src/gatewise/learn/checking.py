"""``gatewise learn --check``: reads a file of cells, and says which line is wrong.

The file is read as equations and never run. A function ``rnn``, ``lstm`` or ``gru`` is an exercise and is
compared with the right cell, in values and gradients. Any other function is a cell of the learner's own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from gatewise import cells
from gatewise.language import Cell, CellError
from gatewise.language.reading import is_import_of_gatewise, read_cell
from gatewise.learn import own
from gatewise.learn.comparing import Gates, Probe, orders, parted_gradients
from gatewise.learn.exercises import Exercise, Right, exercises
from gatewise.learn.faults import Fault, faults

MOST = 100_000  # characters of a file
_MOST_CELLS = 20
_FILE = "<cell>"


class Finding(NamedTuple):
    """What the check found about one function, or about the file.

    A fault of the whole file has line 0.

    Attributes:
        name: the name of the function; empty for the file itself.
        line: where it begins.
        said: sentences.
        faults: its wrong lines.
    """

    name: str
    line: int
    said: tuple[str, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def written(self, text: str) -> str:
        """The finding as lines; `text` is that of the file."""
        return "\n".join(_written(self, _normal(text).split("\n")))


class Report(NamedTuple):
    """What the check of a file found. ``str(report)`` is what the command prints."""

    text: str
    findings: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.right for finding in self.findings)

    def __str__(self) -> str:
        return "\n\n".join(finding.written(self.text) for finding in self.findings)


def check(text: str, train: bool = True) -> Report:
    """Check a file of cells.

    Args:
        text: functions as `gatewise.cell` takes them, imports from gatewise, and comments.
        train: whether cells of the learner's own are trained, which takes up to half a minute each.

    Example:
        >>> from gatewise.learn.checking import check
        >>> print(check('''
        ... def lstm(h, c, *, i, f, g, o):
        ...     i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        ...     c = f * h + i * g
        ...     h = o * tanh(c)
        ...     return h, c
        ... '''))
        lstm (line 2): line 4 is wrong.
           4 |     c = f * h + i * g
          c should be -0.366 at step 2; yours is -0.3055. All agree up to step 1.
          It seems that h stands where c belongs.
          Try: c = f * c + i * g
    """
    return Report(text, tuple(findings(text, train)))


def findings(text: str, train: bool = True) -> Iterator[Finding]:
    """As `check`, one finding after the other."""
    text = _normal(text)
    if len(text) > MOST:
        yield _of_file(1, f"the file has {len(text):,} characters; the limit is {MOST:,}")
        return
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        yield _of_file(error.lineno or 1, f"this line can't be read: {error.msg}")
    except ValueError as error:  # null bytes, before Python 3.11.4
        yield _of_file(1, f"the text can't be read: {error}")
    except (RecursionError, MemoryError):
        yield _of_file(1, "the text nests too deeply")
    else:
        yield from _in_module(module, text.split("\n"), train)


def _normal(text: str) -> str:
    """The text with line ends as Python counts them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")


def _in_module(module: ast.Module, lines: Sequence[str], train: bool) -> Iterator[Finding]:
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    for node in module.body:
        if not isinstance(node, ast.FunctionDef) and not _is_harmless(node):
            yield _of_file(
                node.lineno, "this is not a cell. A file has functions, imports from gatewise, and comments"
            )
    if not functions:
        yield _of_file(0, f"there is no cell yet. Write one of {', '.join(exercises())}, or your own")
    if len(functions) > _MOST_CELLS:
        yield _of_file(functions[_MOST_CELLS].lineno, f"the file has more than {_MOST_CELLS} functions")
    for function in functions[:_MOST_CELLS]:
        yield _of_function(function, _text_of(function, lines), train)


def _is_harmless(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return is_import_of_gatewise(node)


def _text_of(function: ast.FunctionDef, lines: Sequence[str]) -> str:
    """The text of a function, with empty lines before it, so that each line keeps its number."""
    start = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return "\n" * (start - 1) + "\n".join(lines[start - 1 : function.end_lineno])


def _of_file(line: int, what: str) -> Finding:
    return Finding("", line, (), (Fault(line, (f"{what[0].upper()}{what[1:]}.",)),))


def _of_function(function: ast.FunctionDef, text: str, train: bool) -> Finding:
    exercise, mine, error = exercises().get(function.name), None, None
    try:
        mine = read_cell(text, _FILE)
    except CellError as failed:
        error = _of_error(failed)
    if exercise:
        return _of_exercise(function, exercise, mine, error)
    if mine is None:
        assert error is not None
        return Finding(function.name, function.lineno, (), (error,))
    return _of_own(function, mine, train)


def _of_error(error: CellError) -> Fault:
    """What the language says, at its line."""
    line, _, what = str(error).removeprefix(f"{_FILE}:").partition(": ")
    what = what.removeprefix("cell ").partition(": ")[2] if what.startswith("cell ") else what
    return Fault(int(line), (f"{what[0].upper()}{what[1:]}.",))


def _of_exercise(
    function: ast.FunctionDef, exercise: Exercise, mine: Cell | None, error: Fault | None
) -> Finding:
    name, line = function.name, function.lineno
    probes = _probes(exercise.name)
    for right, probe in zip(exercise.rights, probes, strict=True):
        if mine is not None and (gates := _solved(mine, probe)) is not None:
            parted = parted_gradients(mine, right.cell, gates)
            if parted:
                what = f"All values are right, but the gradients of {', '.join(parted)} are not."
                return Finding(name, line, (), (Fault(line, (what,)),))
            return Finding(name, line, tuple(_praise(right, gates)))
    if mine is not None and (turned := _turned(function, mine, exercise)):
        return Finding(name, line, (), (turned,))
    found = tuple(faults(function, mine, probes))
    if error is not None:
        more = [fault._replace(said=(*error.said, *fault.said)) for fault in found]
        return Finding(name, line, (), tuple(more) or (error,))
    assert mine is not None
    found = found or (Fault(line, (_wrong_shape(mine, exercise),)),)
    return Finding(name, line, tuple(_known(mine)), found)


def _turned(function: ast.FunctionDef, mine: Cell, exercise: Exercise) -> Fault | None:
    """The fault of states in another order than that of the exercise, by their names."""
    wanted = exercise.rights[0].cell.states
    if mine.states == wanted or sorted(mine.states) != sorted(wanted):
        return None
    said = (
        f"The output comes first: {wanted[0]} is what the cell says, and what its gates see at the next step."
    )
    order = f"Order the states and the returned values alike: return {_listed(wanted)}."
    return Fault(function.lineno, (said, order), exercise.first)


@cache
def _probes(exercise: str) -> tuple[Probe, ...]:
    return tuple(Probe(right.cell) for right in exercises()[exercise].rights)


def _solved(mine: Cell, probe: Probe, free: bool = False) -> Gates | None:
    return next((gates for gates in orders(mine, probe.right, free) if probe.same(mine, gates)), None)


def _praise(right: Right, gates: Gates) -> Iterator[str]:
    yield "Right: every value and every gradient."
    renamed = [f"{name} is {of}" for name, of in gates.items() if name != of]
    if renamed:
        yield f"With your names: {', '.join(renamed)}."
    if right.form:
        yield right.form


def _wrong_shape(mine: Cell, exercise: Exercise) -> str:
    """What to say of a cell that has other states or gates than the exercise."""
    right = exercise.rights[0].cell
    if mine.is_random:
        return "This cell draws random numbers; the exercise does not."
    for what, own_, theirs in (
        ("state", mine.states, right.states),
        ("gate", [p.name for p in mine.parameters], [p.name for p in right.parameters]),
    ):
        if len(own_) != len(theirs):
            return f"It needs {_counted(len(theirs), what)}, {_listed(theirs)}. Yours has {_listed(own_)}."
    return f"Its parts are other ones than those of the {exercise.name}: {exercise.first}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _known(mine: Cell) -> Iterator[str]:
    """Whether the cell is another one of the package."""
    for name in cells.__all__:
        cell = vars(cells)[name]
        if not cell.projects and _solved(mine, _probe_of(name), free=True) is not None:
            yield f"What you wrote is gatewise.cells.{name}: {(cell.__doc__ or '').splitlines()[0]}"
            return


@cache
def _probe_of(name: str) -> Probe:
    return Probe(vars(cells)[name])


def _of_own(function: ast.FunctionDef, mine: Cell, train: bool) -> Finding:
    states, gates = _counted(len(mine.states), "state"), _counted(len(mine.input_gates), "gate")
    said, line = [f"A cell of your own, with {states} and {gates}.", *_known(mine)], function.lineno
    tried = own.tried(mine)
    if not tried.trainable:
        return Finding(function.name, line, tuple(said), tuple(_untrainable(tried, line)))
    said.append(
        f"It can be trained: over {own.STEPS} steps all values are finite, and every gate gets a gradient."
    )
    if train and not mine.projects:
        said.append(_memory(own.remembered(mine)))
    return Finding(function.name, line, tuple(said))


def _untrainable(tried: own.Tried, line: int) -> Iterator[Fault]:
    if tried.infinite:
        name, step = tried.infinite
        yield Fault(
            line, (f"{name} is not a finite number from step {step} on, so the cell can't be trained.",)
        )
    for name in tried.undefined:
        yield Fault(line, (f"The gradient of {name} is not finite.",))
    for name in tried.idle:
        yield Fault(line, (f"{name} gets no gradient, so it learns nothing.",))


def _memory(found: own.Remembered) -> str:
    biases = ", ".join(f"{name} {bias:+g}" for name, bias in found.biases.items())
    begun = f", first biases {biases}" if biases else ""
    trained = f"{found.sequences:,} sequences of the adding problem over {own.STEPS} steps{begun}"
    if found.learned:
        return f"It remembers: after {trained}, {found.right:.1%} of new ones are right."
    return f"It does not remember that far: after {trained}, {found.right:.1%} of new ones are right."


def _written(finding: Finding, lines: Sequence[str]) -> Iterator[str]:
    where = f"{finding.name} (line {finding.line}): " if finding.name else ""
    if finding.right:
        yield f"{where}{finding.said[0]}"
        yield from (f"  {sentence}" for sentence in finding.said[1:])
        return
    wrong = sorted({fault.line for fault in finding.faults})
    if wrong == [0]:
        yield from finding.faults[0].said
        return
    numbers = f"line {wrong[0]} is" if len(wrong) == 1 else f"lines {', '.join(map(str, wrong))} are"
    yield f"{where}{numbers} wrong."
    yield from (f"  {sentence}" for sentence in finding.said)
    for n, fault in enumerate(finding.faults):
        if n == 0 or fault.line != finding.faults[n - 1].line:
            yield f"  {fault.line:>2} | {lines[fault.line - 1]}"
        yield from (f"  {sentence}" for sentence in fault.said)
        if fault.suggestion:
            yield from _indented("  Try: ", fault.suggestion)


def _indented(before: str, text: str) -> Iterator[str]:
    for n, line in enumerate(text.split("\n")):
        yield (before if n == 0 else " " * len(before)) + line
