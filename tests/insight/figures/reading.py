"""Reads figures back: maps, lines, bars, words, and whether words overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.text import Text
from numpy.typing import NDArray

Numbers = NDArray[Any]


def map_of(axes: Axes) -> Numbers:
    """The values ``[rows, columns]`` of the only map, NaN where it is blank."""
    (image,) = axes.get_images()
    return np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)


def lines_of(axes: Axes) -> list[Numbers]:
    """The y values of all lines."""
    return [np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()]


def bars_of(axes: Axes, across: bool = True) -> Numbers:
    """The lengths of all bars."""
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return np.array([bar.get_width() if across else bar.get_height() for bar in bars])


def steps_of(axes: Axes) -> Numbers:
    """The heights of bars side by side."""
    heights = [bar.get_data()[0] for bar in axes.patches if isinstance(bar, StepPatch)]
    return np.asarray(np.sum(heights, axis=0))


def heading(figure: Figure) -> str:
    return figure.texts[0].get_text().replace("\n", " ")


def note(figure: Figure) -> str:
    return figure.texts[1].get_text().replace("\n", " ")


def labels(axes: Axes) -> tuple[str, str]:
    return axes.get_xlabel(), axes.get_ylabel()


def words_have_room(figure: Figure) -> None:
    """Assert that no label of an axis overlaps its neighbour, and that nothing exceeds the picture."""
    figure.draw_without_rendering()
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        if box is not None:
            assert page.x0 - 1 <= box.x0 < box.x1 <= page.x1 + 1, (axes.get_ylabel(), box)
            assert page.y0 - 1 <= box.y0 < box.y1 <= page.y1 + 1, (axes.get_xlabel(), box)
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            _apart([tick for tick in ticks if tick.get_text() and tick.get_visible()])
    for text in figure.texts:
        assert text.get_window_extent().x1 <= page.x1


def _apart(texts: list[Text]) -> None:
    boxes = [text.get_window_extent() for text in texts]
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            down = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 0.5 or down <= 0.5, (texts[number].get_text(), across, down)
