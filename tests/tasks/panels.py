"""Random panels for tests, and each of their series read by pandas alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

STEP = pd.Timedelta("1h")
IDS: dict[str, list[Any]] = {
    "texts": ["b", "a", "ä", "10", "9"],
    "whole numbers": [10, 9, 2, 33, 1],
    "numbers": [0.5, 2.0, -1.0, 10.0, 9.0],
    "times": list(pd.date_range("2020-01-01", periods=5, freq="D")),
    "texts and numbers": ["b", 7, "a", 2.5, 3],
}


class Example(NamedTuple):
    """A table in long format, in any order of rows, and each series with missing steps as rows of NaN."""

    table: pd.DataFrame
    series: dict[Any, pd.DataFrame]


@st.composite
def examples(draw: st.DrawFn, least: int = 4, most: int = 40) -> Example:
    """Panels whose series differ in start and length, with missing steps and values, and ids of any type."""
    kind = draw(st.sampled_from(sorted(IDS)))
    count = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts, series = [], {}
    for name in IDS[kind][:count]:
        start, length = rng.integers(0, 30), int(rng.integers(least, most + 1))
        times = pd.Timestamp("2024-03-01") + STEP * np.arange(start, start + length)
        frame = pd.DataFrame({"sold": rng.normal(size=length), "price": rng.normal(size=length)}, index=times)
        inside, few = np.arange(1, length - 1), length // 8  # most steps stay, and show the clock
        frame.iloc[rng.choice(inside, few, replace=False), 0] = np.nan
        kept = np.ones(length, bool)
        kept[rng.choice(inside, few, replace=False)] = False
        part = frame[kept]
        series[name] = part.asfreq("h")
        parts.append(
            part.rename_axis("time").reset_index().assign(shop=pd.Series([name] * len(part), dtype=object))
        )
    table = pd.concat(parts, ignore_index=True)
    table["shop"] = table["shop"].infer_objects()
    return Example(table.iloc[rng.permutation(len(table))], series)
