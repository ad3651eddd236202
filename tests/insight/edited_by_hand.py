# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls
"""A reference for edited layers: step by step and row by row, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, sigmoid, tanh
from torch.nn.functional import layer_norm

from gatewise import Input, Split, Vector, cell, cells
from gatewise import layer_norm as normalised
from gatewise import linear as times
from gatewise import sigmoid as opened
from gatewise import tanh as squashed
from tests.insight.networks import leaky


@cell
def products(h, c, *, f, g: Split, o, v: Vector, i: Input):
    """Named products that are terms of sums, on either side. One of them is a term of two sums."""
    keep = opened(f) * c
    write = opened(i) * squashed(g.x + g.h)
    c = keep + write
    leak = v * c
    h = opened(o) - leak
    h = h * squashed(leak + c)
    return h, c


@cell
def rich(h, c, *, i, f, g, o):
    """Normalised gates, and a product with a matrix in the middle of the step."""
    i, f, g, o = normalised(i, f, g, o)
    i, f, o = opened(i), opened(f), opened(o)
    inner = times(h * o)
    g = squashed(g + inner)
    c = f * c + i * g
    h = o * normalised(squashed(c))
    return h, c


class Change(NamedTuple):
    """An edit of one value: `new` is a function of the old value, the step and the row."""

    name: str
    new: Callable[[Tensor, int, int], Tensor]
    units: Sequence[int]
    steps: Sequence[int]
    rows: Sequence[int]


def lstm_step(w, x, h, c, e, rates):
    bars = (w("weight_ih") @ x + w("bias_ih") + w("weight_hh") @ h + w("bias_hh")).chunk(4)
    i, f, g, o = (e(f"{name}_bar", bar) for name, bar in zip("ifgo", bars, strict=True))
    i, f, g, o = e("i", sigmoid(i)), e("f", sigmoid(f)), e("g", tanh(g)), e("o", sigmoid(o))
    if rates:  # a state is replaced last, when the step has used the old value everywhere
        new = f * c + i * g
        return e("h", zoned(rates[0], h, o * tanh(new))), e("c", zoned(rates[1], c, new))
    c = e("c", f * c + i * g)
    h = o * tanh(c)
    return (e("h", h) if w("weight_hr") is None else w("weight_hr") @ h), c


def zoned(rate, old, new):
    return rate * old + (1 - rate) * new


def gru_step(w, x, h, e):
    rx, zx, nx = (w("weight_ih") @ x + w("bias_ih")).chunk(3)
    rh, zh, nh = (w("weight_hh") @ h + w("bias_hh")).chunk(3)
    r, z = e("r", sigmoid(e("r_bar", rx + rh))), e("z", sigmoid(e("z_bar", zx + zh)))
    n = e("n", tanh(e("n_bar_x", nx) + r * e("n_bar_h", nh)))
    return (e("h", (1 - z) * n + z * h),)


def leaky_step(w, x, h, m, e):
    ax, bx, dx = (w("weight_ih") @ x + w("bias_ih")).chunk(3)
    bh, dh = (w("weight_hh") @ h + w("bias_hh")).chunk(2)
    a, bx, bh = e("a_bar", ax), e("b_bar_x", bx), e("b_bar_h", bh)
    d = e("d", sigmoid(e("d_bar", dx + dh)))
    m = e("m", m + d * (tanh(a + bx) - m))
    return e("h", tanh(m * w("v") + bh)), m


def products_step(w, x, h, c, e):
    fx, gx, ox, ix = (w("weight_ih") @ x + w("bias_ih")).chunk(4)
    fh, gh, oh = (w("weight_hh") @ h + w("bias_hh")).chunk(3)
    f, gx, gh = e("f_bar", fx + fh), e("g_bar_x", gx), e("g_bar_h", gh)
    o, i = e("o_bar", ox + oh), e("i_bar", ix)
    keep, write = e("keep", sigmoid(f) * c), e("write", sigmoid(i) * tanh(gx + gh))
    c = e("c", keep + write)
    leak = e("leak", w("v") * c)
    return e("h", (sigmoid(o) - leak) * tanh(leak + c)), c


def rich_step(w, x, h, c, e):
    bars = (w("weight_ih") @ x + w("bias_ih") + w("weight_hh") @ h + w("bias_hh")).chunk(4)
    bars = [e(f"{name}_bar", bar) for name, bar in zip("ifgo", bars, strict=True)]
    normal = layer_norm(torch.cat(bars), (4 * len(h),)).chunk(4)
    i, f, g, o = (w(f"norm_gain_{n}") * part + w(f"norm_bias_{n}") for n, part in enumerate(normal))
    i, f, o = e("i", sigmoid(i)), e("f", sigmoid(f)), e("o", sigmoid(o))
    inner = e("inner", w("weight_linear") @ (h * o) + w("bias_linear"))
    g = e("g", tanh(g + inner))
    c = e("c", f * c + i * g)
    return e("h", o * (w("norm_gain_4") * layer_norm(tanh(c), c.shape) + w("norm_bias_4"))), c


STEPS: dict[Any, Callable[..., Any]] = {
    cells.lstm: lstm_step,
    cells.gru: gru_step,
    leaky: leaky_step,
    products: products_step,
    rich: rich_step,
}


def by_hand(
    layer: Any,
    x: Tensor,
    changes: Mapping[str, Sequence[Change]],
    hx: Sequence[Tensor] | None = None,
    lengths: Sequence[int] | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, list[Tensor], dict[tuple[str, str], Tensor]]:
    """Run an edited layer over time-first `x`, step by step.

    Returns the output ``[T, B, D*H]``, the final states ``[L*D, B, H]``, and every value by layer and name,
    NaN after the end of a row.
    """
    T, B = x.shape[:2]
    H, P = layer.hidden_size, layer.proj_size or layer.hidden_size
    widths = [P, *[H] * (len(layer.cell.states) - 1)]
    hx = hx or [torch.zeros(len(layer._all_suffixes), B, width, dtype=x.dtype) for width in widths]
    finals = [state.clone() for state in hx]
    seen: dict[tuple[str, str], Tensor] = {}
    outputs: list[Tensor] = []
    for k, suffix in enumerate(layer._all_suffixes):
        if k % layer._num_directions == 0:
            x, outputs = torch.cat(outputs, -1) if outputs else x, []
        output = x.new_zeros(T, B, P)
        for b in range(B):
            start = [state[k, b] for state in hx]
            states = start
            walk = list(range(T if lengths is None else lengths[b]))
            for t in walk[::-1] if suffix.endswith("_reverse") else walk:
                boundary = t + 1 if suffix.endswith("_reverse") else t
                is_reset = reset is not None and boundary < T and bool(reset[boundary, b])
                states = start if is_reset else states
                states = _step(
                    layer, suffix, x[t, b], states, changes.get(suffix[1:], ()), seen, t, b, (T, B)
                )
                output[t, b] = states[0]
            for final, state in zip(finals, states, strict=True):
                final[k, b] = state
        outputs.append(output)
    return torch.cat(outputs, -1), finals, seen


def _step(layer, suffix, x, states, changes, seen, t, b, shape):
    def weight(name):
        return getattr(layer, name + suffix, None)

    def e(name, value):
        for change in changes:
            if change.name == name and t in change.steps and b in change.rows:
                units = torch.tensor([unit in change.units for unit in range(len(value))])
                value = torch.where(units, change.new(value, t, b), value)
        kept = seen.setdefault((suffix[1:], name), value.new_full((*shape, len(value)), torch.nan))
        kept[t, b] = value.detach()
        return value

    rates = (layer.zoneout,) if layer.cell is cells.lstm else ()
    return STEPS[layer.cell](weight, x, *states, e, *rates)
