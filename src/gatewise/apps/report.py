"""What ``gatewise forecast`` prints."""

from __future__ import annotations

from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.tasks.forecast.evaluation import MODEL, Evaluation, forecast_label

if TYPE_CHECKING:
    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.series import TimeSeries

MEASURES = {"mae": "MAE", "rmse": "RMSE", "mase": "MASE"}


def show_series(console: Console, series: TimeSeries, rows: int, forecaster: Forecaster) -> None:
    """Print what was read and what will be learned."""
    span, missing = series.clock.span, int(series.frame[series.target].isna().sum())
    inputs = [name for name in series.frame.columns if name != series.target]
    zone = f", {series.clock.zone}" if series.clock.zone else ""
    facts = {
        "Series": f"{Path(series.name).name}: {len(series):,} steps of {series.clock.grid()}, "
        f"{series.when(0)} to {series.when(-1)}{zone}",
        "Read": "; ".join(series.notes),
        "Target": f"{series.target}, {missing:,} values missing",
        "Inputs": f"its past, and that of {_list(inputs)}" if inputs else "its past",
        "Left out": _list(list(series.left_out)),
        "Model": f"{forecaster.cell_name} with {forecaster.hidden_size} units, "
        f"forecasts {span(forecaster.horizon)} ahead, seed {forecaster.seed}",
        "Test": f"the last {len(series) - rows:,} steps, from {series.when(rows)}; training never sees them",
        "Note": _note(series),
    }
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        if fact:
            grid.add_row(Text(name, style="bold"), Text(fact))
    console.print(grid)
    console.print()


def show_errors(console: Console, forecaster: Forecaster, series: TimeSeries, tested: Evaluation) -> None:
    """Print the table of errors, with the smallest of each row in bold, and a conclusion."""
    season = series.clock.span(forecaster.prepared_.encoding.season)
    steps = _shown_steps(forecaster.horizon)
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("Test error")
    for name in tested.forecasts:
        table.add_column(forecast_label(name, season), justify="right")
    overall, by_step = tested.overall(), tested.by_step()
    for measure, title in MEASURES.items():
        unit = f" ({series.unit})" if series.unit and measure != "mase" else ""
        table.add_row(Text(f"{title}{unit}", style="bold"))
        rows = {"  all steps": {name: overall[name][measure] for name in tested.forecasts}}
        for step in steps:
            errors = {name: by_step[step - 1][name][measure] for name in tested.forecasts}
            rows[f"  {series.clock.span(step)} ahead"] = errors
        _add(table, rows)
    console.print(table)
    console.print(f"\nOver {len(tested.origins):,} forecasts. {_verdict(tested, season)}")


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
    maes = {name: errors["mae"] or 0.0 for name, errors in tested.overall().items()}
    best = min((name for name in maes if name != MODEL), key=lambda name: maes[name])
    if maes[best] == 0:
        return f"The {forecast_label(best, season)} forecast is perfect here; there is nothing to gain."
    skill = tested.skill()
    rival = f"the best naive forecast ({forecast_label(best, season)})"
    if skill > 0:
        return f"The model's error is {skill:.0%} smaller than that of {rival}."
    return f"The model does not beat {rival} here: its error is {-skill:.0%} larger."


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
