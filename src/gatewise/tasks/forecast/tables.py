"""Forecasts from tables, without torch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gatewise.runtime.jobs.clock import DatedSteps, to_dict
from gatewise.runtime.jobs.forecaster import Forecaster
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.shared import frames
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of


def predict_table(model: Forecaster, table: pa.Table) -> pa.Table:
    """The forecast of what follows a table: columns ``time`` (``row``, without times) and the target.

    Raises:
        SeriesError: the table is not a series with the columns that the model reads.
        ValueError: its step is another one, or it is too short.
    """
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    encoding = model.encoding
    frame = table.replace_schema_metadata(None).to_pandas()
    reading = Reading(inputs=encoding.columns[1:]) if encoding.columns[1:] else Reading()
    series = TimeSeries.of(table_of(frame, name, reading), encoding.target)
    _check_clock(model, series)
    columns = columns_of(series, encoding.columns)
    if len(series) < model.need:
        raise ValueError(f"the series must have at least {model.need} rows. Got {len(series)}")
    made = model.forecast(columns, series.positions, np.array([len(series) - 1]))[0]
    times = series.future(model.horizon)
    name = str(times.name or "time")
    name = f"{name} of the forecast" if name == encoding.target else name
    return pa.table({name: pa.array(times), encoding.target: made})


def _check_clock(model: Forecaster, series: TimeSeries) -> None:
    """Refuse a series with another step, or of another time zone."""
    ours, theirs = model.clock, series.clock
    if to_dict(ours)["kind"] != to_dict(theirs)["kind"] or ours.span(1) != theirs.span(1):
        raise ValueError(f"the series must have steps of {ours.span(1)}. Got {theirs.span(1)}")
    if isinstance(ours, DatedSteps) and (ours.zone is None) != (theirs.zone is None):
        kind = f"with a time zone, as {ours.zone}" if ours.zone else "without a time zone"
        raise ValueError(f"the series must have times {kind}. Got {theirs.zone or 'none'}")
