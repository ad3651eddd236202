"""Trains one recurrent layer with a linear readout, as the lesson does in the browser.

`page/training.js` is the same in JavaScript: both give the same losses to the last digit. The layer computes
in float32, in the kernels of `gatewise.nn`. Everything else is computed in float64, one operation at a time,
and each sum in the order of its index. Inputs, weights and the derivatives that the layer receives are then
rounded to float32. (Cells with a learned `Vector` or a `layer_norm` are the exception: torch adds up the
gradients of vectors in an order of its own, so that last digits may differ.)

Example:
    >>> from gatewise.learn.training import train
    >>> trainer = train("lstm", "adding", units=8, steps=10, iterations=3, seed=1)
    >>> len(trainer.losses), trainer.size
    (3, 393)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from gatewise import cells
from gatewise.language import Cell
from gatewise.learn.beginning import beginning
from gatewise.learn.problems import TASKS, Array, Batch, Random, Task
from gatewise.nn import Recurrent

DECAY, SQUARES, TINY = 0.9, 0.999, 1e-8  # of Adam (Kingma & Ba 2015)
WINDOW = 20  # losses whose mean says how well the task is solved

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10


def train(
    cell: Cell | str,
    task: Task | str = "adding",
    *,
    units: int = 32,
    steps: int = 50,
    iterations: int = 100,
    seed: int = 1,
    rows: int = 32,
    rate: float = 0.01,
) -> Trainer:
    """Train a new network. The same arguments give the same losses here and in the lesson, to the last digit.

    Args:
        cell: the equations, or the name of a cell of `gatewise.cells`.
        task: "adding", "remember", "order", or another task.
        units: H, the units of the layer.
        steps: T, the length of the sequences.
        iterations: the number of batches to train on.
        seed: of the weights and the sequences.
        rows: B, the sequences in a batch.
        rate: the learning rate of Adam.

    Returns:
        The trainer. `losses` has the loss of each batch, `layer` the trained layer.
    """
    trainer = Trainer(cell, task, units=units, steps=steps, seed=seed, rows=rows, rate=rate)
    for _ in range(iterations):
        trainer.iteration()
    return trainer


class Trainer:
    """A layer and its readout in training.

    Weights of the same name (a matrix and a gate in it) begin with the same numbers in every cell of the same
    size: a cell without its forget gate trains from the weights of the cell that has one. They are uniform
    between -k and k, k = 1 / sqrt(H). The bias of a gate that keeps a state begins with `forget_bias` (Gers
    et al. 2000).

    Attributes:
        layer: the recurrent layer, a `gatewise.nn.Recurrent`.
        weight, bias: the readout, [K, P] and [K].
        losses: the loss of each batch so far.
    """

    def __init__(
        self,
        cell: Cell | str,
        task: Task | str = "adding",
        *,
        units: int = 32,
        steps: int = 50,
        seed: int = 1,
        rows: int = 32,
        rate: float = 0.01,
        clip: float = 1.0,
        forget_bias: float = 1.0,
    ) -> None:
        self.cell, self.task = _cell_of(cell), _task_of(task)
        self.units, self.steps, self.seed, self.rows = units, steps, seed, rows
        self.rate, self.clip, self.forget_bias = rate, clip, forget_bias
        self.layer = Recurrent(self.cell, self.task.inputs, units)
        self._beginning = beginning(self.cell)
        self.weight = np.zeros((self.task.outputs, units), np.float32)
        self.bias = np.zeros(self.task.outputs, np.float32)
        self.rewind()

    @property
    def weights(self) -> dict[str, Array]:
        """All weights by name, the readout last. Changing them changes the trainer."""
        layer = {name.removesuffix("_l0"): w.detach().numpy() for name, w in self.layer.named_parameters()}
        return layer | {"readout.weight": self.weight, "readout.bias": self.bias}

    @property
    def size(self) -> int:
        """How many numbers are learned."""
        return sum(weight.size for weight in self.weights.values())

    def rewind(self) -> None:
        """Return to the initial weights, and to the first batch."""
        self.losses: list[float] = []
        self._random = Random(self.seed, "train")
        self._powers = [1.0, 1.0]  # of DECAY and SQUARES
        for name, weight in self.weights.items():
            self._fill(name, weight)
        self._fill_forget_biases()
        self._means = [np.zeros(weight.shape) for weight in self.weights.values()]
        self._squares = [np.zeros(weight.shape) for weight in self.weights.values()]

    def iteration(self) -> float:
        """One iteration on a new batch. Returns its loss, from before the weights changed."""
        batch = self.task.draw(self._random, self.steps, self.rows)
        loss, weight, bias = self._backward(torch.from_numpy(batch.x), batch.target)
        gradients = [p.grad.numpy() for p in self.layer.parameters() if p.grad is not None]
        self._adam([*gradients, weight, bias])
        self.losses.append(loss)
        return loss

    @property
    def recent(self) -> float:
        """The mean of the last losses; NaN before the first."""
        return fmean(self.losses[-WINDOW:]) if self.losses else math.nan

    @property
    def guess(self) -> float:
        """The loss of the best constant answer, measured on 1,000 rows: what guessing gives."""
        _, target = self.task.draw(Random(0, "guess"), self.steps, 1000)
        if self.task.loss == "squares":
            return float(np.var(target))
        shares = np.bincount(target.ravel(), minlength=self.task.outputs) / target.size
        return float(-sum(share * math.log(share) for share in shares if share))

    @property
    def solved(self) -> bool:
        """Whether the task is solved: the recent losses are a tenth of what guessing gives."""
        return len(self.losses) >= WINDOW and self.recent < self.guess / 10

    def sample(self, rows: int = 8) -> Batch:
        """A batch that is never trained on, the same for every cell."""
        return self.task.draw(Random(self.seed, "show"), self.steps, rows)

    def flow(self) -> Array:
        """The norm of the gradient of the loss with respect to each input, by distance from the last step.

        The mean over the rows of `sample`.
        """
        x = torch.from_numpy(self.sample().x).requires_grad_()
        self._backward(x, self.sample().target)
        assert x.grad is not None
        norms: Array = x.grad.norm(dim=-1).mean(1).flip(0).numpy()
        return norms

    def _fill(self, name: str, weight: Array) -> None:
        blocks = self._beginning["blocks"].get(name, [""])
        bound = 1 / math.sqrt(self.units)
        if name.startswith("norm_"):
            weight[:] = float(name.startswith("norm_gain"))
            return
        for gate, part in zip(blocks, np.split(weight, len(blocks)), strict=True):
            drawn = Random(self.seed, f"{name}/{gate}").draw(part.size)
            part[:] = ((2 * drawn - 1) * bound).reshape(part.shape)

    def _fill_forget_biases(self) -> None:
        weights = self.weights
        for name, block, share in self._beginning["kept"]:
            weights[name][block * self.units : (block + 1) * self.units] = share * self.forget_bias

    def _backward(self, x: Tensor, target: Array) -> tuple[float, Array, Array]:
        """The loss, and its derivatives by weight and bias of the readout. Parameters have theirs."""
        output, _ = self.layer(x)
        read = output if self.task.every else output[-1]
        h = read.detach().numpy().astype(np.float64).reshape(-1, self.units)
        loss, slope = LOSSES[self.task.loss](self._answers(h), target.ravel())
        weight, bias, outputs = self._readout_gradients(h, slope)
        self.layer.zero_grad()
        torch.autograd.backward(read, torch.from_numpy(outputs.astype(np.float32)).reshape(read.shape))
        return loss, weight, bias

    def _answers(self, h: Array) -> Array:
        """The answers [N, K] to outputs [N, P]."""
        answers = np.repeat(self.bias[None].astype(np.float64), len(h), 0)
        for p, weight in enumerate(self.weight.T.astype(np.float64)):
            answers += weight * h[:, p : p + 1]
        return answers

    def _readout_gradients(self, h: Array, slope: Array) -> tuple[Array, Array, Array]:
        """The derivatives by weight [K, P], bias [K] and outputs [N, P], from those by the answers [N, K]."""
        weight, bias, outputs = np.zeros(self.weight.shape), np.zeros(self.bias.shape), np.zeros(h.shape)
        for n in range(len(h)):
            weight += slope[n, :, None] * h[n]
            bias += slope[n]
        for k, row in enumerate(self.weight.astype(np.float64)):
            outputs += slope[:, k : k + 1] * row
        return weight, bias, outputs

    def _adam(self, gradients: Sequence[Array]) -> None:
        """Change the weights by clipped gradients (Pascanu et al. 2013), with Adam."""
        flat = np.concatenate([gradient.ravel() for gradient in gradients]).astype(np.float64)
        norm = math.sqrt(in_order(flat * flat))
        scale = self.clip / norm if norm > self.clip else 1.0
        self._powers = [self._powers[0] * DECAY, self._powers[1] * SQUARES]
        first, second = (1 - power for power in self._powers)
        kept = zip(self.weights.values(), gradients, self._means, self._squares, strict=True)
        for weight, gradient, mean, squares in kept:
            slope = gradient.astype(np.float64) * scale
            mean[:] = DECAY * mean + (1 - DECAY) * slope
            squares[:] = SQUARES * squares + (1 - SQUARES) * slope * slope
            change = (self.rate * (mean / first)) / (np.sqrt(squares / second) + TINY)
            weight[:] = weight.astype(np.float64) - change


def _cell_of(cell: Cell | str) -> Cell:
    found = getattr(cells, cell, None) if isinstance(cell, str) else cell
    if not isinstance(found, Cell):
        raise ValueError(f"cell must be a Cell or the name of one of gatewise.cells. Got {cell!r}.")
    return found


def _task_of(task: Task | str) -> Task:
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}. Got {task!r}.")
    return TASKS[task]


def squares(answers: Array, target: Array) -> tuple[float, Array]:
    """The mean square of the errors, and its derivative by the answers [N, K]."""
    error = answers.ravel() - target
    return in_order(error * error / len(error)), (2 * error / len(error)).reshape(answers.shape)


def classes(answers: Array, target: Array) -> tuple[float, Array]:
    """Softmax, then the mean cross-entropy of the right class, and its derivative by the answers [N, K]."""
    rows = np.arange(len(answers))
    lower = answers - answers.max(1, keepdims=True)
    shares = _exp(lower)
    sums = np.add.accumulate(shares, 1)[:, -1:]
    loss = in_order((_log(sums[:, 0]) - lower[rows, target]) / len(answers))
    right = np.zeros(answers.shape)
    right[rows, target] = 1
    return loss, (shares / sums - right) / len(answers)


LOSSES: dict[str, Callable[[Array, Array], tuple[float, Array]]] = {"squares": squares, "classes": classes}


def in_order(terms: Array) -> float:
    """The sum of some numbers, one after the other; `numpy.sum` adds them in pairs."""
    return float(np.add.accumulate(terms)[-1])


def _exp(a: Array) -> Array:
    """exp(a) for a <= 0, below 2 ULP; 0 below -700. The platforms' own differ in the last digit."""
    k = np.floor(a * _LOG2E + 0.5)
    r = a - k * _LN2_HIGH - k * _LN2_LOW
    sum_ = np.ones(a.shape)
    for n in range(14, 0, -1):
        sum_ = sum_ * r / n + 1
    return np.where(a < -700, 0.0, np.ldexp(sum_, k.astype(int)))


def _log(a: Array) -> Array:
    """log(a) for a >= 1."""
    half, k = np.frexp(a)  # a = half * 2**k with half below 1
    z = (2 * half - 1) / (2 * half + 1)
    sum_ = np.zeros(a.shape)
    for n in range(35, 0, -2):
        sum_ = sum_ * (z * z) + 2 / n
    logarithm: Array = sum_ * z + (k - 1) * _LN2_LOW + (k - 1) * _LN2_HIGH
    return logarithm
