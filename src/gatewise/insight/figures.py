"""Pictures of forecasts and of gates, drawn from arrays.

Drawn by matplotlib's Agg alone: no window, no global state. Colours are those of Okabe & Ito (2008), which
colour-blind readers can tell apart, and maps whose lightness rises evenly.

Shapes: ``T`` steps, ``K`` steps of a horizon, ``H`` hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import dates as untyped_dates
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

Numbers = NDArray[Any]
mpl_dates: Any = untyped_dates  # matplotlib ships no types for this module

INK, SOFT, MODEL = "#222222", "#6b6b6b", "#0072B2"
RIVALS = (("#D55E00", (0, (1, 1.2))), ("#E69F00", (0, (5, 2))))  # colour and dashes of the naive forecasts
FAR = 5.0  # errors this many times the model's go on a logarithmic axis
DECADES = 3  # of that axis, at most
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,  # a column may be called "$ per day, $ per hour"
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": "#bbbbbb",
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Example:
    """One forecast with its history.

    Attributes:
        title: what one sees.
        past_times, past: the history ``[T]``.
        times, forecast: the forecast ``[K]``.
        truth: what came ``[K]``, or ``None`` if it is still to come.
        rivals: other forecasts ``[K]`` by name.
    """

    title: str
    past_times: pd.DatetimeIndex
    past: Numbers
    times: pd.DatetimeIndex
    forecast: Numbers
    truth: Numbers | None = None
    rivals: Mapping[str, Numbers] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Values of one gate or state.

    Attributes:
        title: what one sees.
        values: ``[T, H]``.
        low, high: words for the two ends of the colours.
        signed: whether zero is in the middle (a state) or values run from 0 to 1 (a gate).
    """

    title: str
    values: Numbers
    low: str
    high: str
    signed: bool


def draw_forecasts(
    heading: str,
    note: str,
    unit: str,
    coming: Example,
    examples: Sequence[Example],
    error_title: str,
    ahead: Sequence[str],
    errors: Mapping[str, Numbers],
) -> Figure:
    """Draw the coming forecast, some past ones, and the error by step ahead.

    ``ahead`` are the words for the ``K`` steps ahead; ``errors`` the mean absolute errors ``[K]`` by name,
    the model's first.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure((13, 8.2), heading, note)
        grid = figure.add_gridspec(
            2, 6, left=0.07, right=0.985, top=0.845, bottom=0.1, hspace=0.42, wspace=0.75
        )
        _draw_example(figure.add_subplot(grid[0, :4]), coming, unit)
        _draw_errors(figure.add_subplot(grid[0, 4:]), error_title, unit, ahead, errors)
        for number, example in enumerate(examples):
            place = grid[1, 2 * number : 2 * number + 2]
            _draw_example(figure.add_subplot(place), example, unit if number == 0 else "")
        _legend_below(figure, figure.axes[2:] or figure.axes)
    return figure


def draw_gates(
    heading: str,
    note: str,
    label: str,
    times: pd.DatetimeIndex,
    values: Numbers,
    panels: Sequence[Panel],
    rows: Sequence[tuple[int, str]] = (),
    rows_label: str = "hidden units",
) -> Figure:
    """Draw a series ``[T]`` over the gates of a layer, one map per panel, on one axis of time.

    ``rows`` are words for some of the ``H`` rows, as (row from below, word).
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure((13, 2.6 + 2.05 * len(panels)), heading, note)
        height = figure.get_figheight()
        top, bottom = 1 - 1.05 / height, 0.65 / height
        grid = figure.add_gridspec(
            1 + len(panels), 1, left=0.105, right=0.9, top=top, bottom=bottom, hspace=0.34
        )
        first = figure.add_subplot(grid[0])
        first.plot(_dates(times), values, color=INK, linewidth=1.5)
        first.set_ylabel(label)
        first.yaxis.set_major_formatter(_short_tick)
        first.tick_params(labelbottom=False)
        for number, panel in enumerate(panels):
            axes = figure.add_subplot(grid[number + 1], sharex=first)
            _draw_panel(axes, times, panel, rows, rows_label)
            axes.tick_params(labelbottom=number == len(panels) - 1)
        first.set_xlim(*_dates(times)[[0, -1]])
    return figure


def short(value: float) -> str:
    """Give a number in few digits, with commas at the thousands, and M, G, m, µ and so on beyond them.

    >>> short(0.9341), short(12345.6), short(29478186.0), short(3.5e-7)
    ('0.93', '12,346', '29.5 M', '350.0 n')
    """
    if _is_far(value):
        return str(EngFormatter(places=1)(value))
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _figure(size: tuple[float, float], heading: str, note: str) -> Figure:
    figure = Figure(figsize=size, facecolor="white")
    height = size[1]
    figure.text(0.015, 1 - 0.2 / height, heading, fontsize=16, fontweight="bold", va="top")
    figure.text(0.015, 1 - 0.55 / height, note, fontsize=10, color=SOFT, va="top")
    return figure


def _draw_example(axes: Axes, example: Example, unit: str) -> None:
    past, ahead = _dates(example.past_times), _dates(example.times)
    half = (ahead[0] - past[-1]) / 2
    axes.axvspan(ahead[0] - half, ahead[-1] + half, color=MODEL, alpha=0.06, linewidth=0)
    gaps = bool(np.isnan(example.past).any())  # a value between two gaps makes no line
    axes.plot(past, example.past, color=INK, linewidth=1.5, label="measured", marker="." if gaps else "")
    if example.truth is not None:
        came = np.concatenate([example.past[-1:], example.truth])
        axes.plot(np.concatenate([past[-1:], ahead]), came, color=INK, linewidth=1.5, zorder=4)
    axes.plot(
        ahead, example.forecast, color=MODEL, linewidth=2.4, label="forecast", marker=_dot(ahead), zorder=3
    )
    for (name, values), (colour, dashes) in zip(example.rivals.items(), RIVALS, strict=False):
        axes.plot(
            ahead, values, color=colour, linestyle=dashes, linewidth=1.5, label=name, marker=_dot(ahead)
        )
    axes.set_title(example.title)
    axes.set_ylabel(unit)
    axes.margins(x=0.01, y=0.08)
    axes.yaxis.set_major_formatter(_short_tick)
    _time_axis(axes)


def _draw_errors(
    axes: Axes, title: str, unit: str, ahead: Sequence[str], errors: Mapping[str, Numbers]
) -> None:
    steps = np.arange(1, len(ahead) + 1)
    styles = [(MODEL, "-"), *RIVALS]
    for (name, values), (colour, dashes) in zip(errors.items(), styles, strict=False):
        wide = 2.4 if colour == MODEL else 1.5
        axes.plot(
            steps, values, color=colour, linestyle=dashes, linewidth=wide, label=name, marker=_dot(steps)
        )
    shown = _ticks(len(ahead))
    words = [ahead[step - 1] for step in shown]
    units = {word.split()[-1].rstrip("s") for word in words}
    if len(units) == 1:  # months, say: once below the axis, not at every number
        axes.set_xlabel(f"{words[-1].split()[-1]} ahead")
        words = [word.split()[0] for word in words]
    axes.set_xticks(shown, words)
    if max(map(np.max, errors.values())) > FAR * max(errors[next(iter(errors))]):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=max(axes.get_ylim()[0], axes.get_ylim()[1] / 10**DECADES))
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_short_tick)
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.legend(loc="best", fontsize=9)


def _draw_panel(
    axes: Axes, times: pd.DatetimeIndex, panel: Panel, rows: Sequence[tuple[int, str]], rows_label: str
) -> None:
    dates, units = _dates(times), panel.values.shape[1]
    most = float(np.quantile(np.abs(panel.values), 0.99)) or 1.0
    image = axes.imshow(
        panel.values.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(dates[0], dates[-1], 0, units),
        cmap="PuOr" if panel.signed else "viridis",
        vmin=-most if panel.signed else 0.0,
        vmax=most if panel.signed else 1.0,
    )
    axes.grid(False)
    axes.set_title(panel.title)
    axes.set_ylabel(rows_label, fontsize=9)
    axes.set_yticks([row + 0.5 for row, _ in rows], [word for _, word in rows], fontsize=8)
    _time_axis(axes)
    place = axes.inset_axes((1.012, 0.0, 0.012, 1.0))
    bar = axes.figure.colorbar(image, cax=place)
    bar.outline.set_visible(False)
    low, high = (short(-most), short(most)) if panel.signed else ("0", "1")
    bar.set_ticks(list(image.get_clim()), labels=[f"{low} {panel.low}", f"{high} {panel.high}"], fontsize=9)
    bar.ax.tick_params(length=0)


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    entries = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(entries.values()), list(entries), loc="lower center", ncols=len(entries), fontsize=10)


def _time_axis(axes: Axes) -> None:
    locator = mpl_dates.AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mpl_dates.ConciseDateFormatter(locator))


def _dates(times: pd.DatetimeIndex) -> Numbers:
    return np.asarray(mpl_dates.date2num(times.to_numpy()))


def _short_tick(value: float, _: object) -> str:
    text = str(EngFormatter()(value)) if _is_far(value) else f"{value:,.10g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _is_far(value: float) -> bool:
    """Say whether a number has too many digits to be written out."""
    return value != 0 and not 1e-3 <= abs(value) < 1e6


def _dot(steps: Numbers) -> str:
    """A dot where a line would have nothing to join."""
    return "o" if len(steps) == 1 else ""


def _ticks(steps: int) -> list[int]:
    """Choose about five of the steps ``1 .. steps``, at round numbers of steps."""
    every = next((n for n in (1, 2, 3, 6, 12, 24, 48, 96) if steps <= 5 * n), steps // 4)
    return sorted({1, *range(every, steps + 1, every)})
