"""Reads texts from files."""

from __future__ import annotations

from pathlib import Path

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.shared.tables import read_text

_FOLDERS_LEFT_OUT = ("__pycache__", "node_modules")


def read_texts(path: Path, *, lines: bool = False, encoding: str | None = None) -> list[str]:
    """The text of a file; each of its lines that is not blank, with `lines`; or of each file in a folder.

    In a folder, files that are hidden or not text are left out.

    Raises:
        TableError: a file cannot be read or is not text, or the folder has no text.
    """
    if path.is_dir():
        texts = [text for file in sorted(path.rglob("*")) if (text := _text_in(path, file, encoding))]
        if not texts:
            raise TableError(path, "the folder has no file with text")
    else:
        texts = [read_text(path, encoding)]
    return [line for text in texts for line in text.split("\n") if line.strip()] if lines else texts


def _text_in(folder: Path, file: Path, encoding: str | None) -> str:
    """The text of a file in a folder; "" if it is to be left out."""
    parts = file.relative_to(folder).parts
    if not file.is_file() or any(part.startswith(".") or part in _FOLDERS_LEFT_OUT for part in parts):
        return ""
    try:
        return read_text(file, encoding)
    except TableError:
        return ""
