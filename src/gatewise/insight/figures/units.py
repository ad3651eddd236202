"""Figures of single units: where they are on together, which signal they follow, which of them matter.

Shapes: ``T`` steps, ``B`` rows, ``H`` units, ``K`` chosen units, ``P`` places, ``S`` controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.axes import count_axis, draw_colours, draw_map, percent
from gatewise.insight.figures.style import (
    COLOURS,
    FAINT,
    INK,
    LABEL,
    MODEL,
    POINTS,
    STRENGTH,
    WARM,
    cut,
    page,
    short_tick,
    signed,
)

_PLACES = 12  # most places that are shown
_LONGEST = 60  # most steps of a place with its surroundings
_WORST = -1.0  # the lowest R^2 of the axis
_BARS = 12  # most units with a bar of their own


def draw_match(
    states: Data,
    units: Data,
    places: Data,
    *,
    threshold: float = 0.3,
    around: int = 5,
    tokens: Sequence[Sequence[str]] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the places at which units are on together, one below the other, the queried span first.

    Source: after the matching view of Strobelt et al. 2018, "LSTMVis".

    Args:
        states: ``[T, B, H]``, values of a layer, NaN past the end of a row.
        units: ``[K]``, the units (``gatewise.match(...).units``).
        places: ``[P, 3]``, row, start and stop of each place. At most 12 are drawn.
        threshold: a unit is on from this value.
        around: the number of steps to show before and after a place.
        tokens: words for the steps of each row, ``tokens[row][step]``, drawn if they are short.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or a unit or a place does not exist.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> h = np.zeros((12, 1, 3))
        >>> h[2:4, 0, :2] = h[7:10, 0, :2] = 1.0
        >>> figure = figures.draw_match(h, [0, 1], [(0, 2, 4), (0, 7, 10)])
        >>> figure.texts[0].get_text()
        '2 units that are on together in row 0, steps 2 to 3, are also in 1 other place'
    """
    shapes = Shapes("draw_match")
    values = shapes.read("states", states, "TBH")
    chosen = shapes.read("units", units, "K").astype(int)
    found = shapes.read("places", places, "PQ").astype(int)
    T, B, H = values.shape
    if found.shape[1] != 3 or not _within(found, T, B):
        shapes.fail(
            f"places must be rows of (row, start, stop) within {B} rows of {T} steps. Got {found.tolist()}"
        )
    if chosen.min() < 0 or chosen.max() >= H:
        shapes.fail(f"units must be from 0 to {H - 1}. Got {chosen.tolist()}")
    on = np.where(np.isnan(values), np.nan, values >= threshold)[:, :, chosen].mean(2)  # NaN stays
    shown = found[:_PLACES]
    width = min(2 * around + int((shown[:, 2] - shown[:, 1]).max()), _LONGEST)
    strips = np.stack([_strip(on[:, row], start - around, width) for row, start, _ in shown])
    row, start, stop = found[0]
    others = len(found) - 1
    said = (
        f"{len(chosen)} units that are on together in row {row}, steps {start} to {stop - 1}, "
        f"are also in {others} other place{'s' if others != 1 else ''}"
    )
    told = "A line for each match, in a frame; the given span is on top. Grey: no step."
    if len(shown) < len(found):
        told += f" The first {len(shown)} of {len(found)} are shown."
    with page(10, 1.0 + 0.32 * len(shown), heading or said, note or told) as figure:
        axes = figure.subplots()
        image = draw_map(axes, strips.T, Normalize(0, 1), STRENGTH, first_on_top=True, start=-around)
        for line, (row, start, stop) in enumerate(shown):
            frame = Rectangle((-0.5, line - 0.45), stop - start, 0.9, fill=False, edgecolor=WARM)
            frame.set(linewidth=1.8)
            axes.add_patch(frame)
            if tokens is not None:
                _write(axes, tokens[row], int(start), around, line, strips[line])
        axes.set_yticks(range(len(shown)), [f"row {r}, step {s}" for r, s, _ in shown], fontsize=LABEL)
        count_axis(axes, "x", "steps from the beginning of the place")
        axes.tick_params(length=0)
        draw_colours(axes, image, "share of the units on")
    return figure


def _within(places: Numbers, T: int, B: int) -> bool:
    rows, starts, stops = places.T
    return bool(((rows >= 0) & (rows < B) & (starts >= 0) & (starts < stops) & (stops <= T)).all())


def _strip(values: Numbers, start: int, width: int) -> Numbers:
    """`width` values from the step `start` on, NaN outside of the array."""
    steps = np.arange(start, start + width)
    there = (steps >= 0) & (steps < len(values))
    return np.where(there, values[np.clip(steps, 0, len(values) - 1)], np.nan)


def _write(axes: Axes, words: Sequence[str], start: int, around: int, line: int, strip: Numbers) -> None:
    """Write words into the cells of a line, cut to fit."""
    room = 0.7 * 10 * POINTS / len(strip)
    for place, value in enumerate(strip, -around):
        step = start + place
        if 0 <= step < len(words) and not np.isnan(value):
            colour = INK if value > 0.55 else "white"
            text = cut(words[step], room, LABEL)
            axes.text(place, line, text, fontsize=LABEL, color=colour, ha="center", va="center")


def draw_probe(
    correlation: Data,
    score: float,
    control: Data,
    *,
    signal: str = "the signal",
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how well units follow a signal, compared with the signal shifted in time.

    Args:
        correlation: ``[H]``, the correlation of each unit with the signal (`gatewise.probe`).
        score: R^2 of all units together on held-out steps.
        control: ``[S]``, the scores for the signal shifted in time; minus infinity is ignored.
        signal: the name of the signal.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_probe([0.1, 0.9, -0.3], 0.8, [0.1, -0.2, 0.05], signal="the level")
        >>> figure.texts[0].get_text()
        'Unit 1 follows the level with correlation 0.9; all together explain 80 % of it'
    """
    shapes = Shapes("draw_probe")
    found = shapes.read("correlation", correlation, "H")
    shifted = shapes.read("control", control, "S")
    shifted = shifted[np.isfinite(shifted)]
    order = np.argsort(-np.abs(found), kind="stable")
    best = order[0]
    said = (
        f"Unit {best} follows {signal} with correlation {signed(found[best])}; "
        f"all together explain {percent(max(score, 0.0))} of it"
    )
    told = (
        "Left: each unit's correlation. Right: the score on steps held out, beside that of the signal "
        "shifted in time (those below \N{MINUS SIGN}1 stand at \N{MINUS SIGN}1)."
    )
    with page(10.5, 3.7, heading or said, note or told) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        colours = [WARM if found[unit] < 0 else MODEL for unit in order]
        left.bar(range(len(order)), found[order], color=colours, width=0.8)
        left.axhline(0, color=INK, linewidth=0.8)
        left.set(ylim=(-1, 1), ylabel="correlation (\N{MINUS SIGN}1 to 1)")
        if len(order) <= 2 * _BARS:
            left.set_xticks(range(len(order)), [str(unit) for unit in order], fontsize=LABEL)
            left.set_xlabel("unit")
        else:
            count_axis(left, "x", "units, the strongest first")
        left.set_title("Every unit alone")
        right.hist(
            np.maximum(shifted, _WORST),
            bins=list(np.linspace(_WORST, 1, 21)),
            color=FAINT,
            label=f"{signal} shifted",
        )
        right.axvline(max(score, _WORST), color=MODEL, linewidth=2.4, label=signal)
        right.set_xlim(_WORST, 1)
        right.set_xticks([-1, -0.5, 0, 0.5, 1])
        right.set_xlabel("score on steps held out (R²)")
        count_axis(right, "y", "shifts")
        right.set_title("All units together")
        right.legend(loc="best", fontsize=LABEL)
    return figure


def draw_ranking(
    scores: Mapping[str, Data],
    *,
    by: str = "effect",
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the units that matter most, and the cumulative share of the first units.

    Args:
        scores: by layer, ``[H]``, not negative (``gatewise.rank_units(...).scores``).
        by: the name of the measure.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, a score is negative, or there is no layer.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_ranking({"l0": [3.0, 1.0], "l1": [0.5, 4.0]})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['l1 unit 1', 'l0 unit 0', 'l0 unit 1', 'l1 unit 0']
    """
    read = {
        name: Shapes("draw_ranking").read(f"scores[{name!r}]", data, "H") for name, data in scores.items()
    }
    if not read or min(float(each.min()) for each in read.values()) < 0:
        raise ValueError("draw_ranking: scores must be of one layer at least, and not negative.")
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(read)}
    units = [(name, unit, float(score)) for name, each in read.items() for unit, score in enumerate(each)]
    units.sort(key=lambda unit: -unit[2])
    falling = np.array([score for _, _, score in units])
    shares = np.concatenate([[0.0], falling.cumsum()]) / (falling.sum() or 1.0)
    half = int(np.argmax(shares >= 0.5))
    said = f"The first {half} of {len(units)} units have half of the sum of all, by {by}"
    if half == 1:
        said = (
            f"Unit {units[0][1]} of {units[0][0]} has {percent(shares[1])} of the sum over {len(units)} units"
        )
    told = f"Left: the units that matter most, by {by}. Right: the share of the first units in all."
    with page(10.5, 4.2, heading or said, note or told) as figure:
        left, right = figure.subplots(1, 2)
        shown = units[:_BARS]
        left.barh(range(len(shown)), [u[2] for u in shown], color=[colours[u[0]] for u in shown], height=0.75)
        left.set_yticks(range(len(shown)), [f"{name} unit {unit}" for name, unit, _ in shown], fontsize=LABEL)
        left.set_ylim(len(shown) - 0.4, -0.6)
        left.tick_params(axis="y", length=0)
        left.grid(axis="y", visible=False)
        left.set_xlabel(by)
        left.xaxis.set_major_formatter(short_tick)
        right.plot(range(len(shares)), 100 * shares, color=INK, linewidth=1.8)
        right.plot([half], [100 * shares[half]], "o", color=WARM)
        right.set(ylim=(0, 103), ylabel="share in the sum (%)")
        right.set_xlim(0, len(units))
        count_axis(right, "x", "units, the most important first")
    return figure
