"""Figures of attributions: shares of steps and features, words in colour, contributions of a phrase.

Shapes: ``T`` steps, ``B`` rows, ``I`` features, ``O`` outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gatewise.insight.figures.arrays import Data, Shapes
from gatewise.insight.figures.axes import (
    around_zero,
    blanks,
    draw_bars,
    draw_colours,
    draw_map,
    draw_scale,
    name_axis,
    percent,
    step_axis,
)
from gatewise.insight.figures.style import (
    FAINT,
    INK,
    MARGIN,
    MODEL,
    POINTS,
    SIGNED,
    page,
    signed,
    text_width,
)

_OUTPUTS = 12  # most outputs that are shown
_WORD, _LINE = 12, 24  # coloured words: font size and line height, in points
_WIDE = 10.0  # inches
_ROOM = (_WIDE - 2 * MARGIN) * POINTS  # width of a line, in points
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)


def draw_attribution(
    values: Data,
    *,
    row: int = 0,
    features: Sequence[str] | None = None,
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how much each step and feature of one row contributed to its score.

    Args:
        values: ``[T, B, I]``, the shares (``gatewise.attribute(...).time_first``), NaN past the end of a row.
        row: the row to draw.
        features: names of the I features; by default numbers.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or the row does not exist.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> figure = figures.draw_attribution(np.eye(3)[:, None], features=["rain", "heat", "wind"])
        >>> figure.axes[1].get_ylabel()
        'feature'
    """
    shapes = Shapes("draw_attribution")
    shares = shapes.of_row(shapes.read("values", values, "TBI"), row)
    names = shapes.words("features", features, "I")
    by_step = shares.sum(1)
    sizes = np.abs(shares).sum(1)
    most = int(np.nanargmax(np.where(np.isnan(sizes), -1, sizes)))
    part = sizes[most] / (np.nansum(sizes) or 1.0)
    said = f"Step {most} of row {row} matters most, with {percent(part)} of all shares by magnitude"
    told = "Above: what each step adds to the score. Below: the same, feature by feature."
    high = 1.2 + min(3.6, 0.26 * shares.shape[1])
    with page(10, 2.2 + high, heading or said, note or told + blanks(shares)) as figure:
        grid = figure.add_gridspec(2, 1, height_ratios=(1.4, high))
        bars, axes = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        draw_bars(bars, by_step)
        bars.set_ylabel("share in the score")
        image = draw_map(axes, shares, around_zero(shares), SIGNED, first_on_top=True)
        name_axis(axes, names, shares.shape[1], "feature")
        step_axis(axes, len(shares), shapes.words("words", words, "T"))
        draw_colours([bars, axes], image, "share in the score")
    return figure


def draw_words(
    words: Sequence[str],
    scores: Data,
    *,
    label: str = "share in the score",
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw a text whose words (or characters) are coloured by their scores.

    Args:
        words: the T words. Single characters are drawn without spaces.
        scores: ``[T]``, such as an attribution summed over features, or the values of one unit. Words whose
            score is NaN are not coloured.
        label: the label of the scores, with their unit.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: there is not one score for each word.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_words("not bad at all".split(), [-0.4, 0.6, 0.1, 0.1])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['not', 'bad', 'at', 'all']
    """
    shapes = Shapes("draw_words")
    values = shapes.read("scores", scores, "T")
    shown = shapes.words("words", words, "T") or []
    shown = [
        word.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}") for word in shown
    ]  # no break here
    joined = all(len(word) <= 1 for word in shown)
    known = np.where(np.isnan(values), 0.0, np.abs(values))
    most = int(known.argmax())
    what = "characters" if joined else "words"
    said = f"None of the {len(shown)} {what} has a score"
    if not np.isnan(values).all():
        strongest = signed(float(values[most]))
        said = f"Of the {len(shown)} {what} “{shown[most]}” has the strongest score: {strongest}"
    places, lines = set_in_lines(shown, 1.0 if joined else 6.0, 0.0 if joined else 4.0)
    high = lines * _LINE / POINTS
    norm = around_zero(values)
    with page(_WIDE, high + 0.75, heading or said, note or "A colour is a word's score.") as figure:
        figure.set_layout_engine("none")
        height, side = figure.get_figheight(), MARGIN / _WIDE
        axes = figure.add_axes((side, 0.7 / height, 1 - 2 * side, high / height))
        axes.set(xlim=(0, _ROOM), ylim=(lines * _LINE, 0))
        axes.set_axis_off()
        for word, (x, y, width), value in zip(shown, places, values, strict=True):
            draw_word(axes, word, (x, y, width), None if np.isnan(value) else colormaps[SIGNED](norm(value)))
        place = figure.add_axes((side, 0.48 / height, 0.3, 0.12 / height))
        bar = figure.colorbar(ScalarMappable(norm, SIGNED), cax=place, orientation="horizontal")
        draw_scale(bar, label)
    return figure


def set_in_lines(
    words: Sequence[str], around: float, gap: float, room: float = _ROOM
) -> tuple[list[tuple[float, float, float]], int]:
    """The left edge, top and width of each word, in points, and the number of lines.

    `around` is the room within a word's box, `gap` that between two, `room` the width of a line.
    """
    places: list[tuple[float, float, float]] = []
    x, line = 0.0, 0
    for word in words:
        width = 1.04 * text_width(word, _WORD) + around
        if x and x + width > room:
            x, line = 0.0, line + 1
        places.append((x, line * _LINE, width))
        x += width + gap
    return places, line + 1


def draw_word(
    axes: Axes, word: str, place: tuple[float, float, float], colour: tuple[float, ...] | None
) -> None:
    """Draw a word in its place (left edge, top and width, in points) on a coloured box."""
    x, y, width = place
    if colour is not None:
        axes.add_patch(Rectangle((x, y + 2), width, _LINE - 4, color=colour, linewidth=0))
    dark = colour is not None and np.dot(colour[:3], _LUMINANCE) < 0.45
    axes.text(
        x + width / 2,
        y + _LINE / 2,
        word,
        fontsize=_WORD,
        color="white" if dark else INK,
        ha="center",
        va="center_baseline",
    )


def draw_decomposition(
    beta: Data,
    gamma: Data,
    *,
    row: int = 0,
    outputs: Sequence[str] | None = None,
    phrase: str = "the phrase",
    label: str = "part of the output",
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the contributions of a phrase and of everything else to each output of a row, and their sum.

    Args:
        beta, gamma: ``[B, O]``, the contributions of the phrase and of everything else, from
            ``gatewise.decompose(...).through(head)``.
        row: the row to draw.
        outputs: names of the O outputs; by default numbers. At most 12 are drawn, those with the largest
            beta.
        phrase: the name of the phrase.
        label: the label of the axis, with its unit.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or the row does not exist.

    Example:
        >>> from gatewise import figures
        >>> figure = figures.draw_decomposition([[-1.0, 2.0]], [[0.5, 0.5]], outputs=["bad", "good"])
        >>> figure.texts[0].get_text()
        'The phrase contributes most to good: 2'
    """
    shapes = Shapes("draw_decomposition")
    ours, rest = (shapes.read(name, part, "BO") for name, part in (("beta", beta), ("gamma", gamma)))
    names = shapes.words("outputs", outputs, "O") or [f"output {n}" for n in range(ours.shape[1])]
    ours, rest = shapes.of_row(ours[None], row)[0], rest[row]
    shown = np.sort(np.argsort(-np.abs(ours), kind="stable")[:_OUTPUTS])
    most = int(np.abs(ours).argmax())
    said = f"{phrase[:1].upper()}{phrase[1:]} contributes most to {names[most]}: {signed(ours[most])}"
    left_out = (
        f" The {_OUTPUTS} of {len(names)} outputs to which it contributes most."
        if len(shown) < len(names)
        else ""
    )
    told = "The part of the phrase, and that of everything else. Mark: their sum, the output minus its bias."
    with page(9, 1.2 + 0.42 * len(shown), heading or said, note or told + left_out) as figure:
        axes = figure.subplots()
        at = np.arange(len(shown))
        axes.barh(at - 0.2, ours[shown], 0.36, color=MODEL, label=phrase)
        axes.barh(at + 0.2, rest[shown], 0.36, color=FAINT, label="the rest")
        axes.plot((ours + rest)[shown], at, "D", color=INK, markersize=6, label="sum")
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(at, [names[output] for output in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
        figure.legend(loc="outside lower center", ncols=3)
    return figure
