"""``--config FILE.toml``: options of a command from a file. The command line has precedence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import typer

from gatewise import files
from gatewise.apps.options import KINDS, OptionError, expected, hint, is_allowed, type_of

_MOST = 1 << 20  # bytes of a file


class ConfigError(OptionError):
    """Raised for a file that cannot be used. The message is one sentence."""


def configured(
    context: typer.Context,
    file: Path,
    values: dict[str, Any],
    types: dict[str, Any],
    refused: tuple[str, ...],
) -> tuple[dict[str, Any], set[str]]:
    """The values of a command's options, with those of a file that the command line leaves open.

    A key is the name of an option, with ``-`` or ``_``. Paths are relative to the current folder, as on the
    command line.

    Args:
        context: the call of the command.
        file: a TOML file without tables.
        values: the values of all options by the names of their parameters.
        types: the annotated types of the parameters.
        refused: options that a file cannot set.

    Returns:
        The values, and the names of the options that the file has.

    Raises:
        ConfigError: the file is not TOML, or has a key that is not an option, or a value of a wrong type. The
            message names the file and the key.
    """
    known = {name: types[name] for name in values if name not in refused}
    found, named = dict(values), set()
    for key, value in _content(file).items():
        name = key.replace("-", "_")
        if name in refused:
            raise ConfigError(f"{file}: {key} is an option of the command line alone.")
        if name not in known:
            options = [option.replace("_", "-") for option in known]
            meant = hint(key.replace("_", "-"), options, f"the options are {', '.join(options)}")
            raise ConfigError(f"{file}: there is no option {key!r}; {meant}")
        checked = _checked(file, key, value, known[name])
        named.add(name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            found[name] = checked
    return found, named


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


def _checked(file: Path, key: str, value: Any, annotation: Any) -> Any:
    """A value of the type of an option; a single value may stand for a list."""
    kind, several = type_of(annotation)
    one_by_one = value if several and isinstance(value, list) else [value]
    for one in one_by_one:
        fits = (
            type(one) is kind or (kind is float and type(one) is int) or (kind is Path and type(one) is str)
        )
        if not fits or not is_allowed(one, annotation):
            kinds = f"a list of which each is {KINDS[kind]}" if several else expected(annotation)
            quotes = " in quotes" if kinds.endswith((KINDS[str], KINDS[Path])) else ""
            raise ConfigError(f"{file}: {key} must be {kinds}{quotes}. Got {_written(one)}.")
    converted = [Path(one) if kind is Path else one for one in one_by_one]
    return converted if several else converted[0]


def _written(value: Any) -> str:
    """A value as TOML would write it, shortened."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
