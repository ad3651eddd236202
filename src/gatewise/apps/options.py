"""What values the options of commands may have, and the sentence about one that is wrong."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from typer.models import ArgumentInfo

from gatewise import files

KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


class OptionError(ValueError):
    """Raised for an option with a wrong value. The message is one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(files.quoted(message))


@dataclass(frozen=True)
class Among:
    """In an option's annotation: the only values that it may have."""

    values: Sequence[str]


@dataclass(frozen=True)
class Above:
    """In an option's annotation: a limit that its value must be above."""

    limit: float


def type_of(annotation: Any) -> tuple[type, bool]:
    """The type of an option's value, and whether there may be several values."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(kind for kind in get_args(annotation) if kind is not NoneType)
    if get_origin(annotation) is list:
        return get_args(annotation)[0], True
    return annotation, False


def expected(annotation: Any) -> str:
    """The values that an option may have, in words: ``"a whole number from 1 to 64"``."""
    for each in get_args(annotation)[1:]:
        if isinstance(each, Among):
            return f"one of {', '.join(each.values)}"
    return f"{KINDS[type_of(annotation)[0]]}{limits(annotation)}"


def limits(annotation: Any) -> str:
    """The limits of a number in words, after a blank; empty without any."""
    least, most, above = _limits(annotation)
    if above is not None:
        return f" above {above:g}" + ("" if most is None else f" and at most {most:g}")
    if least is None:
        return "" if most is None else f" of at most {most:.10g}"
    return f" of at least {least:.10g}" if most is None else f" from {least:.10g} to {most:.10g}"


def is_allowed(value: Any, annotation: Any) -> bool:
    """Whether an option may have this value, which is of its type. A number that is not one may not be."""
    if any(isinstance(each, Among) and value not in each.values for each in get_args(annotation)[1:]):
        return False
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    least, most, above = _limits(annotation)
    return (
        float("-inf") < value < float("inf")
        and (least is None or least <= value)
        and (most is None or value <= most)
        and (above is None or above < value)
    )


def _limits(annotation: Any) -> tuple[Any, Any, Any]:
    """The least value, the greatest one, and the limit that a value must be above; None for none."""
    extras = get_args(annotation)[1:]
    least, most = (
        next((n for n in (getattr(each, name, None) for each in extras) if n is not None), None)
        for name in ("min", "max")
    )
    return least, most, next((each.limit for each in extras if isinstance(each, Above)), None)


def option_of(name: str) -> str:
    """An option as it is typed: ``"--hidden-size"`` for ``hidden_size``."""
    return f"--{name.replace('_', '-')}"


def hint(name: str, known: Sequence[str], otherwise: str, sign: str = "") -> str:
    """The end of a sentence about an unknown name: the one that was probably meant, or else `otherwise`.

    Names are shown behind `sign`.
    """
    near = difflib.get_close_matches(name.lower(), known, 1)
    return f"did you mean '{sign}{near[0]}'?" if near else f"{otherwise}."


def parameters_of(command: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a command by name, with evaluated annotations."""
    return dict(inspect.signature(command, eval_str=True).parameters)


def checked(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: a command that refuses values which its options may not have.

    The parser of the command line checks types and limits, but not `Among` and `Above`, and NaN passes.
    """
    annotations = {name: each.annotation for name, each in parameters_of(command).items()}
    names = option_names(annotations)

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        for name, value in values.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None and not is_allowed(one, annotations[name]):
                    raise OptionError(
                        f"{names[name]} must be {expected(annotations[name])}. Got {str(one)!r}."
                    )
        command(**values)

    return wrapped


def option_names(annotations: dict[str, Any]) -> dict[str, str]:
    """Each parameter as it is typed, or as the help names an argument."""
    return {name: _typed(name, annotation) for name, annotation in annotations.items()}


def _typed(name: str, annotation: Any) -> str:
    for each in get_args(annotation)[1:]:
        words = (getattr(each, "default", None), *(getattr(each, "param_decls", None) or ()))
        declared = [word for word in words if isinstance(word, str) and word.startswith("--")]
        if declared:
            return str(declared[0])
        if isinstance(each, ArgumentInfo):
            return str(each.metavar or name.upper()).removesuffix("...")
    return option_of(name)
