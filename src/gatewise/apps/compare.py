"""``gatewise compare``: trains cells on a synthetic task and compares them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from gatewise.apps import choices
from gatewise.apps.comparison import Comparison
from gatewise.apps.helping import example
from gatewise.apps.options import Among
from gatewise.apps.session import INTERRUPTED, progress, status_of

if TYPE_CHECKING:
    from gatewise.tasks.synthetic.training import Check, Run

CELLS = "rnn,lstm,gru"
TASKS = (  # the tasks of gatewise.tasks.synthetic, which imports torch
    *("adding", "multiplication", "parity", "temporal-order", "temporal-order-3", "copy", "copy-20"),
    *("long-lag", "reber"),
)
SEEDS, MOST = 5, 100_000
QUICK_SEEDS, QUICK_MOST = 1, 30_000


@example("gatewise compare --task adding --cells lstm,gru,mine.py:minimal --quick")
def compare(
    task: Annotated[
        str,
        typer.Option(
            help="adding, multiplication, parity, temporal-order, temporal-order-3, copy, copy-20, long-lag "
            "or reber."
        ),
        Among(TASKS),
    ] = "adding",
    cells: Annotated[
        str, typer.Option(help="Cells of the package, or of your own: FILE.py:NAME; with commas between.")
    ] = CELLS,
    lengths: Annotated[
        str | None, typer.Option(help="Lengths, with commas between. (default: the task's)")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Seeds of each, from 0 on. (default: 5)")
    ] = None,
    hidden: Annotated[int, typer.Option(min=1, max=4096, help="Hidden units.")] = 32,
    most: Annotated[
        int | None, typer.Option(min=1, help="Training sequences at most. (default: 100,000)")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Sequences in a batch.")] = 16,
    rate: Annotated[float, typer.Option(min=1e-9, max=1.0, help="Adam's learning rate.")] = 0.01,
    bias: Annotated[
        str, typer.Option(help="Added to the first biases of gates, as f=3: forget gates that begin open.")
    ] = "",
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, the task's first length, 30,000 sequences at most.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results. (default: runs/compare-TASK)")
    ] = None,
) -> None:
    """Train cells on a synthetic task and report which of them learn it, at which length, and how fast.

    A task is learned when 99 % of 2,560 new sequences are right. The picture shows how much of an error at
    the end of a sequence reaches earlier steps, before and after training.
    """

    def job(console: Console) -> int:
        from gatewise.tasks.synthetic.training import Settings

        chosen, known = choices.chosen_task(task), choices.chosen_cells(cells)
        default = chosen.lengths[:1] if quick else chosen.lengths
        budget = most or (QUICK_MOST if quick else MOST)
        settings = Settings(hidden, budget, batch, rate, biases=choices.chosen_biases(bias, known))
        comparison = Comparison(
            chosen, known, choices.chosen_lengths(lengths, chosen) or default,
            seeds or (QUICK_SEEDS if quick else SEEDS), settings, threads, out,
        )  # fmt: skip
        return _run(comparison, console)

    raise typer.Exit(status_of(job))


def _run(comparison: Comparison, console: Console) -> int:
    import torch

    from gatewise.apps import compare_report
    from gatewise.tasks.shared.run_folder import NewFolder, free_name, given_name
    from gatewise.tasks.synthetic.results import write_results

    stem = f"compare-{comparison.task.name}"
    name = partial(given_name, comparison.out) if comparison.out else partial(free_name, stem)
    runs: list[Run] = []
    with NewFolder(name) as folder:
        torch.set_num_threads(comparison.threads)
        compare_report.show_comparison(console, comparison)
        interrupted = _train(comparison, runs, console)
        compare_report.show_runs(console, runs)
        compare_report.show_reasons(console, comparison, runs)
        if not runs:
            raise KeyboardInterrupt
        write_results(folder.writing, comparison.task, comparison.settings, runs, interrupted=interrupted)
    compare_report.show_folder(console, folder.path, len(runs), len(comparison))
    return INTERRUPTED if interrupted else 0


def _train(comparison: Comparison, runs: list[Run], console: Console) -> bool:
    """Add each run to `runs` when it is done. Returns whether Ctrl-C stopped the training."""
    from gatewise.tasks.synthetic.training import train

    with progress(console) as bar:
        task = bar.add_task("training", total=len(comparison), state="")
        try:
            for done, (cell, length, seed) in enumerate(comparison):
                show = _show(
                    bar, task, f"{cell.name}, T {length}, seed {seed}", done, comparison.settings.most
                )
                runs.append(train(comparison.task, cell, length, seed, comparison.settings, show))
                bar.update(task, completed=done + 1)
        except KeyboardInterrupt:
            return True
    return False


def _show(bar: Progress, task: TaskID, what: str, done: int, most: int) -> Callable[[Check], None]:
    """A callback that advances the progress bar at each check, within the share of one run."""

    def show(check: Check) -> None:
        state = f"{what}: {check.sequences:,} sequences, {check.right:.0%} right"
        bar.update(task, completed=done + min(check.sequences / most, 1.0), state=state)

    return show
