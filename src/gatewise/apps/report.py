"""What ``gatewise forecast`` prints."""

from __future__ import annotations

from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.insight.figures.style import short
from gatewise.tasks.forecast.evaluation import MODEL, NAIVE, RIDGE, Evaluation, forecast_label
from gatewise.tasks.forecast.measures import MEASURES
from gatewise.tasks.series import Panel, TimeSeries, as_panel

if TYPE_CHECKING:
    from gatewise.tasks.forecast.forecaster import Forecaster

UNITLESS = {"mase": "", "smape": " (%)"}  # measures that are not in the unit of the target


def show_series(
    console: Console, series: TimeSeries | Panel, rows: NDArray[np.int64], forecaster: Forecaster
) -> None:
    """Print what was read and what will be learned. The first ``rows[p]`` steps of a series are for that."""
    panel = as_panel(series)
    span, missing = panel.clock.span, sum(int(one.frame[one.target].isna().sum()) for one in panel)
    inputs = [n for n in panel.series[0].frame.columns if n != panel.target and n not in panel.known]
    past, unread = (inputs, []) if forecaster.mode == "direct" else ([], inputs)
    facts = {
        "Series": _extent(panel),
        "Read": "; ".join(panel.notes),
        "Target": f"{panel.target}, {missing:,} values missing",
        "Inputs": _inputs(panel, past),
        "Left out": _list([*panel.left_out, *unread]),
        "Model": f"{forecaster.cell_name} with {forecaster.hidden_size} units, "
        f"forecasts {span(forecaster.horizon)} ahead, seed {forecaster.seed}",
        "Test": _held_out(panel, rows),
        "Note": _note(panel.series[0]) if panel.alone else "",
    }
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        if fact:
            grid.add_row(Text(name, style="bold"), Text(fact))
    console.print(grid)
    console.print()


def _extent(panel: Panel) -> str:
    """How many steps there are, and from when to when."""
    file, zone = Path(panel.name).name, f", {panel.clock.zone}" if panel.clock.zone else ""
    label = panel.clock.label
    first, last = label(min(one.times[0] for one in panel)), label(max(one.times[-1] for one in panel))
    steps = f"{int(panel.rows.sum()):,} steps of {panel.clock.grid()}, {first} to {last}{zone}"
    if panel.alone:
        return f"{file}: {steps}"
    low, high = int(panel.rows.min()), int(panel.rows.max())
    each = f"{low:,} steps each" if low == high else f"{low:,} to {high:,} steps each"
    return f"{file}: {len(panel):,} series of {each}, {steps}"


def _inputs(panel: Panel, past: list[str]) -> str:
    """What the model reads, in words; `past` are the past inputs."""
    known = list(panel.known)
    words = f"its past, and that of {_list(past)}" if past else "its past"
    words += f"; known ahead: {_list(known)}" if known else ""
    return words + (f"; of each series: {_list(list(panel.static))}" if panel.static else "")


def _held_out(panel: Panel, rows: NDArray[np.int64]) -> str:
    """Which steps are for the test, in words."""
    held_out = panel.rows - rows
    if panel.alone:
        when = panel.series[0].when(int(rows[0]))
        return f"the last {held_out[0]:,} steps, from {when}; training never sees them"
    tested = int((held_out > 0).sum())
    which = "each series" if tested == len(panel) else f"{tested:,} series; the others are too short"
    return f"the last {held_out.max():,} steps or fewer of {which}; training never sees them"


def show_errors(
    console: Console, forecaster: Forecaster, series: TimeSeries | Panel, tested: Evaluation
) -> None:
    """Print the table of errors, with the smallest of each row in bold, and a conclusion."""
    season = series.clock.span(forecaster.prepared_.encoding.season)
    steps = _shown_steps(forecaster.horizon)
    table = _columns("Test error", tested, season)
    overall, by_step = tested.overall(), tested.by_step()
    for measure, title in MEASURES.items():
        unit = UNITLESS.get(measure, f" ({series.unit})" if series.unit else "")
        table.add_row(Text(f"{title}{unit}", style="bold"))
        rows = {"  all steps": {name: overall[name][measure] for name in tested.forecasts}}
        for step in steps:
            errors = {name: by_step[step - 1][name][measure] for name in tested.forecasts}
            rows[f"  {series.clock.span(step)} ahead"] = errors
        _add(table, rows)
    console.print(table)
    sentences = [
        f"Over {len(tested.origins):,} forecasts.",
        _verdict(tested, season),
        _beside_line(tested),
        _distribution(tested, series.unit),
        _by_series(tested),
    ]
    console.print()
    for sentence in filter(None, sentences):
        console.print(Text(sentence))


def show_classical(console: Console, compared: Evaluation, series: TimeSeries | Panel, season: str) -> None:
    """Print the errors beside those of exponential smoothing and theta."""
    title = f"At {len(compared.origins):,} of the origins"
    table, overall = _columns(title, compared, season), compared.overall()
    for measure, name in MEASURES.items():
        unit = UNITLESS.get(measure, f" ({series.unit})" if series.unit else "")
        _add(table, {f"{name}{unit}": {made: overall[made][measure] for made in compared.forecasts}})
    console.print()
    console.print(table)


def _columns(title: str, tested: Evaluation, season: str) -> Table:
    """An empty table with a column for each forecast."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column(title)
    for name in tested.forecasts:
        table.add_column(forecast_label(name, season), justify="right")
    return table


def _note(series: TimeSeries) -> str:
    """A note on where the forecast begins if the last values of the target are missing, else ""."""
    known = np.flatnonzero(~np.isnan(series.values))
    empty = len(series) - 1 - int(known[-1])
    if empty == 0:
        return ""
    return f"the last {empty:,} steps have no value of the target; forecast.csv begins after them"


def _add(table: Table, rows: dict[str, dict[str, float | None]]) -> None:
    """Add the rows of one measure to a table, with the same number of decimals."""
    largest = max((error for row in rows.values() for error in row.values() if error), default=1.0)
    decimals = max(2 - floor(log10(largest)), 0)
    form = f",.{decimals}f" if decimals < 6 else ".2e"
    for label, row in rows.items():
        best = min((error for error in row.values() if error is not None), default=None)
        table.add_row(label, *(_cell(error, form, error == best) for error in row.values()))


def _cell(error: float | None, form: str, best: bool) -> Text:
    text = "-" if error is None else format(error, form)
    return Text(text, style="bold green" if best and error is not None else "")


def _verdict(tested: Evaluation, season: str) -> str:
    best, least = tested.best(NAIVE)
    if least == 0:
        return f"The {forecast_label(best, season)} forecast is perfect here; there is nothing to gain."
    skill = tested.skill()
    rival = f"the best naive forecast ({forecast_label(best, season)})"
    if skill > 0:
        return f"The model's error is {skill:.0%} smaller than that of {rival}."
    return f"The model does not beat {rival} here: its error is {-skill:.0%} larger."


def _beside_line(tested: Evaluation) -> str:
    """A sentence if a linear regression forecasts better than the model."""
    overall, measure = tested.overall(), tested.measure
    ours, line = (overall[name][measure] if name in overall else None for name in (MODEL, RIDGE))
    if ours is None or not line or ours <= line:
        return ""
    smaller = f"{1 - line / ours:.1%} smaller than that of the network"
    return f"A linear model is better here: the error of a ridge regression on past values is {smaller}."


def _distribution(tested: Evaluation, unit: str) -> str:
    """How often the true values lie in the intervals, and the errors of the quantiles, in a sentence."""
    found = tested.distribution()
    if not found or found["pinball"] is None:
        return ""
    coverage = found["coverage"].items()
    within = [f"{share:.1%} in the {name} interval" for name, share in coverage]
    sentence = f"True values: {', '.join(within)}." if within else ""
    loss = f"Pinball loss {short(found['pinball'])}{f' {unit}' if unit else ''}"
    msis = "" if found["msis"] is None else f", MSIS {short(found['msis'])}"
    return f"{sentence} {loss}{msis}.".lstrip()


def _by_series(tested: Evaluation) -> str:
    """On how many series of a panel the model is best, in a sentence."""
    errors = [found for found in tested.by_series().values() if found[MODEL]["mae"] is not None]
    if not errors:
        return ""
    naive = [name for name in NAIVE if name in tested.forecasts]
    won = sum(all((e[MODEL]["mae"] or 0) <= (e[name]["mae"] or 0) for name in naive) for e in errors)
    return f"On {won:,} of {len(errors):,} series the model is at least as good as every naive forecast."


def _shown_steps(horizon: int) -> list[int]:
    """Some steps ahead to show, closer together at the beginning.

    >>> _shown_steps(24), _shown_steps(4)
    ([1, 3, 6, 12, 24], [1, 2, 3, 4])
    """
    if horizon <= 6:
        return list(range(1, horizon + 1))
    return sorted({1, *(max(1, round(horizon / part)) for part in (8, 4, 2, 1))})


def _list(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
