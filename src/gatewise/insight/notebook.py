"""What a notebook shows of a recording: a picture of each gate and state, units over steps.

Gates go from dark (0, shut) to bright (1, open) in cividis (Nunez, Anderton & Renslow 2018); other values
are blue below zero and orange above it, and nothing at zero. Both can be read on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.insight.bitmap import Pixels, address

if TYPE_CHECKING:
    from gatewise.insight.values import Values

_LAYERS, _UNITS, _STEPS = 4, 64, 400  # that are shown
_CIVIDIS = np.array(
    [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
     [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56]]
)  # fmt: skip
_BELOW, _ABOVE = (0, 103, 163), (213, 94, 0)


def shown(recorded: Iterable[Values]) -> str:
    """The recordings of layers as HTML, the first four layers."""
    layers = list(recorded)
    more = f"<p>and {len(layers) - _LAYERS} more layers</p>" if len(layers) > _LAYERS else ""
    return f"<div>{''.join(map(_layer, layers[:_LAYERS]))}{more}</div>"


def _layer(values: Values) -> str:
    """The pictures of one layer, of its first row."""
    names = [name for name in values.names if values.cell.values[name].args] or list(values.names)
    if not names:
        return f"<p><code>{escape(values.layer)}</code>: nothing recorded</p>"
    _, B, H = _whole(values[names[0]]).shape
    T = _steps(values[names[0]])
    parts = [f"<code>{escape(values.layer)}</code> ({escape(values.cell.name)}): {H} units over {T} steps"]
    parts += [f"the first of {B} rows"] if B > 1 else []
    parts += [f"the first {_UNITS} units"] if H > _UNITS else []
    parts += ["means of neighbouring steps"] if T > _STEPS else []
    rows = "".join(_picture(name, values, T) for name in names)
    return (
        f"<p>{', '.join(parts)}. Gates: dark is shut, bright is open; others: blue is below 0, orange above."
        f'</p><table style="border-spacing: 4px">{rows}</table>'
    )


def _steps(value: Tensor) -> int:
    """The steps of the first row. Values are NaN past its end."""
    kept = (~_whole(value)[:, 0].isnan().all(-1)).nonzero()
    return int(kept.max()) + 1 if len(kept) else 0


def _whole(value: Tensor) -> Tensor:
    """A value as ``[T, B, H]``; of a single step, with one step."""
    return value[None] if value.dim() == 2 else value[None, None] if value.dim() == 1 else value


def _picture(name: str, values: Values, steps: int) -> str:
    value = _whole(values[name])[:steps, 0, :_UNITS].detach().cpu().to(torch.float64).numpy()  # [T, H]
    finite = value[np.isfinite(value)]
    is_gate = values.cell.values[name].op == "sigmoid"
    if not finite.size:
        return ""
    between = f"{finite.min():.2g} to {finite.max():.2g}"
    largest = max(abs(finite.min()), abs(finite.max()), 1e-300)
    units = _together(value).T
    pixels = _gate(units) if is_gate else _signed(units / largest)
    said = f"{name} of {units.shape[0]} units over {value.shape[0]} steps, {between}"
    size = f"width: {min(max(6 * units.shape[1], 320), 640)}px; height: {min(max(4 * len(units), 24), 128)}px"
    picture = f'<img src="{address(pixels)}" alt="{escape(said)}" style="{size}; image-rendering: pixelated">'
    return (
        f'<tr style="background: none"><th style="text-align: left">{escape(name)}</th>'
        f'<td>{picture}</td><td style="text-align: left">{between}</td></tr>'
    )


def _together(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `_STEPS` rows: means of neighbouring steps, NaN where a part is."""
    if len(value) <= _STEPS:
        return value
    ends = np.linspace(0, len(value), _STEPS + 1).round().astype(int)
    return np.stack([value[a:b].mean(0) for a, b in pairwise(ends)])


def _gate(x: NDArray[np.float64]) -> Pixels:
    """Colours of numbers from 0 to 1; nothing where there is no number."""
    place = np.nan_to_num(x.clip(0, 1)) * (len(_CIVIDIS) - 1)
    channels = [np.interp(place, np.arange(len(_CIVIDIS)), _CIVIDIS[:, k]) for k in range(3)]
    return np.stack([*channels, np.where(np.isnan(x), 0, 255)], axis=-1).round().astype(np.uint8)


def _signed(x: NDArray[np.float64]) -> Pixels:
    """Colours of numbers from -1 to 1, the stronger the larger."""
    colour = np.where((x < 0)[..., None], _BELOW, _ABOVE)
    opacity = 255 * np.sqrt(np.nan_to_num(np.abs(x)).clip(0, 1))
    return np.concatenate([colour, opacity[..., None]], axis=-1).round().astype(np.uint8)
