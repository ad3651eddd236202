"""What ``gatewise compare`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from gatewise.apps.comparison import Comparison
    from gatewise.tasks.synthetic.results import Summary
    from gatewise.tasks.synthetic.training import Run

MEANING = (
    "Learned: seeds for which 99 % of 2,560 new sequences are right. Sequences: the median number that "
    "these seeds needed. Kept, trained: the factor by which the gradient of the last step's loss by the "
    "states changes from one step to the step before it, before and after training. All others: medians "
    "over seeds."
)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print what is compared, and how it is trained."""
    settings, task = comparison.settings, comparison.task
    biases = "".join(f", {gate} biased by {bias:g}" for gate, bias in settings.biases.items())
    facts = {
        "Task": f"{task.name}. {task.title}",
        "Lengths": f"T = {', '.join(map(str, comparison.lengths))}; {_count(comparison.seeds)}",
        "Networks": f"{', '.join(cell.name for cell in comparison.cells)}: "
        f"one layer of {settings.hidden_size} units and a linear readout{biases}",
        "Training": f"Adam, rate {settings.learning_rate:g}, batches of {settings.batch}, "
        f"gradients clipped to {settings.clip:g}, at most {settings.most:,} sequences",
    }
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        grid.add_row(Text(name, style="bold"), Text(fact))
    console.print(grid)
    console.print()


def _count(seeds: int) -> str:
    return f"seeds 0 to {seeds - 1}" if seeds > 1 else "seed 0"


def show_runs(console: Console, runs: Sequence[Run]) -> None:
    """Print the table of what was learned."""
    from gatewise.tasks.synthetic.results import summaries

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Cell")
    for title in ("T", "learned", "sequences", "right", "weights", "seconds", "kept", "trained"):
        table.add_column(title, justify="right")
    for summary in summaries(runs):
        table.add_row(*_row(summary))
    if runs:
        console.print(table)
        console.print(f"\n{MEANING}")


def _row(summary: Summary) -> list[Text]:
    learned = f"{summary.learned} of {summary.runs}"
    words = [
        summary.cell,
        str(summary.length),
        learned + (f" ({summary.diverged} diverged)" if summary.diverged else ""),
        "-" if summary.sequences is None else f"{summary.sequences:,.0f}",
        f"{summary.right:.1%}",
        f"{summary.parameters:,}",
        f"{summary.seconds:.1f}",
        f"{summary.kept_before:.3f}",
        f"{summary.kept_after:.3f}",
    ]
    whole = summary.learned == summary.runs
    return [Text(word, style="bold green" if whole and n == 2 else "") for n, word in enumerate(words)]


def show_reasons(console: Console, comparison: Comparison, runs: Sequence[Run]) -> None:
    """Print why cells with a memory failed, if their gates began half open, and which option opens them."""
    from gatewise.tasks.synthetic.network import first_biases

    for cell in comparison.cells:
        failed = sorted({run.length for run in runs if run.cell == cell.name and not run.learned})
        biases = first_biases(cell)
        if failed and biases and not biases.keys() & comparison.settings.biases.keys():
            kept = next(iter(biases))  # gates that keep a state come first
            option = ",".join(f"{gate}={bias:g}" for gate, bias in biases.items())
            console.print(
                f"\n{cell.name} failed at T = {', '.join(map(str, failed))}. With the usual first weights "
                f"{kept} begins half open, so about half of the memory is lost at each step. Open from the "
                f"start, it can keep it: --bias {option}"
            )


def show_folder(console: Console, folder: Path, done: int, asked: int) -> None:
    """Print where the results are."""
    from gatewise.tasks.synthetic.results import FILES

    if done < asked:
        console.print(f"\nStopped by Ctrl-C. Kept: the {done} of {asked} runs that were done.")
    console.print(Text(f"\n{folder}/", style="bold"))
    for name, meaning in FILES.items():
        console.print(f"  {name:<18} {meaning}", soft_wrap=True)
