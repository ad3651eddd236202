"""``gatewise learn --check`` and ``--start``: the exercises as a file."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gatewise.apps.session import FAILED


def write_starter(file: Path, console: Console) -> int:
    """Write a file with the exercises as comments."""
    from gatewise import files
    from gatewise.learn.exercises import starter

    if file.exists():
        raise ValueError(f"--start: {file} exists already. Name a new file.")
    if not file.parent.is_dir():
        raise ValueError(f"--start: there is no folder {file.parent}.")
    files.save(file, starter(file.name).encode())
    console.print(f"{file}; write the cells, then: gatewise learn --check {file}")
    return 0


def check_cells(file: Path, console: Console) -> int:
    """Print what the check finds, function by function. Returns 1 if anything is wrong."""
    from gatewise.learn.checking import MOST, findings

    if not file.is_file():
        raise ValueError(f"--check: there is no file {file}.")
    if file.stat().st_size > 4 * MOST:  # bytes of a letter, at most
        raise ValueError(f"--check: {file} has more than {MOST:,} characters.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"--check: {file} is not a text in UTF-8.") from None
    right = True
    for number, finding in enumerate(findings(text)):
        console.print(f"{chr(10) * (number > 0)}{finding.written(text)}", soft_wrap=True)
        right = right and finding.right
    return 0 if right else FAILED
