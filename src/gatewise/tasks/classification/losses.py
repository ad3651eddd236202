"""What a classifier is trained on and judged by: noise on the inputs, log losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.tasks.classification.network import Batch, ClassificationNetwork

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Summed  # Lightning takes two seconds to import

TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # that epochs are judged by


def with_noise(batch: Batch, size: float, channels: int) -> Batch:
    """A batch with noise of a standard deviation `size` on its measurements, the first `channels` inputs."""
    inputs = batch.inputs
    noise = torch.zeros_like(inputs)
    noise[..., :channels] = size * torch.randn_like(inputs[..., :channels])
    return batch._replace(inputs=inputs + noise)


def with_unknown(batch: Batch, share: float, unknown: int) -> Batch:
    """A batch in which a `share` of the words is replaced by the number of the unknown word."""
    drawn = torch.rand(batch.inputs.shape, device=batch.inputs.device) < share
    return batch._replace(inputs=batch.inputs.masked_fill(drawn, unknown))


def loss(network: ClassificationNetwork, batch: Batch) -> Summed:
    """The log loss of a batch, in which classes have weights, and the number of sequences (of labels).

    Each member of the network has a loss of its own; this is their mean.
    """
    losses = [_log_loss(logits, batch) for logits in network.each(batch.inputs, batch.lengths)]
    return torch.stack(losses).mean(), batch.targets.numel()


def error(network: ClassificationNetwork, batch: Batch) -> Summed:
    """The log loss of a validation batch at the best of some temperatures, as all will be calibrated."""
    logits = network(batch.inputs, batch.lengths)
    losses = torch.stack([_log_loss(logits / temperature, batch) for temperature in TEMPERATURES])
    return losses.min(), batch.targets.numel()


def _log_loss(logits: Tensor, batch: Batch) -> Tensor:
    if batch.targets.dim() == 1:
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
    else:
        losses = F.binary_cross_entropy_with_logits(logits, batch.targets, reduction="none")
    return (losses * batch.weights).sum()
