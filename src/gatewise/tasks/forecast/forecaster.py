"""`Forecaster`: fit, predict, score, save and load, with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from gatewise.extras import needed_by
from gatewise.insight.watch import watch
from gatewise.language import Cell
from gatewise.runtime.jobs.anomalies import RATE
from gatewise.runtime.jobs.distributions import LEVELS, SIZES
from gatewise.runtime.jobs.forecaster import MODES, MOST_HORIZON
from gatewise.runtime.jobs.forecaster import Forecaster as Model
from gatewise.runtime.jobs.made import Made
from gatewise.runtime.model_file import ModelFile, read_model
from gatewise.tasks.forecast.backtesting import evaluation_of, origins_of, refitted
from gatewise.tasks.forecast.checks import check_panel, check_series
from gatewise.tasks.forecast.evaluation import Evaluation, joined
from gatewise.tasks.forecast.fitting import Fitting
from gatewise.tasks.forecast.naive import Numbers, Whole
from gatewise.tasks.forecast.panels import long_format
from gatewise.tasks.forecast.predicting import made_of, missed_of
from gatewise.tasks.forecast.preparation import prepare
from gatewise.tasks.forecast.saving import from_data, to_data
from gatewise.tasks.forecast.split import training_parts
from gatewise.tasks.series import Panel, TimeSeries, as_panel
from gatewise.tasks.shared import saving
from gatewise.tasks.shared.estimator import JobEstimator, check_whole

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch

MOST_MEMBERS = 64


class Forecaster(Fitting):
    """Forecasts the next ``horizon`` steps of one column from the past of all columns.

    A ridge regression on values of the past makes a linear forecast, and a recurrent network, which reads the
    last ``history`` steps, corrects it. They are fitted to the first part of the series; the last 15 % (the
    validation part) decide what the regression reads and for how long the network is trained. The forecast is
    the mean of the linear and the corrected one; if that is not clearly better in the validation part, it is
    the linear one. At the end both are fitted again to the whole series.

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
        log: whether the network forecasts the logarithm of 1 + the target, which must not be negative. Not
            with ``output="negative-binomial"``, which forecasts the counts themselves.
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
            coming.append(made_of(self.model_, panel, place, np.array([len(one) - 1])))
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
        made = refitted(panel, origins, firsts, self._fitted_again) if refit else {}
        parts = [
            evaluation_of(self.model_, panel, place, origins[place], self.prepared_.scale, made.get(place))
            for place in tested
        ]
        return parts[0] if panel.alone else joined(parts, [str(panel.ids[place]) for place in tested])

    def _fitted_again(self, panel: Panel) -> Model:
        """The model of a forecaster with the same arguments that is fitted to a panel."""
        model: Model = clone(self).fit(panel.series[0] if panel.alone else panel).model_
        return model

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
        missed = [missed_of(self.model_, panel, p, self.prepared_.least - 1) for p in range(len(panel))]
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

    def check_parameters(self) -> None:
        """Raise a ValueError for the first parameter that is out of range."""
        super().check_parameters()
        if self.output not in SIZES:
            raise ValueError(f"output must be one of {', '.join(SIZES)}. Got {self.output!r}")
        if self.log and self.output == "negative-binomial":
            raise ValueError(f"log must be False for counts, of output={self.output!r}. Got {self.log!r}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}. Got {self.mode!r}")
        if self.members > MOST_MEMBERS:
            raise ValueError(f"members must be at most {MOST_MEMBERS}. Got {self.members}")
        if self.horizon > MOST_HORIZON:
            raise ValueError(f"horizon must be at most {MOST_HORIZON:,} steps. Got {self.horizon}")
        for name in ("history", "season"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)


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
