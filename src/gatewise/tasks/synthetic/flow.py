"""Gradient flow: how much of the gradient at the end of a sequence reaches earlier states."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatewise.insight import flow as insight
from gatewise.tasks.synthetic.network import Network, loss_at_the_end
from gatewise.tasks.synthetic.task import Sequences, Task

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class Flow:
    """Norms of the gradient of the last step's loss with respect to earlier states.

    Attributes:
        states: for each state of the cell, ``[K]``: the norm over units, k = 0 .. K - 1 steps before the
            last one, the median over rows.
        whole: ``[K]``, the same for all states together.
    """

    states: dict[str, Norms]
    whole: Norms

    @property
    def kept(self) -> float:
        """The mean factor (geometric mean) by which the norm changes from one step to the step before it.

        NaN if the gradient is zero, or there is only one step.
        """
        if len(self.whole) < 2 or not (self.whole[0] > 0 and self.whole[-1] > 0):
            return float("nan")
        return float((self.whole[-1] / self.whole[0]) ** (1 / (len(self.whole) - 1)))


def gradient_flow(network: Network, task: Task, rows: Sequences) -> Flow:
    """Measure the gradient flow, in float64, as far back as the shortest row goes.

    The gradients are the `partials` of `gatewise.gradient_flow`: the gradient with respect to ``h_t``
    includes the paths that leave the step through ``h_t``, the one with respect to ``c_t`` those through
    ``c_t``. So the gradient of an LSTM's last ``c`` is 0, since the readout sees only ``h``.
    """
    network = deepcopy(network).double().eval()
    lengths, row = torch.from_numpy(rows.lengths), torch.arange(len(rows.lengths))
    last = lengths - 1
    targets = torch.from_numpy(rows.target).double()[last, row]

    def loss() -> Tensor:
        states, _ = network.layer(torch.from_numpy(rows.input).double(), lengths=lengths)
        return loss_at_the_end(task, network.readout(states[last, row]), targets)

    partials = insight.gradient_flow(network, loss)["layer.l0"].partials
    back = last - torch.arange(int(last.min()) + 1)[:, None]  # [K, B]: the step k before the last one
    norms = {name: partial.norm(dim=-1)[back, row] for name, partial in partials.items()}
    whole = torch.stack(list(norms.values())).norm(dim=0)
    return Flow({name: _median(norm) for name, norm in norms.items()}, _median(whole))


def _median(norms: Tensor) -> Norms:
    return np.asarray(norms.median(dim=1).values.numpy())
