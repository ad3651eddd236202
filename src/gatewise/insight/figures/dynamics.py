"""Figures of a layer as a dynamical system.

Shapes: ``T`` steps, ``B`` rows, ``N`` numbers of a state, ``K`` points or exponents.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.axes import count_axis, percent
from gatewise.insight.figures.style import FAINT, INK, LABEL, MODEL, SOFT, WARM, page, short_tick, signed

_PATHS = 50  # most rows whose trajectory is drawn


def draw_fixed_points(
    points: Data,
    stable: Data,
    states: Data,
    *,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw fixed points among the visited states, in the plane of the first two principal components.

    Args:
        points: ``[K, N]``, fixed points (`gatewise.fixed_points`). K may be 0.
        stable: ``[K]``, whether each point attracts nearby states.
        states: ``[T, B, N]``, the visited states, all states of the cell side by side, NaN past the end of a
            row. The trajectories of the first 50 rows are drawn.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or there are fewer than two visited states.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> states = np.random.randn(20, 3, 8)
        >>> figure = figures.draw_fixed_points(states[0], [True, False, True], states)
        >>> figure.texts[0].get_text()
        '2 of 3 fixed points are stable: nearby states approach them'
    """
    shapes = Shapes("draw_fixed_points")
    visited = shapes.read("states", states, "TBN")
    rests = shapes.read("points", points, "KN", empty="K")
    kind = shapes.read("stable", stable, "K", empty="K").astype(bool)
    known = visited[np.isfinite(visited).all(2)]
    if len(known) < 2:
        shapes.fail(f"states must hold two states at least. Got {len(known)}")
    middle, plane, parts = _components(known)
    ways, places = (visited - middle) @ plane, (rests - middle) @ plane
    said = (
        f"{int(kind.sum())} of {len(kind)} fixed points are stable: nearby states approach them"
        if len(kind)
        else "No fixed point was found among the states"
    )
    told = "Thin lines: trajectories of rows. Axes: the two directions in which the states vary most."
    with page(8, 5.6, heading or said, note or told) as figure:
        axes = figure.subplots()
        for line in axes.plot(
            ways[:, :_PATHS, 0], ways[:, :_PATHS, 1], color=FAINT, linewidth=0.8, alpha=0.8
        ):
            line.set_rasterized(True)
        for chosen, face, name in ((kind, MODEL, "stable"), (~kind, "white", "unstable")):
            if chosen.any():
                edge = MODEL if name == "stable" else WARM
                axes.plot(
                    *places[chosen].T, "o", markersize=9, markerfacecolor=face, markeredgecolor=edge,
                    markeredgewidth=1.8, label=f"{name} fixed point", zorder=4,
                )  # fmt: skip
        for axis, name, part in ((axes.xaxis, "first", parts[0]), (axes.yaxis, "second", parts[1])):
            axis.set_label_text(f"{name} principal component ({percent(part)} of the variance)")
            axis.set_major_formatter(short_tick)
        if len(kind):
            axes.legend(loc="best", fontsize=LABEL)
    return figure


def _components(states: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The mean ``[N]``, the first two principal directions ``[N, 2]`` and their shares of the variance.

    The input is ``states [M, N]``. The largest entry of a direction is positive; a missing direction is zero.
    """
    middle = states.mean(0)
    _, sizes, directions = np.linalg.svd(states - middle, full_matrices=False)
    plane, parts = np.zeros((2, states.shape[1])), np.zeros(2)
    count = min(2, len(sizes))
    plane[:count] = directions[:count]
    parts[:count] = sizes[:count] ** 2 / ((sizes**2).sum() or 1.0)
    largest = np.take_along_axis(plane, np.abs(plane).argmax(1)[:, None], 1)
    return middle, (plane * np.where(largest < 0, -1.0, 1.0)).T, parts


def draw_eigenvalues(
    eigenvalues: Data,
    *,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the eigenvalues of a step's Jacobian at fixed points, with the unit circle.

    Args:
        eigenvalues: ``[K, N]``, complex, one row per point (``gatewise.fixed_points(...).eigenvalues``).
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: the array has a wrong shape.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_eigenvalues([[0.9 + 0.2j, 0.9 - 0.2j], [1.5, 0.1]])
        >>> figure.texts[0].get_text()
        'States grow along 1 of 4 directions, at 2 fixed points'
    """
    shapes = Shapes("draw_eigenvalues")
    values = shapes.read("eigenvalues", eigenvalues, "KN").astype(complex)
    outside = np.abs(values) >= 1
    points = f"{len(values)} fixed point{'s' if len(values) > 1 else ''}"
    said = f"States grow along {int(outside.sum())} of {values.size} directions, at {points}"
    told = "Inside the unit circle a direction shrinks, outside it grows; off the axis it turns."
    low, high = 1.1 * min(-1.0, values.real.min()), 1.1 * max(1.0, values.real.max())
    tall = 1.1 * max(1.0, np.abs(values.imag).max())
    with page(6.6, min(5.4 * 2 * tall / (high - low), 8.0) + 0.7, heading or said, note or told) as figure:
        axes = figure.subplots()
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1))
        axes.axhline(0, color=FAINT, linewidth=0.8)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        for chosen, colour, name in ((~outside, MODEL, "shrinks"), (outside, WARM, "grows")):
            axes.plot(
                values.real[chosen], values.imag[chosen], "o", color=colour, alpha=0.6, markeredgewidth=0,
                markersize=6, label=name, rasterized=values.size > 2000,
            )  # fmt: skip
        axes.set(
            aspect="equal", xlim=(low, high), ylim=(-tall, tall), xlabel="real part", ylabel="imaginary part"
        )
        axes.legend(loc="upper left", fontsize=LABEL)
    return figure


def draw_lyapunov(
    exponents: Data,
    *,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the Lyapunov spectrum of a layer along its sequences.

    Args:
        exponents: ``[B, K]``, natural logarithms per step, largest first (`gatewise.lyapunov`); NaN for rows
            without steps.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: the array has a wrong shape.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_lyapunov([[0.1, -0.2, -1.0], [0.1, -0.3, -1.1]])
        >>> figure.texts[0].get_text()
        'Nearby states diverge: the largest exponent is 0.1 per step'
    """
    shapes = Shapes("draw_lyapunov")
    values = shapes.read("exponents", exponents, "BK")
    values = values[~np.isnan(values).any(1)]
    if not len(values):
        shapes.fail("exponents must have a row of numbers. Got NaN in all")
    mean = values.mean(0)
    verb = "diverge" if mean[0] > 0 else "approach each other"
    said = f"Nearby states {verb}: the largest exponent is {signed(mean[0])} per step"
    told = f"{int((mean > 0).sum())} of {len(mean)} are positive. Above 0 differences grow. Thin lines: rows."
    with page(9.6, 4, heading or said, note or told) as figure:
        axes = figure.subplots()
        at = np.arange(1, len(mean) + 1)
        drawn = np.where(np.isfinite(values), values, np.nan)  # minus infinity cannot be drawn
        axes.plot(at, drawn[:_PATHS].T, color=FAINT, linewidth=0.8, rasterized=True)
        axes.plot(
            at,
            np.where(np.isfinite(mean), mean, np.nan),
            color=MODEL,
            linewidth=1.8,
            marker="o",
            markersize=4,
        )
        axes.axhline(0, color=INK, linewidth=1, linestyle=":")
        axes.set_xlim(0.5, len(mean) + 0.5)
        count_axis(axes, "x", "exponent, the largest first")
        axes.set_ylabel("growth per step (natural logarithm)")
        lines = [
            Line2D([], [], color=MODEL, label="mean"),
            Line2D([], [], color=SOFT, linewidth=0.8, label="a row"),
        ]
        axes.legend(handles=lines, loc="best", fontsize=LABEL)
    return figure
