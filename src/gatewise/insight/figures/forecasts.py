"""Figures of forecasts, beside the truth and naive forecasts.

Shapes: ``T`` steps of history, ``K`` steps of a horizon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.style import INK, MODEL, ShortTicks, style_for
from gatewise.insight.figures.times import places, sheet, time_axis

RIVALS = (  # colour and dashes of the other forecasts
    ("#D55E00", (0, (1, 1.2))),
    ("#E69F00", (0, (5, 2))),
    ("#009E73", (0, (7, 1.5, 1, 1.5))),
    ("#CC79A7", (0, (3, 1))),
    ("#56B4E9", (0, (1, 2.5))),
)
BAND = 0.18  # share of the colour in the widest band
UNDER_GRID = 0.4  # the grid has 0.5
FAR = 5.0  # if an error is this many times the model's, the axis is logarithmic
DECADES = 3  # most decades of that axis


@dataclass(frozen=True)
class Example:
    """One forecast with its history.

    Attributes:
        title: the title of the panel.
        past_times, past: the history ``[T]``.
        times, forecast: the forecast ``[K]``. Times are dates (pandas' or NumPy's ``datetime64``) or numbers.
        truth: the true values ``[K]``, or None if they are in the future.
        rivals: other forecasts ``[K]`` by name.
        bands: the lower and upper ends ``[K]`` of intervals by name, the widest first.
    """

    title: str
    past_times: Data
    past: Data
    times: Data
    forecast: Data
    truth: Data | None = None
    rivals: Mapping[str, Data] = field(default_factory=dict)
    bands: Mapping[str, tuple[Data, Data]] = field(default_factory=dict)


def draw_forecasts(
    heading: str,
    note: str,
    unit: str,
    coming: Example,
    examples: Sequence[Example],
    error_title: str,
    ahead: Sequence[str],
    errors: Mapping[str, Data],
    error_unit: str | None = None,
) -> Figure:
    """Draw the current forecast, some past forecasts, and the error by step ahead.

    Args:
        heading, note: heading and note of the figure.
        unit: the unit of the values.
        coming: the forecast of the future.
        examples: up to three past forecasts.
        error_title: the title of the panel of errors.
        ahead: words for the K steps ahead.
        errors: mean errors ``[K]`` by name, the model's first.
        error_unit: the unit of the errors, by default that of the values.

    Raises:
        ValueError: shapes do not fit together.
    """
    shapes = Shapes("draw_forecasts")
    shapes.sizes["K"] = len(ahead)
    curves = {name: shapes.read(f"errors[{name!r}]", values, "K") for name, values in errors.items()}
    with matplotlib.rc_context(style_for(heading, note, unit, *(example.title for example in examples))):
        figure = sheet((13, 8.2), heading, note)
        grid = figure.add_gridspec(
            2, 6, left=0.07, right=0.985, top=0.845, bottom=0.1, hspace=0.42, wspace=0.75
        )
        _draw_example(figure.add_subplot(grid[0, :4]), coming, unit)
        _draw_errors(figure.add_subplot(grid[0, 4:]), error_title, error_unit or unit, ahead, curves)
        for number, example in enumerate(examples):
            place = grid[1, 2 * number : 2 * number + 2]
            _draw_example(figure.add_subplot(place), example, unit if number == 0 else "")
        _legend_below(figure, figure.axes)
    return figure


def _draw_example(axes: Axes, example: Example, unit: str) -> None:
    shapes = Shapes("Example")
    history = shapes.read("past", example.past, "T")
    forecast = shapes.read("forecast", example.forecast, "K")
    past = shapes.read("past_times", places(example.past_times), "T")
    ahead = shapes.read("times", places(example.times), "K")
    half = (ahead[0] - past[-1]) / 2
    axes.axvspan(ahead[0] - half, ahead[-1] + half, color=MODEL, alpha=0.06, linewidth=0)
    gaps = bool(np.isnan(history).any())  # a value between two gaps has no line, so it gets a marker
    axes.plot(past, history, color=INK, linewidth=1.5, label="measured", marker="." if gaps else "")
    if example.truth is not None:
        came = np.concatenate([history[-1:], shapes.read("truth", example.truth, "K")])
        axes.plot(np.concatenate([past[-1:], ahead]), came, color=INK, linewidth=1.5, zorder=4)
    dot = _dot(ahead)
    _draw_bands(axes, shapes, ahead, half, example.bands)
    axes.plot(ahead, forecast, color=MODEL, linewidth=2.4, label="forecast", marker=dot, zorder=3)
    for (name, data), (colour, dashes) in zip(example.rivals.items(), RIVALS, strict=False):
        rival = shapes.read(f"rivals[{name!r}]", data, "K")
        axes.plot(ahead, rival, color=colour, linestyle=dashes, linewidth=1.5, label=name, marker=dot)
    axes.set_title(example.title)
    axes.set_ylabel(unit)
    axes.margins(x=0.01, y=0.08)
    axes.yaxis.set_major_formatter(ShortTicks())
    time_axis(axes, example.times)


def _draw_bands(
    axes: Axes, shapes: Shapes, ahead: Numbers, half: float, bands: Mapping[str, tuple[Data, Data]]
) -> None:
    """Draw intervals as areas, inner ones darker; that of a single step is as wide as the step."""
    places = ahead if len(ahead) > 1 else np.array([ahead[0] - half, ahead[0] + half])
    white, blue = np.ones(3), np.array(to_rgb(MODEL))
    for number, (name, ends) in enumerate(bands.items()):
        low, high = (
            np.broadcast_to(shapes.read(f"bands[{name!r}]", data, "K"), places.shape) for data in ends
        )
        share = 1 - (1 - BAND) ** (number + 1)
        tint = tuple(white + share * (blue - white))
        axes.fill_between(
            places, low, high, color=tint, linewidth=0, label=f"{name} interval", zorder=UNDER_GRID
        )


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
    if len(units) == 1:  # the unit stands below the axis, not at every number
        axes.set_xlabel(f"{words[-1].partition(' ')[2]} ahead")
        words = [word.split()[0] for word in words]
    axes.set_xticks(shown, words)
    if max(map(np.max, errors.values())) > FAR * max(errors[next(iter(errors))]):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=max(axes.get_ylim()[0], axes.get_ylim()[1] / 10**DECADES))
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(ShortTicks())
    axes.set_title(title)
    axes.set_ylabel(unit)


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    entries = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    size = 10 if len(entries) <= 8 else 8
    figure.legend(
        list(entries.values()), list(entries), loc="lower center", ncols=len(entries), fontsize=size
    )


def _dot(steps: Numbers) -> str:
    """A marker for a line of a single point."""
    return "o" if len(steps) == 1 else ""


def _ticks(steps: int) -> list[int]:
    """About five round numbers among ``1 .. steps``."""
    every = next((n for n in (1, 2, 3, 6, 12, 24, 48, 96) if steps <= 5 * n), steps // 4)
    return sorted({1, *range(every, steps + 1, every)})
