"""The equations of a cell as text that reads like the code."""

from __future__ import annotations

from gatewise.language.parameters import Kind
from gatewise.language.writing.equations import Name, Term, Writer, Written, equations, number

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "less_equal": "<="}
_ANNOTATIONS = {Kind.GATE: "", Kind.SPLIT: ": Split", Kind.INPUT: ": Input", Kind.VECTOR: ": Vector"}


def text(cell: Written) -> str:
    """The equations as text, one named value a line; ``h'`` is the state h after the step."""
    write = _Text()
    declared = [p.name + _ANNOTATIONS[p.kind] for p in cell.parameters if p.kind in _ANNOTATIONS]
    lines = [f"{cell.name}({', '.join(cell.states)}, *, {', '.join(declared)})"]
    lines += [f"  {write.name(left)} = {write(right)}" for left, right in equations(cell)]
    return "\n".join(lines)


class _Text(Writer):
    """Terms as text."""

    def name(self, name: Name) -> str:
        if name.kind == "bar":
            return f"{name.name}_bar" + (f"_{name.part}" if name.part else "")
        return f"{name.name}'" if name.kind == "next" else name.name

    def number(self, value: float) -> str:
        return number(value)

    def affine(self, term: Term) -> str:
        assert term.name is not None
        gate, part = term.name.name, term.name.part
        terms = [] if part == "h" else [f"W_{gate} x"]
        terms += [f"R_{gate} {self(seen, 4)}" for seen in term.args]
        return " + ".join([*terms, f"b_{gate}" + (f"_{part}" if part else "")])

    def operation(self, term: Term) -> str:
        if term.op == "neg":
            return "-" + self(term.args[0], 3)
        if term.op in _INFIX:
            return f" {_INFIX[term.op]} ".join(self.sides(term))
        inside = [self(arg) for arg in term.args]
        for keyword, value in term.given:
            shown = f'"{value}"' if isinstance(value, str) else number(value)
            inside.append(f"{keyword}={shown}" if keyword else shown)
        which = f"[{term.which}]" if term.which else ""
        call = f"({', '.join(inside)})"
        return f"{term.op}{call}{which}" if term.op == "norm" else f"{term.op}{which}{call}"

    def bracketed(self, written: str) -> str:
        return f"({written})"
