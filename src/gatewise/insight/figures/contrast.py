"""The figure that compares two recordings of the same input.

Shapes: ``T`` steps, ``B`` rows, ``H`` units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gatewise.insight.figures.arrays import Data, Shapes
from gatewise.insight.figures.axes import around_zero, blanks, count_axis, draw_colours, draw_map, step_axis
from gatewise.insight.figures.style import GATE, SIGNED, page


def draw_contrast(
    first: Data,
    second: Data,
    *,
    row: int = 0,
    value: str = "value",
    names: tuple[str, str] = ("first", "second"),
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw a value of a layer in two recordings of the same input, and their difference.

    Args:
        first, second: ``[T, B, H]``, recordings (`gatewise.watch`) of two models or checkpoints; NaN past the
            end of a row.
        row: the row to draw.
        value: the name of the value, such as ``"f"``.
        names: names for the two recordings.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or the row does not exist.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> before, after = np.zeros((2, 20, 3, 8))
        >>> after[7, 0, 5] = 1.0
        >>> figure = figures.draw_contrast(before, after, value="f", names=("before", "after"))
        >>> figure.texts[0].get_text()
        'f of row 0 differs most in unit 5 at step 7: 0 before, 1 after'
    """
    shapes = Shapes("draw_contrast")
    ours = shapes.read("first", first, "TBH")
    theirs = shapes.read("second", second, "TBH")
    ours, theirs = (shapes.of_row(values, row) for values in (ours, theirs))
    apart = theirs - ours
    step, unit = np.unravel_index(int(np.nan_to_num(np.abs(apart), nan=-1.0).argmax()), apart.shape)
    said = (
        f"{value} of row {row} differs most in unit {unit} at step {step}: "
        f"{ours[step, unit]:.2g} {names[0]}, {theirs[step, unit]:.2g} {names[1]}"
    )
    told = "The same input twice, and the second minus the first. Every row of a map is a unit."
    both = np.concatenate([ours, theirs])
    known = both[np.isfinite(both)]
    gate = not known.size or bool((known >= 0).all() and (known <= 1).all())
    norm, colours = (Normalize(0, 1), GATE) if gate else (around_zero(both), SIGNED)
    with page(10, 6, heading or said, note or told + blanks(both)) as figure:
        maps = figure.subplots(3, 1, sharex=True)
        shown = ((ours, names[0], norm, colours), (theirs, names[1], norm, colours))
        for axes, (values, name, scale, map_) in zip(
            maps, (*shown, (apart, "difference", around_zero(apart), SIGNED)), strict=True
        ):
            image = draw_map(axes, values, scale, map_)
            axes.set_title(f"{value}, {name}" if name != "difference" else f"{names[1]} less {names[0]}")
            count_axis(axes, "y", "unit", 6)
            draw_colours(axes, image, value if name != "difference" else f"difference of {value}")
        step_axis(maps[-1], len(ours), shapes.words("words", words, "T"))
        for axes in maps[:-1]:
            axes.tick_params(labelbottom=False)
    return figure
