"""The files of a comparison: results as JSON, the gradient flow as CSV and as a picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import gatewise
from gatewise.insight.figures import save_figure
from gatewise.tasks.synthetic.picture import draw_flow
from gatewise.tasks.synthetic.saved import save_network
from gatewise.tasks.synthetic.task import Task
from gatewise.tasks.synthetic.training import CHECKED, EVERY, LEARNED, TESTED, Run, Settings

FILES = {
    "models": "the trained networks, for gatewise look",
    "results.json": "every run: sequences, share right, parameters, seconds",
    "gradient_flow.csv": "the gradient by each state, steps back from the end, before and after training",
    "gradient_flow.png": "the same, drawn",
}
_FLOWS = {"before": "start", "after": "end"}


class Summary(NamedTuple):
    """The runs of one cell at one length, over seeds.

    `sequences` is the median over the runs that learned the task, None if none did. The others are medians
    over all runs.
    """

    cell: str
    length: int
    runs: int
    learned: int
    diverged: int
    sequences: float | None
    right: float
    parameters: int
    seconds: float
    kept_before: float
    kept_after: float


def summaries(runs: Sequence[Run]) -> list[Summary]:
    """The summaries of all cells and lengths, in the order of the runs."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.cell, run.length), []).append(run)
    return [_summary(group) for group in groups.values()]


def _summary(runs: list[Run]) -> Summary:
    learned = [run.sequences for run in runs if run.learned]
    return Summary(
        runs[0].cell,
        runs[0].length,
        len(runs),
        len(learned),
        sum(run.diverged for run in runs),
        median(learned) if learned else None,
        median(run.right for run in runs),
        runs[0].parameters,
        median(run.seconds for run in runs),
        _median([run.start.kept for run in runs]),
        _median([run.end.kept for run in runs]),
    )


def _median(values: Sequence[float]) -> float:
    """The median, ignoring NaN; NaN if there are no numbers."""
    return median([value for value in values if not math.isnan(value)] or [math.nan])


def write_results(
    folder: Path, task: Task, settings: Settings, runs: Sequence[Run], *, interrupted: bool
) -> None:
    """Write all files of a comparison."""
    text = json.dumps(results(task, settings, runs, interrupted=interrupted), indent=2, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "gradient_flow.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_flow_rows(runs))
    save_figure(draw_flow(f"Gradient flow: {task.name}", runs), folder / "gradient_flow.png")
    (folder / "models").mkdir()
    for run in runs:
        if run.network is not None:
            name = f"{run.cell}-{run.length}-{run.seed}.safetensors"
            save_network(folder / "models" / name, run.network, task, run.length)


def results(task: Task, settings: Settings, runs: Sequence[Run], *, interrupted: bool) -> dict[str, Any]:
    """A comparison as JSON data, with None for NaN."""
    return {
        "gatewise": gatewise.__version__,
        "task": {"name": task.name, "title": task.title, "loss": task.loss.value},
        "settings": asdict(settings),
        "learned_from": LEARNED,
        "tested": TESTED,
        "checked": CHECKED,
        "every": EVERY,
        "interrupted": interrupted,
        "summaries": [_plain(summary._asdict()) for summary in summaries(runs)],
        "runs": [_plain(_run(run)) for run in runs],
    }


def _run(run: Run) -> dict[str, Any]:
    """A run as JSON data. Of the gradient flow it has only the mean factor per step (`Flow.kept`)."""
    kept = {f"kept_{when}": getattr(run, name).kept for when, name in _FLOWS.items()}
    left_out = {*_FLOWS.values(), "network"}
    return {name: value for name, value in vars(run).items() if name not in left_out} | kept


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    def number(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: number(value) for name, value in values.items()}


def _flow_rows(runs: Sequence[Run]) -> Iterator[tuple[object, ...]]:
    yield "cell", "length", "seed", "training", "state", "steps_back", "norm"
    for run in runs:
        for when, name in _FLOWS.items():
            for state, norms in getattr(run, name).states.items():
                for back, norm in enumerate(norms):
                    yield run.cell, run.length, run.seed, when, state, back, f"{norm:.6g}"
