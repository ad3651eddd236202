"""The network of a `Classifier`, for training.

Shapes: ``T`` steps, ``B`` rows, ``I`` inputs, ``H`` hidden units, ``F`` features of a whole sequence, ``K``
classes. Time first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent

WIDTHS = (7, 5, 3)  # steps that a unit of each convolution sees


class Batch(NamedTuple):
    """Padded sequences with their classes.

    ``inputs [T, B, I]`` (measurements) or ``[T, B]`` (numbers of words); ``lengths [B]``; ``targets [B]``, or
    ``[B, K]`` if a sequence has several labels; ``weights [B]``, the weight of each row in the loss, or
    ``[B, K]``.
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Architecture:
    """The sizes of a network.

    Attributes:
        cell: the equations of the recurrent layers.
        inputs: channels at every step, or numbers of words if `words` is true.
        classes: K.
        hidden_size, num_layers, bidirectional: of the recurrent layers.
        convolution: channels of each convolution; () for none.
        embedding: width of the vector of a word; 0 for measurements.
        dropout: share of the features that is dropped in training, also between layers.
        members: networks whose logits are averaged.
    """

    cell: Cell
    inputs: int
    classes: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    convolution: tuple[int, ...] = ()
    embedding: int = 0
    dropout: float = 0.0
    members: int = 1

    @property
    def width(self) -> int:
        """The inputs of the layers."""
        return self.embedding or self.inputs


class Member(nn.Module):
    """Recurrent layers, and convolutions beside them, whose features of the whole sequence are classified.

    The features of a sequence are, of the recurrent layers, the last output and the mean and the maximum over
    steps, and of the convolutions the mean and the maximum (a recurrent branch beside a convolutional one:
    Karim et al. 2018; the convolutions are those of Wang, Yan & Oates 2017). Without `bidirectional` no
    feature of a step depends on later steps, so `beginnings` gives the logits that each beginning of the
    sequence would have.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.build(architecture)

    def build(self, a: Architecture) -> None:
        """Add the untrained layers."""
        self.architecture = a
        between = a.dropout if a.num_layers > 1 else 0.0
        self.recurrent = Recurrent(
            a.cell, a.width, a.hidden_size, a.num_layers, dropout=between, bidirectional=a.bidirectional
        )
        sizes = (a.width, *a.convolution)
        self.convolutions = nn.ModuleList(
            TimeConvolution(i, o, w, causal=not a.bidirectional)
            for i, o, w in zip(sizes, sizes[1:], widths(a.convolution), strict=False)
        )
        outputs = a.hidden_size * (1 + a.bidirectional)
        features = 3 * outputs + (2 * sizes[-1] if a.convolution else 0)
        self.dropout = nn.Dropout(a.dropout)
        self.head = nn.Linear(features, a.classes)

    def whole(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The logits ``[B, K]`` of embedded sequences."""
        mask = existing(len(x), lengths)
        features = [feature for branch in self._branches(x, lengths, mask) for feature in branch.whole()]
        logits: Tensor = self.head(self.dropout(torch.cat(features, -1)))
        return logits

    def beginnings(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The logits of every beginning of embedded sequences, ``[T, B, K]``."""
        branches = self._branches(x, lengths, existing(len(x), lengths))
        features = [feature for branch in branches for feature in branch.running()]
        logits: Tensor = self.head(self.dropout(torch.cat(features, -1)))
        return logits

    def _branches(self, x: Tensor, lengths: Tensor, mask: Tensor) -> list[_Branch]:
        output, states = self.recurrent(x, lengths=lengths)
        state = states[0] if isinstance(states, tuple) else states
        last = torch.cat(list(state[-1 - self.architecture.bidirectional :]), -1)
        branches = [_Branch(output, mask, last)]
        if len(self.convolutions):
            for convolution in self.convolutions:
                x = convolution(x, mask)
            branches.append(_Branch(x, mask, None))
        return branches


class ClassificationNetwork(Member):
    """A network, or several members that are trained at once and whose logits are averaged.

    The network itself is the first member. Members share the vectors of words and the batches, but neither
    their initial weights nor what dropout hides (Lakshminarayanan, Pritzel & Blundell 2017, "Simple and
    scalable predictive uncertainty estimation using deep ensembles").
    """

    def __init__(self, architecture: Architecture) -> None:
        nn.Module.__init__(self)
        a = architecture
        self.embedding = nn.Embedding(a.inputs, a.width, padding_idx=0) if a.embedding else None
        self.build(a)
        self.others = nn.ModuleList(Member(a) for _ in range(a.members - 1))

    @property
    def members(self) -> list[Member]:
        """All members."""
        return [self, *(other for other in self.others if isinstance(other, Member))]

    @property
    def further(self) -> dict[str, str]:
        """The recurrent layers beside the main ones: for a name in the file, their path in the network."""
        return {f"member_{k + 2}": f"others.{k}.recurrent" for k in range(len(self.others))}

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The logits of whole sequences, ``[B, K]``."""
        return self.classified(self.embedded(inputs), lengths)

    def each(self, inputs: Tensor, lengths: Tensor) -> list[Tensor]:
        """The logits of each member, ``[B, K]``."""
        x = self.embedded(inputs)
        return [member.whole(x, lengths) for member in self.members]

    def embedded(self, inputs: Tensor) -> Tensor:
        """The inputs of the layers, ``[T, B, I]``: measurements as they are, words as vectors."""
        return inputs if self.embedding is None else self.embedding(inputs)

    def classified(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The logits ``[B, K]`` of embedded sequences."""
        return _mean([member.whole(x, lengths) for member in self.members])

    def running(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """The logits of every beginning of each sequence, ``[T, B, K]``; without a meaning past an end.

        Raises:
            ValueError: the network is bidirectional.
        """
        if self.architecture.bidirectional:
            raise ValueError("a bidirectional network reads the whole sequence before it decides")
        x = self.embedded(inputs)
        return _mean([member.beginnings(x, lengths) for member in self.members])


def _mean(logits: list[Tensor]) -> Tensor:
    return torch.stack(logits).mean(0) if len(logits) > 1 else logits[0]


class TimeConvolution(nn.Module):
    """A convolution over time with batch normalisation and a rectifier, which ignores padding.

    A causal one sees the last `width` steps; another one the steps around. Beyond the ends of a row are
    zeros.
    """

    def __init__(self, inputs: int, outputs: int, width: int, causal: bool) -> None:
        super().__init__()
        self.before = width - 1 if causal else (width - 1) // 2
        self.convolution = nn.Conv1d(inputs, outputs, width)
        self.normalisation = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """From ``x [T, B, I]`` to ``[T, B, O]``. `mask [T, B]` tells the steps before the end of each row."""
        width = self.convolution.kernel_size[0]
        x = x.masked_fill(~mask[..., None], 0)
        padded = F.pad(x.permute(1, 2, 0), (self.before, width - 1 - self.before))
        found = self.convolution(padded).permute(2, 0, 1)
        steps = found[mask]
        out = torch.zeros_like(found)
        out[mask] = F.relu(self._normalised(steps))
        return out

    def folded(self) -> tuple[Tensor, Tensor]:
        """The weight ``[O, I, W]`` and the bias ``[O]`` of the convolution with the normalisation in it."""
        normal = self.normalisation
        assert normal.running_var is not None
        assert normal.running_mean is not None
        scale = normal.weight / torch.sqrt(normal.running_var + normal.eps)
        bias = self.convolution.bias
        assert bias is not None
        weight = self.convolution.weight * scale[:, None, None]
        return weight.detach(), ((bias - normal.running_mean) * scale + normal.bias).detach()

    def _normalised(self, steps: Tensor) -> Tensor:
        normal = self.normalisation
        if self.training and len(steps) > 1:
            normalised: Tensor = normal(steps)
            return normalised
        return F.batch_norm(
            steps, normal.running_mean, normal.running_var, normal.weight, normal.bias, eps=normal.eps
        )


@dataclass(frozen=True)
class _Branch:
    """The output of a branch at every step, ``[T, B, C]``, the steps that exist, and the last output."""

    output: Tensor
    mask: Tensor
    last: Tensor | None

    def whole(self) -> list[Tensor]:
        """The features of whole sequences, each ``[B, C]``."""
        count = self.mask.sum(0)[:, None]
        mean = self.output.masked_fill(~self.mask[..., None], 0).sum(0) / count
        most = self.output.masked_fill(~self.mask[..., None], -torch.inf).amax(0)
        return [mean, most] if self.last is None else [self.last, mean, most]

    def running(self) -> list[Tensor]:
        """The features of every beginning, each ``[T, B, C]``."""
        count = torch.arange(1, len(self.output) + 1, device=self.output.device)[:, None, None]
        mean, most = self.output.cumsum(0) / count, self.output.cummax(0).values
        return [mean, most] if self.last is None else [self.output, mean, most]


def existing(steps: int, lengths: Tensor) -> Tensor:
    """A mask of the steps before the end of each row, ``[T, B]``."""
    return torch.arange(steps, device=lengths.device)[:, None] < lengths


def widths(channels: Sequence[int]) -> list[int]:
    """The width of each convolution: 7, 5, 3, and 3 for all further ones."""
    return [*WIDTHS, *[WIDTHS[-1]] * len(channels)][: len(channels)]
