"""The pictures of a run: confused tags, accuracy by word frequency, sentences with their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gatewise.insight.figures.axes import draw_colours
from gatewise.insight.figures.lettering import families
from gatewise.insight.figures.style import FAINT, INK, LABEL, MODEL, SOFT, WARM, cut, page
from gatewise.tasks.tagging.evaluation import ColumnResult, by_frequency

MOST_TAGS = 20  # tags of a map
MOST_WORDS = 26  # words of a sentence
LEAST_SHOWN = 0.02  # probability of a tag that gets a row of its own
_WIDE = 13.0  # inches
_WORD = 70.0  # points for a word on an axis
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#9ecae9", MODEL, "#003a5d"])
_WRONG = LinearSegmentedColormap.from_list("wrong", ["#ffffff", "#fdd5b1", WARM, "#7a3000"])


def confusion_picture(result: ColumnResult) -> Figure:
    """Draw which tags are taken for which: of the words with each true tag, the share of every other tag."""
    counts = result.by_tag()
    tags = sorted((tag for tag in counts if counts[tag]["words"]), key=lambda tag: -counts[tag]["words"])
    tags = tags[:MOST_TAGS]
    shares = _shares(result, tags)
    off = np.where(np.eye(len(tags), dtype=bool), np.nan, shares)
    heading = f"Which tags are confused: {result.name}"
    note = (
        f"{100 * result.accuracy:.2f} % of {len(result.truth):,} words are right. Each row: the words with a "
        "true tag, and the share (%) of them that got another tag. On the diagonal: the share that is right."
    )
    side = 0.42 * len(tags) + 1.6
    with page(max(side + 3.2, 9.0), side, heading, note) as figure:
        axes = figure.add_subplot()
        most = float(np.nanmax(off, initial=0.0))
        image = axes.imshow(
            100 * np.ma.masked_invalid(off), cmap=_WRONG, norm=Normalize(0, 100 * most or 1), aspect="auto"
        )
        axes.set_facecolor("#f2f2f2")
        axes.grid(False)
        for row, column in np.ndindex(shares.shape):
            _confusion_text(axes, row, column, float(shares[row, column]), most)
        names = [cut(tag, _WORD, LABEL) for tag in tags]
        fonts = families(*tags)
        axes.set_xticks(range(len(tags)), names, fontsize=LABEL, rotation=90, fontfamily=fonts)
        rows = [f"{name}  {counts[tag]['words']:,}" for name, tag in zip(names, tags, strict=True)]
        axes.set_yticks(range(len(tags)), rows, fontsize=LABEL, fontfamily=fonts)
        axes.tick_params(length=0)
        axes.set_xlabel("tag that was made")
        axes.set_ylabel("true tag, and its words", labelpad=10)
        draw_colours(axes, image, "share of the row (%)")
    return figure


def _shares(result: ColumnResult, tags: Sequence[str]) -> NDArray[np.float64]:
    place = {tag: k for k, tag in enumerate(tags)}
    counts = np.zeros((len(tags), len(tags)))
    totals = np.zeros(len(tags))
    for truth, made in zip(result.truth, result.made, strict=True):
        if truth in place:
            totals[place[truth]] += 1
            if made in place:
                counts[place[truth], place[made]] += 1
    return np.asarray(counts / np.maximum(totals, 1)[:, None])


def _confusion_text(axes: Axes, row: int, column: int, share: float, most: float) -> None:
    if row != column and share < 0.005:
        return
    dark = row != column and share > 0.6 * most
    colour = "white" if dark else INK if row == column else SOFT
    weight = "bold" if row == column else "normal"
    axes.text(
        column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour, weight=weight
    )


def frequency_picture(result: ColumnResult, counts: Mapping[str, int]) -> Figure:
    """Draw the accuracy of words by how often training had them, with its uncertainty."""
    groups = by_frequency(result, counts)
    labels = [f"{label}\n{words:,} words" for label, words, _ in groups]
    accuracy = np.array([share for _, _, share in groups])
    low, high = wilson(accuracy, np.array([words for _, words, _ in groups]))
    heading = f"Accuracy by word frequency: {result.name}"
    note = (
        "Words of the test part, by how often the training part has them. Lines: 95 % intervals, if words "
        "were drawn independently."
    )
    with page(_WIDE * 0.75, 3.6, heading, note) as figure:
        axes = figure.add_subplot()
        colours = [WARM if label == "never" else MODEL for label, _, _ in groups]
        axes.vlines(range(len(groups)), low, high, color=colours, linewidth=2)
        axes.scatter(range(len(groups)), accuracy, color=colours, s=42, zorder=3)
        axes.axhline(result.accuracy, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.axhline(result.usual, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        edge = len(groups) - 0.45
        axes.text(edge, result.accuracy, " all words", va="bottom", fontsize=LABEL, color=INK)
        axes.text(
            edge, result.usual, " most frequent tag\n of each word", va="top", fontsize=LABEL, color=SOFT
        )
        for place, share in enumerate(accuracy):
            axes.text(place + 0.1, share, f"{100 * share:.1f}", va="center", fontsize=LABEL, color=INK)
        axes.set_xticks(range(len(groups)), labels, fontsize=LABEL)
        axes.set_xlim(-0.6, len(groups) + 0.9)
        lowest = min(float(low.min()), result.usual)
        axes.set_ylim(max(lowest - 0.03, 0), 1.01)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", length=0)
    return figure


def wilson(
    share: NDArray[np.float64], count: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of the 95 % interval of a share of `count` independent items (Wilson 1927).

    >>> low, high = wilson(np.array([0.5]), np.array([100]))
    >>> low.round(3), high.round(3)
    (array([0.404]), array([0.596]))
    """
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z**2 / count)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


class Shown:
    """A sentence to draw: its words, true tags if known, and the probabilities of all tags, ``[T, K]``."""

    def __init__(
        self, words: Sequence[str], truth: Sequence[str] | None, made: Sequence[str],
        tags: Sequence[str], chances: NDArray[np.float64],
    ) -> None:  # fmt: skip
        stop = MOST_WORDS
        self.cut = len(words) > stop
        self.words, self.made, self.chances = list(words)[:stop], list(made)[:stop], chances[:stop]
        self.truth = None if truth is None else list(truth)[:stop]
        self.tags = list(tags)

    def rows(self) -> list[int]:
        """The tags to draw: those made or true, and others that are likely somewhere; frequent ones first."""
        named = {*self.made, *(self.truth or ())}
        likely = self.chances.max(axis=0) >= LEAST_SHOWN if len(self.words) else []
        chosen = [k for k, tag in enumerate(self.tags) if tag in named or likely[k]]
        best = sorted(chosen, key=lambda k: (self.tags[k] not in named, -float(self.chances[:, k].sum())))
        return sorted(best[:MOST_TAGS])


def sentence_picture(name: str, sentences: Sequence[tuple[str, Shown]]) -> Figure:
    """Draw sentences, each word with the probabilities of its tags. A frame marks a missed true tag."""
    heading = f"Sentences and the probabilities of their tags: {name}"
    note = (
        "The darker, the likelier. Dot: the tag that was made. Frame: the true tag, if another one was made."
    )
    heights = [0.24 * len(shown.rows()) + 1.25 for _, shown in sentences]
    words = [word for _, shown in sentences for word in shown.words]
    with page(_WIDE, sum(heights) + 0.2, heading, note) as figure:
        every = figure.subplots(len(sentences), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, shown) in zip(every, sentences, strict=True):
            _draw_sentence(axes, title, shown, families(*words))
    return figure


def _draw_sentence(axes: Axes, title: str, shown: Shown, fonts: Sequence[str]) -> None:
    rows = shown.rows()
    place = {shown.tags[k]: row for row, k in enumerate(rows)}
    axes.imshow(shown.chances[:, rows].T, cmap=_SHADES, norm=Normalize(0, 1), aspect="auto")
    axes.grid(False)
    for column, made in enumerate(shown.made):
        chance = float(shown.chances[column, shown.tags.index(made)])
        colour = "white" if chance > 0.55 else INK
        axes.plot(column, place[made], marker="o", markersize=3.5, color=colour)
        true = shown.truth[column] if shown.truth else made
        if true != made and true in place:
            box = Rectangle(
                (column - 0.46, place[true] - 0.44), 0.92, 0.88, fill=False, color=WARM, linewidth=1.8
            )
            axes.add_patch(box)
    names = [cut(word, _WORD, LABEL) for word in shown.words]
    axes.set_xticks(range(len(names)), names, fontsize=LABEL, rotation=45, ha="right", rotation_mode="anchor")
    for label in axes.get_xticklabels():
        label.set_fontfamily(list(fonts))
    for column in np.arange(len(names) - 1) + 0.5:
        axes.axvline(column, color=FAINT, linewidth=0.4)
    axes.set_yticks(range(len(rows)), [cut(shown.tags[k], 1.4 * _WORD, LABEL) for k in rows], fontsize=LABEL)
    axes.set_xlim(-0.5, max(MOST_WORDS * 0.6, len(names)) - 0.5)
    axes.spines["bottom"].set_bounds(-0.5, len(names) - 0.5)
    axes.tick_params(length=0)
    axes.set_title(title + (" (its beginning)" if shown.cut else ""))
