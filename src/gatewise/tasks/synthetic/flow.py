"""Gradient flow: how much of an error at the end of a sequence reaches the states before it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.tasks.synthetic.network import Network, loss_at_the_end
from gatewise.tasks.synthetic.task import Sequences, Task

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class Flow:
    """Norms of the gradient of the last step's loss by the states ``k`` steps before it, ``k = 0 .. K - 1``.

    Attributes:
        states: for each state of the cell, by name, the median over rows of the norm over units, ``[K]``.
        whole: the same, of all states of a row together.
    """

    states: dict[str, Norms]
    whole: Norms

    @property
    def kept(self) -> float:
        """The share of the gradient that is kept from one step to the one before it: the geometric mean.

        NaN where nothing can be said: a gradient of zero, or no step before the last.
        """
        if len(self.whole) < 2 or not (self.whole[0] > 0 and self.whole[-1] > 0):
            return float("nan")
        return float((self.whole[-1] / self.whole[0]) ** (1 / (len(self.whole) - 1)))


def gradient_flow(network: Network, task: Task, rows: Sequences) -> Flow:
    """Measure it, in double precision, as far back as the shortest row goes.

    The states ``h_t`` (and ``c_t``, ...) that enter the step after ``t`` are taken as independent: the
    gradient by ``h_t`` is along all ways that leave through ``h_t``, that by ``c_t`` along all that leave
    through ``c_t``. So an LSTM's last ``c`` has none: the readout sees ``h`` alone.
    """
    network = deepcopy(network).double().eval()
    last = torch.from_numpy(rows.lengths) - 1
    row = torch.arange(len(last))
    steps = _walk(network, torch.from_numpy(rows.input).double())
    ends = torch.stack([states[0] for states in steps])[last, row]
    targets = torch.from_numpy(rows.target).double()[last, row]
    loss = loss_at_the_end(task, network.readout(ends), targets)
    gradients = torch.autograd.grad(loss, [s for states in steps for s in states], materialize_grads=True)
    names = network.layer.cell.states
    back = last - torch.arange(int(last.min()) + 1)[:, None]  # [K, B]: the step that lies k before the last
    norms = [torch.stack(gradients[k :: len(names)]).norm(dim=-1)[back, row] for k in range(len(names))]
    whole = torch.stack(norms).norm(dim=0)
    return Flow({name: _median(norm) for name, norm in zip(names, norms, strict=True)}, _median(whole))


def _walk(network: Network, x: Tensor) -> list[tuple[Tensor, ...]]:
    """The states after each step, ``[B, H]``, through which alone the later ones are reached."""
    found: list[tuple[Tensor, ...]] = []
    states: Tensor | tuple[Tensor, ...] | None = None
    for step in x.unbind():
        _, states = network.layer(step.unsqueeze(0), states)
        parts = (states,) if isinstance(states, Tensor) else states
        found.append(tuple(state[0] for state in parts))
        states = tuple(state.unsqueeze(0) for state in found[-1])
        states = states[0] if len(states) == 1 else states
    return found


def _median(norms: Tensor) -> Norms:
    return np.asarray(norms.median(dim=1).values.numpy())
