"""The network for synthetic tasks: one recurrent layer of any cell, and a linear readout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatewise.language import Cell
from gatewise.language.gating import Gate, keeping, writing
from gatewise.nn import Recurrent
from gatewise.tasks.synthetic.task import Loss, Numbers, Sequences, Task

_OPEN = 5.0  # the bias of a gate that begins open

_Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_LOSSES: dict[Loss, _Measure] = {Loss.VALUE: F.mse_loss, Loss.CLASS: F.cross_entropy}


@final
class Network(nn.Module):
    """One layer of H units over the input, and O linear outputs of its state after each step.

    Weights are initialised as in torch. `biases` are added to the biases of the gates of that name. A forget
    gate ``f`` starts open with a bias of a few units (Gers, Schmidhuber & Cummins 2000), else half open.
    """

    def __init__(
        self, cell: Cell, inputs: int, hidden_size: int, outputs: int, biases: Mapping[str, float]
    ) -> None:
        super().__init__()
        self.layer = Recurrent(cell, inputs, hidden_size)
        self.readout = nn.Linear(hidden_size, outputs)
        gates = self.layer.get_parameter("bias_ih_l0").detach().view(-1, hidden_size)  # [G, H]
        for number, name in enumerate(cell.input_gates):
            gates[number] += biases.get(name, 0.0)

    @property
    def parameters_count(self) -> int:
        """The number of learned numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def loss(self, task: Task, rows: Sequences) -> Tensor:
        """The mean loss over all steps with a target."""
        asked = torch.from_numpy(rows.asked)
        states, _ = self.layer(torch.from_numpy(rows.input), lengths=torch.from_numpy(rows.lengths))
        return _LOSSES[task.loss](self.readout(states[asked]), torch.from_numpy(rows.target)[asked])

    @torch.no_grad()
    def right(self, task: Task, rows: Sequences) -> float:
        """The share of rows whose answers are right."""
        states, _ = self.layer(torch.from_numpy(rows.input), lengths=torch.from_numpy(rows.lengths))
        outputs = self.readout(states)
        answers: Numbers = (outputs.softmax(-1) if task.loss is Loss.CLASS else outputs).numpy()
        return float(task.right(answers, rows).mean())


def first_biases(cell: Cell) -> dict[str, float]:
    """What to add to the first biases of gates, so that states are kept at the start of training.

    5 for gates that keep a state, -5 for those that write to it (see docs/claims.md). Empty if the cell has
    no such gates.

    Example:
        >>> from gatewise import cells
        >>> from gatewise.tasks.synthetic.network import first_biases
        >>> first_biases(cells.lstm)
        {'f': 5.0, 'i': -5.0}
    """
    kept = dict(_of_gates(keeping(cell), _OPEN))
    return kept | {name: bias for name, bias in _of_gates(writing(cell), -_OPEN) if name not in kept}


def _of_gates(gates: Sequence[Gate], bias: float) -> Iterator[tuple[str, float]]:
    for gate in gates:
        for leaf in gate.biases:
            if leaf.op == "gate" and leaf.part != "h":
                yield leaf.name, gate.sign * bias


def loss_at_the_end(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum of the losses of all rows, from outputs and targets ``[B, O]``."""
    return _LOSSES[task.loss](outputs, targets) * len(outputs)
