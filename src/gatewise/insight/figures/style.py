"""The style of all figures: colours, fonts, headings, number formats, and saving files.

Figures are drawn by matplotlib's Agg backend, without windows or global state. Colours are those of Okabe &
Ito (2008), which colour-blind readers can tell apart, and colour maps of evenly rising lightness.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import EngFormatter, Formatter

from gatewise.insight.figures.lettering import FONT, families

INK, SOFT, MODEL, WARM, FAINT = "#222222", "#6b6b6b", "#0072B2", "#D55E00", "#bbbbbb"
COLOURS = (MODEL, WARM, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # black and yellow left out
BLANK = "#e4e4e4"  # no value in a map; not white, since zero is nearly white
GATE, SIGNED, STRENGTH = "viridis", "PuOr", "cividis"  # maps for [0, 1], signed, magnitudes
HEADING, NOTE, LABEL = 14, 10, 9  # font sizes, in points
STYLE: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 10,
    "text.parse_math": False,  # column names may contain $ signs
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ececec",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
POINTS = 72  # per inch
MOST_LETTERS = 9  # most characters of a tick label
MARGIN = 0.15  # inches, left of the heading and above it
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def style_for(*texts: str) -> dict[Any, Any]:
    """The style, with fonts that have the characters of these texts."""
    return {**STYLE, "font.family": families(*texts)}


@contextmanager
def page(width: float, body: float, heading: str, note: str) -> Iterator[Figure]:
    """Context manager for a figure with a heading, a note, and `body` inches below them for the content.

    At the end of the context the layout is computed and fixed, so that it is the same in all file formats.
    """
    room = 0.96 * (width - 2 * MARGIN) * POINTS  # words are a little wider at low resolution
    texts: list[tuple[str, int, dict[str, Any]]] = [
        (_broken(heading, room, HEADING, bold=True), HEADING, {"fontweight": "bold"}),
        (_broken(note, room, NOTE), NOTE, {"color": SOFT}),
    ]
    head = MARGIN + sum(_height(text, points) for text, points, _ in texts)
    height = head + body
    with matplotlib.rc_context(style_for(heading, note)):
        figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
        top = MARGIN
        for text, points, look in texts:
            figure.text(MARGIN / width, 1 - top / height, text, fontsize=points, va="top", **look)
            top += _height(text, points)
        side = MARGIN / 2 / width
        engine: Any = figure.get_layout_engine()
        engine.set(w_pad=0.06, h_pad=0.06, rect=(side, 0, 1 - 2 * side, body / height))
        yield figure
        FigureCanvasAgg(figure)
        with _boxes():
            figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _broken(text: str, room: float, points: float, bold: bool = False) -> str:
    return "\n".join(" ".join(line) for line in wrapped(text.split(), room, points, bold))


def _height(text: str, points: float) -> float:
    """The height of a text with the space below it, in inches."""
    return (text.count("\n") + 1) * 1.3 * points / POINTS + 0.05


def save_figure(figure: Figure, path: str | Path, dpi: float = 120) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix of the path. The same figure gives the same bytes.

    Args:
        figure: a matplotlib figure.
        path: the file to write.
        dpi: the resolution of pixels, in dots per inch.

    Raises:
        ValueError: the suffix is unknown.
    """
    ending = Path(path).suffix.lower()
    if ending not in _UNDATED:
        raise ValueError(f"save_figure: path must end in {', '.join(_UNDATED)}. Got {str(path)!r}.")
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"svg.hashsalt": "gatewise"}), _boxes():
        figure.savefig(path, dpi=dpi, metadata=_UNDATED[ending])


@contextmanager
def _boxes() -> Iterator[None]:
    """Context manager in which boxes for `missing_letters` are drawn without warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def text_width(text: str, points: float, bold: bool = False) -> float:
    """The width of a line, in points."""
    font = FontProperties(family=FONT, size=points, weight="bold" if bold else "normal")
    with _boxes():
        return float(text_to_path.get_text_width_height_descent(text, font, False)[0])


def wrapped(words: list[str], room: float, points: float, bold: bool = False) -> list[list[str]]:
    """Break words into lines of at most `room` points. A longer word gets a line of its own."""
    lines: list[list[str]] = []
    for word in words:
        if lines and text_width(" ".join([*lines[-1], word]), points, bold) <= room:
            lines[-1].append(word)
        else:
            lines.append([word])
    return lines


def cut(text: str, room: float, points: float) -> str:
    """The beginning of a text that fits into `room` points."""
    if text_width(text, points) <= room:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if text_width(text[:n] + "…", points) <= room), 0)
    return text[:kept] + "…" if kept else ""


def short(value: float) -> str:
    """A number in few digits, with thousands separators, or with M, G, m, µ and so on.

    >>> short(0.9341), short(12345.6), short(29478186.0), short(3.5e-7)
    ('0.93', '12,346', '29.5 M', '350.0 n')
    """
    if _is_far(value):
        return str(EngFormatter(places=1)(value))
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def signed(value: float) -> str:
    """A number in few digits with a typographic minus sign, for a sentence."""
    return short(value).replace("-", "\N{MINUS SIGN}")


def short_tick(value: float, _: object) -> str:
    """The label of a tick, for a ``FuncFormatter``."""
    text = str(EngFormatter()(value)) if _is_far(value) else f"{value:,.10g}"
    return text.replace("-", "\N{MINUS SIGN}")


class ShortTicks(Formatter):
    """Tick labels in few digits; if need be, one label in full and the others as differences from it.

    >>> ShortTicks().format_ticks([0.0, 0.5, 1.0])
    ['0', '0.5', '1']
    >>> ShortTicks().format_ticks([331_002_000.0, 331_002_500.0, 331_003_000.0])
    ['331.002 M', '+500', '+1,000']
    """

    def __call__(self, value: float, pos: int | None = None) -> str:
        """The label of one tick."""
        return short_tick(value, pos)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of all ticks."""
        words = [short_tick(value, None) for value in values]
        if len({*words}) == len(words) and max(map(len, words), default=0) <= MOST_LETTERS:
            return words
        ends = (min(values), max(values)) if self.axis is None else sorted(self.axis.get_view_interval())
        shown = [value for value in values if ends[0] <= value <= ends[1]] or list(values)
        base = min(shown, key=lambda value: (float(f"{value:.6g}") != value, value))  # a short one
        short = float(f"{base:.6g}") == base
        full = short_tick(base, None) if short else f"{base:,.12g}".replace("-", "\N{MINUS SIGN}")
        return [full if value == base else _added(value - base) for value in values]


def _added(value: float) -> str:
    sign = "+" if value > 0 else "\N{MINUS SIGN}"
    return sign + short_tick(float(f"{abs(value):.6g}"), None)


def power_tick(value: float, _: object) -> str:
    """The label of a tick on a logarithmic axis, for a ``FuncFormatter``.

    >>> power_tick(0.2, None), power_tick(1e-7, None), power_tick(2e5, None)
    ('0.2', '10⁻⁷', '2·10⁵')
    """
    if value <= 0 or 1e-2 <= value < 1e4:
        return f"{value:g}"
    factor, power = f"{value:.0e}".split("e")
    raised = str(int(power)).translate(_RAISED)
    return f"10{raised}" if factor == "1" else f"{factor}·10{raised}"


def _is_far(value: float) -> bool:
    """Whether a number has too many digits to be written out."""
    return value != 0 and not 1e-3 <= abs(value) < 1e6
