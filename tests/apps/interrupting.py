"""Runs commands that are interrupted by real signals, at a certain moment or from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "gatewise.apps.command_line"]
# If the signal arrives while an extension module runs Python code, the interpreter ends with -SIGINT, not
# with status 130. A shell calls both 130.
BY_CTRL_C = (130, -signal.SIGINT)

_BEGIN = "import os, signal, sys\nwhen = int(sys.argv.pop(1))\n"
_END = "\nfrom gatewise.apps.command_line import main\nmain()\n"


def interrupted(patch: str, when: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process in which `patch` sends the signal; `when` is passed to it."""
    return subprocess.run(
        [sys.executable, "-c", _BEGIN + patch + _END, str(when), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def signalled(number: signal.Signals, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """The status and the output of a command that gets a signal when its training begins."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not any(cwd.glob(".gatewise-*.part")):  # training begins right after this folder is made
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        said, complaints = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said, complaints
