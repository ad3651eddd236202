"""A figure of anomalies: a series, and how far its forecasts missed it at every step.

Shapes: ``N`` steps.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gatewise.insight.figures.arrays import Data, Shapes
from gatewise.insight.figures.style import INK, MODEL, WARM, ShortTicks, short, style_for
from gatewise.insight.figures.times import places, sheet, time_axis


def draw_anomalies(
    heading: str, note: str, unit: str, times: Data, values: Data, scores: Data, threshold: float
) -> Figure:
    """Draw a series, its scores below, and mark the steps whose score is above a threshold.

    Args:
        heading, note: heading and note of the figure.
        unit: the unit of the values.
        times: dates or numbers ``[N]``.
        values: the series ``[N]``, NaN where missing.
        scores: the scores ``[N]``, NaN where there are none.
        threshold: the score above which a step is an anomaly.

    Raises:
        ValueError: shapes do not fit together.
    """
    shapes = Shapes("draw_anomalies")
    series = shapes.read("values", values, "N")
    missed = shapes.read("scores", scores, "N")
    at = shapes.read("times", places(times), "N")
    found = np.nan_to_num(missed) > threshold
    with matplotlib.rc_context(style_for(heading, note, unit)):
        figure = sheet((13, 6.4), heading, note)
        grid = figure.add_gridspec(
            2, 1, left=0.07, right=0.985, top=0.83, bottom=0.13, hspace=0.2, height_ratios=(3, 2)
        )
        upper = figure.add_subplot(grid[0])
        upper.plot(at, series, color=INK, linewidth=1.2, label="measured")
        label = "anomaly" if found.any() else "_"  # which the legend leaves out
        upper.plot(at[found], series[found], "o", color=WARM, markersize=4, label=label)
        upper.set_ylabel(unit)
        lower = figure.add_subplot(grid[1], sharex=upper)
        lower.plot(at, missed, color=MODEL, linewidth=1.0, label="score")
        lower.axhline(threshold, color=WARM, linestyle=(0, (5, 2)), label=f"threshold ({short(threshold)})")
        lower.set_title("Score")
        lower.set_ylim(bottom=0, top=max(1.15 * float(np.nan_to_num(missed).max()), 1.5 * threshold))
        for axes in (upper, lower):
            axes.margins(x=0.01)
            axes.yaxis.set_major_formatter(ShortTicks())
            time_axis(axes, times)
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
        upper.xaxis.get_offset_text().set_visible(False)
        handles, labels = upper.get_legend_handles_labels()
        more = lower.get_legend_handles_labels()
        figure.legend(handles + more[0], labels + more[1], loc="lower center", ncols=4, fontsize=10)
    return figure
