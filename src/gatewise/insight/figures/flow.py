"""Figures of gradients through time.

Shapes: ``T`` steps, ``B`` rows, ``K`` steps of an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gatewise.insight.figures.arrays import Data, Numbers, Shapes
from gatewise.insight.figures.axes import (
    count_axis,
    decades,
    draw_colours,
    draw_map,
    logarithmic,
    percent,
    step_axis,
)
from gatewise.insight.figures.style import COLOURS, FAINT, INK, MODEL, STRENGTH, page, short

DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")  # states, in order
_DECADES = 24  # most decades on the axis
_ROWS = 50  # most rows with a line of their own


@dataclass(frozen=True)
class FlowPanel:
    """One panel of `draw_flows`.

    Attributes:
        title: the title of the panel.
        norms: the norm of the gradient at each step, ``[T]``, by (network, state).
    """

    title: str
    norms: Mapping[tuple[str, str], Data]


def draw_flow(
    norms: Mapping[str, Data],
    *,
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the norm of the gradient of a loss at each step, on a logarithmic scale.

    Args:
        norms: by state, ``[T, B]`` each: ``gatewise.gradient_flow(...)["l0"].states``. Steps are in the order
            of time. Zeros, which have no logarithm, and NaN stay blank.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or there is nothing to draw.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> figure = figures.draw_flow({"c": 0.9 ** np.arange(20.0)[::-1, None]})
        >>> figure.texts[0].get_text()
        'Back from the last step to the first, the gradient by c shrinks 7.4-fold'
    """
    shapes = Shapes("draw_flow")
    flows = {name: shapes.read(f"norms[{name!r}]", values, "TB") for name, values in norms.items()}
    if not flows:
        shapes.fail("norms must have a state at least. Got none")
    rows = shapes.sizes["B"]
    told = "Norm of the gradient of the loss by the states after each step"
    several = f": the median of {rows} rows, and the range of the middle 80 %." if rows > 1 else "."
    with page(9.5, 3.8, heading or _said(flows), note or told + several) as figure:
        axes = figure.subplots()
        for (name, values), colour in zip(flows.items(), _cycle(len(flows)), strict=True):
            low, middle, high = quantiles(np.where(values > 0, values, np.nan))
            dot = "o" if len(middle) == 1 else ""
            axes.plot(middle, color=colour, linewidth=1.8, label=f"by {name}", marker=dot)
            if rows > 1:
                axes.fill_between(range(len(low)), low, high, color=colour, alpha=0.15, linewidth=0)
        _norm_axis(axes)
        axes.set_ylabel("norm of the gradient")
        step_axis(axes, shapes.sizes["T"], shapes.words("words", words, "T"))
        axes.legend(loc="best", fontsize=10)
    return figure


def draw_flows(
    panels: Sequence[Sequence[FlowPanel]], heading: str, note: str, label: str = "steps back from the end"
) -> Figure:
    """Draw gradient flows in a grid of panels, with a colour for each network and dashes for each state.

    Args:
        panels: rows of equally many panels. The panels of a row share the axis of norms.
        heading, note: heading and note of the figure.
        label: the label of the axis of steps.

    Raises:
        ValueError: shapes do not fit together, or rows have different lengths.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> flow = {("lstm", "c"): 0.99 ** np.arange(50.0), ("rnn", "h"): 0.7 ** np.arange(50.0)}
        >>> figure = figures.draw_flows([[figures.FlowPanel("Before", flow)]], "Two networks", "One row.")
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['lstm', 'rnn', 'by c', 'by h']
    """
    if not panels or len({len(row) for row in panels}) != 1 or not panels[0]:
        raise ValueError(
            f"draw_flows: panels must be rows of equally many. Got {[len(row) for row in panels]}."
        )
    keys = list(dict.fromkeys(key for row in panels for panel in row for key in panel.norms))
    networks = list(dict.fromkeys(network for network, _ in keys))
    colours = dict(zip(networks, _cycle(len(networks)), strict=True))
    states = {network: [state for name, state in keys if name == network] for network in networks}
    with page(11, 0.7 + 2.9 * len(panels), heading, note) as figure:
        grid = figure.subplots(len(panels), len(panels[0]), sharey="row", squeeze=False)
        for row, line in zip(grid, panels, strict=True):
            for axes, panel in zip(row, line, strict=True):
                _draw_panel(axes, panel, colours, states)
            _norm_axis(row[0])
            row[0].set_ylabel("gradient norm")
        for axes in grid[-1]:
            axes.set_xlabel(label)
        figure.legend(handles=_legend(colours, states), loc="outside lower center", ncols=8, fontsize=10)
    return figure


def _draw_panel(
    axes: Axes, panel: FlowPanel, colours: Mapping[str, str], states: Mapping[str, Sequence[str]]
) -> None:
    for (network, state), values in panel.norms.items():
        norms = Shapes("draw_flows").read(f"norms of {network} by {state}", values, "T")
        steps = np.flatnonzero(norms > 0)  # others have no logarithm
        dashes = DASHES[states[network].index(state) % len(DASHES)]
        axes.plot(steps, norms[steps], dashes, color=colours[network], linewidth=1.6)
    axes.set_title(panel.title)
    axes.margins(x=0.01)
    axes.set_yscale("log")
    count_axis(axes, "x", "")


def _legend(colours: Mapping[str, str], states: Mapping[str, Sequence[str]]) -> list[Line2D]:
    """Legend entries: one per network, and one per state with the dashes of the first network that has it."""
    named: dict[str, Literal["-", "--", ":", "-."]] = {}
    for names in states.values():
        for place, state in enumerate(names):
            named.setdefault(state, DASHES[place % len(DASHES)])
    lines = [Line2D([], [], color=colour, label=network) for network, colour in colours.items()]
    return lines + [
        Line2D([], [], color=INK, linestyle=dashes, label=f"by {state}") for state, dashes in named.items()
    ]


def draw_jacobians(
    stretches: Data,
    *,
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw the largest factor by which each step stretches small differences between states.

    Args:
        stretches: ``[T, B]``, the largest singular value of each step's Jacobian
            (``gatewise.gradient_flow(..., jacobians=True)["l0"].jacobians``), 0 at the first step of a row.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> figure = figures.draw_jacobians(np.full((20, 3), 1.1))
        >>> figure.texts[0].get_text()
        'At 100 % of steps small differences of the states can grow'
    """
    shapes = Shapes("draw_jacobians")
    values = shapes.read("stretches", stretches, "TB")
    values = np.where(values > 0, values, np.nan)
    known = values[np.isfinite(values)]
    above = float((known > 1).mean()) if known.size else 0.0
    said = f"At {percent(above)} of steps small differences of the states can grow"
    told = "Largest singular value of each step's Jacobian: above 1 they can grow. Thin: rows. Bold: median."
    with page(9.5, 3.5, heading or said, note or told) as figure:
        axes = figure.subplots()
        dot = "o" if len(values) == 1 else ""
        lines = axes.plot(values[:, :_ROWS], color=FAINT, linewidth=0.8, alpha=0.7, marker=dot)
        for line in lines:
            line.set_rasterized(True)
        axes.plot(quantiles(values)[1], color=MODEL, linewidth=1.8, marker=dot)
        axes.axhline(1, color=INK, linewidth=1, linestyle=":")
        _norm_axis(axes)
        axes.set_ylabel("largest stretch of a step (factor)")
        step_axis(axes, len(values), shapes.words("words", words, "T"))
    return figure


def draw_connectivity(
    norms: Data,
    steps: Sequence[int] | None = None,
    *,
    row: int = 0,
    words: Sequence[str] | None = None,
    heading: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw how strongly each output depends on each input, for one row.

    Args:
        norms: ``[K, T, B]``, the norm of the derivative of an output by each input (`gatewise.connectivity`).
        steps: the K steps of the output; by default 0 to K - 1.
        row: the row to draw.
        words: labels of the T steps; by default numbers.
        heading, note: replace the automatic heading and note.

    Raises:
        ValueError: shapes do not fit together, or the row does not exist.

    Example:
        >>> import numpy as np
        >>> from gatewise import figures
        >>> figure = figures.draw_connectivity(np.tril(np.ones((20, 20)))[..., None])
        >>> figure.axes[0].get_ylabel()
        'output at step'
    """
    shapes = Shapes("draw_connectivity")
    found = shapes.of_row(shapes.read("norms", norms, "KTB").transpose(0, 2, 1), row)
    asked = shapes.read("steps", range(len(found)) if steps is None else list(steps), "K")
    found = np.where(found > 0, found, np.nan)
    last = int(np.flatnonzero(np.isfinite(found).any(1))[-1]) if np.isfinite(found).any() else 0
    most = int(np.nanargmax(found[last])) if np.isfinite(found[last]).any() else 0
    said = f"The output at step {asked[last]} of row {row} depends most on the input at step {most}"
    told = "Norm of the derivative of each output by each input. Grey: none, or no step."
    with page(9.5, 1.2 + min(5.5, 1.5 + 0.2 * len(found)), heading or said, note or told) as figure:
        axes = figure.subplots()
        image = draw_map(axes, found.T, decades(found), STRENGTH, first_on_top=True)
        step_axis(axes, found.shape[1], shapes.words("words", words, "T"))
        axes.set_xlabel(f"input at {axes.get_xlabel()}")
        every = -(-len(asked) // 12)
        axes.set_yticks(range(0, len(asked), every), [str(step) for step in asked[::every]])
        axes.set_ylabel("output at step")
        draw_colours(axes, image, "norm of the derivative")
    return figure


def quantiles(values: Numbers) -> Numbers:
    """``[3, T]``: the 10 %, 50 % and 90 % quantiles over the rows of ``values [T, B]``, ignoring NaN."""
    found = np.full((3, len(values)), np.nan)
    known = np.isfinite(values).any(1)
    if known.any():
        rows = np.where(np.isfinite(values[known]), values[known], np.nan)
        found[:, known] = np.nanquantile(rows, (0.1, 0.5, 0.9), axis=1)
    return found


def _said(flows: Mapping[str, Numbers]) -> str:
    """The heading: how much of the gradient reaches the first step."""
    name, values = next(iter(flows.items()))
    middle = quantiles(np.where(values > 0, values, np.nan))[1]
    middle = middle[np.isfinite(middle)]
    if len(middle) < 2:
        return f"The gradient by {name} at each step"
    factor = middle[-1] / middle[0]
    verb, fold = ("shrinks", factor) if factor >= 1 else ("grows", 1 / factor)
    return f"Back from the last step to the first, the gradient by {name} {verb} {short(fold)}-fold"


def _cycle(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _norm_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(bottom=max(low, high / 10.0**_DECADES))
    logarithmic(axes)
