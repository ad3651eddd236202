"""Forecasts and anomalies from tables, without torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gatewise.runtime.jobs.carried import Carried
from gatewise.runtime.jobs.clock import DatedSteps, IrregularSteps, RowSteps, to_dict
from gatewise.runtime.jobs.distributions import LEVELS
from gatewise.runtime.jobs.encoding import id_of
from gatewise.runtime.jobs.forecaster import Forecaster
from gatewise.runtime.jobs.made import Made
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.forecast.panels import arrow_of, left_out, long_format, series_of, too_short
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.series.clock import Clock, clock_from_dict
from gatewise.tasks.shared import frames
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import table_of

SCORE, ANOMALY = "score", "anomaly"


@dataclass(frozen=True)
class Asked:
    """How the rows of a table are read, where it leaves this open.

    Attributes:
        time: the columns of times; by default the only one.
        id: for a model of a panel, the column that tells series apart; by default that of training.
        reading: further options.
        quantiles: whether a forecast has a column for each quantile.
    """

    time: Sequence[str] | None = None
    id: str | None = None
    reading: Reading = field(default_factory=Reading)
    quantiles: bool = False


@dataclass(frozen=True)
class Scored:
    """The anomalies of a table.

    Attributes:
        panel: the series.
        scores: ``[N]`` for each series.
        threshold: the score above which a step is an anomaly.
    """

    panel: Panel
    scores: list[NDArray[np.float64]]
    threshold: float

    @property
    def highest(self) -> float:
        """The highest score of all series."""
        return max(float(np.nan_to_num(each).max()) for each in self.scores)

    @property
    def table(self) -> pa.Table:
        """A row for each step: its time, the target, the score, and whether it is an anomaly."""
        panel = self.panel
        scored = [pd.Series(each, index=one.times) for each, one in zip(self.scores, panel, strict=True)]
        values = [pd.Series(one.values, index=one.times) for one in panel]
        frame = _frame(panel, values)
        names = [name for name in (SCORE, ANOMALY) if name in frame.columns]
        if names:
            raise ValueError(f"the column {names[0]!r} would be one of the answer: rename it")
        score = np.concatenate([each.to_numpy() for each in scored])
        frame = frame.assign(**{SCORE: score, ANOMALY: score > self.threshold})
        return arrow_of(frame, panel.clock)


def predict_table(model: Forecaster, table: pa.Table, asked: Asked | None = None) -> pa.Table:
    """The forecast of what follows a table: columns ``time`` (``row``, without times) and the target.

    For a model of a panel there is a column of ids before them, and every series is forecast after its own
    end. Series that are too short are left out, with a warning.

    Raises:
        SeriesError: the table is not a series with the columns that the model reads.
        ValueError: its step is another one, or it is too short.
    """
    asked = asked or Asked()
    panel, clock, made = _long_enough(_read(model, table, asked), model.least), _clock(model), []
    for place, series in enumerate(panel):
        _check_clock(model, series)
        if len(series) < model.least:
            raise ValueError(
                f"{_named(panel, place)} must have at least {model.least} rows. Got {len(series)}"
            )
        series.require_ahead(model.horizon)
        columns, last = columns_of(series, model.encoding.columns), np.array([len(series) - 1])
        found = model.made(columns, _positions(clock, series), last, *_described(panel, place))
        made.append((series.future(model.horizon), found))
    return _answer(panel, made, asked)


def resumed_table(
    model: Forecaster, table: pa.Table, states: Mapping[str, Carried], asked: Asked | None = None
) -> tuple[pa.Table, dict[str, Carried]]:
    """As `predict_table`, for rows that follow others, and the states after them.

    A series of a panel that is too short is left out of the forecast, with a warning; its state is carried,
    so later rows continue it.

    Args:
        model: the model.
        table: new rows alone.
        states: the states after the rows before, by the ids of their series; {} if the rows are the first.
        asked: how the rows are read.

    Raises:
        SeriesError, ValueError: as for `predict_table`; rows repeat others, or leave a gap.
    """
    clock, new, asked = _clock(model), dict(states), asked or Asked()
    panel = _read(model, table, asked, clock if states else None)
    made, short, empty = {}, [], list(map(str, panel.empty))
    for place, series in enumerate(panel):
        id = id_of(panel.ids[place])
        if not panel.alone and id not in states and np.isnan(series.values).all():
            empty.append(panel.label(place))
            continue
        carried = new[id] = _continued(model, panel, place, states)
        if not panel.alone and carried.rows < model.least:
            short.append(panel.label(place))
            continue
        steps = carried.last + np.arange(1, model.horizon + 1)
        times = clock.times(steps.astype(np.int64)) if _whole(clock) else series.future(model.horizon)
        made[place] = times, _next(model, panel, place, carried)
    for sentence in left_out(short, model.least, empty):
        warnings.warn(sentence, stacklevel=2)
    if not made:
        raise ValueError(f"no series has {model.least} rows, which a forecast needs")
    return _answer(panel.part([*made]), [*made.values()], asked), new


def _continued(model: Forecaster, panel: Panel, place: int, states: Mapping[str, Carried]) -> Carried:
    """The state after the new rows of a series."""
    series, id = panel.series[place], panel.ids[place]
    before, columns = states.get(id_of(id)), columns_of(series, model.encoding.columns)
    try:
        state = model.carried(columns, _positions(_clock(model), series, before), before, id)
        if panel.alone:
            model.check_state(state)
    except ValueError as problem:
        raise series.error(str(problem), 0) from None
    return state


def _next(model: Forecaster, panel: Panel, place: int, carried: Carried) -> Made:
    """The forecast of what follows the new rows of a series."""
    series, (id, static) = panel.series[place], _described(panel, place)
    series.require_ahead(model.horizon)
    columns = columns_of(series, model.encoding.columns)
    ahead = {name: columns[name][len(series) :][: model.horizon] for name in model.encoding.known}
    return model.made_next(carried, ahead, id, static)


def score_table(
    model: Forecaster, table: pa.Table, asked: Asked | None = None, rate: float | None = None
) -> Scored:
    """The anomalies of a table; `rate` is the share of usual steps that may be flagged.

    Raises:
        SeriesError, ValueError: as for `predict_table`; the model's file has no usual errors.
    """
    panel, clock = _long_enough(_read(model, table, asked or Asked()), model.least + 1), _clock(model)
    scores = []
    for place, series in enumerate(panel):
        _check_clock(model, series)
        if len(series) <= model.least:
            rows = model.least + 1
            raise ValueError(f"{_named(panel, place)} must have at least {rows} rows. Got {len(series)}")
        columns = columns_of(series, model.encoding.columns)
        scores.append(model.scores(columns, _positions(clock, series), *_described(panel, place)))
    assert model.calibration is not None
    threshold = model.calibration.threshold() if rate is None else model.calibration.threshold(rate)
    return Scored(panel, scores, threshold)


def _read(model: Forecaster, table: pa.Table, asked: Asked, clock: Clock | None = None) -> Panel:
    """The series of a table, on a given clock if there may be few rows."""
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    frame = table.replace_schema_metadata(None).to_pandas()
    scales, (where, _, value) = model.encoding.scales, (asked.reading.where or "").partition("=")
    if scales is not None and where == (asked.id or scales.name) and where not in frame.columns:
        frame.insert(0, where, value)  # the rows of one series, which were read without its id
    read = table_of(frame, name, replace(asked.reading, where=None))  # the rows have been chosen
    clock = _clock(model) if model.encoding.gap > 0 else clock
    return as_panel(series_of(model.encoding, read, asked.time, asked.id, clock))


def _long_enough(panel: Panel, rows: int) -> Panel:
    """The series of a panel that have enough rows, with a warning if some have not; all, if none has."""
    if panel.alone or (panel.rows < rows).all():
        return panel
    for sentence in too_short(panel, rows):
        warnings.warn(sentence, stacklevel=3)
    return panel.at_least(rows)


def _clock(model: Forecaster) -> Clock:
    """The clock of a model for frames."""
    return clock_from_dict(to_dict(model.clock))


def _positions(clock: Clock, series: TimeSeries, before: Carried | None = None) -> NDArray[np.float64]:
    """The positions of rows on the clock of the model; those without times count on from the state."""
    if isinstance(clock, RowSteps) and before is not None:
        return before.last + np.arange(1.0, len(series) + 1)
    exact = clock.exact(series.times)
    return np.rint(exact) if _whole(clock) else exact


def _whole(clock: Clock) -> bool:
    return not isinstance(clock, IrregularSteps)


def _described(panel: Panel, place: int) -> tuple[Any, dict[str, Any]]:
    """The id and the attributes of a series."""
    return panel.ids[place], panel.attributes(place)


def _named(panel: Panel, place: int) -> str:
    return "the series" if panel.alone else f"the series {panel.ids[place]!r}"


def _answer(panel: Panel, made: Sequence[tuple[pd.Index[Any], Made]], asked: Asked) -> pa.Table:
    """Forecasts of each series with their times, and their quantiles if they are asked for."""
    frame = _frame(panel, [pd.Series(found.forecasts[0], index=times) for times, found in made])
    if asked.quantiles:
        quantiles = np.concatenate([found.quantiles(LEVELS)[0] for _, found in made])
        frame = frame.assign(**{f"quantile {level:g}": quantiles[:, q] for q, level in enumerate(LEVELS)})
    return arrow_of(frame, panel.clock)


def _frame(panel: Panel, parts: Sequence[pd.Series[float]]) -> pd.DataFrame:
    """Values of each series with their times; of a panel in long format."""
    if not panel.alone:
        return long_format(panel, parts)
    target, times = panel.target, parts[0].index
    name = str(times.name or "time")
    name = f"{name} of the forecast" if name == target else name
    return pd.DataFrame({name: times, target: parts[0].to_numpy()})


def _check_clock(model: Forecaster, series: TimeSeries) -> None:
    """Refuse a series with another step, or of another time zone."""
    ours, theirs = model.clock, series.clock
    if to_dict(ours)["kind"] != to_dict(theirs)["kind"] or ours.span(1) != theirs.span(1):
        raise ValueError(f"the series must have steps of {ours.span(1)}. Got {theirs.span(1)}")
    if isinstance(ours, DatedSteps) and (ours.zone is None) != (theirs.zone is None):
        kind = f"with a time zone, as {ours.zone}" if ours.zone else "without a time zone"
        raise ValueError(f"the series must have times {kind}. Got {theirs.zone or 'none'}")
