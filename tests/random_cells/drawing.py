"""Random cells from the whole language, as source text that can be read and made smaller.

A random cell keeps the rules of the language: declared names that would be unused are added to what it
returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import gatewise
from gatewise import Cell, cell

STATES = ("h", "c", "m", "n")
KINDS = {"": "gate", "Split": "split", "Input": "input", "Vector": "vector"}  # by annotation
NUMBERS = ("0.5", "-1.5", "2.0", "0.1", "1.0", "0.0")

# The expressions of a line, with names {a}, {b}, {c}, {d}; all but {a} may also be numbers. Sums and products
# are frequent, because the compiler fuses them. Functions that may leave their domain are rare.
ARITHMETIC = (
    "{a} + {b}", "{a} - {b}", "{b} - {a}", "{a} * {b}", "{a} * {b} + {c}", "{c} - {a} * {b}",
    "{a} * {b} - {c} * {d}", "(1 - {a}) * {b} + {a} * {c}", "-{a}", "0.2 * {a}", "{a} / (1.5 + {b} * {b})",
)  # fmt: skip
FUNCTIONS = (
    "sigmoid({a})", "tanh({a})", "relu({a})", "softplus({a})", "abs({a})", "exp(-abs({a}))",
    "sqrt(abs({a}) + 0.1)", "log(1.1 + abs({a}))", "{a} ** 2", "{a} ** 3", "softplus({a}) ** {b}",
    "2 ** tanh({a})",
)  # fmt: skip
CHOICES = (
    "minimum({a}, {b})", "maximum({a}, {b})", "where({a} < {b}, {c}, {d})", "where({a} <= {b}, {c}, {d})",
    "where({b} > {a}, {c}, {d})", "where({a} >= {b}, {c}, {d})", "where(tanh({a}) < {b}, {c}, 0.5 * {d})",
)  # fmt: skip
LEARNED = (
    "linear({a})",
    "linear({a})",
    "layer_norm({a})",
    "layer_norm({a}, eps=0.1)",
    "layer_norm({a}, {b})",
)
RANDOM = ("dropout({a}, 0.25)", 'dropout({a}, 0.4, per="sequence")', "zoneout({a}, {b}, 0.3)")
UNGUARDED = (
    "{a} / {b}",
    "exp({a})",
    "log({a})",
    "sqrt({a})",
    "{a} ** -1",
    "{a} ** 0.5",
    "{a} ** 0",
    "{a} - {a}",
)
SMOOTH = (*ARITHMETIC, *(f for f in FUNCTIONS if "abs" not in f and "relu" not in f), *LEARNED)
LINES = (*ARITHMETIC * 3, *FUNCTIONS * 2, *CHOICES * 2, *LEARNED * 3, *RANDOM, *UNGUARDED)


@dataclass(frozen=True)
class Drawn:
    """A cell as text: its signature, the lines of its body, and what it returns."""

    signature: str
    body: tuple[str, ...]
    returned: tuple[str, ...]
    values: tuple[str, ...] = field(compare=False)  # the names that the body assigns

    @property
    def states(self) -> tuple[str, ...]:
        return STATES[: len(self.returned)]

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """Each parameter and its annotation."""
        declared = (part.split(":") for part in self.signature.split("*, ")[1].split(","))
        return [(name.strip(), "".join(kind).strip()) for name, *kind in declared]

    @property
    def projects(self) -> bool:
        return self.returned[0].startswith("project(")

    def source(self, last: str = "return {returned}") -> str:
        lines = (*self.body, last.format(returned=", ".join(self.returned) + ","))
        return "\n    ".join((f"def drawn({self.signature}):", *lines)) + "\n"

    def function(self, names: dict[str, Any], **how: str) -> FunctionType:
        """The function that the text defines, with these meanings of its global names."""
        exec(compile(self.source(**how), "<drawn>", "exec"), names := dict(names))
        return names["drawn"]  # type: ignore[no-any-return]

    def cell(self) -> Cell:
        return cell(self.function(vars_of(gatewise)))

    def __repr__(self) -> str:
        return f"\n{self.source()}"


def vars_of(module: Any) -> dict[str, Any]:
    """The names of the language."""
    words = "sigmoid tanh relu exp log softplus sqrt minimum maximum where linear project layer_norm dropout"
    return {word: getattr(module, word) for word in (*words.split(), "zoneout", "Split", "Input", "Vector")}


class _Body:
    """The lines so far, and which of them each name and each value needs."""

    def __init__(self, must_be_used: Iterable[str]) -> None:
        self.lines: list[str] = []
        self.needs: dict[str, set[str]] = {}  # for each value, the values in its expression
        self.now: dict[str, str] = {}  # for each name, its current value
        self.must_be_used = list(must_be_used)
        for name in self.must_be_used:
            self.now[name] = name

    def assign(self, names: tuple[str, ...], expression: str, operands: Iterable[str]) -> None:
        needed = {self.now[operand] for operand in operands}
        for name in names:
            value = f"{name} of line {len(self.lines)}"
            takes_a_place = self.now.get(name) in self.must_be_used
            self.now[name], self.needs[value] = value, needed
            if takes_a_place or "linear" in expression or "layer_norm" in expression:
                self.must_be_used.append(value)
        self.lines.append(f"{', '.join(names)} = {expression}")

    def unused(self, roots: Iterable[str]) -> list[str]:
        """The names that are not used yet.

        For a value whose name was assigned again, the name of a value that depends on it.
        """
        reached: set[str] = set()
        stack = [self.now[root] for root in roots if root in self.now]
        while stack:
            value = stack.pop()
            if value not in reached:
                reached.add(value)
                stack += self.needs.get(value, ())
        left = [value for value in self.must_be_used if value not in reached]
        named = {value: name for name, value in self.now.items()}
        covered = {need for value in left for need in self._below(value)}
        return [named[value] for value in left if value in named and value not in covered]

    def _below(self, value: str) -> set[str]:
        below: set[str] = set()
        stack = list(self.needs.get(value, ()))
        while stack:
            one = stack.pop()
            if one not in below:
                below.add(one)
                stack += self.needs.get(one, ())
        return below


def few_cells(number: int) -> Callable[[Callable[[Drawn], None]], Callable[[], None]]:
    """Runs a test on three random cells, the same in every run. To shrink them would compile hundreds."""
    some = settings(
        max_examples=3, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: seed(number)(some(given(drawn_cells())(test)))


@st.composite
def drawn_cells(draw: Callable[..., Any], smooth: bool = False) -> Drawn:
    """Cells with one to four states, one to five parameters and up to eight lines."""
    forms = SMOOTH if smooth else LINES
    states = STATES[: draw(st.integers(1, 4))]
    kinds = [draw(st.sampled_from(["", "", "Split", "Input"]))]
    kinds += draw(st.lists(st.sampled_from(["", "", "", "Split", "Input", "Vector"]), max_size=4))
    projects = draw(st.integers(0, 7)) == 7
    parameters = [f"p{k}" for k in range(len(kinds))]
    fed = [
        f"{name}{part}"
        for name, kind in zip(parameters, kinds, strict=True)
        for part in ((".x", ".h") if kind == "Split" else ("",))
    ]
    body = _Body(fed)
    # A projected output is narrower than the other vectors, so only gates may read it.
    readable = [*states[1:], *fed] if projects else [*states, *fed]
    body.now |= {state: state for state in states}
    assigned: list[str] = []
    for k in range(draw(st.integers(0, 8))):
        form = draw(st.sampled_from(forms))
        a = draw(st.sampled_from(readable))
        letters = [letter for letter in "bcd" if f"{{{letter}}}" in form]
        picks = {letter: draw(st.sampled_from([*readable, *readable, *NUMBERS])) for letter in letters}
        if form.startswith("layer_norm({a}, {b}"):
            picks["b"] = draw(st.sampled_from(readable))
        if "** {b}" in form and picks["b"] == "0.0":
            picks["b"] = "0.5"  # x ** 0 is 1, so it does not use {a}
        names: tuple[str, ...] = (f"v{k}",)
        if form == "layer_norm({a}, {b})":
            names = (f"v{k}", f"w{k}")
        elif a in parameters and form != "{a} ** 0" and draw(st.booleans()):
            names = (a,)  # as in `f = sigmoid(f)`
        operands = [name for name in (a, *picks.values()) if name not in NUMBERS and form != "{a} ** 0"]
        body.assign(names, form.format(a=a, **picks), operands)
        readable += [name for name in names if name not in readable]
        assigned += names
    returned = [draw(st.sampled_from(readable))]
    returned += [draw(st.sampled_from([*readable, *readable, "1.0"])) for _ in states[1:]]
    left = body.unused(returned)
    if left:
        place = draw(st.integers(0, len(states) - 1))
        form = draw(st.sampled_from(["{value} + {rest}", "{rest} + {value}", "{value} * ({rest})"]))
        terms = st.sampled_from(["{0}", "0.5 * {0}", "tanh({0})"])
        rest = " + ".join(draw(terms).format(name) for name in left)
        returned[place] = form.format(value=returned[place], rest=rest)
    if projects:
        returned[0] = f"project({returned[0]})"
    declared = [name + (f": {kind}" if kind else "") for name, kind in zip(parameters, kinds, strict=True)]
    signature = f"{', '.join(states)}, *, {', '.join(declared)}"
    return Drawn(signature, tuple(body.lines), tuple(returned), tuple(dict.fromkeys(assigned)))
