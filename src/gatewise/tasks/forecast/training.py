"""What the training of a forecaster needs: its batches, its loss, and a faster rate for the naive shares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import Batch, OrderedBatches, RandomBatches, Windows
from gatewise.tasks.series import Panel
from gatewise.tasks.shared.training import Job, Summed

SHARE_RATE = 10.0  # factor for the learning rate of the naive shares, which must get from 0 to 1


def job_of(
    build: Callable[[], ForecastNetwork],
    batches: RandomBatches,
    check: OrderedBatches,
    described: tuple[Panel, Encoding],
) -> Job[Batch]:
    """The job: minimise the mean absolute error over known values, in scaled units, and fit the spread.

    Args:
        build: builds the untrained network.
        batches, check: the training and the validation batches.
        described: the series of the windows, and what their inputs are.
    """
    where = partial(furthest, batches.windows, *described)
    return Job(build, batches, lambda: check, loss, missed, groups, where)


def furthest(
    windows: Windows, panel: Panel, encoding: Encoding, network: ForecastNetwork, batch: Batch
) -> str:
    """The input that is furthest from its usual values, in the windows whose forecasts are not finite."""
    broken = ~torch.isfinite(network(batch)).all(-1).all(0)
    sizes = batch.inputs.abs() * (broken if broken.any() else ~broken)[:, None]
    row, window, column = np.unravel_index(int(sizes.argmax()), sizes.shape)
    end = int(batch.ends[window])
    place = int(np.searchsorted(windows.starts, end, side="right")) - 1
    step = max(end - len(sizes) + 1 + int(row) - int(windows.starts[place]), 0)
    series, name = panel.series[place], encoding.names(panel.clock.span)[column]
    whose = f"the series {series.name!r}" if panel.alone else f"{panel.id} {panel.ids[place]!r}"
    return (
        f"the loss is not a finite number. The furthest input is {name!r} of {whose} at "
        f"{series.times[step]}, {float(sizes.max()):.3g} in units of its usual size. Check this value, or "
        "choose a lower learning_rate."
    )


def loss(network: ForecastNetwork, batch: Batch) -> Summed:
    """The errors over the known values of a batch, and the losses of the distributions there.

    Of several members it is the mean of their errors, so that each learns as it would alone.
    """
    known = ~batch.truth.isnan()
    items = int(known.sum())
    forecasts, output = network.each(batch)
    errors = [batch.truth - forecast for forecast in forecasts]
    if items < known.numel():
        errors = [error.masked_fill(~known, 0) for error in errors]
    sums = [(error.square() if network.forecasts_means else error.abs()).sum() for error in errors]
    total = sum(sums[1:], sums[0]) / len(sums)
    if network.spread is not None:
        missed = torch.stack([error.detach() for error in errors]).mean(0)
        total = total + network.spread.trained(output, missed, known if items < known.numel() else None)
    return total, items


def missed(network: ForecastNetwork, batch: Batch) -> Summed:
    """The sum of absolute errors over the known values of a batch, and their number."""
    known = ~batch.truth.isnan()
    forecast = network(batch)
    errors = (forecast[known] - batch.truth[known]).abs()
    return errors.sum(), errors.numel()


def groups(network: ForecastNetwork) -> list[dict[str, Any]]:
    """The parameters for the optimiser, those that multiply naive forecasts apart."""
    weights = [value for name, value in network.named_parameters() if not name.endswith("share")]
    shares = [value for name, value in network.named_parameters() if name.endswith("share")]
    return [{"params": weights}, {"params": shares, "weight_decay": 0.0, "lr": SHARE_RATE}]
