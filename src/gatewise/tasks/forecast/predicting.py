"""What the model of a forecaster makes of the series of a panel, given by their places in it."""

from __future__ import annotations

from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.made import Made
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.forecast.naive import Numbers, Whole
from gatewise.tasks.series import Panel


def made_of(model: Model, panel: Panel, place: int, origins: Whole) -> Made:
    """The forecasts of one series at ``origins [S]``, with their distributions."""
    series = panel.series[place]
    columns = columns_of(series, model.encoding.columns)
    return model.made(columns, series.positions, origins, panel.ids[place], panel.attributes(place))


def missed_of(model: Model, panel: Panel, place: int, first: int) -> Numbers:
    """The errors of the forecasts for each step of a series, from origin `first` on, in scaled units."""
    series = panel.series[place]
    columns = columns_of(series, model.encoding.columns)
    return model.missed(columns, series.positions, first, panel.ids[place], panel.attributes(place))
