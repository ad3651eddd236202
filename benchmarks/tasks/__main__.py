"""``python -m benchmarks.tasks JOB [options]``: each job has a module of its own, with a `main`."""

from __future__ import annotations

import sys
from importlib import import_module

JOBS = {
    "anomalies": "anomalies",
    "cells": "cells",
    "classify": "classification",
    "compared": "compared",
    "forecast": "forecasting",
    "forecast-compared": "forecasting_compared",
    "overhead": "overhead",
    "tag": "tagging",
    "write": "writing",
}


def main(words: list[str]) -> None:
    if not words or words[0] not in JOBS:
        raise SystemExit(f"usage: python -m benchmarks.tasks {{{','.join(JOBS)}}} [options]")
    import_module(f"benchmarks.tasks.{JOBS[words[0]]}").main(words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
