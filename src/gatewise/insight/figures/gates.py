"""The figure of a layer at work: a series above the values of its gates.

Shapes: ``T`` steps, ``H`` hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.axes import spread
from gatewise.insight.figures.style import BLANK, GATE, INK, SIGNED, ShortTicks, short, style_for
from gatewise.insight.figures.times import places, sheet, time_axis


@dataclass(frozen=True)
class Panel:
    """Values of one gate or state.

    Attributes:
        title: the title of the panel.
        values: ``[T, H]``, NaN where there is no step.
        low, high: labels of the two ends of the colour bar.
        signed: whether colours have zero in the middle (a state) or run from 0 to 1 (a gate).
    """

    title: str
    values: Data
    low: str
    high: str
    signed: bool


def draw_gates(
    heading: str,
    note: str,
    label: str,
    times: Data,
    values: Data,
    panels: Sequence[Panel],
    rows: Sequence[tuple[int, str]] = (),
    rows_label: str = "hidden units",
) -> Figure:
    """Draw a series over the gates of a layer, one map per panel, on one axis of time.

    Args:
        heading, note: heading and note of the figure.
        label: the label of the series.
        times: ``[T]``, dates (pandas' index, NumPy's ``datetime64``) or numbers, evenly spaced.
        values: ``[T]``, the series.
        panels: the heat maps.
        rows: labels of some of the H rows, as (row from below, word).
        rows_label: the label of the axis of rows.

    Raises:
        ValueError: shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> x, f = np.random.randn(50), np.random.rand(50, 8)
        >>> forget = figures.Panel("Forget gate", f, "forget", "keep", signed=False)
        >>> figure = figures.draw_gates("A layer", "One row.", "input", range(50), x, [forget])
        >>> len(figure.axes)
        2
    """
    shapes = Shapes("draw_gates")
    at = shapes.read("times", places(times), "T")
    series = shapes.read("values", values, "T")
    maps = [shapes.read(f"panels[{n}].values", panel.values, "TH") for n, panel in enumerate(panels)]
    half = (at[-1] - at[0]) / (2 * len(at) - 2) if len(at) > 1 else 0.5
    ends = (at[0] - half, at[-1] + half)
    with matplotlib.rc_context(style_for(heading, note, label)):
        figure = sheet((13, 2.6 + 2.05 * len(panels)), heading, note)
        height = figure.get_figheight()
        top, bottom = 1 - 1.05 / height, 0.65 / height
        grid = figure.add_gridspec(
            1 + len(panels), 1, left=0.105, right=0.9, top=top, bottom=bottom, hspace=0.34
        )
        first = figure.add_subplot(grid[0])
        first.plot(at, series, color=INK, linewidth=1.5, marker="o" if len(at) == 1 else "")
        first.set_ylabel(label)
        first.yaxis.set_major_formatter(ShortTicks())
        time_axis(first, times)
        across = first.get_xlabel()
        for number, (panel, values) in enumerate(zip(panels, maps, strict=True)):
            axes = figure.add_subplot(grid[number + 1], sharex=first)
            _draw_panel(axes, panel, values, ends)
            axes.set_ylabel(rows_label, fontsize=9)
            axes.set_yticks([row + 0.5 for row, _ in rows], [word for _, word in rows], fontsize=8)
        for axes in figure.axes[:-1]:
            axes.tick_params(labelbottom=False)
            axes.set_xlabel("")
        figure.axes[-1].set_xlabel(across)
        first.set_xlim(*ends)
    return figure


def _draw_panel(axes: Axes, panel: Panel, values: Numbers, ends: tuple[float, float]) -> None:
    most = spread(values)
    axes.set_facecolor(BLANK)
    image = axes.imshow(
        np.ma.masked_invalid(values.T),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(*ends, 0, values.shape[1]),
        cmap=SIGNED if panel.signed else GATE,
        norm=Normalize(-most, most) if panel.signed else Normalize(0.0, 1.0),
    )
    axes.grid(False)
    axes.set_title(panel.title)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.012, 0.0, 0.012, 1.0)))
    bar.outline.set_visible(False)
    low, high = (short(-most), short(most)) if panel.signed else ("0", "1")
    bar.set_ticks(list(image.get_clim()), labels=[f"{low} {panel.low}", f"{high} {panel.high}"], fontsize=9)
    bar.ax.tick_params(length=0)
