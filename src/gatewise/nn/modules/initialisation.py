"""The initialisation of parameters: as torch does, with orthogonal matrices, or for long memories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor
from torch.nn import init

from gatewise.language import Cell, Kind
from gatewise.language.gating import Gate, keeping, places, writing
from gatewise.language.names import initial

WAYS = ("torch", "orthogonal", "chrono")


def check(way: str, forget_bias: float | None, max_steps: int | None, cell: Cell, bias: bool) -> None:
    """Refuse options that are wrong, or that would have no effect."""
    if way not in WAYS:
        raise ValueError(f"init must be one of {', '.join(map(repr, WAYS))}. Got {way!r}.")
    if (way == "chrono") != (max_steps is not None):
        raise ValueError(f"max_steps must be given with init='chrono', and only then. Got {max_steps!r}.")
    if max_steps is not None and (not _is_number(max_steps) or max_steps < 3):
        raise ValueError(f"max_steps must be a number of steps of at least 3. Got {max_steps!r}.")
    if forget_bias is not None and not _is_number(forget_bias):
        raise ValueError(f"forget_bias must be a finite number or None. Got {forget_bias!r}.")
    kept = keeping(cell)
    for name, asked in (("forget_bias", forget_bias is not None), ("init='chrono'", way == "chrono")):
        if asked and not kept:
            raise ValueError(f"{name} needs a gate that keeps a state, and cell {cell.name!r} has none.")
        if asked and not bias:
            raise ValueError(f"{name} needs a bias, and bias is False.")
    if forget_bias is not None and way == "chrono":
        raise ValueError("forget_bias must be None with init='chrono', which sets the same biases.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def fill(
    cell: Cell,
    named: Mapping[str, Tensor],
    hidden_size: int,
    way: str = "torch",
    forget_bias: float | None = None,
    max_steps: int | None = None,
) -> None:
    """Fill the parameters of one layer and direction.

    Gains of `layer_norm` become 1, its biases and learned initial states 0. All other parameters depend on
    `way`:

    - "torch": all from U(-k, k) with ``k = 1 / sqrt(H)``, in the order of `torch.nn`.
    - "orthogonal": recurrent matrices are orthogonal, gate by gate (Saxe et al. 2014), input matrices from
      Glorot's uniform distribution (2010), biases 0.
    - "chrono": as "torch", except for two biases (Tallec & Ollivier 2018). With u from
      U(1, max_steps - 1), the bias of a gate that keeps a state is ``log u``, and the bias of the gate that
      writes to this state is ``-log u``.

    Args:
        cell: the equations.
        named: the parameters, by name without suffix. They are filled in place.
        hidden_size: H, the number of units.
        way: the way of initialisation.
        forget_bias: the initial bias of gates that keep a state (Gers et al. 2000; Jozefowicz et al. 2015).
            If ``1 - z`` keeps the state, z gets the negative of this value.
        max_steps: the longest memory in steps, for "chrono".
    """
    bound = 1 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    fixed = {p.name: float(p.kind is Kind.GAIN) for p in cell.parameters if p.kind in (Kind.GAIN, Kind.BIAS)}
    fixed |= {initial(state): 0.0 for state in cell.states if initial(state) not in cell.vectors}
    for name, parameter in named.items():
        if name in fixed:
            init.constant_(parameter, fixed[name])
        elif way == "orthogonal":
            _fill_orthogonal(name, parameter, hidden_size, bound)
        else:
            init.uniform_(parameter, -bound, bound)
    with torch.no_grad():
        if forget_bias is not None:
            value = torch.full((hidden_size,), float(forget_bias), device="cpu")
            _set_biases(cell, named, keeping(cell), value)
        if max_steps is not None:
            remembered = torch.empty(hidden_size, device="cpu").uniform_(1, max_steps - 1).log()
            _set_biases(cell, named, keeping(cell), remembered)
            _set_biases(cell, named, writing(cell), -remembered)


def _fill_orthogonal(name: str, parameter: Tensor, hidden_size: int, bound: float) -> None:
    if name in ("weight_hh", "weight_linear", "weight_hr"):
        for block in torch.split(parameter.detach(), hidden_size):
            exact = torch.promote_types(block.dtype, torch.float32)  # torch factorises no half precision
            block.copy_(init.orthogonal_(torch.empty_like(block, dtype=exact)))
    elif name == "weight_ih":
        for block in torch.split(parameter, hidden_size):
            init.xavier_uniform_(block)
    elif name in ("bias_ih", "bias_hh", "bias_linear"):
        init.zeros_(parameter)
    else:
        init.uniform_(parameter, -bound, bound)


def _set_biases(cell: Cell, named: Mapping[str, Tensor], gates: Sequence[Gate], value: Tensor) -> None:
    """Set the sum of the biases of each gate: the first bias to the value, all others to 0."""
    H = len(value)
    for gate in gates:
        for n, (name, block) in enumerate(places(cell, gate)):
            part = named[name][block * H : (block + 1) * H]
            part.copy_(torch.zeros_like(value) if n else gate.sign * value)
