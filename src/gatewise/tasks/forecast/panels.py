"""Forecasts of the series of a panel in long format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gatewise.tasks.series import Panel


def long_format(panel: Panel, parts: Sequence[pd.Series[float]], name: str | None = None) -> pd.DataFrame:
    """Values of each series as a frame with a column of ids, one of times, and one of the values.

    The values have the name of the target, or `name`.
    """
    id, target = str(panel.id), name or panel.target
    times = parts[0].index[:0].append([part.index for part in parts])
    time = next(
        name
        for name in (str(times.name or "time"), "time", "time of the forecast")
        if name not in (id, target)
    )
    ids = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return pd.DataFrame(
        {
            id: pd.Series(list(panel.ids)).iloc[ids].to_numpy(),
            time: times,
            target: np.concatenate([part.to_numpy() for part in parts]),
        }
    )
