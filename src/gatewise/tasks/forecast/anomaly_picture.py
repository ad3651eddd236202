"""The picture of the anomalies of a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from gatewise.insight.figures.anomalies import draw_anomalies
from gatewise.tasks.forecast.tables import Scored


def anomaly_picture(scored: Scored) -> Figure:
    """Draw the series with the highest score, its scores, and the steps above the threshold."""
    place = int(np.argmax([np.nan_to_num(scores).max() for scores in scored.scores]))
    series, scores = scored.panel.series[place], scored.scores[place]
    count = int((scores > scored.threshold).sum())
    which = "" if scored.panel.alone else f", {scored.panel.label(place)}"
    found = f"{count:,} anomal{'y' if count == 1 else 'ies'}" if count else "no anomalies"
    return draw_anomalies(
        f"{series.target}{which}: {found} in {len(series):,} steps",
        f"{Path(series.name.partition(', ')[0]).name}. A score is the error of the forecasts for a step, in "
        "units of the usual error.",
        series.unit or series.target,
        series.times,
        series.values,
        scores,
        scored.threshold,
    )
