"""The lines that write a cell down, the same for every format.

`equations` decides the content: which terms have names, which are written in a line of their own, and the
options of each operation. A `Writer` decides only how that looks, so all formats say the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from typing import ClassVar, Literal, NamedTuple, Protocol

from gatewise.language.graph import COMPARISONS, RANDOM, Node
from gatewise.language.parameters import Kind, Parameter

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho tau phi chi psi".split()
)
_EPS = 1e-5  # the default of `layer_norm`
_MOST_NESTED = 16  # how deep operations may nest before a term gets a line of its own


class Written(Protocol):
    """The attributes of a `gatewise.language.cell.Cell` that are written."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def states(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def parameters(self) -> tuple[Parameter, ...]: ...  # noqa: D102
    @property
    def next_states(self) -> tuple[Node, ...]: ...  # noqa: D102
    @property
    def values(self) -> Mapping[str, Node]: ...  # noqa: D102
    @property
    def seen(self) -> Node: ...  # noqa: D102
    @property
    def nodes(self) -> tuple[Node, ...]: ...  # noqa: D102
    @property
    def linears(self) -> tuple[Node, ...]: ...  # noqa: D102


class Name(NamedTuple):
    """The name of a term.

    `kind` is ``state`` for a state before the step and ``next`` for one after it, ``bar`` for a
    pre-activation or its `part` ``x`` or ``h``, and ``term`` for a term that has a name only because it is
    long, deeply nested or used often.
    """

    kind: Literal["state", "bar", "vector", "value", "next", "term"]
    name: str
    part: str = ""


class Term(NamedTuple):
    """A term to write: an operation of the language, or one of these.

    - ``name``: a term that has a name
    - ``number``: `value`
    - ``affine``: the products that make the pre-activation `name`; its argument is what the recurrent
      weights multiply, and there is none if the gate sees the input alone

    Attributes:
        which: the number of the matrix of a ``linear``, or of the result of a ``norm``, if there are several.
        given: options of the operation, such as rates, as pairs of keyword (or "") and value.
    """

    op: str
    args: tuple[Term, ...] = ()
    name: Name | None = None
    value: float = 0.0
    which: str = ""
    given: tuple[tuple[str, float | str], ...] = ()


class Equation(NamedTuple):
    """One line: ``left = right``."""

    left: Name
    right: Term


def equations(cell: Written) -> list[Equation]:
    """The lines of a cell: pre-activations, then named terms in the order in which they can be computed.

    A term has a name if the body assigned it, or if the text gets shorter or less nested by it. Next states
    that are a leaf, or the same term as another state, come last.
    """
    names = _names(cell)
    names |= _names_of_terms(cell, names)
    reading = _Reading(cell, names)
    lines = [Equation(left, right) for left, right in reading.affine()]
    lines += [Equation(names[node], reading.term(node)) for node in cell.nodes if node.args and node in names]
    for state, node in zip(cell.states, cell.next_states, strict=True):
        name = Name("next", state)
        if names.get(node) != name:
            lines.append(Equation(name, reading.argument(node)))
    return lines


def _names(cell: Written) -> dict[Node, Name]:
    """Names of leaves, of what the body assigned, and of the next states."""
    split = {p.name for p in cell.parameters if p.kind is Kind.SPLIT}
    names = {node: Name("value", name) for name, node in cell.values.items() if node.args}
    pairs = zip(cell.states, cell.next_states, strict=True)
    names |= {node: Name("next", state) for state, node in pairs if node.args}
    for leaf in (node for node in cell.nodes if not node.args):
        if leaf.op == "gate":
            names[leaf] = Name("bar", leaf.name, leaf.part if leaf.name in split else "")
        elif leaf.op in ("state", "vector"):
            names[leaf] = Name("state" if leaf.op == "state" else "vector", leaf.name)
    return names


def _names_of_terms(cell: Written, names: Mapping[Node, Name]) -> dict[Node, Name]:
    """Names for shared terms that are longer than a name, and for terms that are nested too deeply."""
    uses = Counter(arg for node in cell.nodes for arg in node.args)
    taken = {*cell.values, *cell.states, *(p.name for p in cell.parameters)}
    free = (name for name in (f"t{n}" for n in count(1)) if name not in taken)
    size: dict[Node, int] = {}  # length of each term as written where it is used
    nested: dict[Node, int] = {}
    found: dict[Node, Name] = {}
    for node in cell.nodes:
        size[node] = 1 + sum(size[arg] for arg in node.args)
        nested[node] = 1 + max((nested[arg] for arg in node.args), default=-1)
        worth = (uses[node] - 1) * size[node] > uses[node] + 3 or nested[node] >= _MOST_NESTED
        if worth and node not in names and node.op not in COMPARISONS and node is not cell.seen:
            found[node] = Name("term", next(free))
        if node in names or node in found:
            size[node], nested[node] = 1, 0
    return found


class _Reading:
    def __init__(self, cell: Written, names: Mapping[Node, Name]) -> None:
        self._cell = cell
        self._names = names

    def affine(self) -> Iterator[tuple[Name, Term]]:
        seen = (self.argument(self._cell.seen),)
        for p in (p for p in self._cell.parameters if p.sees_input):
            for _, _, part in p.leaves:
                name = Name("bar", p.name, part if p.kind is Kind.SPLIT else "")
                yield name, Term("affine", () if part == "x" else seen, name)

    def argument(self, node: Node) -> Term:
        """A node as an argument: its name if it has one, else the whole term."""
        return Term("name", name=self._names[node]) if node in self._names else self.term(node)

    def term(self, node: Node) -> Term:
        """A node as an operation on its arguments."""
        if node.op == "constant":
            return Term("number", value=node.value)
        args = tuple(map(self.argument, node.args))
        return Term(node.op, args, which=self._which(node), given=tuple(_given(node)))

    def _which(self, node: Node) -> str:
        several = len(self._cell.linears) > 1 if node.op == "linear" else len(node.args) > 1
        return node.name if node.op in ("linear", "norm") and several else ""


def _given(node: Node) -> Iterator[tuple[str, float | str]]:
    if node.op in RANDOM:
        yield "", node.value
    if node.part == "sequence":
        yield "per", node.part
    if node.op == "norm" and node.value != _EPS:
        yield "eps", node.value


def number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def letter_and_index(vector: str) -> tuple[str, str]:
    """Split a vector's name, ``p_i`` into ``p`` and ``i``. Gains and biases of norms become gamma, beta."""
    base, _, index = vector.rpartition("_")
    base = {"norm_gain": "gamma", "norm_bias": "beta"}.get(base, base)
    return (base, index) if index and (len(base) == 1 or base in GREEK) else (vector, "")


class Writer(ABC):
    """Writes terms in one format.

    Attributes:
        binding: how tightly an operation binds: comparisons 0, sums 1, products 2, signs 3; all others 4.
    """

    binding: ClassVar[Mapping[str, int]] = {
        **dict.fromkeys(COMPARISONS, 0),
        "add": 1,
        "sub": 1,
        "mul": 2,
        "div": 2,
        "neg": 3,
    }

    def __call__(self, term: Term, least: int = 0) -> str:
        """A term, in brackets if it binds less tightly than `least`."""
        written = self._term(term)
        return self.bracketed(written) if self.binding.get(term.op, 4) < least else written

    def _term(self, term: Term) -> str:
        if term.op == "number":
            return self.number(term.value)
        if term.op == "affine":
            return self.affine(term)
        return self.operation(term) if term.name is None else self.name(term.name)

    def sides(self, term: Term) -> tuple[str, str]:
        """Both arguments of an infix operation, with brackets where ``a - (b - c)`` needs them."""
        binding = self.binding[term.op]
        left, right = term.args
        return self(left, binding), self(right, binding + (term.op in ("sub", "div")))

    @abstractmethod
    def name(self, name: Name) -> str:
        """A name."""

    @abstractmethod
    def number(self, value: float) -> str:
        """A number."""

    @abstractmethod
    def affine(self, term: Term) -> str:
        """The products and biases that make a pre-activation."""

    @abstractmethod
    def operation(self, term: Term) -> str:
        """Any other operation."""

    @abstractmethod
    def bracketed(self, written: str) -> str:
        """A text in round brackets."""
