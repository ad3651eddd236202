"""The equations of a cell as MathML, which every browser typesets by itself.

MathML Core: https://www.w3.org/TR/mathml-core/.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from html import escape

from gatewise.language.cell import Cell, Kind, Parameter
from gatewise.language.graph import CHANCES, Node, topological

_BINDING = {"less": 0, "less_equal": 0, "add": 1, "sub": 1, "mul": 2, "neg": 3}
_SIGNS = {"add": "+", "sub": "&#x2212;", "mul": "⊙", "less": "&lt;", "less_equal": "≤"}
_FUNCTIONS = {"sigmoid": "&#x3c3;", "maximum": "max", "minimum": "min"}
_MATRICES = {"linear": "M", "project": "W"}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta kappa mu nu xi rho tau phi chi psi".split()
) | {"lambda"}


def mathml(cell: Cell) -> str:
    """The equations as a ``<math>`` element, one named value a line; products of vectors are elementwise.

    Each name of a value carries it as ``data-name``.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.language.mathml import mathml
        >>> mathml(cells.rnn).count("<mtr>")
        2
    """
    names = _names(cell)
    rows = [row for p in cell.parameters if p.sees_input for row in _affine(cell, p)]
    named = {node: name for name, node in cell.values.items() if node.args}
    for node in topological([*cell.values.values(), *cell.next_states]):
        if node in named:
            rows.append((names[node], _term(node, names)))
    for state, node in zip(cell.states, cell.next_states, strict=True):
        if named.get(node) != state:  # a leaf, or what a later state is too
            rows.append((_sub(state, "t"), names.get(node) or _term(node, names)))
    lines = "".join(
        f"<mtr><mtd>{left}</mtd><mtd><mo>=</mo></mtd><mtd>{_row(right)}</mtd></mtr>" for left, right in rows
    )
    return f'<math display="block"><mtable>{lines}</mtable></math>'


def _names(cell: Cell) -> dict[Node, str]:
    """What stands for each node that has a name."""
    names = {node: _sub(name, "t") for name, node in cell.values.items() if node.args}
    for leaf in topological([*cell.values.values(), *cell.next_states]):
        if leaf.op == "state":
            names[leaf] = _sub(leaf.name, "t-1")
        elif leaf.op == "gate":
            names[leaf] = _bar(leaf.name, leaf.part if f"{leaf.name}_bar" not in cell.values else "")
        elif leaf.op == "vector":
            names[leaf] = _vector(leaf.name)
    return names


def _affine(cell: Cell, p: Parameter) -> Iterator[tuple[str, str]]:
    """The pre-activations of a parameter: left and right side."""
    letter, h = _symbol(p.name), _sub(cell.states[0], "t-1")

    def part(matrix: str, of: str, bias: str) -> str:
        matrix = f"<msub><mi>{matrix}</mi>{letter}</msub>"
        return f"{matrix}{of}<mo>+</mo><msubsup><mi>b</mi>{letter}<mi>{bias}</mi></msubsup>"

    x, h = part("W", "<msub><mi>x</mi><mi>t</mi></msub>", "x"), part("R", h, "h")
    if p.kind is Kind.SPLIT:
        yield _bar(p.name, "x"), x
        yield _bar(p.name, "h"), h
    else:
        yield _bar(p.name, ""), x if p.kind is Kind.INPUT else f"{x}<mo>+</mo>{h}"


def _term(node: Node, names: Mapping[Node, str]) -> str:
    """A node by the names of its arguments."""

    def write(arg: Node, binding: int = 0) -> str:
        if arg in names:
            return names[arg]
        inner = _term(arg, names)
        return _bracketed(inner) if _BINDING.get(arg.op, 4) < binding else inner

    return _written(node, write)


def _written(node: Node, write: Callable[..., str]) -> str:
    if node.op == "constant":
        sign = "<mo>&#x2212;</mo>" if node.value < 0 else ""
        return f"{sign}<mn>{abs(node.value):g}</mn>"
    if node.op == "neg":
        return f"<mo>&#x2212;</mo>{write(node.args[0], 3)}"
    if node.op == "div":
        over, under = map(write, node.args)
        return f"<mfrac>{_row(over)}{_row(under)}</mfrac>"
    if node.op in _SIGNS:
        a, b = node.args
        binding = _BINDING[node.op]
        numeric = node.op == "mul" and "constant" in (a.op, b.op)
        sign = "⋅" if numeric else _SIGNS[node.op]
        return f"{write(a, binding)}<mo>{sign}</mo>{write(b, binding + (node.op == 'sub'))}"
    if node.op == "sqrt":
        return f"<msqrt>{write(node.args[0])}</msqrt>"
    if node.op == "abs":
        return f'<mo fence="true">|</mo>{write(node.args[0])}<mo fence="true">|</mo>'
    if node.op in _MATRICES:
        which = f"<mn>{escape(node.name)}</mn>" if node.name else "<mi>P</mi>"
        return f"<msub><mi>{_MATRICES[node.op]}</mi>{which}</msub>{write(node.args[0], 3)}"
    inside = [write(arg) for arg in node.args] + [f"<mn>{node.value:g}</mn>"] * (node.op in CHANCES)
    which = node.name if node.op == "norm" and len(node.args) > 1 else ""
    function = f"<mi>{_FUNCTIONS.get(node.op, node.op)}</mi>"
    call = f"{function}<mo>&#x2061;</mo>{_bracketed('<mo>,</mo>'.join(inside))}"
    return f"<msub>{_row(call)}<mn>{escape(which)}</mn></msub>" if which else call


def _bracketed(inner: str) -> str:
    return f"<mrow><mo>(</mo>{inner}<mo>)</mo></mrow>"


def _row(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _symbol(name: str) -> str:
    """A name, a Greek letter where it is the name of one."""
    if name in _GREEK:
        letter = "LAMDA" if name == "lambda" else name.upper()  # as Unicode spells it
        return f"<mi>{unicodedata.lookup(f'GREEK SMALL LETTER {letter}')}</mi>"
    return f"<mi>{escape(name)}</mi>"


def _sub(name: str, step: str) -> str:
    """A value or state at a step."""
    when = "<mi>t</mi>" if step == "t" else "<mrow><mi>t</mi><mo>&#x2212;</mo><mn>1</mn></mrow>"
    label = f' data-name="{escape(name)}"' if step == "t" else ""
    return f"<msub{label}>{_symbol(name)}{when}</msub>"


def _bar(name: str, part: str) -> str:
    """A pre-activation."""
    over = f"<mover>{_symbol(name)}<mo>¯</mo></mover>"
    if part:
        return f"<msubsup>{over}<mi>t</mi><mi>{escape(part)}</mi></msubsup>"
    return f"<msub>{over}<mi>t</mi></msub>"


def _vector(name: str) -> str:
    """A learned vector; gains and biases of `layer_norm` by their usual letters."""
    base, _, number = name.rpartition("_")
    letter = {"norm_gain": "&#x3b3;", "norm_bias": "&#x3b2;"}.get(base)
    return f"<msub><mi>{letter}</mi><mn>{escape(number)}</mn></msub>" if letter else _symbol(name)
