"""The equations of a cell written out: as text that reads like the code, and as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isinf
from typing import TYPE_CHECKING

from gatewise.language.graph import CHANCES, Node, topological

if TYPE_CHECKING:
    from gatewise.language.cell import Cell
    from gatewise.language.parameters import Parameter

# How tightly an operation binds: sums 1, products 2, signs 3; function calls and names 4.
_BINDING = {"less": 0, "less_equal": 0, "add": 1, "sub": 1, "mul": 2, "div": 2, "neg": 3}
_LATEX_BINDING = {**_BINDING, "linear": 1, "project": 2}
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "less_equal": "<="}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho tau phi chi psi".split()
)
_EPS = 1e-5  # of `layer_norm` where nothing is said
_COMMANDS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "exp": r"\exp",
    "log": r"\log",
    "maximum": r"\max",
    "minimum": r"\min",
}


def plain(cell: Cell) -> str:
    """The equations as text, one named value a line; ``h'`` is the state after the step."""
    names = _value_names(cell)
    write = _writer({**names, **_leaf_names(cell, lambda name: name)}, _plain_term, _BINDING)
    kinds = {"gate": "", "split": ": Split", "input": ": Input", "vector": ": Vector"}
    gates = ", ".join(p.name + kinds[p.kind.value] for p in cell.parameters if p.kind.value in kinds)
    lines = [f"{cell.name}({', '.join(cell.states)}, *, {gates})"]
    for p in cell.parameters:
        lines += [f"  {left} = {right}" for left, right in _affine(p, write(cell.seen, True))]
    lines += [f"  {names[node]} = {write(node, False)}" for node in _named_in_order(cell, names)]
    lines += [f"  {name}' = {write(node, True)}" for name, node in _passed_on(cell)]
    return "\n".join(lines)


def latex(cell: Cell) -> str:
    """The equations as a LaTeX ``aligned`` environment; products of vectors are elementwise."""
    names = {node: _latex_name(name) for node, name in _value_names(cell).items()}
    leaves = _leaf_names(cell, lambda name: _symbol(name) + "_{t-1}")
    leaves |= {leaf: _latex_bar(name) for leaf, name in leaves.items() if leaf.op == "gate"}
    leaves |= {leaf: _latex_vector(name) for leaf, name in leaves.items() if leaf.op == "vector"}
    write = _writer({**names, **leaves}, _latex_term, _LATEX_BINDING)
    lines = []
    for p in cell.parameters:
        lines += [_latex_affine(left, p, write(cell.seen, True)) for left, _ in _affine(p, "")]
    lines += [f"{names[node]} &= {write(node, False)}" for node in _named_in_order(cell, names)]
    lines += [f"{_latex_name(name)} &= {write(node, True)}" for name, node in _passed_on(cell)]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def _value_names(cell: Cell) -> dict[Node, str]:
    """A name for each node that has one: next states primed, leaves left out."""
    names = {node: name for name, node in cell.values.items() if node.args and name not in cell.states}
    return names | {node: f"{s}'" for s, node in zip(cell.states, cell.next_states, strict=True) if node.args}


def _passed_on(cell: Cell) -> list[tuple[str, Node]]:
    """The next states that are no term of their own: a leaf, a number, or what a later state is too."""
    own = {node: name for name, node in zip(cell.states, cell.next_states, strict=True) if node.args}
    pairs = zip(cell.states, cell.next_states, strict=True)
    return [(name, node) for name, node in pairs if own.get(node) != name]


def _leaf_names(cell: Cell, state: Callable[[str], str]) -> dict[Node, str]:
    names = {}
    for leaf in topological([*cell.values.values(), *cell.next_states, cell.seen]):
        if leaf.op == "state":
            names[leaf] = state(leaf.name)
        elif leaf.op == "gate":
            split = cell.values.get(f"{leaf.name}_bar") is None
            names[leaf] = f"{leaf.name}_bar" + (f"_{leaf.part}" if split else "")
        elif leaf.op == "vector":
            names[leaf] = leaf.name
    return names


def _named_in_order(cell: Cell, names: Mapping[Node, str]) -> list[Node]:
    """The named nodes, arguments before users, next states last among equals."""
    return [node for node in topological([*cell.values.values(), *cell.next_states]) if node in names]


def _affine(p: Parameter, seen: str) -> list[tuple[str, str]]:
    """The pre-activations of a parameter, whose gate sees `seen` of the state: (name, right side)."""
    x, h = f"W_{p.name} x", f"R_{p.name} {seen}"
    if p.kind.value == "split":
        return [(f"{p.name}_bar_x", f"{x} + b_{p.name}_x"), (f"{p.name}_bar_h", f"{h} + b_{p.name}_h")]
    if p.kind.value == "input":
        return [(f"{p.name}_bar", f"{x} + b_{p.name}")]
    return [(f"{p.name}_bar", f"{x} + {h} + b_{p.name}")] if p.kind.value == "gate" else []


def _latex_affine(left: str, p: Parameter, seen: str) -> str:
    letter = _symbol(p.name)
    x = f"W_{{{letter}}} x_t + b_{{{letter}}}^x"
    h = f"R_{{{letter}}} {seen} + b_{{{letter}}}^h"
    only_x = left.endswith("_x") or p.kind.value == "input"
    right = x if only_x else h if left.endswith("_h") else f"{x} + {h}"
    return f"{_latex_bar(left)} &= {right}"


Writer = Callable[[Node, bool], str]


def _writer(
    names: Mapping[Node, str],
    term: Callable[[Node, Callable[[Node, int], str]], str],
    bindings: Mapping[str, int],
) -> Writer:
    """A function that writes a node by the names of its arguments, or itself by name."""

    def write(node: Node, by_name: bool = True) -> str:
        if by_name and node in names:
            return names[node]
        return term(node, argument) if node.args or node.op == "constant" else names[node]

    def argument(node: Node, binding: int) -> str:
        inner = write(node, True)
        loose = node not in names and bindings.get(node.op, 4) < binding
        return f"({inner})" if loose else inner

    return write


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _plain_term(node: Node, argument: Callable[[Node, int], str]) -> str:
    if node.op == "constant":
        return _number(node.value)
    if node.op == "neg":
        return "-" + argument(node.args[0], 3)
    if node.op in _INFIX:
        left, right = _sides(node, argument)
        return f"{left} {_INFIX[node.op]} {right}"
    inside = [argument(a, 0) for a in node.args]
    if node.op in CHANCES:
        inside += [_number(node.value), *(['per="sequence"'] if node.part == "sequence" else [])]
    if node.op == "norm" and node.value != _EPS:
        inside.append(f"eps={_number(node.value)}")
    which = f"[{node.name}]" if node.op == "norm" and len(node.args) > 1 else ""
    return f"{node.op}({', '.join(inside)}){which}"


def _sides(node: Node, argument: Callable[[Node, int], str]) -> tuple[str, str]:
    """Both arguments, the right one in brackets where ``a - (b - c)`` needs them."""
    binding = _BINDING[node.op]
    a, b = node.args
    return argument(a, binding), argument(b, binding + (node.op in ("sub", "div")))


def _latex_term(node: Node, argument: Callable[[Node, int], str]) -> str:
    if node.op == "constant":
        return _latex_number(node.value)
    if node.op == "neg":
        return "-" + argument(node.args[0], 3)
    if node.op == "div":
        return rf"\frac{{{argument(node.args[0], 0)}}}{{{argument(node.args[1], 0)}}}"
    if node.op in _INFIX:
        return _latex_infix(node, argument)
    if node.op == "linear":
        return rf"M_{{{node.name}}}\, {argument(node.args[0], 3)} + b_{{{node.name}}}"
    if node.op == "project":
        return rf"W_{{P}}\, {argument(node.args[0], 3)}"
    inside = [argument(a, 0) for a in node.args]
    if node.op in CHANCES:
        inside += [_latex_number(node.value), *([r"\text{per sequence}"] if node.part == "sequence" else [])]
    if node.op == "norm" and node.value != _EPS:
        inside.append(rf"\epsilon = {_latex_number(node.value)}")
    joined = r",\; ".join(inside)
    if node.op == "sqrt":
        return rf"\sqrt{{{joined}}}"
    if node.op == "abs":
        return rf"\left|{joined}\right|"
    command = _COMMANDS.get(node.op, rf"\mathrm{{{node.op}}}")
    which = f"_{{{node.name}}}" if node.op == "norm" and len(node.args) > 1 else ""
    return f"{command}({joined}){which}"


def _latex_infix(node: Node, argument: Callable[[Node, int], str]) -> str:
    left, right = _sides(node, argument)
    numbers = [a.op == "constant" for a in node.args]
    if node.op == "mul" and numbers[1]:
        left, right = right, left  # as one writes 2 x
    if right.startswith("-"):
        right = f"({right})"
    sign = {"mul": r"\," if any(numbers) else r"\odot", "less_equal": r"\le"}.get(node.op, _INFIX[node.op])
    return f"{left} {sign} {right}"


def _latex_number(value: float) -> str:
    if isinf(value):
        return r"-\infty" if value < 0 else r"\infty"
    digits, _, exponent = _number(value).partition("e")
    factor = "" if digits == "1" else rf"{digits} \cdot "
    return rf"{factor}10^{{{int(exponent)}}}" if exponent else digits


def _symbol(name: str) -> str:
    if name in _GREEK:
        return f"\\{name}"
    escaped = name.replace("_", r"\_")
    return name if len(name) == 1 else rf"\mathrm{{{escaped}}}"


def _latex_vector(name: str) -> str:
    """A learned vector, ``p_i`` with an index; gains and biases of `layer_norm` by their usual letters."""
    base, _, index = name.rpartition("_")
    letter = _symbol(base) if len(base) == 1 or base in _GREEK else ""
    letter = {"norm_gain": r"\gamma", "norm_bias": r"\beta"}.get(base, letter)
    return f"{letter}_{{{_symbol(index)}}}" if letter and index else _symbol(name)


def _latex_name(name: str) -> str:
    return f"{_symbol(name.rstrip(chr(39)))}_t"


def _latex_bar(name: str) -> str:
    base, _, part = name.rpartition("_bar")
    return rf"\bar{{{_symbol(base)}}}_t" + (f"^{part[1:]}" if part else "")
