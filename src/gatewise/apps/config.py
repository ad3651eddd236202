"""``--config FILE.toml``: options of a command from a file. Those of the command line have precedence."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from gatewise import files

_MOST = 1 << 20  # bytes of a file
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    Path: "a path in quotes",
}


class ConfigError(ValueError):
    """Raised for a file that cannot be used. The message is one sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(files.quoted(message))


def configured(
    context: typer.Context,
    file: Path,
    values: dict[str, Any],
    types: dict[str, Any],
    refused: tuple[str, ...],
) -> dict[str, Any]:
    """The values of a command's options, with those of a file that the command line leaves open.

    A key is the name of an option, with ``-`` or ``_``. Paths are relative to the current folder, as on the
    command line.

    Args:
        context: the call of the command.
        file: a TOML file without tables.
        values: the values of all options by the names of their parameters.
        types: the annotated types of the parameters.
        refused: options that a file cannot set.

    Raises:
        ConfigError: the file is not TOML, or has a key that is not an option, or a value of a wrong type. The
            message names the file and the key.
    """
    known = {name: types[name] for name in values if name not in refused}
    found = dict(values)
    for key, value in _content(file).items():
        name = key.replace("-", "_")
        if name in refused:
            raise ConfigError(f"{file}: {key} is an option of the command line alone.")
        if name not in known:
            raise ConfigError(f"{file}: there is no option {key!r}{_suggestion(name, list(known))}")
        checked = _checked(file, key, value, known[name])
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            found[name] = checked
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        with files.open_to_read(file) as opened:
            content = opened.read(_MOST + 1)
    except OSError as error:
        raise ConfigError(f"--config: {file} cannot be read ({error.strerror or error}).") from error
    if len(content) > _MOST:
        raise ConfigError(f"--config: {file} must have at most {_MOST >> 20} MiB.")
    try:
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: the file is not valid TOML ({' '.join(str(error).split())}).") from error


def _suggestion(name: str, known: list[str]) -> str:
    """The option that was probably meant, or all options."""
    near = difflib.get_close_matches(name.lower(), known, 1)
    shown = [option.replace("_", "-") for option in near or known]
    return f"; did you mean {shown[0]!r}?" if near else f"; the options are {', '.join(shown)}."


def _checked(file: Path, key: str, value: Any, annotation: Any) -> Any:
    """A value of the type of an option; a single value may stand for a list."""
    kind, several = _type(annotation)
    one_by_one = value if several and isinstance(value, list) else [value]
    for one in one_by_one:
        if not (
            type(one) is kind or (kind is float and type(one) is int) or (kind is Path and type(one) is str)
        ):
            kinds = f"a list of which each is {_KINDS[kind]}" if several else _KINDS[kind]
            raise ConfigError(f"{file}: {key} must be {kinds}. Got {_written(one)}.")
        _check_range(file, key, one, annotation)
    converted = [Path(one) if kind is Path else one for one in one_by_one]
    return converted if several else converted[0]


def _check_range(file: Path, key: str, value: Any, annotation: Any) -> None:
    """Refuse a number outside of the limits that the option has."""
    for option in get_args(annotation)[1:]:
        least, most = getattr(option, "min", None), getattr(option, "max", None)
        if not (least is None or least <= value) or not (most is None or value <= most):  # also for NaN
            limits = f"at least {least}" if most is None else f"from {least} to {most}"
            raise ConfigError(f"{file}: {key} must be {limits}. Got {_written(value)}.")


def _type(annotation: Any) -> tuple[type, bool]:
    """The type of an option's value, and whether there may be several."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(kind for kind in get_args(annotation) if kind is not NoneType)
    if get_origin(annotation) is list:
        return get_args(annotation)[0], True
    return annotation, False


def _written(value: Any) -> str:
    """A value as TOML would write it, shortened."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
