from __future__ import annotations

import copy
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.training import furthest, missed
from gatewise.tasks.forecast.windows import Batch, RandomBatches
from gatewise.tasks.series import TimeSeries, as_panel
from gatewise.tasks.shared.training import Epoch


def test_the_weights_of_the_best_epoch_are_kept(series: TimeSeries) -> None:
    epochs: list[Epoch] = []
    forecaster = Forecaster(6, hidden_size=8, max_epochs=12, learning_rate=0.05, patience=4, refit=False)
    forecaster.fit(series.head(340), epochs.append)
    errors = [epoch.error for epoch in epochs]
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert forecaster.best_epoch_ == 1 + int(np.argmin(errors))
    assert forecaster.epochs_ == len(epochs) <= forecaster.best_epoch_ + 4
    assert [epoch.best for epoch in epochs] == np.minimum.accumulate(errors).tolist()
    tested = forecaster.backtest(series.head(340), 340 - 51)
    known = forecaster.validation_error_
    assert tested.overall()["model"]["mae"] == pytest.approx(known, rel=1e-5)
    network = copy.deepcopy(forecaster.network_)  # of which half of each correction is kept
    for tensor in (network.head.weight, network.head.bias, network.share):
        tensor.data *= 2
    windows = forecaster.prepared_.windows(series.head(340), 6)
    sums = [missed(network, batch) for batch in forecaster.prepared_.validation(windows, 289)]
    assert sum(total.item() for total, _ in sums) / sum(n for _, n in sums) == pytest.approx(min(errors))


def test_training_leaves_no_trace_in_the_process_or_the_folder(
    series: TimeSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("lightning.pytorch")
    before = (
        torch.random.get_rng_state(),
        logger.level,
        warnings.filters[:],
        signal.getsignal(signal.SIGINT),
    )
    environment = dict(os.environ)
    Forecaster(6, hidden_size=4, max_epochs=1).fit(series)
    after = (torch.random.get_rng_state(), logger.level, warnings.filters[:], signal.getsignal(signal.SIGINT))
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert dict(os.environ) == environment
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_seed_of_torch_does_not_matter(series: TimeSeries) -> None:
    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        made.append(Forecaster(6, hidden_size=4, max_epochs=1).fit(series).predict(series))
    assert np.array_equal(made[0], made[1])


def test_ctrl_c_keeps_the_best_complete_epoch(series: TimeSeries) -> None:
    seen: list[int] = []

    def on_epoch(epoch: Epoch) -> None:
        seen.append(epoch.number)
        if epoch.number == 3:
            signal.raise_signal(signal.SIGINT)

    forecaster = Forecaster(6, hidden_size=4, max_epochs=50).fit(series, on_epoch)
    assert seen == [1, 2, 3]
    assert forecaster.interrupted_
    assert forecaster.epochs_ == 3
    assert np.isfinite(forecaster.predict(series)).all()
    plain = Forecaster(6, hidden_size=4, max_epochs=50).fit(series, lambda epoch: None)
    assert not plain.interrupted_


def test_ctrl_c_before_the_first_complete_epoch_raises(
    series: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = RandomBatches.at
    batches = 0

    def interrupted(self: RandomBatches, *place: int) -> Iterator[Batch]:
        nonlocal batches
        for batch in given(self, *place):
            batches += 1
            if batches == 2:
                signal.raise_signal(signal.SIGINT)
            yield batch

    monkeypatch.setattr(RandomBatches, "at", interrupted)
    forecaster = Forecaster(6, hidden_size=4, max_epochs=5, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(series)
    assert batches < 6  # of 18 steps in an epoch
    assert not hasattr(forecaster, "file_")


def test_a_second_ctrl_c_ends_at_once(series: TimeSeries) -> None:
    def on_epoch(epoch: Epoch) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Forecaster(6, hidden_size=4, max_epochs=50).fit(series, on_epoch)
    assert signal.getsignal(signal.SIGINT) is handler


def test_training_in_another_thread_works(series: TimeSeries) -> None:
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1)
    thread = threading.Thread(target=forecaster.fit, args=(series,))
    thread.start()
    thread.join()
    assert forecaster.epochs_ == 1


def test_training_that_diverges_says_so(series: TimeSeries) -> None:
    with pytest.raises(FloatingPointError, match="training diverged in its first epoch"):
        Forecaster(6, hidden_size=4, max_epochs=2, learning_rate=1e30).fit(series)


def test_a_loss_that_is_no_number_names_series_step_and_input(series: TimeSeries) -> None:
    frame = series.frame.copy()
    frame.iloc[200, 1] = 500.0
    spiked = TimeSeries.from_frame(frame, series.target)
    forecaster = Forecaster(6, hidden_size=4, max_epochs=1).fit(spiked)
    windows = forecaster.prepared_.windows(spiked, 6)
    network = copy.deepcopy(forecaster.network_)
    network.head.bias.data.fill_(torch.nan)
    found = furthest(
        windows,
        as_panel(spiked),
        forecaster.prepared_.encoding,
        network,
        windows.batch(np.array([100, 210, 300])),
    )
    assert f"The furthest input is 'wind' of the series {spiked.name!r} at {spiked.times[200]}, " in found


def test_every_input_has_a_name(series: TimeSeries) -> None:
    frame = series.frame.copy()
    frame.iloc[10:60, 1] = np.nan
    frame.iloc[100:140, 0] = np.nan
    encoding = Encoding.fit(TimeSeries.from_frame(frame, series.target), 24, (24,))
    assert encoding.elapsed
    assert len(encoding.names(str)) == encoding.input_size
