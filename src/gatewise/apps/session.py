"""Shared by all commands: the console, the exit status, the progress bar."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, NoReturn, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from gatewise import files
from gatewise.apps.output import Output
from gatewise.extras import needed_by

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def status_of(job: Callable[[Console], int], *, quiet: bool = False) -> int:
    """Run a job. Returns its exit status, or 1 if it failed, 2 for bad input, 130 after Ctrl-C.

    After another terminating signal it is 128 plus the number of the signal, as in shells. If `quiet`, the
    console of the job prints nothing; errors are still printed to stderr.
    """
    # Waiting threads sleep instead of spinning: a small loss when alone, less contention with other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    console = _console(None if quiet else sys.stdout)
    try:
        with _ending_in_order(), needed_by("this command"):
            return job(console)
    except KeyboardInterrupt:
        console.print("Stopped by Ctrl-C. Nothing was written.")
        return INTERRUPTED
    except _Terminated as end:
        console.print(f"Stopped by {end}.")
        return 128 + end.signal
    except (ValueError, FloatingPointError, OSError, ImportError) as error:
        complaint(str(error))
        return BAD_INPUT if isinstance(error, ValueError | FileNotFoundError) else FAILED


def complaint(sentence: str) -> None:
    """Print what is wrong to stderr."""
    _console(sys.stderr, soft_wrap=True).print(Text(f"Error: {sentence}"), style="red")


def _console(stream: TextIO | None, soft_wrap: bool = False) -> Console:
    """A console that prints markup in names literally, and survives a closed pipe."""
    file = cast(IO[str], Output(stream))
    return _Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=soft_wrap)


class _Console(Console):
    """A console that escapes control characters: text from files cannot move the cursor or change colours."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as usual, with non-printable characters escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_printable(segment.text), segment.style)


def _printable(text: str) -> str:
    return "\n".join(map(files.escaped, text.split("\n")))


class _Terminated(SystemExit):
    """Raised when a signal asks the process to end."""

    def __init__(self, signal: signal.Signals) -> None:
        super().__init__(signal.name)
        self.signal = signal


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise, so that incomplete files are removed. Ignored signals stay ignored."""

    def end(number: int, _: object) -> NoReturn:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)  # a second signal does not interrupt the cleanup
        raise _Terminated(signal.Signals(number))

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ours = [getattr(signal, name) for name in names] if _in_main_thread() else []
    ours = [each for each in ours if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A progress bar for training. Its tasks have a field `state`, a text."""
    columns = (
        TextColumn("Training", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        yield bar
