"""`Forecaster`: fit, predict, score, save and load, with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from gatewise.extras import needed_by
from gatewise.insight.watch import watch
from gatewise.language import Cell
from gatewise.runtime.jobs.anomalies import RATE, Calibration
from gatewise.runtime.jobs.distributions import LEVELS, SIZES
from gatewise.runtime.jobs.forecaster import MODES, MOST_HORIZON
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.lags import NOTHING
from gatewise.runtime.jobs.made import Made
from gatewise.runtime.model_file import ModelFile, read_model
from gatewise.tasks.forecast.backtesting import MOST_TESTED, origins_of, refitted
from gatewise.tasks.forecast.checks import check_panel, check_series
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, RIDGE, SEASONAL, Evaluation, joined
from gatewise.tasks.forecast.heads import (
    EXCESS,
    USUAL,
    SpreadPart,
    calibrated,
    correlation_of,
    excess_of,
)
from gatewise.tasks.forecast.linear import (
    Linear,
    Regression,
    centred,
    choose,
    errors_of,
    fit,
    may_centre,
    reads_of,
)
from gatewise.tasks.forecast.naive import (
    Numbers,
    Whole,
    future,
    hold,
    persistence,
    seasonal_naive,
    seasonal_scale,
)
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.panels import long_format
from gatewise.tasks.forecast.preparation import prepare
from gatewise.tasks.forecast.saving import from_data, to_data
from gatewise.tasks.forecast.split import training_parts
from gatewise.tasks.forecast.windows import Batch, OrderedBatches, Windows
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.shared import saving
from gatewise.tasks.shared.estimator import JobEstimator, check_whole

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch, Job

FOUND = ("history_", "epochs_", "best_epoch_", "validation_error_")  # of the training with validation
MOST_MEMBERS = 64


class Forecaster(JobEstimator):
    """Forecasts the next ``horizon`` steps of one column from the past of all columns.

    A ridge regression on values of the past makes a linear forecast, and a recurrent network, which reads the
    last ``history`` steps, corrects it. They are fitted to the first part of the series; the last 15 % (the
    validation part) decide what the regression reads and for how long the network is trained. The forecast is
    the mean of the linear and the corrected one; if that is no better in the validation part, it is the
    linear one. At the end both are fitted again to the whole series.

    Args:
        horizon: steps ahead to forecast.
        cell: ``"lstm"``, ``"gru"``, ``"rnn"``, ... (the names in `gatewise.cells`), or any `gatewise.Cell`.
        hidden_size: hidden units in each layer.
        num_layers: recurrent layers.
        history: steps that the network reads before a forecast; chosen from season and horizon by default.
        season: steps in a season; by default the best repeating one among those that the clock suggests.
        dropout: share of the network's outputs that is dropped in training.
        learning_rate: the largest learning rate of the one-cycle schedule.
        batch_size: windows in a batch.
        max_epochs: the most epochs of training.
        patience: epochs without a better validation error after which training stops.
        seed: the random seed. The same seed gives the same forecaster on the same machine.
        log: whether the network forecasts the logarithm of 1 + the target, which must not be negative.
        refit: whether the forecaster is trained again on all steps at the end, for the epochs that were best.
        output: what is forecast: ``"quantiles"``, whose median is the point forecast; the distributions
            ``"gaussian"``, ``"student-t"`` or, for counts, ``"negative-binomial"``; just the ``"point"``. The
            network learns the median, but of counts the mean.
        non_negative: whether forecasts below 0 are replaced by 0.
        members: networks that are trained at once, from different initial weights, and whose forecasts are
            averaged; each takes as long as one alone.
        mode: ``"direct"``: all steps are forecast at once; or ``"recursive"``: the network forecasts one
            step, and is fed with its own forecasts. Quantiles are then computed from sampled futures, and
            inputs whose future is not known are left out.
        trainer: options for `lightning.pytorch.Trainer`, such as ``{"devices": 2, "strategy": "ddp"}``.

    Attributes:
        prepared_: scalers, masks, season, history and clock, computed from the training part alone.
        validation_error_: MAE in the validation part, in the target's unit.

    Further attributes are those of every `JobEstimator`.

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=120, freq="D")
        >>> frame = pd.DataFrame({"sold": np.sin(np.arange(120.0)) + np.arange(120) % 7}, index=days)
        >>> series = TimeSeries.from_frame(frame, "sold")
        >>> forecaster = Forecaster(7, hidden_size=8, max_epochs=1).fit(series)
        >>> forecaster.predict(series).index[0]
        Timestamp('2024-04-30 00:00:00')
    """

    TASK = "forecast"
    MODEL = Model
    _start: Mapping[str, torch.Tensor] | None = None  # the weights that an update begins at
    LEAST = MappingProxyType({"horizon": 1, "members": 1, **JobEstimator.LEAST})

    def __init__(
        self,
        horizon: int,
        *,
        cell: str | Cell = "lstm",
        hidden_size: int = 64,
        num_layers: int = 1,
        history: int | None = None,
        season: int | None = None,
        dropout: float = 0.2,
        learning_rate: float = 3e-3,
        batch_size: int = 32,
        max_epochs: int = 30,
        patience: int = 8,
        seed: int = 0,
        log: bool = False,
        refit: bool = True,
        output: str = "quantiles",
        non_negative: bool = False,
        members: int = 1,
        mode: str = "direct",
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.horizon = horizon
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.history = history
        self.season = season
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.seed = seed
        self.log = log
        self.refit = refit
        self.output = output
        self.non_negative = non_negative
        self.members = members
        self.mode = mode
        self.trainer = trainer

    def fit(
        self,
        series: TimeSeries | Panel,
        on_epoch: Callable[[Epoch], None] | None = None,
        *,
        checkpoint: Path | None = None,
    ) -> Forecaster:
        """Train on a series, or on all series of a panel.

        Ctrl-C stops training and keeps the weights of the best epoch.

        Args:
            series: the series, or the panel.
            on_epoch: called after each epoch.
            checkpoint: a file that training is saved in after each epoch, and continued from if it exists.

        Raises:
            SeriesError: the series is too short, or its training part is constant.
            ValueError: a parameter is out of range.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch.
        """
        with needed_by("Forecaster.fit"):
            import lightning  # noqa: F401

        self.check_parameters()
        panel = as_panel(series)
        rows = training_parts(panel, self.horizon)
        past = self.mode == "direct"
        chosen = self.season, self.history
        self.prepared_ = prepare(panel, rows, self.horizon, *chosen, log=self.log, past=past)
        return self._learn(panel, rows, on_epoch, checkpoint)

    def update(
        self, series: TimeSeries | Panel, on_epoch: Callable[[Epoch], None] | None = None
    ) -> Forecaster:
        """Train again on a series that has grown, from the weights that were learned, also after `load`.

        Scales, season and history stay, so states that were carried remain valid. The linear part is fitted
        again, and training begins at the present weights. They are kept if training does not make the error
        in the validation part of the longer series smaller.

        Args:
            series: the whole series, or the panel, with its new steps.
            on_epoch: called after each epoch.

        Raises:
            SeriesError, ValueError: as in `fit` and `predict`.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch. The forecaster stays as it was.
        """
        check_is_fitted(self)
        panel = as_panel(series)
        check_panel(self.prepared_, panel, self.prepared_.least if panel.alone else 1)
        rows, before = training_parts(panel, self.horizon), (self.prepared_, self.file_, self.network_)
        self._start = before[2].state_dict()
        try:
            return self._learn(panel, rows, on_epoch, None)
        except BaseException:
            self.prepared_ = before[0]
            self.adopt(*before[1:])
            raise
        finally:
            self._start = None

    def _learn(
        self, panel: Panel, rows: Whole, on_epoch: Callable[[Epoch], None] | None, checkpoint: Path | None
    ) -> Forecaster:
        """Train on the first `rows` steps of each series, then on all."""
        windows = self.prepared_.windows(panel, self.steps)
        folds = self.prepared_.folds(windows, rows)
        means = self.output == "negative-binomial"
        regressions = choose(windows, folds, means)
        reads = reads_of(regressions) if regressions else None
        self.prepared_ = replace(self.prepared_, reads=reads)
        windows = replace(windows, reads=reads or NOTHING)
        check = self.prepared_.validation(windows, rows)
        centre = bool(regressions) and not means and may_centre(windows, folds, regressions)
        job = partial(self._job, panel, windows, regressions, check, centre)
        first = job(rows)
        self._train(first, on_epoch, checkpoint)
        self._temper(first)
        self._calibrate(panel, windows, check.origins)
        usual = self._usual_errors(panel, rows)
        if self.refit and not self.interrupted_:
            self._train_again(job(panel.rows), checkpoint)
        self._store(usual)
        self.validation_error_ *= self.prepared_.encoding.scale[0]
        return self

    def _job(
        self,
        panel: Panel,
        windows: Windows,
        regressions: Sequence[Regression],
        check: OrderedBatches,
        centre: bool,
        rows: Whole,
    ) -> Job[Batch]:
        """Training on the first `rows` steps of each series, after a linear part fitted to them."""
        from gatewise.tasks.forecast.training import job_of

        batches = self.prepared_.training(windows, rows, int(self.batch_size), self.seed)
        origins = self.prepared_.origins(windows, rows)
        linear = fit(windows, origins, regressions) if regressions else None
        errors = errors_of(windows, origins, linear)
        if linear is not None and centre:
            linear, errors = centred(linear, errors)
        begin = partial(self._begin, linear, errors)
        return job_of(begin, batches, check, (panel, self.prepared_.encoding))

    def _begin(self, linear: Linear | None, errors: Numbers) -> ForecastNetwork:
        """The untrained network with its linear part, and the errors of this.

        torch's random state stays as it is.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.build()
        if network.linear is not None and linear is not None:
            network.linear.set(linear)
        if network.spread is not None and len(errors):
            network.spread.begin(errors)
        if self._start is not None:
            learned = {name: value for name, value in self._start.items() if not name.startswith("linear.")}
            network.load_state_dict(learned, strict=False)
        return network

    def _calibrate(self, panel: Panel, windows: Windows, origins: Whole) -> None:
        """Choose factors of the distributions' sizes in the validation part, at some origins."""
        spread = self.network_.spread
        if spread is None:
            return
        places = np.searchsorted(windows.starts, origins, side="right") - 1
        errors, sizes, truths, points = [], [], [], []
        for place in np.unique(places):
            at = origins[places == place] - windows.starts[place]
            found = self._made(panel, int(place), at, self.model_.single)
            truth = panel.series[place].values[future(at, self.steps)]
            truths.append(truth)
            points.append(found.unscaled)
            errors.append(found.encoding.scaled(truth) - found.point)
            sizes.append(found.sizes)
        missed = np.concatenate(errors)
        if self.output == "negative-binomial":
            excess = excess_of(np.concatenate(truths), np.concatenate(points))
            factors, freedom = np.array([excess / EXCESS]), USUAL
        else:
            factors, freedom = calibrated(self.output, missed, np.concatenate(sizes))
        spread.factors.copy_(torch.from_numpy(factors))
        spread.freedom.fill_(freedom)
        spread.correlation.fill_(correlation_of(missed))
        self.adopt(saving.file_of(self, self.network_), self.network_)

    def _temper(self, job: Job[Batch]) -> None:
        """Halve what the network corrects; or keep the untrained network if that forecasts better."""
        network = self.network_
        network.temper()
        self.validation_error_ = _error(job, network)
        untrained = cast(ForecastNetwork, job.build().eval())
        error = _error(job, untrained)
        if error <= self.validation_error_:
            self.best_epoch_, self.validation_error_, network = 0, error, untrained
        self.adopt(saving.file_of(self, network), network)

    def _train_again(self, job: Job[Batch], checkpoint: Path | None) -> None:
        """Train on all steps, for as many epochs as were best. Ctrl-C keeps the network as it is."""
        spread = self.network_.spread
        if self.best_epoch_ == 0:
            network = self._spread_of(job.build().eval(), spread)
            self.adopt(saving.file_of(self, network), network)
            return
        found = {name: getattr(self, name) for name in FOUND}
        file, network = self.file_, self.network_
        again = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-all")
        settings = {"keep": "last", "patience": self.max_epochs, "epochs": self.best_epoch_}
        try:
            self._train(job, None, again, **settings)
        except KeyboardInterrupt:
            self.interrupted_ = True
        if not self.interrupted_:
            network = self._spread_of(self.network_, spread)
            network.temper()
            file = saving.file_of(self, network)
        self.adopt(file, network)
        for name, value in found.items():
            setattr(self, name, value)

    def _spread_of(self, network: Any, spread: SpreadPart | None) -> ForecastNetwork:
        """A network that is trained again, with what the validation part chose for the spread."""
        if spread is not None and network.spread is not None:
            for name, value in spread.named_buffers():
                network.spread.get_buffer(name).copy_(value)
        return cast(ForecastNetwork, network)

    @overload
    def predict(self, series: TimeSeries) -> pd.Series[float]: ...

    @overload
    def predict(self, series: Panel) -> pd.DataFrame: ...

    def predict(self, series: TimeSeries | Panel) -> pd.Series[float] | pd.DataFrame:
        """Forecast the `horizon` steps after the end of a series with the same columns and step.

        Of a panel every series is forecast after its own end, as if it were alone. The forecasts are in long
        format: a column of ids, one of times, and the target.

        Raises:
            ValueError: a column is missing, the step differs, or a series is shorter than `prepared_.least`.
            SeriesError: an input whose future is known has no value at one of the steps.
        """
        panel, coming = self._coming(series)
        parts = [
            pd.Series(made.forecasts[0], index=one.future(self.horizon), name=one.target)
            for one, made in zip(panel, coming, strict=True)
        ]
        return parts[0] if panel.alone else long_format(panel, parts)

    def predict_quantiles(
        self, series: TimeSeries | Panel, levels: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """Forecast quantiles of the `horizon` steps after the end of a series.

        Args:
            series: as for `predict`.
            levels: numbers between 0 and 1; by default 0.025, 0.1, 0.25, 0.5, 0.75, 0.9 and 0.975.

        Returns:
            A column for each level; of a panel in long format, after the columns of ids and times.

        Raises:
            ValueError: as in `predict`; a level is out of range; the forecaster forecasts points.
        """
        panel, coming = self._coming(series)
        columns = list(LEVELS if levels is None else levels)
        parts = [
            pd.DataFrame(made.quantiles(levels)[0], one.future(self.horizon), columns)
            for one, made in zip(panel, coming, strict=True)
        ]
        return parts[0] if panel.alone else _long_frames(panel, parts)

    def _coming(self, series: TimeSeries | Panel) -> tuple[Panel, list[Made]]:
        """The panel, and the forecasts after the end of each series. Raises as `predict` does."""
        check_is_fitted(self)
        panel = as_panel(series)
        check_panel(self.prepared_, panel, self.prepared_.least)
        coming = []
        for place, one in enumerate(panel):
            one.require_ahead(self.horizon)
            coming.append(self._made(panel, place, np.array([len(one) - 1])))
        return panel, coming

    def sample(self, series: TimeSeries, count: int, seed: int = 0) -> Numbers:
        """Draw possible futures of a series, ``[count, K]``. Errors one step apart are correlated as usual.

        Raises:
            ValueError: as in `predict`; the forecaster forecasts points.
        """
        check_whole("count", count, 1)
        _, coming = self._coming(series)
        return coming[0].samples(0, count, seed)

    def backtest(
        self,
        series: TimeSeries | Panel,
        first: int | Sequence[int] | Whole | None = None,
        *,
        every: int = 1,
        refit: bool = False,
    ) -> Evaluation:
        """Forecast at every origin, and compare with the truth and with simpler forecasts.

        A forecast uses the series up to its origin only, and inputs whose future is known. The forecast
        steps begin at `first`, by default the first with enough history. Of more than 4,096 origins (fewer
        for a long horizon) evenly spaced ones are chosen. Beside the model are persistence, the seasonal
        naive forecast, and the linear part of the model alone, a ridge regression.

        Args:
            series: a series or a panel. Series of a panel without `horizon` steps from `first` on are left
                out.
            first: the first step that is forecast; of a panel one for each series.
            every: the steps from one origin to the next.
            refit: whether a new forecaster with the same arguments is fitted at every origin, to the steps
                before it. This takes as many trainings as there are origins: choose `every`.

        Raises:
            ValueError: as in `predict`.
        """
        check_is_fitted(self)
        check_whole("every", every, 1)
        panel = as_panel(series)
        least = self.prepared_.least
        check_panel(self.prepared_, panel, least + self.horizon if panel.alone else 1)
        firsts = np.maximum(np.broadcast_to(0 if first is None else first, len(panel)), least)
        origins = origins_of(panel, firsts, every, self.horizon, self.prepared_.encoding.season)
        tested = [place for place, found in enumerate(origins) if len(found)]
        if not tested:
            most = int(panel.rows.max())
            raise ValueError(
                f"series must have at least {self.horizon} steps after row {firsts[0]}. Got {most}"
            )
        made = refitted(panel, origins, firsts, self.horizon, self._fitted_again) if refit else {}
        parts = [self._tested(panel, place, origins[place], made.get(place)) for place in tested]
        return parts[0] if panel.alone else joined(parts, [str(panel.ids[place]) for place in tested])

    def _fitted_again(self, panel: Panel) -> Callable[[Panel, int, Whole], Numbers]:
        """What a forecaster with the same arguments forecasts after it was fitted to a panel."""
        forecast: Callable[[Panel, int, Whole], Numbers] = (
            clone(self).fit(panel.series[0] if panel.alone else panel)._forecast
        )
        return forecast

    def _tested(self, panel: Panel, place: int, origins: Whole, made: Numbers | None = None) -> Evaluation:
        """The back-test of one series of a panel; `made` are the forecasts if another model made them."""
        series, season = panel.series[place], self.prepared_.encoding.season
        held = hold(series.values)
        own = self._made(panel, place, origins)
        forecasts = {
            MODEL: own.forecasts if made is None else made,
            PERSISTENCE: persistence(held, origins, self.horizon),
        }
        if season > 1:
            forecasts[SEASONAL] = seasonal_naive(held, origins, self.horizon, season)
        if (line := self.model_.straight()) is not None and made is None:
            forecasts[RIDGE] = self._forecast(panel, place, origins, line)
        truth = series.values[future(origins, self.horizon)]
        scale = self.prepared_.scale
        if not panel.alone:
            scale = seasonal_scale(series.values[: origins[0] + 1], season)
        levels = LEVELS if SIZES[self.output] and made is None else ()
        quantiles = own.quantiles() if levels else None
        return Evaluation(origins, series.times[origins], truth, forecasts, scale, levels, quantiles)

    def score(self, series: TimeSeries | Panel) -> float:
        """The skill on a series: 1 is perfect, 0 no better than the best naive forecast."""
        return self.backtest(series).skill()

    def anomalies(self, series: TimeSeries | Panel, rate: float = RATE) -> pd.DataFrame:
        """Score every step by the errors of the forecasts made for it.

        A score is an error in units of the usual one. The threshold is what about the share `rate` of usual
        steps exceeds, estimated in the validation part. The first steps, which are not forecast, and steps
        without a value have no score (NaN).

        Returns:
            The columns ``score`` and ``anomaly``, a row for each step; of a panel in long format, after the
            columns of ids and times.

        Raises:
            ValueError: as in `predict`; the validation part had no errors to compare with.
        """
        check_is_fitted(self)
        panel = as_panel(series)
        check_panel(self.prepared_, panel, self.prepared_.least + 1)
        if self.model_.calibration is None:
            raise ValueError("the validation part had no errors to compare with")
        missed = [self._missed(panel, p, self.prepared_.least - 1) for p in range(len(panel))]
        scores = [self.model_.calibration.scores(each) for each in missed]
        parts = [
            pd.Series(each, index=one.times, name="score") for each, one in zip(scores, panel, strict=True)
        ]
        found = parts[0].to_frame() if panel.alone else long_format(panel, parts, "score")
        return found.assign(anomaly=found["score"] > self.model_.calibration.threshold(rate))

    def watch(self, series: TimeSeries, steps: int) -> dict[str, NDArray[np.float32]]:
        """Every value of the first layer's cell over the last `steps` steps, each ``[T, H]``."""
        check_is_fitted(self)
        check_series(self.prepared_, series, steps + self.prepared_.need)
        inputs = torch.from_numpy(self.prepared_.encoding.inputs(series))[
            -(steps + self.prepared_.history) :, None
        ]
        with torch.no_grad(), watch(self.network_) as seen:
            self.network_.recurrent(inputs)
        layer = seen["recurrent.l0"]
        return {name: getattr(layer, name)[-steps:, 0].numpy() for name in layer.names}

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read a forecaster from a file that `save` wrote. Nothing in the file is executed.

        Raises:
            ModelFileError: the file is damaged, not gatewise's, or not a forecaster.
        """
        file = _with_output(read_model(path, cls.TASK))
        if "preparation" in file.header or "parameters" not in file.header:
            return saving.estimator_of(cls, file)
        # The first layout had the parts of the preparation beside the parameters.
        file = replace(file, header={**file.header, "preparation": file.header})
        forecaster = saving.unfilled(cls, file)
        network = saving.network_of(forecaster, file)
        forecaster.adopt(saving.file_of(forecaster, network), network)
        forecaster.metrics_ = file.header["metrics"]
        return forecaster

    def prepared(self) -> dict[str, Any]:
        """Season, history, scalers and clock, as JSON data."""
        return to_data(self.prepared_)

    def restore(self, prepared: dict[str, Any]) -> None:
        """Take them from a file."""
        self.prepared_ = from_data(prepared)

    @property
    def network_(self) -> ForecastNetwork:
        """The trained network in torch, in evaluation mode."""
        return cast(ForecastNetwork, super().network_)

    @property
    def steps(self) -> int:
        """The steps that the network forecasts at once."""
        return 1 if self.mode == "recursive" else self.horizon

    def build(self) -> ForecastNetwork:
        """Build the untrained network for the parameters and the preparation."""
        encoding, reads = self.prepared_.encoding, self.prepared_.reads
        return ForecastNetwork(
            self.equations,
            encoding.input_size,
            int(self.hidden_size),
            int(self.num_layers),
            self.steps,
            self.dropout,
            None if reads is None else reads.size(encoding.input_size),
            len(encoding.known),
            (len(encoding.numbers), encoding.sizes),
            self.output,
            int(self.members),
        )

    def _forecast(self, panel: Panel, place: int, origins: Whole, model: Model | None = None) -> Numbers:
        """Forecast one series of a panel at origins, ``[S, K]``, with our model or another one."""
        return self._made(panel, place, origins, model).forecasts

    def _made(self, panel: Panel, place: int, origins: Whole, model: Model | None = None) -> Made:
        """The forecasts of one series of a panel at origins, with their distributions."""
        series = panel.series[place]
        columns = columns_of(series, self.prepared_.encoding.columns)
        found: Made = (model or self.model_).made(
            columns, series.positions, origins, panel.ids[place], panel.attributes(place)
        )
        return found

    def _usual_errors(self, panel: Panel, rows: Whole) -> Calibration | None:
        """How far forecasts of the validation part miss, by which `anomalies` are scored."""
        most = max(MOST_TESTED // len(panel), self.horizon + 1)
        found = []
        for place in range(0, len(panel), -(-len(panel) // MOST_TESTED)):
            first = max(int(rows[place]), self.prepared_.least)
            if first < len(panel.series[place]):
                one = panel.part([place])
                found.append(self._missed(one.head([first + most]), 0, first - 1)[first:])
        return Calibration.of(np.concatenate(found)) if found else None

    def _missed(self, panel: Panel, place: int, first: int) -> Numbers:
        """The errors of the forecasts for each step of a series, from origin `first` on, in scaled units."""
        series = panel.series[place]
        columns = columns_of(series, self.prepared_.encoding.columns)
        missed: Numbers = self.model_.missed(
            columns, series.positions, first, panel.ids[place], panel.attributes(place)
        )
        return missed

    def _store(self, usual: Calibration | None) -> None:
        """Put the usual errors into the model and its file."""
        if usual is not None:
            header = {**self.file_.header, "anomalies": usual.to_dict()}
            self.adopt(replace(self.file_, header=header), self._network)

    def check_parameters(self) -> None:
        """Raise a ValueError for the first parameter that is out of range."""
        super().check_parameters()
        if self.output not in SIZES:
            raise ValueError(f"output must be one of {', '.join(SIZES)}. Got {self.output!r}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}. Got {self.mode!r}")
        if self.members > MOST_MEMBERS:
            raise ValueError(f"members must be at most {MOST_MEMBERS}. Got {self.members}")
        if self.horizon > MOST_HORIZON:
            raise ValueError(f"horizon must be at most {MOST_HORIZON:,} steps. Got {self.horizon}")
        for name in ("history", "season"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)


def _error(job: Job[Batch], network: ForecastNetwork) -> float:
    """The mean error over the validation part."""
    with torch.no_grad():
        sums = [job.error(network, batch) for batch in job.check()]
    return float(sum(total for total, _ in sums)) / max(sum(items for _, items in sums), 1)


def _with_output(file: ModelFile) -> ModelFile:
    """The file with an output. Forecasters of earlier versions forecast points, and have no such entry."""
    parameters = file.header.get("parameters")
    if not isinstance(parameters, dict) or "output" in parameters:
        return file
    return replace(file, header={**file.header, "parameters": {**parameters, "output": "point"}})


def _long_frames(panel: Panel, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Frames of the series of a panel in long format."""
    columns = [long_format(panel, [part[name] for part in parts]) for name in parts[0]]
    found = columns[0].iloc[:, :2].copy()
    for name, one in zip(parts[0], columns, strict=True):
        found[name] = one.iloc[:, 2]
    return found
