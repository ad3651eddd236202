"""What the training of a forecaster needs: its batches, its loss, and a faster rate for the naive shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import Batch, OrderedBatches, RandomBatches
from gatewise.tasks.shared.training import Job, Summed

SHARE_RATE = 10.0  # factor for the learning rate of the naive shares, which must get from 0 to 1


def job_of(build: Callable[[], ForecastNetwork], batches: RandomBatches, check: OrderedBatches) -> Job[Batch]:
    """The job: minimise the mean absolute error over known values, in scaled units."""
    return Job(build, batches, lambda: check, missed, missed, groups)


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
