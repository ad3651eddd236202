"""Several networks whose forecasts are averaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gatewise.runtime import ModelFileError, load
from gatewise.runtime.model_file import read_model, write_model
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.training import loss
from gatewise.tasks.series import Panel, TimeSeries

pytestmark = pytest.mark.usefixtures("quickly", "corrected")

FIT = 340


def shops() -> Panel:
    days, rng = pd.date_range("2024-01-01", periods=90, freq="D"), np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "shop": shop,
                "region": region,
                "day": days,
                "price": rng.normal(size=90),
                "sold": rng.normal(size=90) + np.arange(90) % 7,
            }
        )
        for shop, region in (("a", "north"), ("b", "south"), ("c", "north"))
    ]
    known, static = ("price",), ("region",)
    return Panel.from_frame(pd.concat(frames), "sold", id="shop", time="day", known=known, static=static)


def fitted(series: TimeSeries, members: int = 3) -> Forecaster:
    return Forecaster(6, hidden_size=4, max_epochs=2, members=members, dropout=0.0).fit(series.head(FIT))


def test_forecasts_are_the_mean_of_the_members_with_and_without_torch(
    series: TimeSeries, tmp_path: Path
) -> None:
    forecaster = fitted(series)
    forecaster.save(tmp_path / "m")
    made = forecaster.predict(series)
    assert np.array_equal(made, Forecaster.load(tmp_path / "m").predict(series))
    columns = {name: series.frame[name].to_numpy() for name in series.frame}
    assert np.array_equal(made, load(tmp_path / "m").predict(columns, series.times.to_numpy()))
    network, windows = forecaster.network_, forecaster.prepared_.windows(series, 6)
    assert len(network.others) == 2
    batch = windows.batch(np.array([len(series) - 1]))
    with torch.no_grad():
        forecasts, _ = network.each(batch)
        found = network(batch)[0, 0]
    assert not torch.equal(forecasts[0], forecasts[1])
    np.testing.assert_allclose(found, torch.stack(forecasts).mean(0)[0, 0], rtol=1e-6)
    scaled = forecaster.prepared_.encoding.scaled(np.asarray(made, np.float64))
    np.testing.assert_allclose(scaled, found, rtol=1e-4, atol=1e-5)


def test_each_member_learns_from_its_own_errors(series: TimeSeries) -> None:
    forecaster = fitted(series)
    network = forecaster.network_
    assert network.spread is not None
    batch = forecaster.prepared_.windows(series, 6).batch(np.arange(200, 210), 8)
    for one, forecast in zip((network, *network._others), network.each(batch)[0], strict=True):
        together = torch.autograd.grad(loss(network, batch)[0], one.head.weight)[0]
        alone = torch.autograd.grad((forecast - batch.truth).abs().nansum(), one.head.weight)[0]
        torch.testing.assert_close(3 * together, alone)


def test_members_of_a_panel_read_attributes_and_inputs_ahead(tmp_path: Path) -> None:
    panel = shops()
    forecaster = Forecaster(5, hidden_size=4, max_epochs=1, members=2).fit(panel)
    forecaster.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    evaluation, again = forecaster.backtest(panel), loaded.backtest(panel)
    assert np.array_equal(evaluation.forecasts["model"], again.forecasts["model"])


def test_files_with_members_amiss_are_refused(series: TimeSeries, tmp_path: Path) -> None:
    fitted(series).save(tmp_path / "m")
    file = read_model(tmp_path / "m", "forecast")
    stacks = file.header["stacks"]
    for named in ({"member_2": stacks["member_2"]}, {"member_7": stacks["member_2"]}):
        broken = replace(file, header={**file.header, "stacks": named})
        write_model(tmp_path / "bad", "forecast", broken.header, broken.tensors)
        with pytest.raises(ModelFileError):
            load(tmp_path / "bad")
    with pytest.raises(ValueError, match="members must be at most 64"):
        Forecaster(6, members=65).fit(series)
