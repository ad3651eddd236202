from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.naive import persistence, seasonal_naive
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import OrderedBatches, RandomBatches, Windows
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.shared.cells import CELLS

HORIZON, HISTORY, SEASON = 5, 12, 24


@pytest.fixture
def windows(series: TimeSeries) -> Windows:
    return Windows.of(series, Encoding.fit(series, SEASON, (SEASON,)), HORIZON, HISTORY)


def test_a_batch_has_the_right_steps(windows: Windows) -> None:
    ends = np.array([60, 200, 396])
    batch = windows.batch(ends, forecasts=4)
    assert batch.inputs.shape == (HISTORY, 3, windows.inputs.shape[1])
    assert torch.equal(batch.inputs[:, 1], windows.inputs[189:201])
    for window, end in enumerate(ends):
        for s, origin in enumerate(range(end - 3, end + 1)):
            at = np.array([origin])
            assert batch.last[s, window].item() == pytest.approx(windows.held[origin])
            naive = seasonal_naive(windows.held, at, HORIZON, SEASON)[0]
            assert batch.seasonal[s, window].numpy() == pytest.approx(naive, rel=1e-6)
            known = min(HORIZON, 400 - 1 - origin)
            came = windows.truth[origin + 1 : origin + 1 + known]
            assert torch.equal(batch.truth[s, window, :known], came)
            assert batch.truth[s, window, known:].isnan().all()


@pytest.mark.parametrize("cell", list(CELLS))
def test_an_untrained_network_is_the_persistence_forecast(windows: Windows, cell: str) -> None:
    network = ForecastNetwork(CELLS[cell], windows.inputs.shape[1], 8, 2, HORIZON, 0.0)
    batch = windows.batch(np.array([50, 300]))
    made = network(batch).detach()[0].numpy()
    assert made == pytest.approx(persistence(windows.held, np.array([50, 300]), HORIZON), rel=1e-6)


def test_with_a_share_of_one_it_is_the_seasonal_naive_forecast(windows: Windows) -> None:
    network = ForecastNetwork(CELLS["gru"], windows.inputs.shape[1], 8, 1, HORIZON, 0.0)
    torch.nn.init.ones_(network.share)
    batch = windows.batch(np.array([50, 300]))
    made = network(batch).detach()
    assert torch.allclose(made, batch.seasonal, atol=1e-6)


def test_ordered_batches_go_through_all_origins_once(windows: Windows) -> None:
    batches = OrderedBatches(windows, np.arange(20, 50), batch_size=7)
    parts = [batch.last[0] for batch in batches]
    assert len(parts) == len(batches) == 5
    assert torch.equal(torch.cat(parts), torch.from_numpy(windows.held[20:50]).float())


def test_random_batches_stay_within_their_bounds_and_differ_in_every_epoch(windows: Windows) -> None:
    narrow = replace(windows, inputs=torch.arange(400.0)[:, None])
    batches = RandomBatches(narrow, np.array([30]), np.array([41]), 64, 16, seed=3)
    first, second = (torch.cat([batch.inputs[-1, :, 0] for batch in batches.at(epoch)]) for epoch in (0, 1))
    assert batches.count() == 4
    assert first.shape == (64,)
    assert set(first.tolist()) == set(map(float, range(30, 41)))
    assert not torch.equal(first, second)
