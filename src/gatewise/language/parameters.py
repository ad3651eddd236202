"""The kinds of parameters that a cell can have after the star."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ForwardRef, TypeAlias, final, get_args, get_origin

from gatewise.language import names

if TYPE_CHECKING:
    # For type checkers these are Any: in the body a parameter is a symbol, and its name may be assigned
    # again.
    Split: TypeAlias = Any
    Input: TypeAlias = Any
    Vector: TypeAlias = Any
else:

    class Split:
        """Annotation of a gate whose part from the input and part from the state stay apart.

        ``n: Split`` gives ``n.x = W x_t + b_x`` and ``n.h = R h_{t-1} + b_h``.
        """

    class Input:
        """Annotation of a gate that sees the input alone: ``W x_t + b_x``."""

    class Vector:
        """Annotation of a learned vector, one number per unit, such as a peephole."""


class Kind(Enum):
    """The kinds of learned parameters. The last two belong to `layer_norm`."""

    GATE = "gate"
    SPLIT = "split"
    INPUT = "input"
    VECTOR = "vector"
    GAIN = "gain"
    BIAS = "bias"


KINDS: dict[object, Kind] = {
    inspect.Parameter.empty: Kind.GATE,
    Split: Kind.SPLIT,
    Input: Kind.INPUT,
    Vector: Kind.VECTOR,
}
KINDS_BY_NAME = {"Split": Kind.SPLIT, "Input": Kind.INPUT, "Vector": Kind.VECTOR}


def kind_of(annotation: object, scope: Mapping[str, Any]) -> Kind | None:
    """The kind that an annotation stands for: a class, an alias, inside `Annotated`, or any of these as text.

    `scope` holds the names that a text may use. Returns None for any other annotation.
    """
    annotation = getattr(annotation, "__value__", annotation)  # the value of an alias: type S = Split
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _kind_of_text(annotation, scope)
    if get_origin(annotation) is Annotated:
        kinds = (kind_of(part, scope) for part in get_args(annotation))
        return next((kind for kind in kinds if kind), None)
    try:
        return KINDS.get(annotation)
    except TypeError:  # not hashable
        return None


def _kind_of_text(text: str, scope: Mapping[str, Any]) -> Kind | None:
    try:
        return kind_of(eval(text, dict(scope)), scope)
    except Exception:  # the name may be imported for type checkers only
        return KINDS_BY_NAME.get(_last_name(text))


def _last_name(text: str) -> str:
    """``Split`` for ``gw.Split`` and for ``Annotated[gw.Split, ...]``."""
    try:
        return _last_name_in(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return ""


def _last_name_in(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Constant(value=str(text)):
            return _last_name(text)
        case ast.Subscript(outer, ast.Tuple([first, *_])) if _last_name_in(outer) == "Annotated":
            return _last_name_in(first)
    return ""


_PARTS = {Kind.GATE: ("",), Kind.SPLIT: ("x", "h"), Kind.INPUT: ("x",)}

Leaf = tuple[str, str, str]  # the operation, name and part of a node without arguments


@final
@dataclass(frozen=True)
class Parameter:
    """A learned parameter of a cell."""

    name: str
    kind: Kind

    @property
    def sees_input(self) -> bool:
        """Whether it has rows in the input weights."""
        return self.kind in (Kind.GATE, Kind.SPLIT, Kind.INPUT)

    @property
    def sees_state(self) -> bool:
        """Whether it has rows in the recurrent weights."""
        return self.kind in (Kind.GATE, Kind.SPLIT)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Its leaves in a graph: one, or two for a `Split`."""
        if not self.sees_input:
            return (("vector", self.name, ""),)
        return tuple(("gate", self.name, part) for part in _PARTS[self.kind])

    @property
    def bars(self) -> tuple[str, ...]:
        """The names of its pre-activations."""
        if self.kind is Kind.SPLIT:
            return names.bar(self.name, "x"), names.bar(self.name, "h")
        return (names.bar(self.name),) if self.sees_input else ()
