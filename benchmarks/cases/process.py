"""Code in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]  # from where `benchmarks` can be imported


def fresh(code: str, **environment: str) -> Any:
    """The JSON that `code` prints, run with `environment` in addition to the current one.

    Raises:
        subprocess.CalledProcessError: it failed; what it said went to our standard error.
    """
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)
