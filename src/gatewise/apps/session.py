"""What every command has around it: where it prints, how it ends, its progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def status_of(job: Callable[[Console], int]) -> int:
    """Do a job and give the exit status: its own, 1 if it failed, 2 for bad input, 130 after Ctrl-C."""
    # Threads that wait asleep lose little alone and do not fight other programs for two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    console, complaints = Console(markup=False, highlight=False), Console(stderr=True, soft_wrap=True)
    try:
        return job(console)
    except KeyboardInterrupt:
        console.print("Stopped by Ctrl-C. Nothing was written.")
        return INTERRUPTED
    except (ValueError, FloatingPointError, OSError) as error:
        complaints.print(Text(f"Error: {error}"), style="red")
        return BAD_INPUT if isinstance(error, ValueError | FileNotFoundError) else FAILED


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A bar for training; its tasks have a field `state`, in words."""
    columns = (
        TextColumn("Training", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        yield bar
