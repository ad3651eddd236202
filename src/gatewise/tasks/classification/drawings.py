"""Figures of classifiers: confusion, running probabilities, and the steps that decided.

Shapes: ``T`` steps, ``K`` classes, ``C`` channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from gatewise.insight.figures.axes import around_zero, draw_bars, step_axis
from gatewise.insight.figures.inputs import draw_word, set_in_lines
from gatewise.insight.figures.style import (
    COLOURS,
    FAINT,
    INK,
    MODEL,
    SIGNED,
    SOFT,
    WARM,
    cut,
    page,
)

Array = NDArray[Any]
WIDE = 10.0  # inches
MOST_NUMBERED = 25  # classes whose counts are written into the matrix
MOST_NAMED = 40  # classes that are named at the axes
MOST_CHANNELS = 12  # channels in a legend
_LINE = 24  # points of a line of words
_ROOM = 9.3 * 72  # points for words
_PANEL = 2.85 * 72  # width of the picture of one sequence that is being read


# Against the class, neither, for it.
_SPEAKS = LinearSegmentedColormap.from_list("speaks", ["#f3b48c", "#ffffff", "#8fc1e0"])


@dataclass(frozen=True)
class Running:
    """A sequence that is being read.

    Attributes:
        title: what it is.
        probabilities: ``[T, K]``, after each step.
        truth: the number of its class.
        decided: the step, from 1, at which a decision was made.
        chosen: the number of the class decided for.
    """

    title: str
    probabilities: Array
    truth: int
    decided: int
    chosen: int


@dataclass(frozen=True)
class Decided:
    """What each step adds to the logit of a class.

    Attributes:
        title: what the sequence is, and the classes.
        steps: ``[T]``, the share of each step.
        values: ``[T, C]``, the measurements, scaled; None for a text.
        words: the words of a text; None for measurements.
    """

    title: str
    steps: Array
    values: Array | None
    words: Sequence[str] | None


def draw_confusion(confusion: Array, names: Sequence[str], heading: str, note: str) -> Figure:
    """Draw a confusion matrix ``[K, K]`` (rows: truth) beside the precision and recall of each class."""
    K = len(names)
    high = max(3.2, min(0.36 * K + 1.4, 11.0))
    with page(WIDE, high, heading, note) as figure:
        grid = figure.add_gridspec(1, 2, width_ratios=(3.2, 1.0))
        matrix, bars = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        image = matrix.imshow(shares, cmap="Blues", norm=Normalize(0, 1), aspect="auto")
        matrix.grid(False)
        matrix.set(xlabel="predicted", ylabel="true class")
        matrix.tick_params(length=0)
        _name_classes(matrix, names, across=True)
        if K <= MOST_NUMBERED:
            _write_counts(matrix, confusion, shares)
        bar = figure.colorbar(image, ax=matrix, pad=0.012, aspect=30, fraction=0.04)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        bar.ax.set_title("share of\nthe row", fontsize=8, color=SOFT, loc="left")
        bar.ax.tick_params(labelsize=8)
        _draw_rates(bars, confusion, names)
    return figure


def draw_label_scores(
    rows: Sequence[dict[str, Any]], names: Sequence[str], heading: str, note: str
) -> Figure:
    """Draw precision, recall and F1 of each label, for sequences with several labels."""
    with page(WIDE, max(2.4, min(0.34 * len(rows) + 1.0, 11.0)), heading, note) as figure:
        axes = figure.add_subplot()
        at = np.arange(len(rows))
        axes.barh(at, [row["f1"] for row in rows], color=MODEL, alpha=0.3, height=0.7, label="F1")
        axes.plot([row["precision"] for row in rows], at, "o", color=MODEL, label="precision")
        axes.plot([row["recall"] for row in rows], at, "D", color=WARM, label="recall")
        axes.set(xlim=(0, 1.02), ylim=(len(rows) - 0.5, -0.5))
        _name_classes(axes, [f"{name} ({row['sequences']})" for name, row in zip(names, rows, strict=True)])
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def draw_running(
    sequences: Sequence[Running], names: Sequence[str], threshold: float,
    curve: tuple[Array, Array], chosen: tuple[float, float], heading: str, note: str,
) -> Figure:  # fmt: skip
    """Draw probabilities while sequences are read, and what reading less costs.

    Args:
        sequences: up to six.
        names: the names of the K classes.
        threshold: the probability from which a decision is made.
        curve: for each threshold, the share of a sequence that is read and the accuracy.
        chosen: both for the chosen threshold.
        heading, note: of the figure.
    """
    lines = -(-len(sequences) // 3)
    with page(WIDE, 2.6 + 2.3 * lines, heading, note) as figure:
        grid = figure.add_gridspec(1 + lines, 3, height_ratios=(1.15, *[1.0] * lines))
        _draw_curve(figure.add_subplot(grid[0, :]), curve, chosen)
        for n, sequence in enumerate(sequences):
            axes = figure.add_subplot(grid[1 + n // 3, n % 3])
            _draw_probabilities(axes, sequence, names, threshold)
            if n % 3:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("probability")
    return figure


def shown_classes(sequence: Running) -> list[int]:
    """The classes whose probabilities are drawn in colour, at most four: the true one is the first."""
    likely = np.argsort(-sequence.probabilities.max(axis=0), kind="stable")[:3].tolist()
    return list(dict.fromkeys([sequence.truth, sequence.chosen, *likely]))[:4]


def draw_decided(sequences: Sequence[Decided], channels: Sequence[str], heading: str, note: str) -> Figure:
    """Draw the share of each step in the decision, for up to four sequences.

    `channels` are the names of the channels; empty for texts.
    """
    heights = [_height_of(sequence) for sequence in sequences]
    heights[0] += 0.3 if len(channels) > 1 else 0.0
    with page(WIDE, sum(heights), heading, note) as figure:
        grid = figure.add_gridspec(len(sequences), 1, height_ratios=heights)
        for n, sequence in enumerate(sequences):
            if sequence.words is None:
                _draw_measured(figure, grid[n], sequence, channels if n == 0 else ())
            else:
                _draw_text(figure.add_subplot(grid[n]), sequence)
    return figure


def _name_classes(axes: Axes, names: Sequence[str], across: bool = False) -> None:
    shown = [cut(name, 110, 9) or "?" for name in names]
    every = max(1, -(-len(names) // MOST_NAMED))
    axes.set_yticks(range(0, len(names), every), shown[::every], fontsize=9)
    if across:
        long = max(map(len, shown)) * len(names) > 70
        axes.set_xticks(range(0, len(names), every), shown[::every], fontsize=9, rotation=90 if long else 0)


def _write_counts(axes: Axes, confusion: Array, shares: Array) -> None:
    for i, j in np.argwhere(confusion):
        axes.text(
            j, i, f"{confusion[i, j]:,}", ha="center", va="center_baseline", fontsize=8,
            color="white" if shares[i, j] > 0.55 else INK,
        )  # fmt: skip


def _draw_rates(axes: Axes, confusion: Array, names: Sequence[str]) -> None:
    right, at = np.diag(confusion), np.arange(len(names))
    recall = right / np.maximum(confusion.sum(axis=1), 1)
    precision = right / np.maximum(confusion.sum(axis=0), 1)
    axes.hlines(at, np.minimum(recall, precision), np.maximum(recall, precision), color=FAINT, linewidth=2)
    axes.plot(precision, at, "o", color=MODEL, markersize=5, label="precision")
    axes.plot(recall, at, "D", color=WARM, markersize=4, label="recall")
    low = float(min(recall.min(), precision.min(), 0.9))
    axes.set(xlim=(max(0.0, low - 0.05), 1.02), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(at, [""] * len(names))
    axes.tick_params(length=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, columnspacing=0.8)


def _draw_curve(axes: Axes, curve: tuple[Array, Array], chosen: tuple[float, float]) -> None:
    read, accuracy = curve
    axes.plot(read, accuracy, color=MODEL, linewidth=1.8)
    axes.plot(*chosen, "o", color=WARM, markersize=8)
    word = f"\N{BLACK CIRCLE} chosen: {chosen[0]:.0%} read, {chosen[1]:.1%} right"
    axes.set_title(word, loc="right", color=WARM, fontsize=9)
    axes.set_ylim(top=accuracy.max() + 0.05 * (np.ptp(accuracy) or 0.1))
    axes.set(xlabel="mean share of a test sequence that is read", ylabel="test accuracy", xlim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("Deciding earlier: what it costs, threshold by threshold")


def _draw_probabilities(axes: Axes, sequence: Running, names: Sequence[str], threshold: float) -> None:
    steps = np.arange(1, len(sequence.probabilities) + 1)
    shown = shown_classes(sequence)
    for k, line in enumerate(sequence.probabilities.T):
        if k not in shown:
            axes.plot(steps, line, color=FAINT, linewidth=0.7)
    for colour, k in zip(COLOURS, shown, strict=False):
        word = cut(names[k], _PANEL / len(shown) - 24, 7) or "?"
        wide = 2.2 if k == sequence.truth else 1.4
        marker = "o" if len(steps) == 1 else ""
        axes.plot(
            steps, sequence.probabilities[:, k], color=colour, linewidth=wide, label=word, marker=marker
        )
    if threshold <= 1:
        axes.axhline(threshold, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.axvline(sequence.decided, color=INK, linewidth=1.2)
    axes.set(ylim=(-0.03, 1.06), xlim=(1 - 0.02 * len(steps), len(steps) * 1.02 + 0.02))
    axes.set_title(sequence.title, fontsize=9, pad=17)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(
        fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(shown), handlelength=1.0,
        handletextpad=0.4, columnspacing=0.9, borderaxespad=0.15, borderpad=0.1,
    )  # fmt: skip
    axes.tick_params(labelsize=8)


def _height_of(sequence: Decided) -> float:
    if sequence.words is None:
        return 2.4
    return 0.75 + _lines(sequence.words) * _LINE / 72


def _lines(words: Sequence[str]) -> int:
    return set_in_lines(list(words), *_gaps(words), room=_ROOM)[1]


def _gaps(words: Sequence[str]) -> tuple[float, float]:
    """The room around a word and between two: none for characters."""
    return (1.0, 0.0) if all(len(word) <= 1 for word in words) else (6.0, 4.0)


def _draw_measured(figure: Figure, place: Any, sequence: Decided, named: Sequence[str]) -> None:
    """Draw the measurements over the shares of the steps. A legend tells the channels that are `named`."""
    grid = place.subgridspec(2, 1, height_ratios=(1.1, 1.0), hspace=0.05)
    above, below = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    assert sequence.values is not None
    at, channels = np.arange(len(sequence.steps)), sequence.values.shape[1]
    size = float(np.abs(sequence.steps).max()) or 1.0
    shown = sequence.values[np.isfinite(sequence.values)]
    low, high = (float(shown.min()) - 0.3, float(shown.max()) + 0.3) if shown.size else (-1.0, 1.0)
    above.imshow(
        sequence.steps[None] / size, cmap=_SPEAKS, norm=Normalize(-1, 1), aspect="auto",
        extent=(-0.5, len(at) - 0.5, low, high),
    )  # fmt: skip
    above.grid(False)
    colours = [INK] if channels == 1 else [colormaps["viridis"](c / (channels - 1)) for c in range(channels)]
    wide = 1.2 if channels < 4 else 0.8
    lines = [
        above.plot(at, channel, color=colour, linewidth=wide)[0]
        for channel, colour in zip(sequence.values.T, colours, strict=True)
    ]
    if len(named) > 1:
        _name_channels(above, lines, named)
    above.set_title(sequence.title, fontsize=10)
    above.set_ylabel("scaled", fontsize=9)
    above.set_xlim(-0.5, len(at) - 0.5)
    above.tick_params(labelbottom=False, bottom=False, labelsize=8)
    draw_bars(below, sequence.steps)
    below.set_ylabel("adds to logit", fontsize=9)
    below.tick_params(labelbottom=True, bottom=True, labelsize=8)
    step_axis(below, len(at))


def _name_channels(axes: Axes, lines: Sequence[Any], names: Sequence[str]) -> None:
    """A legend above the title; of many channels, some evenly spaced ones."""
    some = np.unique(np.linspace(0, len(names) - 1, min(len(names), MOST_CHANNELS)).round().astype(int))
    words = [cut(names[channel], 80, 8) or "?" for channel in some]
    axes.legend(
        [lines[channel] for channel in some], words, loc="lower left", bbox_to_anchor=(0.0, 1.36),
        ncols=MOST_CHANNELS // 2, fontsize=8, handlelength=1.2, columnspacing=1.2, borderaxespad=0.0,
        borderpad=0.0,
    )  # fmt: skip


def _draw_text(axes: Axes, sequence: Decided) -> None:
    assert sequence.words is not None
    shown = [word.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}") for word in sequence.words]
    places, lines = set_in_lines(shown, *_gaps(shown), room=_ROOM)
    norm = around_zero(sequence.steps)
    axes.set(xlim=(0, _ROOM), ylim=(lines * _LINE, 0))
    axes.set_axis_off()
    axes.set_title(sequence.title, fontsize=10)
    for word, (x, y, width), value in zip(shown, places, sequence.steps, strict=True):
        draw_word(axes, word, (x, y, width), colormaps[SIGNED](norm(value)))
