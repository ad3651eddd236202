"""What the training of a forecaster needs: its batches, its loss, and a faster rate for the naive shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import Batch, OrderedBatches, RandomBatches
from gatewise.tasks.shared.training import Job, Summed

SHARE_RATE = 10.0  # factor for the learning rate of the naive shares, which must get from 0 to 1


def job_of(build: Callable[[], ForecastNetwork], batches: RandomBatches, check: OrderedBatches) -> Job[Batch]:
    """The job: minimise the mean absolute error over known values, in scaled units, and fit the spread."""
    return Job(build, batches, lambda: check, loss, missed, groups)


def loss(network: ForecastNetwork, batch: Batch) -> Summed:
    """The absolute errors over the known values of a batch, and the losses of the distributions there."""
    known = ~batch.truth.isnan()
    forecast, output = network.with_output(batch)
    errors = batch.truth[known] - forecast[known]
    total = errors.abs().sum()
    if network.spread is not None:
        total = total + network.spread.loss(network.spread(output)[known], errors.detach())
    return total, errors.numel()


def missed(network: ForecastNetwork, batch: Batch) -> Summed:
    """The sum of absolute errors over the known values of a batch, and their number."""
    known = ~batch.truth.isnan()
    forecast = network(batch)
    errors = (forecast[known] - batch.truth[known]).abs()
    return errors.sum(), errors.numel()


def groups(network: ForecastNetwork) -> list[dict[str, Any]]:
    """The parameters for the optimiser, those that multiply naive forecasts apart."""
    weights = [value for name, value in network.named_parameters() if name != "share"]
    return [{"params": weights}, {"params": [network.share], "weight_decay": 0.0, "lr": SHARE_RATE}]
