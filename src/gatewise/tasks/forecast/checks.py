"""Whether a series or a panel is one that a fitted forecaster can read."""

from __future__ import annotations

from gatewise.tasks.forecast.preparation import Preparation
from gatewise.tasks.series import Panel, TimeSeries


def check_panel(prepared: Preparation, panel: Panel, need: int) -> None:
    """Refuse a panel with other columns, attributes or another step than in training.

    Raises:
        ValueError: columns, attributes or step differ, or a series has fewer than `need` rows.
    """
    check_series(prepared, panel.series[0], need if panel.alone else 0)
    attributes = (*prepared.encoding.numbers, *prepared.encoding.categories)
    lacking = [name for name in attributes if name not in panel.static]
    if lacking:
        raise ValueError(f"series must have the attributes of training. It lacks {lacking}")
    short = panel.rows < need
    if short.any():
        place = int(short.argmax())
        name = panel.ids[place]
        raise ValueError(
            f"series must have at least {need} rows, for history and season. "
            f"Got {len(panel.series[place])} for {panel.id} {name!r}"
        )


def check_series(prepared: Preparation, series: TimeSeries, need: int) -> None:
    """Refuse a series with other columns or another step than in training.

    Raises:
        ValueError: columns or step differ, or it has fewer than `need` rows.
    """
    wanted, step = prepared.encoding.columns, prepared.clock.span(1)
    missing = [name for name in wanted if name not in series.frame.columns]
    if missing or series.target != wanted[0]:
        raise ValueError(
            f"series must have the target {wanted[0]!r} and the columns {wanted}. It lacks {missing}"
        )
    unknown = [name for name in prepared.encoding.known if name not in series.known]
    if unknown:
        raise ValueError(f"series must have the inputs {unknown} as known ahead, as in training")
    if series.clock.span(1) != step:
        raise ValueError(f"series must have steps of {step}. Got {series.clock.span(1)}")
    zone = prepared.clock.zone
    if (series.clock.zone is None) != (zone is None):
        kind = f"with a time zone, as {zone}" if zone else "without a time zone"
        raise ValueError(f"series must have times {kind}. Got {series.clock.zone or 'none'}")
    if len(series) < need:
        raise ValueError(f"series must have at least {need} rows, for history and season. Got {len(series)}")
