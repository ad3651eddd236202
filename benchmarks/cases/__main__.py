"""Further cases, each with its target; all of them if none is named.

Nothing is timed before the results have been compared with torch's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases import cold, denormals, lengths, memory, page, resets, single, step, threads
from benchmarks.cases.finding import Finding, Settings
from benchmarks.check import WrongResultError, check
from benchmarks.machine import Machine, this_machine
from benchmarks.report import digits, plural, write_json

Case = Callable[[Settings], Iterator[Finding]]
CASES: dict[str, Case] = {
    module.__name__.rpartition(".")[2]: module.findings
    for module in (threads, lengths, resets, step, single, memory, cold, denormals, page)
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    settings = Settings(options.rounds, options.seconds, options.threads, options.tiny)
    console, machine = Console(), this_machine()
    found: dict[str, list[Finding]] = {}
    try:
        check("lstm")
        for name in options.cases or CASES:
            torch.set_num_threads(settings.threads)
            found[name] = list(CASES[name](settings))
            console.print(table(name, found[name], settings, machine))
    except WrongResultError as wrong:
        sys.exit(str(wrong))
    if options.out is not None:
        cases = {name: [f.document() for f in findings] for name, findings in found.items()}
        write_json(options.out / "cases.json", machine, **settings._asdict(), cases=cases)


def table(name: str, findings: Sequence[Finding], settings: Settings, machine: Machine) -> Table:
    """The findings of a case."""
    caption = f"{machine}; {plural(settings.threads, 'thread')} unless said"
    made = Table(title=name, caption=caption, min_width=100)
    for column in ["what", "measured", "target", "met", "beside"]:
        made.add_column(column, justify="right" if column == "measured" else "left")
    for f in findings:
        target = f"{'at least' if f.target.at_least else 'at most'} {digits(f.target.bound)} {f.unit}"
        beside = ", ".join(f"{peer} {digits(value)} {f.unit}" for peer, value in f.beside.items())
        made.add_row(f.what, f"{digits(f.figure)} {f.unit}", target, "yes" if f.met else "[bold]no", beside)
    return made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cases", description=__doc__)
    parser.add_argument("cases", nargs="*", choices=list(CASES), metavar="case", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="a contender's time in a round")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny shapes: shows that it runs, and nothing else"
    )
    parser.add_argument("--out", type=Path, help="a folder for cases.json")
    return parser


if __name__ == "__main__":
    main()
