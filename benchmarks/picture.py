"""Results as a picture: the time of a step compared with its lower bound."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks import onnx_layer
from benchmarks.compare import OURS, STREAM, Result
from benchmarks.machine import Machine
from benchmarks.report import core_peak, digits, plural, title

_INK, _FAINT = "#1f2937", "#d1d5db"
_LOOKS: dict[str, dict[str, Any]] = {
    onnx_layer.NAME: {"marker": "D", "color": "#0f766e", "markersize": 5, "alpha": 0.85},
    STREAM: {"marker": "o", "color": "white", "markeredgecolor": "#ea580c", "markersize": 6},
    "torch": {"marker": "s", "color": "#1d4ed8", "markersize": 5.5, "alpha": 0.85},
    OURS: {"marker": "o", "color": "#ea580c", "markersize": 7},
}  # from the back to the front
_LINE, _GAP = 0.22, 0.5  # inches of a line, and lines between shapes


def picture(results: Sequence[Result], machine: Machine) -> Figure:
    """One panel for each cell and mode; in it a line for each shape and number of threads."""
    cells = list(dict.fromkeys(result.cell for result in results))
    modes = list(dict.fromkeys(result.mode for result in results))
    panels = {(mode, cell): _of(results, mode, cell) for mode in modes for cell in cells}
    height = max(_places(panel)[-1] + 1 for panel in panels.values()) * _LINE + 0.6
    width = 2.0 + 3.6 * len(cells)
    heading = [piece for line in _heading(results, machine) for piece in wrap(line, int(12 * width))]
    size = (width, 0.6 + 0.2 * len(heading) + height * len(modes))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(len(modes), len(cells), squeeze=False, sharey=True)
    for panel, ((mode, cell), chosen) in zip(axes.flat, panels.items(), strict=True):
        _draw(panel, chosen)
        panel.set_title(title(cell, mode), loc="left", fontsize=11, fontweight="bold", color=_INK)
    for panel in axes[-1]:
        panel.set_xlabel("times the floor", fontsize=9, color=_INK)
    figure.suptitle("\n".join(heading), x=0.01, ha="left", fontsize=10, color=_INK)
    figure.legend(handles=_handles(results), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _of(results: Sequence[Result], mode: str, cell: str) -> list[Result]:
    """The results of a panel, ordered by shape, then threads."""
    chosen = [result for result in results if (result.mode, result.cell) == (mode, cell)]
    shapes = list(dict.fromkeys(result.shape for result in chosen))
    return sorted(chosen, key=lambda result: (shapes.index(result.shape), result.threads))


def _places(results: Sequence[Result]) -> list[float]:
    """A line each, with a gap before another shape."""
    shapes = list(dict.fromkeys(result.shape for result in results))
    return [n + _GAP * shapes.index(result.shape) for n, result in enumerate(results)]


def _draw(panel: Axes, results: Sequence[Result]) -> None:
    places, labels = _places(results), []
    for n, (y, result) in enumerate(zip(places, results, strict=True)):
        times = {name: seconds / result.floor for name, seconds in result.seconds.items()}
        panel.plot([1, max(times.values())], [y, y], color=_FAINT, linewidth=1)
        for name in sorted(times, key=list(_LOOKS).index):
            panel.plot(times[name], y, **_LOOKS[name])
        step = result.seconds[OURS] / result.shape.T * 1e6
        where = ("axes fraction", "data")
        panel.annotate(digits(step), (1.02, y), xycoords=where, va="center", fontsize=7, color=_INK)
        again = n > 0 and results[n - 1].shape == result.shape
        labels.append(("" if again else f"{result.shape}   ") + plural(result.threads, "thread"))
    panel.axvline(1, color=_INK, linewidth=2)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(places[-1] + 0.7, -0.7)
    panel.set_yticks(places, labels, fontsize=8)
    panel.grid(axis="x", color=_FAINT, linewidth=0.5)
    panel.tick_params(length=0, labelsize=8, colors=_INK)
    panel.spines[:].set_visible(False)


def _heading(results: Sequence[Result], machine: Machine) -> list[str]:
    return [
        "The time of a step against its floor: operations of the products over the peak of the threads, "
        f"measured in the same rounds ({core_peak(results) / 1e9:.0f} GFLOP/s a core). "
        f"Right of each line: microseconds a step of {OURS}.",
        str(machine),
    ]


def _handles(results: Sequence[Result]) -> list[Line2D]:
    drawn = dict.fromkeys(name for result in results for name in result.seconds)
    peers = [Line2D([], [], linestyle="none", label=name, **_LOOKS[name]) for name in drawn]
    return [Line2D([], [], color=_INK, linewidth=2, label="floor"), *peers]
