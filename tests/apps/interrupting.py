"""Runs commands that are interrupted by real signals, at a certain moment or from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.apps.processes import MAIN, Process, run_forked

# If the signal arrives while an extension module runs Python code, the interpreter ends with -SIGINT, not
# with status 130. A shell calls both 130.
BY_CTRL_C = (130, -signal.SIGINT)

_BEGIN = "import os, signal\nwhen = {}\n"


def interrupted(patch: str, when: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process in which `patch` sends the signal; its `when` is set."""
    return run_forked(*arguments, cwd=cwd, code=_BEGIN.format(when) + patch + MAIN)


def signalled(number: signal.Signals, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """The status and the output of a command that gets a signal when its training begins."""
    process = Process(*arguments, cwd=cwd)
    while process.runs() and not any(cwd.glob(".gatewise-*.part")):
        time.sleep(0.05)  # training begins right after this folder is made
    assert process.runs()
    os.kill(process.pid, number)
    done = process.end(timeout=120)
    return done.returncode, done.stdout, done.stderr
