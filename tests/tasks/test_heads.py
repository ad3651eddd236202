"""What a forecast says beside its point: distributions, fitted, calibrated, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from gatewise.runtime import load
from gatewise.runtime.jobs.distributions import LEVELS, SIZES
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.heads import SpreadPart, calibrated, excess_of, sizes_of
from gatewise.tasks.forecast.pinball import pinball
from gatewise.tasks.series import TimeSeries

pytestmark = pytest.mark.usefixtures("quickly")

OUTPUTS = [output for output in SIZES if output != "point"]


@pytest.fixture(scope="module")
def counted() -> TimeSeries:
    rng = np.random.default_rng(3)
    mean = 6 + 4 * np.sin(np.arange(300) * 2 * np.pi / 7)
    days = pd.date_range("2024-01-01", periods=300, freq="D")
    return TimeSeries.from_frame(pd.DataFrame({"sold": rng.poisson(mean).astype(float)}, index=days), "sold")


@pytest.mark.parametrize("output", OUTPUTS)
def test_distributions_are_the_same_in_torch_and_from_a_file(
    counted: TimeSeries, output: str, tmp_path: Path
) -> None:
    forecaster = Forecaster(7, output=output, hidden_size=8, max_epochs=2, non_negative=True)
    forecaster.fit(counted.head(250))
    forecaster.save(tmp_path / "m")
    loaded = Forecaster.load(tmp_path / "m")
    found = forecaster.predict_quantiles(counted)
    assert found.shape == (7, len(LEVELS))
    assert np.array_equal(found.columns, LEVELS)
    assert (found.to_numpy() >= 0).all()
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()
    assert np.array_equal(found[0.5], forecaster.predict(counted))
    pd.testing.assert_frame_equal(found, loaded.predict_quantiles(counted), check_exact=True)
    drawn = forecaster.sample(counted, 50, seed=1)
    assert drawn.shape == (50, 7)
    assert (drawn >= 0).all()
    assert np.array_equal(drawn, loaded.sample(counted, 50, seed=1))
    if output == "negative-binomial":
        assert np.array_equal(found, np.rint(found))
        assert np.array_equal(drawn, np.rint(drawn))
    model, origins = load(tmp_path / "m"), np.arange(200, 300)
    columns = {"sold": counted.values}
    whole = model.made(columns, counted.positions, origins)
    network, windows = forecaster.network_, forecaster.prepared_.windows(counted, 7)
    with torch.no_grad():
        point, hidden = network.with_output(windows.batch(origins))
        assert network.spread is not None
        sizes = network.spread(hidden)[0]
    np.testing.assert_allclose(whole.point, point[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole.sizes, sizes, rtol=1e-5, atol=1e-6)
    made = model.quantiles(columns, counted.positions, origins)
    for row in (0, 41, 99):
        alone = model.quantiles(columns, counted.positions, origins[row : row + 1])
        assert alone[0].tobytes() == made[row].tobytes()


def test_points_have_no_quantiles(counted: TimeSeries) -> None:
    forecaster = Forecaster(7, output="point", hidden_size=4, max_epochs=1).fit(counted.head(250))
    assert forecaster.backtest(counted, 250).quantiles is None
    with pytest.raises(ValueError, match="the model forecasts points"):
        forecaster.predict_quantiles(counted)
    with pytest.raises(ValueError, match=r"output must be one of point, quantiles, .*Got 'median'"):
        Forecaster(7, output="median").fit(counted)


def test_levels_between_are_in_order_and_checked(counted: TimeSeries) -> None:
    forecaster = Forecaster(7, hidden_size=4, max_epochs=1).fit(counted.head(250))
    found = forecaster.predict_quantiles(counted, [0.01, 0.3, 0.5, 0.95]).to_numpy()
    assert (np.diff(found, axis=1) > 0).all()
    with pytest.raises(ValueError, match=r"levels must be between 0 and 1\. Got 1"):
        forecaster.predict_quantiles(counted, [0.5, 1])


def test_about_as_many_values_lie_below_a_quantile_as_its_level_says() -> None:
    rng = np.random.default_rng(0)
    days = pd.date_range("2010-01-01", periods=2500, freq="D")
    series = TimeSeries.from_frame(pd.DataFrame({"noise": rng.gumbel(size=2500)}, index=days), "noise")
    for output, near in (("quantiles", 0.04), ("gaussian", 0.09)):
        forecaster = Forecaster(3, output=output, season=1, hidden_size=4, max_epochs=2)
        tested = forecaster.fit(series.head(2000)).backtest(series, 2000)
        assert tested.quantiles is not None
        below = (tested.truth[..., None] <= tested.quantiles).mean(axis=(0, 1))
        assert below == pytest.approx(np.array(LEVELS), abs=near)


def loss_of(sizes: torch.Tensor, errors: torch.Tensor) -> float:
    """The pinball loss of errors ``[N]`` with the same sizes ``[M]`` for all."""
    always = torch.nn.Linear(1, len(sizes)).double()
    with torch.no_grad():
        always.bias.copy_(sizes.expm1().log())
    nothing, factors = torch.zeros(len(errors), 1, dtype=torch.float64), torch.ones_like(sizes)
    return float(pinball(nothing, always, factors, errors[:, None], None).detach())


def test_the_loss_of_quantiles_is_least_at_the_quantiles_of_the_errors() -> None:
    errors = torch.from_numpy(np.random.default_rng(1).standard_t(5, size=4000))
    best = torch.from_numpy(sizes_of(errors.numpy()[:, None], "quantiles"))[0]
    least = loss_of(best, errors)
    for place in range(6):
        for factor in (0.9, 1.1):
            other = best.clone()
            other[place] *= factor
            assert loss_of(other, errors) > least
    values = errors.numpy()
    expected = sum(
        np.maximum(level * (values - at), (level - 1) * (values - at)).sum() / 3
        for level, at in zip(LEVELS, np.quantile(values, LEVELS), strict=True)
        if level != 0.5
    )
    assert least == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("whole", [True, False])
def test_gradients_of_the_loss_of_quantiles_are_those_of_autograd(
    whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewise.tasks.forecast.pinball.CHUNK", 100)  # several chunks
    rng = torch.Generator().manual_seed(0)
    output, errors = (torch.randn(23, n, generator=rng, dtype=torch.float64) for n in (5, 3))
    known = None if whole else torch.rand(23, 3, generator=rng) < 0.7
    part = SpreadPart("quantiles", 5, 3).double()
    torch.nn.init.normal_(part.map.weight, generator=rng)
    part.factors.uniform_(0.5, 2, generator=rng)
    made = 3 * pinball(output, part.map, part.factors, errors, known)
    found = torch.autograd.grad(made, [part.map.weight, part.map.bias])
    sizes = part(output)
    offsets = torch.cat([-sizes[..., :3].cumsum(-1), sizes[..., 3:].cumsum(-1)], -1)
    levels = torch.tensor([0.25, 0.1, 0.025, 0.75, 0.9, 0.975], dtype=torch.float64)
    missed = errors[..., None] - offsets
    losses = torch.maximum(levels * missed, (levels - 1) * missed).sum(-1) / 3
    total = 3 * (losses if known is None else losses[known]).sum()
    expected = torch.autograd.grad(total, [part.map.weight, part.map.bias])
    torch.testing.assert_close(made, total, rtol=1e-12, atol=0)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("output", "dist"), [("gaussian", stats.norm), ("student-t", stats.t(4.0))])
def test_losses_are_likelihoods(output: str, dist: Any) -> None:
    part = SpreadPart(output, 2, 1)
    rng = np.random.default_rng(0)
    errors, sizes = rng.normal(size=30), rng.uniform(0.5, 2, size=(30, 1))
    one, two = torch.from_numpy(sizes), torch.from_numpy(2 * sizes)
    made = float(part.loss(two, torch.from_numpy(errors)) - part.loss(one, torch.from_numpy(errors)))
    expected = dist.logpdf(errors / (sizes[:, 0] + 1e-4)) - np.log(sizes[:, 0] + 1e-4)
    other = dist.logpdf(errors / (2 * sizes[:, 0] + 1e-4)) - np.log(2 * sizes[:, 0] + 1e-4)
    assert made == pytest.approx((expected - other).sum(), rel=1e-6)


def test_factors_are_found_again() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.5, 2, size=(5000, 2, 1))
    factors, _ = calibrated("gaussian", 3 * sizes[..., 0] * rng.normal(size=(5000, 2)), sizes, 10**6)
    assert factors == pytest.approx(3, rel=0.03)
    errors = 3 * sizes[..., 0] * rng.standard_t(4, size=(5000, 2))
    factors, freedom = calibrated("student-t", errors, sizes, 10**6)
    assert factors == pytest.approx(3, rel=0.1)
    assert freedom == 4
    few, _ = calibrated("student-t", errors, sizes, 4)
    assert 1.25 < few[0] < 0.6 * factors[0]
    mean = np.full((5000, 2), 9.0)
    truth = rng.negative_binomial(2.0, 2 / 11, size=(5000, 2)).astype(float)
    assert excess_of(truth, mean) == pytest.approx(0.5, rel=0.15)


def test_intervals_of_rare_counts_hold_their_share() -> None:
    """A negative binomial distribution needs a mean. The median of rare counts is 0, and says nothing."""
    rng = np.random.default_rng(0)
    mean = 0.35 * (1 + 2 * (np.arange(600) % 7 == 5))
    days = pd.date_range("2024-01-01", periods=600, freq="D")
    sold = pd.DataFrame({"sold": rng.poisson(mean).astype(float)}, index=days)
    series = TimeSeries.from_frame(sold, "sold")
    forecaster = Forecaster(7, output="negative-binomial", hidden_size=8, max_epochs=3).fit(series.head(500))
    assert forecaster.backtest(series, 500).distribution()["coverage"]["95%"] > 0.93
