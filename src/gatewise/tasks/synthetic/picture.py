"""The picture of a comparison: gradient flow before and after training, one row of panels per length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatewise.insight.figures import FlowPanel, draw_flows
from gatewise.tasks.synthetic.flow import Flow
from gatewise.tasks.synthetic.training import Run

NOTE = "Norm of the gradient of the last step's loss by each state; median over sequences and seeds."


def draw_flow(heading: str, runs: Sequence[Run]) -> Figure:
    """Draw the flow of each cell, the median over seeds, at each length of the given runs."""
    panels = []
    for length in sorted({run.length for run in runs}):
        here = [run for run in runs if run.length == length]
        before, after = [(run.cell, run.start) for run in here], [(run.cell, run.end) for run in here]
        panels.append(
            [
                FlowPanel(f"T = {length}, before training", _medians(before)),
                FlowPanel(f"T = {length}, after training", _medians(after)),
            ]
        )
    return draw_flows(panels, heading, NOTE)


def _medians(flows: Sequence[tuple[str, Flow]]) -> dict[tuple[str, str], NDArray[np.float64]]:
    """The median flow by cell and state, ignoring flows with NaN."""
    finite: dict[str, list[Flow]] = {}
    for cell, flow in flows:
        if np.isfinite(flow.whole).all():
            finite.setdefault(cell, []).append(flow)
    return {
        (cell, state): _median([flow.states[state] for flow in of_cell])
        for cell, of_cell in finite.items()
        for state in of_cell[0].states
    }


def _median(norms: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    steps = min(map(len, norms))
    return np.asarray(np.median([norm[:steps] for norm in norms], axis=0))
