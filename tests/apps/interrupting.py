"""Commands that are interrupted at a certain moment, by a real SIGINT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BEGIN = "import os, signal, sys\nwhen = int(sys.argv.pop(1))\n"
_END = "\nfrom gatewise.apps.command_line import main\nmain()\n"


def interrupted(patch: str, when: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process where `patch` sends the signal; it is told `when`."""
    return subprocess.run(
        [sys.executable, "-c", _BEGIN + patch + _END, str(when), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
