"""Figures of memory: where a state comes from, how long it lasts, and how often its gates are saturated.

Shapes: ``T`` steps, ``B`` rows, ``H`` units, ``K`` lags, ``G`` gates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.axes import (
    around_zero,
    blanks,
    count_axis,
    draw_bars,
    draw_colours,
    draw_map,
    logarithmic,
    percent,
    step_axis,
)
from gatewise.insight.figures.style import FAINT, INK, LABEL, MODEL, SIGNED, SOFT, STRENGTH, page, short

_AT_LEAST = 0.1  # steps; shorter half-lives are drawn here
_ACROSS = 4  # most panels side by side


def draw_ledger(
    written: Data,
    total: Data,
    initial: Data | None = None,
    *,
    row: int = 0,
    state: str = "state",
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the final state of a row as the sum of the contributions of all steps.

    Args:
        written: ``[T, B, H]``, the contribution of each step (`gatewise.ledger`), NaN past the end of a row.
        total: ``[B, H]``, the final state.
        initial: ``[B, H]``, the contribution of the initial state; by default it is not drawn.
        row: the row to draw.
        state: the name of the state.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or the row does not exist.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> written = np.random.randn(20, 2, 8)
        >>> figure = figures.draw_ledger(written, written.sum(0), state="c")
        >>> figure.axes[0].get_ylabel()
        'share (%)'
    """
    shapes = Shapes("draw_ledger")
    steps = shapes.read("written", written, "TBH")
    wanted = shapes.words("words", words, "T")
    final = shapes.read("total", total, "BH")
    parts, start = shapes.of_row(steps, row), 0
    note_on = blanks(parts)
    if initial is not None:
        parts, start = np.concatenate([shapes.read("initial", initial, "BH")[[row]], parts]), -1
        wanted = None if wanted is None else [f"{state[:1]}₀", *wanted]
        note_on += (
            f" {state[:1]}₀: the initial state." if wanted else " Step \N{MINUS SIGN}1: the initial state."
        )
    shares = np.abs(parts).sum(1) / (np.nansum(np.abs(parts)) or 1.0)  # NaN where there is no step
    most = int(np.nanargmax(shares))
    who = "the initial state" if most + start < 0 else f"step {most + start}"
    said = f"The largest part of the final {state} of row {row}, {percent(shares[most])}, comes from {who}"
    told = "What is left of what each step wrote. The columns add up to the final state, unit by unit."
    with page(11, 5.3, heading or said, note or told + note_on) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=(34, 8), height_ratios=(1, 2.4))
        bars, map_ = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        draw_bars(bars, 100 * shares, start)
        bars.set_ylabel("share (%)")
        image = draw_map(map_, parts, around_zero(parts), SIGNED, start=start)
        step_axis(map_, len(parts), wanted, start)
        count_axis(map_, "y", "unit")
        end = figure.add_subplot(grid[1, 1], sharey=map_)
        end.barh(range(final.shape[1]), final[row], color=INK, height=0.7)
        end.axvline(0, color=INK, linewidth=0.8)
        end.set_xlabel(f"final {state}")
        end.xaxis.set_major_locator(MaxNLocator(3))
        end.tick_params(axis="y", length=0, labelleft=False)
        draw_colours([map_, end], image, f"part of the final {state}")
    return figure


def draw_half_life(
    expected: Data,
    realised: Data,
    retention: Data,
    *,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how a state decays with the lag, and the half-life of each unit.

    Args:
        expected: ``[H]``, half-lives in steps from the mean of the gate (`gatewise.half_life`); may be
            infinite.
        realised: ``[H]``, half-lives measured on the data.
        retention: ``[K, H]``, the mean share that remains after lags 0 to K - 1.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> kept = np.array([0.5, 0.9])
        >>> lives = np.log(0.5) / np.log(kept)
        >>> figure = figures.draw_half_life(lives, lives, kept ** np.arange(10)[:, None])
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['lag (steps)', 'units, by realised half-life']
    """
    shapes = Shapes("draw_half_life")
    meant = shapes.read("expected", expected, "H")
    real = shapes.read("realised", realised, "H")
    kept = shapes.read("retention", retention, "KH")
    order = np.argsort(real)
    never = int(np.isinf(real).sum())
    middle = real[order[(len(real) - 1) // 2]]
    said = (
        f"Half of the units forget half of their memory within {short(middle)} steps"
        if np.isfinite(middle)
        else f"{never} of {len(real)} units keep more than half of their memory throughout"
    )
    told = "Left: a line for each unit, dark ones forget first. Right: by the data, and by the mean gate."
    with page(11, 3.9, heading or said, note or told) as figure:
        left, right = figure.subplots(1, 2)
        lags = np.arange(len(kept))
        lines = LineCollection(
            [np.column_stack([lags, kept[:, unit]]) for unit in order],
            cmap=STRENGTH,
            array=np.arange(len(order)),
            linewidths=1.2,
            rasterized=len(order) > 100,
        )
        left.add_collection(lines)
        left.axhline(0.5, color=INK, linewidth=1, linestyle=":")
        left.set_xlim(0, max(len(kept) - 1, 1))
        left.set_ylim(min(0.0, float(np.nanmin(kept))), max(1.0, float(np.nanmax(kept))) * 1.03)
        count_axis(left, "x", "lag (steps)")
        left.set_ylabel("share kept")
        left.set_title("Share that is kept after each number of steps")
        _draw_lives(right, meant[order], real[order])
    return figure


def _draw_lives(axes: Axes, meant: Numbers, real: Numbers) -> None:
    """Draw half-lives in the given order, infinite ones at the upper edge."""
    units = np.arange(len(real))
    finite = np.concatenate([meant[np.isfinite(meant)], real[np.isfinite(real)], [1.0]])
    top = 3 * float(finite.max())
    marks = ((meant, "D", "none", SOFT, "by the gate's mean"), (real, "o", MODEL, MODEL, "on the data"))
    for values, marker, face, edge, name in marks:
        shown = np.clip(values, _AT_LEAST, top)
        axes.plot(
            units, shown, marker, markersize=4.5, markerfacecolor=face, markeredgecolor=edge, label=name
        )
    axes.set_ylim(max(_AT_LEAST, float(finite.min())) / 1.5, top * 1.5)
    if np.isinf(np.concatenate([meant, real])).any():
        axes.axhspan(top / 1.4, top * 1.5, color=FAINT, alpha=0.25, linewidth=0)
        axes.annotate("never", (0.01, top), xycoords=("axes fraction", "data"), va="center", fontsize=LABEL)
    logarithmic(axes)
    count_axis(axes, "x", "units, by realised half-life")
    axes.set_ylabel("half-life (steps)")
    axes.set_title("Half-life of each unit")
    axes.legend(loc="lower right", fontsize=LABEL)


def draw_saturation(
    left: Data,
    right: Data,
    gates: Sequence[str],
    *,
    low: float = 0.1,
    high: float = 0.9,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how often each gate is nearly closed and nearly open, one dot per unit.

    Source: the picture is that of Karpathy, Johnson & Fei-Fei 2015, "Visualizing and understanding recurrent
    networks".

    Args:
        left, right: ``[G, H]``, the fractions of steps at which a gate is below `low` and above `high`
            (`gatewise.saturation`).
        gates: the names of the G gates.
        low, high: the limits.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> figure = figures.draw_saturation(np.zeros((2, 8)), np.ones((2, 8)), ["i", "f"])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['Gate i', 'Gate f']
    """
    shapes = Shapes("draw_saturation")
    shut = shapes.read("left", left, "GH")
    open_ = shapes.read("right", right, "GH")
    names = shapes.words("gates", gates, "G") or []
    stuck = int(((shut == 1) | (open_ == 1)).sum())
    said = (
        f"{stuck} of {shut.size} gates never leave one end"
        if stuck
        else f"Gates are nearly closed or nearly open at {percent(float((shut + open_).mean()))} of steps"
    )
    told = (
        "Every dot is a unit. Near the origin its gate is rarely saturated; on the diagonal it is a switch."
    )
    across = min(len(names), _ACROSS)
    down = -(-len(names) // across)
    with page(max(2.9 * across + 0.4, 6.5), 3.1 * down, heading or said, note or told) as figure:
        grid = figure.add_gridspec(down, across)
        for n, name in enumerate(names):
            axes = figure.add_subplot(grid[n // across, n % across])
            axes.plot([0, 1], [1, 0], color=FAINT, linewidth=1)
            axes.plot(
                shut[n],
                open_[n],
                "o",
                color=MODEL,
                alpha=0.55,
                markersize=6,
                markeredgewidth=0,
                clip_on=False,
            )
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            axes.set_title(f"Gate {name}")
            axes.set_xlabel(f"share of steps below {low:g}")
            axes.set_ylabel(f"share of steps above {high:g}" if n % across == 0 else "")
    return figure
