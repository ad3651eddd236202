"""The pictures of a run: learning beside counting, a text with its surprises, and the unit that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gatewise.insight.figures.axes import count_axis
from gatewise.insight.figures.lettering import FONT
from gatewise.insight.figures.style import FAINT, INK, LABEL, MODEL, SOFT, WARM, page, signed
from gatewise.runtime.arrays import Array
from gatewise.tasks.writing.copying import LONG, Copied
from gatewise.tasks.writing.signals import Followed

COLUMNS = 96  # characters of a line
_HEIGHT = 0.21  # inches of a line
_POINTS = 10.2
_FOLLOWS = 0.5  # the least correlation of a unit that is said to follow a signal
_SURPRISING = 10.0  # bits with the full colour
_HOT = LinearSegmentedColormap.from_list("surprise", ["#ffffff", "#fde3c8", "#f6a15b", WARM])
_SIGNED = LinearSegmentedColormap.from_list("unit", ["#5aa5d6", "#d3e7f4", "#ffffff", "#fbdcc4", "#ee8a4a"])
_NEW_LINE = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"


def learning_picture(
    losses: Sequence[float], errors: Sequence[float], best: int, floors: dict[str, float], unit: str
) -> Figure:
    """Draw the error by epoch beside what counting achieves.

    Args:
        losses, errors: bits per token in training and in the validation part, by epoch.
        best: the epoch whose weights are kept, from 1.
        floors: bits per token of other models, by name.
        unit: what a token is.
    """
    lowest = min(floors.values(), default=np.nan)
    found = errors[best - 1]
    compared = (
        f", {abs(lowest - found):.2f} {'below' if found < lowest else 'above'} counting" if floors else ""
    )
    told = (
        "The validation part was not trained on. In training, dropout makes the task harder than it is later."
    )
    with page(9, 4, f"{found:.3f} bits per {unit} on the validation part{compared}", told) as figure:
        axes = figure.subplots()
        epochs = np.arange(1, len(errors) + 1)
        axes.plot(epochs, losses, color=FAINT, linewidth=1.8, label="training")
        axes.plot(epochs, errors, color=MODEL, linewidth=2.2, marker="o", markersize=3.5, label="validation")
        axes.plot([best], [found], "o", color=MODEL, markersize=8)
        for (name, bits), style in zip(floors.items(), ("--", ":", "-."), strict=False):
            axes.axhline(bits, color=WARM, linewidth=1.4, linestyle=style, label=f"{name}: {bits:.3f}")
        top = max([*floors.values(), found]) + 1.0
        axes.set(
            ylim=(min([*errors, *losses, *floors.values()]) - 0.1, min(top, max([*errors, *losses]) + 0.1))
        )
        axes.set_ylabel(f"bits per {unit}")
        axes.set_xlim(0.5, max(len(errors), 2) + 0.5)
        count_axis(axes, "x", "epochs")
        axes.legend(loc="upper right", fontsize=LABEL)
    return figure


def surprise_picture(
    tokens: Sequence[str], bits: Sequence[float], heading: str, note: str, copied: Copied | None = None
) -> Figure:
    """Draw a text, each token on a colour for how little it was expected. Copied runs are underlined."""
    lines = _lines(tokens, bits)
    with page(10.5, len(lines) * _HEIGHT + 0.75, heading, note) as figure:
        axes = figure.subplots()
        norm = Normalize(0, _SURPRISING)
        _draw_text(axes, lines, _HOT, norm)
        if copied:
            _underline(axes, lines, copied.lengths >= LONG)
        _bar(figure, axes, _HOT, norm, "surprise in bits (1 bit: one of two, 10 bits: one of a thousand)")
    return figure


def unit_picture(tokens: Sequence[str], found: Sequence[Followed], start: int, stop: int) -> Figure:
    """Draw a piece of a text once for each unit, coloured by the value of the unit."""
    blocks = [_lines(tokens[start:stop], each.values[start:stop]) for each in found]
    best = found[0]
    verb = "follows" if abs(best.correlation) >= _FOLLOWS else "hardly follows"
    heading = f"Unit {best.unit} {verb} {best.name}: correlation {signed(best.correlation)}"
    note = (
        "It was not trained to. The units were chosen on one half of the held-out text; the correlations are "
        "those on the other half."
    )
    heights = [len(lines) * _HEIGHT + 0.35 for lines in blocks]
    with page(10.5, sum(heights) + 0.55, heading, note) as figure:
        every = np.atleast_1d(figure.subplots(len(found), 1, height_ratios=heights))
        norm = Normalize(-1, 1)
        for axes, lines, each in zip(every, blocks, found, strict=True):
            _draw_text(
                axes, [[(c, v / _spread(each.values)) for c, v in line] for line in lines], _SIGNED, norm
            )
            score, control = each.probe.score, float(each.probe.control.max())
            axes.set_title(
                f"Unit {each.unit} and {each.name}: {signed(each.correlation)}. All units explain "
                f"{max(score, 0):.0%} of it, of the same signal shifted at most {max(control, 0):.0%}",
                fontsize=10, color=SOFT,
            )  # fmt: skip
        _bar(figure, list(every), _SIGNED, norm, "value of the unit, as a share of its largest")
    return figure


def _spread(values: Array) -> float:
    return float(np.quantile(np.abs(values), 0.98)) or 1.0


def _lines(tokens: Sequence[str], values: Array | Sequence[float]) -> list[list[tuple[str, float]]]:
    """The characters of a text with their values, in lines that break as the text does, and at the margin."""
    lines: list[list[tuple[str, float]]] = [[]]
    for token, value in zip(tokens, values, strict=True):
        for character in token:
            if len(lines[-1]) == COLUMNS:
                lines.append([])
            lines[-1].append((_NEW_LINE if character == "\n" else character, float(value)))
            if character == "\n":
                lines.append([])
    return [line for line in lines if line] or [[(" ", 0.0)]]


def _draw_text(
    axes: Axes, lines: list[list[tuple[str, float]]], colours: LinearSegmentedColormap, norm: Normalize
) -> None:
    axes.set(xlim=(0, COLUMNS), ylim=(len(lines), 0))
    axes.axis("off")
    for row, line in enumerate(lines):
        for column, (character, value) in enumerate(line):
            axes.add_patch(Rectangle((column, row + 0.04), 1, 0.92, color=colours(norm(value)), linewidth=0))
            if not character.isspace():
                faint = character == _NEW_LINE
                axes.text(
                    column + 0.5, row + 0.53, character, fontsize=_POINTS, ha="center", va="center",
                    family=["DejaVu Sans Mono", FONT], color=FAINT if faint else INK,
                )  # fmt: skip


def _underline(axes: Axes, lines: list[list[tuple[str, float]]], marked: Array) -> None:
    """Underline the characters that are marked; further ones are not drawn."""
    at = 0
    for row, line in enumerate(lines):
        for column in range(len(line)):
            if marked[at]:
                axes.plot(
                    [column, column + 1], [row + 0.97] * 2, color=MODEL, linewidth=1.6, solid_capstyle="butt"
                )
            at += 1


def _bar(figure: Figure, axes: Any, colours: LinearSegmentedColormap, norm: Normalize, label: str) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm, colours), ax=axes, location="bottom", fraction=0.05, aspect=60, pad=0.02
    )
    bar.set_label(label, fontsize=LABEL, color=SOFT)
    bar.ax.tick_params(labelsize=LABEL)
