"""The two pictures of a run: forecasts with history, and the gates over the last steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatewise.insight.figures import Example, draw_forecasts, draw_gates, short
from gatewise.insight.figures import Panel as Map
from gatewise.tasks.forecast.evaluation import MODEL, Evaluation, forecast_label
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.measures import intervals
from gatewise.tasks.forecast.naive import future
from gatewise.tasks.series import Panel, TimeSeries, as_panel


class _Words(NamedTuple):
    """How a value of a cell is drawn: title, labels for the ends of the colours, whether it is signed."""

    title: str
    low: str
    high: str
    signed: bool = False


SHOWN = {
    "lstm": {
        "f": _Words("Forget gate f: how much of the memory is kept", "forget", "keep"),
        "i": _Words("Input gate i: how much of the new is written into the memory", "ignore", "write"),
        "o": _Words("Output gate o: how much of the memory is shown to the outside", "hide", "show"),
        "c": _Words("Memory c", "", "", signed=True),
    },
    "gru": {
        "z": _Words("Update gate z: how much of the old state is kept", "renew", "keep"),
        "r": _Words("Reset gate r: how much of the old state the new one may see", "hide", "see"),
        "h": _Words("State h", "", "", signed=True),
    },
    "rnn": {"h": _Words("State h (a plain recurrent network has no gates)", "", "", signed=True)},
}
MOST_GATES, MOST_STATES = 4, 2  # most that are drawn of any other cell
MOST_LETTERS = 14  # of the name of a series in a title
KEEPS = {"lstm": "f", "gru": "z"}  # the gate that says how much of the state stays


def forecast_picture(forecaster: Forecaster, series: TimeSeries | Panel, tested: Evaluation) -> Figure:
    """Draw the coming forecast, a good, a typical and a bad one of the test, and the error by step ahead.

    In a panel, the three are forecasts of different series, ranked by their error in units of MASE.
    """
    panel, rows = as_panel(series), _chosen(tested)
    horizon, span = forecaster.horizon, panel.clock.span
    typical = _place(panel, tested, rows["A typical one"]) if rows else 0
    steps = tested.by_step()
    errors = {
        _label(name, forecaster, panel): np.array([step[name][tested.measure] for step in steps], dtype=float)
        for name in tested.forecasts
    }
    network = f"{forecaster.cell_name} with {forecaster.hidden_size} units"
    when = (
        f", {panel.series[0].when(tested.origins[0] + 1)} to {panel.series[0].when(-1)},"
        if panel.alone
        else ""
    )
    which = "" if panel.alone else f" of {len(tested.ids):,} series"
    scaled = "Mean absolute scaled error" if tested.measure == "mase" else "Mean absolute error"
    return draw_forecasts(
        f"{panel.target}: forecasts {span(horizon)} ahead",
        f"{network}. The test part{when} was held out: {len(tested.origins):,} forecasts{which}.",
        panel.unit or panel.target,
        _coming(forecaster, panel, typical, tested),
        [_example(title, row, forecaster, panel, tested) for title, row in rows.items()],
        f"{scaled} by time ahead",
        [span(step["step"]) for step in steps],
        errors,
        "MASE" if tested.measure == "mase" else None,
    )


def _coming(forecaster: Forecaster, panel: Panel, place: int, tested: Evaluation) -> Example:
    """The forecast of what follows a series."""
    series, one = panel.series[place], panel.part([place])
    past = _past(series, len(series), 3 * forecaster.horizon)
    times, bands = series.future(forecaster.horizon), {}
    if tested.levels:
        made = forecaster.predict_quantiles(one, tested.levels).iloc[:, -len(tested.levels) :].to_numpy()
        bands = {
            name: (made[:, low], made[:, high]) for name, (low, high) in intervals(tested.levels).items()
        }
    forecast = forecaster.predict(one)
    values = forecast.iloc[:, -1] if isinstance(forecast, pd.DataFrame) else forecast
    title = f"The next {panel.clock.span(forecaster.horizon)}{_of(panel, place)}"
    return Example(title, past.index, past.to_numpy(), times, values.to_numpy(), bands=bands)


def _place(panel: Panel, tested: Evaluation, row: int) -> int:
    """The place in a panel of the series of an origin."""
    if tested.series is None:
        return 0
    return [str(id) for id in panel.ids].index(tested.ids[int(tested.series[row])])


def _of(panel: Panel, place: int) -> str:
    return "" if panel.alone else f" of {panel.label(place)}"


def gate_picture(forecaster: Forecaster, series: TimeSeries) -> Figure:
    """Draw the target over the gates of the first layer, for the last steps of a series."""
    shortest = min(series.clock.seasons(), default=1)
    steps = min(max(7 * shortest, 60), 336, len(series) - forecaster.prepared_.need)
    values = forecaster.watch(series, steps)
    order, rows, label = _memory(forecaster, values, series)
    panels = [
        Map(words.title, values[name][:, order], words.low, words.high, words.signed)
        for name, words in _shown(forecaster).items()
    ]
    times = series.times[-steps:]
    return draw_gates(
        f"Inside the {forecaster.cell_name}: the last {series.clock.span(steps)}",
        f"Every row of a map is one of the {forecaster.hidden_size} hidden units; every column is one step.",
        series.target,
        times,
        series.values[-steps:],
        panels,
        rows,
        label,
    )


def _shown(forecaster: Forecaster) -> dict[str, _Words]:
    """The values to draw. For cells not in the table: some gates (values of a sigmoid) and states."""
    if isinstance(forecaster.cell, str) and forecaster.cell in SHOWN:
        return SHOWN[forecaster.cell]
    cell = forecaster.equations
    gates = [name for name, node in cell.values.items() if node.op == "sigmoid" and name not in cell.states]
    words = {name: _Words(f"Gate {name}", "closed", "open") for name in gates[:MOST_GATES]}
    return words | {name: _Words(f"State {name}", "", "", signed=True) for name in cell.states[:MOST_STATES]}


def _chosen(tested: Evaluation) -> dict[str, int]:
    """The forecasts of the test at the tenth, fiftieth and ninetieth percentile of error, as indices."""
    ranked = tested.ranked()
    chosen = {"A good one": 0.1, "A typical one": 0.5, "A bad one": 0.9}
    if len(ranked) == 0:
        return {}
    return {title: int(ranked[int(share * (len(ranked) - 1))]) for title, share in chosen.items()}


def _example(title: str, row: int, forecaster: Forecaster, panel: Panel, tested: Evaluation) -> Example:
    horizon, place = forecaster.horizon, _place(panel, tested, row)
    series, origin = panel.series[place], int(tested.origins[row])
    past = _past(series, origin + 1, round(1.5 * horizon))
    mae = float(np.nanmean(np.abs(tested.forecasts[MODEL][row] - tested.truth[row])))
    which = "" if panel.alone else f" ({_cut(panel.label(place))})"
    rivals = {name: made[row] for name, made in tested.forecasts.items() if name != MODEL}
    return Example(
        f"{title}{which}: off by {short(mae)} {series.unit} on average".replace("  ", " "),
        past.index,
        past.to_numpy(),
        series.times[future(np.array(origin), horizon)],
        tested.forecasts[MODEL][row],
        tested.truth[row],
        {_label(name, forecaster, panel): made for name, made in rivals.items()},
        {name: (low[row], high[row]) for name, (low, high) in tested.bands().items()},
    )


def _cut(text: str) -> str:
    """A name that is short enough for the title of a small panel."""
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _past(series: TimeSeries, stop: int, steps: int) -> pd.Series[float]:
    """At most `steps` values before a step, but at least 12."""
    return series.frame[series.target].iloc[max(stop - max(steps, 12), 0) : stop]


def _label(name: str, forecaster: Forecaster, panel: Panel) -> str:
    return forecast_label(name, panel.clock.span(forecaster.prepared_.encoding.season))


def _memory(
    forecaster: Forecaster, values: dict[str, NDArray[np.float32]], series: TimeSeries
) -> tuple[NDArray[np.int64], list[tuple[int, str]], str]:
    """Order the units by their half-life. Returns the order, labels of some rows, and the axis label."""
    gate = KEEPS.get(forecaster.cell) if isinstance(forecaster.cell, str) else None
    if gate is None:
        return np.argsort(values[forecaster.equations.states[0]].mean(axis=0)), [], "units, by mean"
    kept = np.log(np.clip(values[gate], 1e-6, 1 - 1e-6)).mean(axis=0)
    order = np.argsort(kept)
    shown = [0, len(order) // 2, len(order) - 1]
    rows = [(row, _half_life(float(kept[order[row]]), series)) for row in sorted(set(shown))]
    return order, rows, "half-life of memory"


def _half_life(log_kept: float, series: TimeSeries) -> str:
    """The half-life, in words, of a memory of which every step keeps ``exp(log_kept)``."""
    return series.clock.span(float(np.log(0.5) / log_kept))
