"""What every test runs under: kernels of this checkout, threads that wait asleep, a Ctrl-C that works."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# The user's own cache is neither read nor filled. ``GATEWISE_CACHE`` puts the kernels elsewhere.
os.environ.setdefault("GATEWISE_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "kernels"))
# OpenMP's threads wait asleep: awake they would take the cores from the other processes of pytest-xdist.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# In the background of a script Ctrl-C is ignored, and under nohup SIGHUP, which Windows does not have.
# Processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
