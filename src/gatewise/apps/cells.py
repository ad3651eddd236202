"""The cell that ``--cell`` names: one of the package, or one in a file of the user."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import Any

from gatewise import cells
from gatewise.language import Cell, CellError

NAMES = tuple(name for name in cells.__all__ if not vars(cells)[name].projects)


class ChoiceError(ValueError):
    """Raised if ``--cell`` does not name a cell. The message is one sentence."""


def chosen_cell(choice: str, option: str = "--cell") -> str | Cell:
    """The choice itself if it is one of `NAMES`. For ``FILE.py:NAME``, run the file and return that cell.

    Messages name `option`.

    Raises:
        ChoiceError: it is neither, the file or the name does not exist, or the file fails.
    """
    if choice in NAMES:
        return choice
    file, colon, name = choice.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ChoiceError(f"{option} must be {', '.join(NAMES)} or FILE.py:NAME. Got {choice!r}.")
    found = _names_in(Path(file), option)
    if name not in found:
        own = [name for name, value in found.items() if isinstance(value, Cell)]
        raise ChoiceError(f"{option}: {file} has no {name!r}; its cells are {', '.join(own) or 'none'}.")
    cell = found[name]
    if not isinstance(cell, Cell):
        kind = type(cell).__name__
        raise ChoiceError(f"{option}: {name!r} in {file} must be a function under @cell. Got {kind}.")
    return cell


def _names_in(file: Path, option: str) -> dict[str, Any]:
    """Run a file. Returns the names that it defines."""
    if not file.is_file():
        raise ChoiceError(f"{option}: there is no file {file}.")
    try:
        return runpy.run_path(str(file), run_name="<cells>")
    except CellError as error:  # the message names the line
        raise ChoiceError(f"{option}: {error}") from error
    except (Exception, SystemExit) as error:
        what = " ".join(traceback.format_exception_only(error)[-1].split())
        raise ChoiceError(f"{option}: {file}{_line(error, file)}: {what}") from error


def _line(error: BaseException, file: Path) -> str:
    """The line of the file at which an error occurred, as ``:7``, or ""."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    return f":{lines[-1]}" if lines and lines[-1] else ""
