"""Parts shared by several figures: heat maps, axes of steps, words as labels, colour bars.

Shapes: ``T`` steps (columns), ``R`` rows of a map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gatewise.insight.figures.arrays import Numbers
from gatewise.insight.figures.lettering import FONT
from gatewise.insight.figures.style import (
    BLANK,
    INK,
    LABEL,
    MODEL,
    WARM,
    power_tick,
    short,
    short_tick,
    text_width,
)

TICKS = 12  # numbers on an axis, at most
_LONG = 16  # characters of a word on an axis, at most
_DECADES = 6  # of a logarithmic map, at most


def spread(values: Numbers) -> float:
    """The scale of values: the 99th percentile of the non-zero magnitudes, or 1 if all are zero."""
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(finite, 0.99)) if finite.size else 1.0


def around_zero(*values: Numbers) -> Normalize:
    """A colour normalisation with zero in the middle."""
    most = spread(np.concatenate([array.ravel() for array in values]))
    return Normalize(-most, most)


def decades(values: Numbers) -> LogNorm:
    """A logarithmic colour normalisation up to the largest value."""
    positive = values[np.isfinite(values) & (values > 0)]
    high = float(positive.max()) if positive.size else 1.0
    low = float(positive.min()) if positive.size else 0.1
    return LogNorm(max(low, high / 10**_DECADES) if low < high else high / 10, high)


def draw_map(
    axes: Axes, values: Numbers, norm: Normalize, colours: str, first_on_top: bool = False, start: int = 0
) -> AxesImage:
    """Draw ``values [T, R]`` as a heat map, with steps from left to right from `start` on, and NaN blank."""
    steps, rows = values.shape
    axes.set_facecolor(BLANK)
    axes.grid(False)
    bottom, top = (rows - 0.5, -0.5) if first_on_top else (-0.5, rows - 0.5)
    return axes.imshow(
        np.ma.masked_invalid(values.T),
        origin="upper" if first_on_top else "lower",
        aspect="auto",
        extent=(start - 0.5, start + steps - 0.5, bottom, top),
        cmap=colours,
        norm=norm,
    )


def draw_colours(axes: Axes | Sequence[Axes], image: AxesImage, label: str) -> None:
    """Draw the colour bar of a map, with arrow heads if values exceed it."""
    figure = image.figure
    norm = image.norm
    values: Numbers = np.ma.compressed(np.ma.masked_invalid(np.ma.asarray(image.get_array())))
    low, high = norm.vmin or 0.0, norm.vmax or 0.0
    below, above = bool((values < low).any()), bool((values > high).any())
    if isinstance(norm, LogNorm):
        below = bool(((values > 0) & (values < low)).any())
    ends = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    bar = figure.colorbar(image, ax=axes, pad=0.012, aspect=28, fraction=0.05, extend=ends)
    draw_scale(bar, label)


def draw_scale(bar: Colorbar, label: str) -> None:
    """Format and label a colour bar."""
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=LABEL)
    bar.set_label(label, fontsize=LABEL)
    logarithmic = isinstance(bar.norm, LogNorm)
    bar.locator = _powers(*bar.mappable.get_clim()) if logarithmic else MaxNLocator(5)
    bar.formatter = FuncFormatter(power_tick if logarithmic else short_tick)
    bar.update_ticks()
    bar.minorticks_off()


def _powers(low: float, high: float) -> LogLocator:
    return LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=8)


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic. Below two decades it gets labels between the powers of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(_powers(low, high))
    axes.yaxis.set_major_formatter(FuncFormatter(power_tick))
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_bars(axes: Axes, values: Numbers, start: int = 0) -> None:
    """Draw one bar per step from the step `start` on, negative values in another colour, without labels."""
    edges = np.arange(len(values) + 1) + start - 0.5
    for part, colour in ((values.clip(0), MODEL), (values.clip(None, 0), WARM)):
        if np.any(part):
            axes.stairs(part, edges, fill=True, color=colour, linewidth=0)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlim(edges[0], edges[-1])
    axes.tick_params(labelbottom=False, bottom=False)


def count_axis(axes: Axes, name: str, label: str, most: int = TICKS) -> None:
    """Label an axis with at most `most` whole numbers."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(most - 1, integer=True))
    axis.set_label_text(label)


def step_axis(axes: Axes, steps: int, words: Sequence[str] | None = None, start: int = 0) -> None:
    """Label an axis of steps with their numbers, or with as many of their words as fit."""
    axes.set_xlim(start - 0.5, start + steps - 0.5)
    if words is None:
        count_axis(axes, "x", "step")
        return
    shown = [word if len(word) <= _LONG else word[: _LONG - 1] + "…" for word in words]
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = 0.75 * figure.get_figwidth() * 72 / steps  # points per step, a lower bound
    flat = room > LABEL and max(text_width(word, LABEL) for word in shown) * 1.1 + 2 <= room
    every = 1 if flat else int(np.ceil(1.3 * LABEL / room))
    axes.set_xticks(
        range(start, start + steps, every),
        shown[::every],
        fontsize=LABEL,
        rotation=0 if flat else 90,
        fontfamily=FONT,
    )
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("step" if every == 1 else f"step, every {every}th with its word")


def name_axis(axes: Axes, names: Sequence[str] | None, rows: int, label: str) -> None:
    """Label rows with their names if all fit, else with numbers."""
    if names is None or rows > 2 * TICKS:
        count_axis(axes, "y", label)
        return
    shown = [name if len(name) <= _LONG else name[: _LONG - 1] + "…" for name in names]
    axes.set_yticks(range(rows), shown, fontsize=LABEL)
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(label)


def percent(share: float) -> str:
    """A share of 1 as a percentage.

    >>> percent(0.314), percent(0.0004)
    ('31 %', '0.04 %')
    """
    return f"{short(100 * share)} %"


def blanks(values: Numbers) -> str:
    """The note that explains blank cells of a map, or "" if there are none."""
    return " Grey: no step." if np.isnan(values).any() else ""
