"""How the parameters of a scan start: torch's way, orthogonal matrices, gates that remember for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import init

from gatewise.language import Cell, Kind
from gatewise.language.gating import keeping_gates, writing_gates

WAYS = ("torch", "orthogonal", "chrono")


def check(way: str, forget_bias: float | None, max_steps: int | None, cell: Cell, bias: bool) -> None:
    """Refuse what cannot be done or would do nothing."""
    if way not in WAYS:
        raise ValueError(f"init must be one of {', '.join(map(repr, WAYS))}. Got {way!r}.")
    if (way == "chrono") != (max_steps is not None):
        raise ValueError(f"max_steps must be given with init='chrono', and only then. Got {max_steps!r}.")
    if max_steps is not None and max_steps < 3:
        raise ValueError(f"max_steps must be at least 3, the longest time to remember. Got {max_steps}.")
    gates = keeping_gates(cell)
    for name, asked in (("forget_bias", forget_bias is not None), ("init='chrono'", way == "chrono")):
        if asked and not gates:
            raise ValueError(f"{name} needs a gate that keeps a state, and cell {cell.name!r} has none.")
        if asked and not bias:
            raise ValueError(f"{name} needs a bias, and bias is False.")
    if forget_bias is not None and way == "chrono":
        raise ValueError("forget_bias must be None with init='chrono', which sets the same biases.")


def fill(
    cell: Cell,
    named: Mapping[str, Tensor],
    hidden_size: int,
    way: str = "torch",
    forget_bias: float | None = None,
    max_steps: int | None = None,
) -> None:
    """Fill the parameters of one scan, given by their names without suffix.

    - "torch": everything from U(-k, k), ``k = 1 / sqrt(H)``, in the order of `torch.nn`.
    - "orthogonal": recurrent matrices orthogonal, gate by gate (Saxe et al. 2014), input matrices from
      Glorot's uniform distribution (2010), biases 0.
    - "chrono": as "torch", but the bias of a gate that keeps a state is ``log u``, u from U(1,
      max_steps - 1), and that of the gate that writes to it ``-log u`` (Tallec & Ollivier 2018).

    `forget_bias` is the bias with which gates start that keep a state (Gers et al. 2000; Jozefowicz et al.
    2015). Gains of `layer_norm` start at 1, its biases and initial states at 0.
    """
    bound = 1 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    for name, parameter in named.items():
        if way == "orthogonal":
            _fill_orthogonal(name, parameter, hidden_size, bound)
        elif not name.startswith("initial_"):
            init.uniform_(parameter, -bound, bound)
    with torch.no_grad():
        for p in cell.parameters:
            if p.kind in (Kind.GAIN, Kind.BIAS):
                named[p.name].fill_(float(p.kind is Kind.GAIN))
        for name in named:
            if name.startswith("initial_"):
                named[name].zero_()
        if forget_bias is not None:
            value = torch.full((hidden_size,), float(forget_bias))
            _set_bias(cell, named, hidden_size, keeping_gates(cell), value)
        if max_steps is not None:
            remembered = torch.empty(hidden_size).uniform_(1, max_steps - 1).log()
            _set_bias(cell, named, hidden_size, keeping_gates(cell), remembered)
            _set_bias(cell, named, hidden_size, writing_gates(cell), -remembered)


def _fill_orthogonal(name: str, parameter: Tensor, hidden_size: int, bound: float) -> None:
    if name in ("weight_hh", "weight_linear", "weight_hr"):
        for block in torch.split(parameter, hidden_size):
            init.orthogonal_(block)
    elif name == "weight_ih":
        for block in torch.split(parameter, hidden_size):
            init.xavier_uniform_(block)
    elif name.startswith("bias_"):
        init.zeros_(parameter)
    elif not name.startswith("initial_"):
        init.uniform_(parameter, -bound, bound)


def _set_bias(
    cell: Cell, named: Mapping[str, Tensor], hidden_size: int, gates: Sequence[str], value: Tensor
) -> None:
    """Give gates a bias: all of it from the input's side."""
    for side, order in (("bias_ih", cell.input_gates), ("bias_hh", cell.state_gates)):
        for gate in gates:
            if gate in order:
                start = order.index(gate) * hidden_size
                named[side][start : start + hidden_size] = value if side == "bias_ih" else 0
