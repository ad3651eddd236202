"""The picture of a comparison: gradient flow at the start and at the end of training, one row per length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gatewise.insight.figures import INK, SOFT, STYLE
from gatewise.tasks.synthetic.flow import Flow
from gatewise.tasks.synthetic.training import Run

# Okabe & Ito 2008, black and yellow left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")  # a cell's states, in order
DECADES = 24  # that are shown, at most


def draw_flow(heading: str, runs: Sequence[Run]) -> Figure:
    """Draw the flow of each cell, the median over seeds, at each length of the given runs."""
    lengths = sorted({run.length for run in runs})
    cells = list(dict.fromkeys(run.cell for run in runs))
    with matplotlib.rc_context(STYLE):
        height = 1.9 + 2.9 * len(lengths)
        figure = Figure(figsize=(11, height), facecolor="white")
        note = "Norm of the gradient of the last step's loss by each state; median over sequences and seeds."
        figure.text(0.015, 1 - 0.2 / height, heading, fontsize=16, fontweight="bold", va="top")
        figure.text(0.015, 1 - 0.55 / height, note, fontsize=10, color=SOFT, va="top")
        grid = figure.subplots(len(lengths), 2, sharey="row", squeeze=False)
        for row, length in zip(grid, lengths, strict=True):
            here = [run for run in runs if run.length == length]
            _draw(row[0], f"T = {length}, before training", [(run.cell, run.start) for run in here], cells)
            _draw(row[1], f"T = {length}, after training", [(run.cell, run.end) for run in here], cells)
            low, high = row[0].get_ylim()
            row[0].set_ylim(bottom=max(low, high / 10.0**DECADES))
            row[0].set_ylabel("gradient norm")
        for axes in grid[-1]:
            axes.set_xlabel("steps back from the end")
        _legend(figure, runs, cells)
        figure.subplots_adjust(0.085, 0.95 / height, 0.985, 1 - 1.15 / height, wspace=0.06, hspace=0.38)
    return figure


def _draw(axes: Axes, title: str, flows: Sequence[tuple[str, Flow]], cells: Sequence[str]) -> None:
    for number, cell in enumerate(cells):
        of_cell = [flow for name, flow in flows if name == cell and np.isfinite(flow.whole).all()]
        for state, dashes in zip(of_cell[0].states if of_cell else (), DASHES, strict=False):
            norms = _median([flow.states[state] for flow in of_cell])
            steps = np.flatnonzero(norms > 0)  # a logarithm has no place for the rest
            axes.plot(steps, norms[steps], dashes, color=_colour(number), linewidth=1.6)
    axes.set_yscale("log")
    axes.set_title(title)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _median(norms: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    steps = min(map(len, norms))
    return np.asarray(np.median([norm[:steps] for norm in norms], axis=0))


def _legend(figure: Figure, runs: Sequence[Run], cells: Sequence[str]) -> None:
    names = list(dict.fromkeys(state for run in runs for state in run.start.states))[: len(DASHES)]
    lines = [Line2D([], [], color=_colour(number), label=cell) for number, cell in enumerate(cells)]
    lines += [
        Line2D([], [], color=INK, linestyle=dashes, label=f"by {name}")
        for name, dashes in zip(names, DASHES, strict=False)
    ]
    figure.legend(handles=lines, loc="lower center", ncols=min(len(lines), 8), fontsize=10)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
