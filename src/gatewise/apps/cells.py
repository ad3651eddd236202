"""The cell that ``--cell`` names: one of the package's, or one in a file of the user's own."""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import Any

from gatewise import cells
from gatewise.language import Cell, CellError

NAMES = tuple(name for name in cells.__all__ if not vars(cells)[name].projects)


class ChoiceError(ValueError):
    """A ``--cell`` that names no cell, in one sentence."""


def chosen_cell(choice: str) -> str | Cell:
    """One of `NAMES` as it is, and for ``FILE.py:NAME`` the cell of that name in that file, which is run.

    Raises:
        ChoiceError: it is neither, there is no such file or name, or the file cannot be run.
    """
    if choice in NAMES:
        return choice
    file, colon, name = choice.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ChoiceError(f"--cell must be {', '.join(NAMES)} or FILE.py:NAME. Got {choice!r}.")
    found = _names_in(Path(file))
    if name not in found:
        own = [name for name, value in found.items() if isinstance(value, Cell)]
        raise ChoiceError(f"--cell: {file} has no {name!r}; its cells are {', '.join(own) or 'none'}.")
    cell = found[name]
    if not isinstance(cell, Cell):
        kind = type(cell).__name__
        raise ChoiceError(f"--cell: {name!r} in {file} must be a function under @cell. Got {kind}.")
    return cell


def _names_in(file: Path) -> dict[str, Any]:
    """Run a file; give what it defines."""
    if not file.is_file():
        raise ChoiceError(f"--cell: there is no file {file}.")
    try:
        return runpy.run_path(str(file), run_name="<cells>")
    except CellError as error:  # says itself where
        raise ChoiceError(f"--cell: {error}") from error
    except (Exception, SystemExit) as error:
        what = " ".join(traceback.format_exception_only(error)[-1].split())
        raise ChoiceError(f"--cell: {file}{_line(error, file)}: {what}") from error


def _line(error: BaseException, file: Path) -> str:
    """Where in the file it went wrong, as ``:7``; nothing if nowhere."""
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    return f":{lines[-1]}" if lines and lines[-1] else ""
