"""Panels: read as a model asks, and forecasts in long format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa

from gatewise.runtime.jobs.encoding import Encoding
from gatewise.tasks.series import Panel, TimeSeries
from gatewise.tasks.series.clock import Clock
from gatewise.tasks.series.panel import VALUE
from gatewise.tasks.shared.reading.errors import listed
from gatewise.tasks.shared.reading.table import Table
from gatewise.tasks.shared.written import IN_DAYS


def series_of(
    encoding: Encoding,
    table: Table,
    time: str | Sequence[str] | None = None,
    id: str | None = None,
    clock: Clock | None = None,
) -> TimeSeries | Panel:
    """Read a table as the series or the panel that a model reads, by the names of its columns.

    Args:
        encoding: what the model reads.
        table: the table.
        time: the columns of times.
        id: the column of ids; by default that of training.
        clock: a clock to place the rows on, of which there may then be few.

    Raises:
        SeriesError: the table is none.
    """
    scales, irregular = encoding.scales, encoding.gap > 0 or None
    past = tuple(name for name in encoding.columns[1:] if name not in encoding.known)
    reading = replace(table.reading, known=encoding.known or None, irregular=irregular)
    name = id if id is not None or scales is None else scales.name
    if scales is not None and scales.wide and not {VALUE, name} <= set(table.names):
        return Panel.of_wide(replace(table, reading=reading), None, time, clock)
    table = replace(table, reading=replace(reading, inputs=past))
    if scales is None or name is None:
        return TimeSeries.of(table, encoding.target, time, clock)
    static = (*encoding.numbers, *encoding.categories)
    return Panel.of(table, encoding.target, name, time, static, clock)


def too_short(panel: Panel, rows: int) -> list[str]:
    """Sentences that name the series of a panel which are too short, or have no value, if there are any."""
    short = [panel.label(int(place)) for place in np.flatnonzero(panel.rows < rows)]
    return [] if panel.alone else left_out(short, rows, list(map(str, panel.empty)))


def left_out(short: list[str], rows: int, empty: list[str]) -> list[str]:
    """Sentences that name series: those with fewer than `rows` rows, and those without a value."""
    sentences = {f"with fewer than {rows:,} rows": short, "without a value": empty}
    return [f"Left out, {reason}: {listed(names)}." for reason, names in sentences.items() if names]


def arrow_of(frame: pd.DataFrame, clock: Clock) -> pa.Table:
    """A frame with times on a clock as a table. Times that are days are marked, to be written as dates."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and clock.in_days(pd.Index(frame.iloc[:, n])):
            table = table.set_column(n, field.with_metadata(IN_DAYS), table.column(n))
    return table


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
