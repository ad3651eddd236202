"""The options for reading tables, shared by several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from gatewise.apps.options import OptionError, option_of

OPTIONS: dict[str, Any] = {
    "time": Annotated[
        list[str] | None,
        typer.Option(help="Column of times; twice for a day and a time of day. none: rows are numbered."),
    ],
    "inputs": Annotated[
        list[str] | None,
        typer.Option(
            "--inputs", "--past", help="Column that is a past input; may be repeated. (default: all)"
        ),
    ],
    "known": Annotated[
        list[str] | None,
        typer.Option(
            help="Column that is known ahead, as a price; may be repeated. Later rows have its future."
        ),
    ],
    "irregular": Annotated[
        bool | None, typer.Option("--irregular", help="Rows are steps, whatever the time between them.")
    ],
    "where": Annotated[str | None, typer.Option(help="COLUMN=VALUE: read these rows alone.")],
    "time_format": Annotated[
        str | None, typer.Option(help="%d.%m.%Y %H:%M and the like; excel, unix, unix-ms, unix-us, unix-ns.")
    ],
    "zone": Annotated[str | None, typer.Option(help="Time zone of the times, as Europe/Berlin.")],
    "repeated": Annotated[
        str | None, typer.Option(help="Of rows with the same time: first, last, mean or sum.")
    ],
    "resample": Annotated[str | None, typer.Option(help="Step, as 1h: the mean of the rows in each.")],
    "missing": Annotated[
        list[str] | None,
        typer.Option(help="What marks a missing value, as -200; may be repeated. none: nothing does."),
    ],
    "decimal": Annotated[str | None, typer.Option(help="Decimal mark, . or ,")],
    "thousands": Annotated[str | None, typer.Option(help="Mark between thousands: . , ' or a space.")],
    "encoding": Annotated[str | None, typer.Option(help="Of the text, as cp1252. (default: UTF-8)")],
    "skip_rows": Annotated[int | None, typer.Option(min=0, help="Lines above the header.")],
}
for _annotation in OPTIONS.values():
    get_args(_annotation)[1].rich_help_panel = "How files are read"


# Options for the content of any file, and options for the times of a series.
CONTENT = ("where", "missing", "decimal", "thousands", "encoding", "skip_rows")
TIMES = ("time", "time_format", "zone", "repeated", "resample")


def reads_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: replaces the parameter `reading` of a command, a dict, by the options above.

    The options are interpreted only when the command runs, since that needs pandas.
    """
    return _with_options(command, tuple(OPTIONS))


def reads_content(command: Callable[..., None]) -> Callable[..., None]:
    """As `reads_tables`, with the options of `CONTENT` and of `TIMES`."""
    return _with_options(command, (*TIMES, *CONTENT))


def _with_options(command: Callable[..., None], names: Sequence[str]) -> Callable[..., None]:
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "reading"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in OPTIONS.items()
        if name in names
    ]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        reading = {name: values.pop(name) for name in names}
        command(**values, reading={name: value for name, value in reading.items() if value not in (None, [])})

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + more
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del wrapped.__wrapped__
    return wrapped


def chosen_reading(options: dict[str, Any]) -> Any:
    """The `Reading` that the options say.

    Raises:
        OptionError: an option has an invalid value.
    """
    from gatewise.tasks.shared.reading.options import Reading

    answers: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in options.items() if name != "time"
    }
    try:
        return Reading(**answers)
    except ValueError as error:  # its message begins with the name of the option
        name, _, problem = str(error).partition(" ")
        raise OptionError(f"{option_of(name)} {problem.rstrip('.')}.") from error


def refuse_missing(paths: Iterable[Path]) -> None:
    """Refuse files that do not exist, before anything is imported to read them.

    Raises:
        OptionError: a file or folder does not exist, or may not be looked at.
    """
    for path in paths:
        try:
            if str(path) != "-":  # standard input
                path.stat()
        except OSError as error:
            raise OptionError(f"{path}: the file cannot be read ({error.strerror}).") from error


def spelled(options: dict[str, Any]) -> list[str]:
    """The options as words of a command line."""
    words: list[str] = []
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words.append(option_of(name) if one is True else f"{option_of(name)}={one}")
    return words
