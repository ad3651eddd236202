"""`Forecaster`: fit, predict, score, save and load, with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gatewise.extras import needed_by
from gatewise.insight.watch import watch
from gatewise.language import Cell
from gatewise.runtime.jobs.forecaster import MOST_HORIZON
from gatewise.tasks.forecast.encoding import columns_of
from gatewise.tasks.forecast.evaluation import MODEL, PERSISTENCE, SEASONAL, Evaluation
from gatewise.tasks.forecast.naive import Numbers, Whole, future, hold, persistence, seasonal_naive
from gatewise.tasks.forecast.network import CELLS, ForecastNetwork
from gatewise.tasks.forecast.preparation import prepare
from gatewise.tasks.forecast.saving import load_forecaster, model_of, save_forecaster
from gatewise.tasks.forecast.split import spread, training_rows
from gatewise.tasks.series import TimeSeries

if TYPE_CHECKING:
    from gatewise.tasks.forecast.training import Epoch

ABBREVIATIONS = ("lstm", "gru", "rnn")
MOST_TESTED = 4096  # most origins in a back-test
MOST_COMPARED = 4_000_000  # most forecast values in a back-test


class Forecaster:
    """Forecasts the next ``horizon`` steps of one column from the past of all columns.

    A recurrent network reads the last ``history`` steps and predicts, for each step ahead, the difference to
    the persistence and seasonal naive forecasts. It trains on the first part of the series, and stops when
    the forecasts of the last 15 % (the validation part, which is not trained on) no longer improve.

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

    Attributes:
        prepared_: scalers, masks, season, history and clock, computed from the training part alone.
        network_: the trained network.
        model_: the same network without torch, which makes the forecasts.
        epochs_, best_epoch_: epochs trained, and the one whose weights are kept.
        validation_error_: MAE in the validation part, in the target's unit.
        metrics_: metrics to store in the file; empty after ``fit``.
        interrupted_: whether Ctrl-C stopped training. The weights are then the best so far.

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=120, freq="D")
        >>> frame = pd.DataFrame({"sold": np.sin(np.arange(120.0)) + np.arange(120) % 7}, index=days)
        >>> series = TimeSeries.from_frame(frame, "sold")
        >>> forecaster = Forecaster(7, hidden_size=8, max_epochs=1).fit(series)
        >>> forecaster.predict(series).index[0]
        Timestamp('2024-04-30 00:00:00')
    """

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

    @property
    def equations(self) -> Cell:
        """The cell, also if it was given by name."""
        return self.cell if isinstance(self.cell, Cell) else CELLS[self.cell]

    @property
    def cell_name(self) -> str:
        """The name of the cell for people to read: ``"LSTM"``, or its own name."""
        name = self.equations.name
        return name.upper() if self.cell in ABBREVIATIONS else name

    def __repr__(self) -> str:
        return f"Forecaster({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of this forecaster; `deep` is ignored, but scikit-learn passes it."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_")}

    def set_params(self, **params: Any) -> Forecaster:
        """Change arguments by name, as in scikit-learn. They take effect in `fit`.

        Raises:
            ValueError: an argument does not exist.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(
                    f"the name of a parameter must be one of {', '.join(self.get_params())}. Got {name!r}"
                )
            setattr(self, name, value)
        return self

    def fit(self, series: TimeSeries, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Forecaster:
        """Train on a series. `on_epoch` is called after each epoch.

        Ctrl-C stops training and keeps the weights of the best epoch.

        Raises:
            SeriesError: the series is too short, or its training part is constant.
            ValueError: a parameter is out of range.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch.
        """
        with needed_by("Forecaster.fit"):
            from gatewise.tasks.forecast.training import (  # Lightning takes two seconds to import
                Settings,
                train,
            )

        self.check_parameters()
        rows = training_rows(series, self.horizon)
        self.prepared_ = prepare(series, rows, self.horizon, self.season, self.history)
        windows = self.prepared_.windows(series, self.horizon)
        batches = self.prepared_.training(windows, rows, self.batch_size, self.seed)
        check = self.prepared_.validation(windows, rows)
        settings = Settings(self.learning_rate, self.max_epochs, self.patience, self.seed)
        self.network_, outcome = train(self.build, batches, check, settings, on_epoch)
        self.epochs_, self.best_epoch_ = outcome.epochs, outcome.best_epoch
        self.validation_error_ = outcome.best_error * self.prepared_.encoding.scale[0]
        self.interrupted_ = outcome.interrupted
        self.metrics_: dict[str, Any] = {}
        self.model_ = model_of(self)
        return self

    def predict(self, series: TimeSeries) -> pd.Series[float]:
        """Forecast the `horizon` steps after the end of a series with the same columns and step.

        Raises:
            ValueError: a column is missing, the step differs, or the series is shorter than `prepared_.need`.
        """
        self._check_series(series, self.prepared_.need if hasattr(self, "prepared_") else 0)
        made = self._forecast(series, np.array([len(series) - 1]))
        return pd.Series(made[0], index=series.future(self.horizon), name=series.target)

    def backtest(self, series: TimeSeries, first: int | None = None) -> Evaluation:
        """Forecast at every origin, and compare with the truth and with naive forecasts.

        A forecast uses the series up to its origin only. The forecast steps begin at `first`, by default the
        first with enough history. Of more than 4,096 origins (fewer for a long horizon) evenly spaced ones
        are chosen.

        Raises:
            ValueError: as in `predict`.
        """
        self._check_fitted()
        first = max(first or 0, self.prepared_.need)
        self._check_series(series, self.prepared_.need + self.horizon)
        season = self.prepared_.encoding.season
        most = min(MOST_TESTED, max(MOST_COMPARED // self.horizon, 1))
        origins = spread(first - 1, len(series) - self.horizon, most, season)
        if len(origins) == 0:
            raise ValueError(
                f"series must have at least {self.horizon} steps after row {first}. Got {len(series)}"
            )
        held = hold(series.values)
        forecasts = {
            MODEL: self._forecast(series, origins),
            PERSISTENCE: persistence(held, origins, self.horizon),
        }
        if season > 1:
            forecasts[SEASONAL] = seasonal_naive(held, origins, self.horizon, season)
        truth = series.values[future(origins, self.horizon)]
        return Evaluation(origins, series.times[origins], truth, forecasts, self.prepared_.scale)

    def score(self, series: TimeSeries) -> float:
        """The skill on a series: 1 is perfect, 0 no better than the best naive forecast."""
        return self.backtest(series).skill()

    def watch(self, series: TimeSeries, steps: int) -> dict[str, NDArray[np.float32]]:
        """Every value of the first layer's cell over the last `steps` steps, each ``[T, H]``."""
        self._check_fitted()
        self._check_series(series, steps + self.prepared_.need)
        inputs = torch.from_numpy(self.prepared_.encoding.inputs(series))[
            -(steps + self.prepared_.history) :, None
        ]
        with torch.no_grad(), watch(self.network_) as seen:
            self.network_.recurrent(inputs)
        layer = seen["recurrent.l0"]
        return {name: getattr(layer, name)[-steps:, 0].numpy() for name in layer.names}

    def save(self, path: str | Path) -> None:
        """Write the forecaster to a ``.safetensors`` file, completely or not at all."""
        self._check_fitted()
        save_forecaster(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read a forecaster from a file that `save` wrote. Nothing in the file is executed.

        Raises:
            ModelFileError: the file is damaged, not gatewise's, or not a forecaster.
        """
        return load_forecaster(cls, Path(path))

    def build(self) -> ForecastNetwork:
        """Build the untrained network for the parameters and the preparation."""
        input_size = self.prepared_.encoding.input_size
        return ForecastNetwork(
            self.equations, input_size, self.hidden_size, self.num_layers, self.horizon, self.dropout
        )

    def _forecast(self, series: TimeSeries, origins: Whole) -> Numbers:
        """Forecast at origins, ``[S, K]`` in the target's unit."""
        columns = columns_of(series, self.prepared_.encoding.columns)
        return self.model_.forecast(columns, np.rint(series.clock.exact(series.times)), origins)

    def check_parameters(self) -> None:
        """Raise a ValueError for the first parameter that is out of range."""
        least = dict.fromkeys(
            ("horizon", "hidden_size", "num_layers", "batch_size", "max_epochs", "patience"), 1
        )
        least |= {name: 1 for name in ("history", "season") if getattr(self, name) is not None}
        for name, lowest in {**least, "seed": 0}.items():
            value = getattr(self, name)
            if name == "horizon" and type(value) is int and value > MOST_HORIZON:
                raise ValueError(f"horizon must be at most {MOST_HORIZON:,} steps. Got {value}")
            if type(value) is not int or value < lowest:
                raise ValueError(f"{name} must be a whole number of at least {lowest}. Got {value!r}")
        if not isinstance(self.cell, Cell) and self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, or a Cell. Got {self.cell!r}")
        if self.equations.projects:
            raise ValueError(f"cell must project nothing. Got {self.equations.name!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a share of at least 0 and below 1. Got {self.dropout!r}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be a number above 0. Got {self.learning_rate!r}")

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise RuntimeError("this Forecaster is not fitted yet: call fit first")

    def _check_series(self, series: TimeSeries, need: int) -> None:
        self._check_fitted()
        wanted, step = self.prepared_.encoding.columns, self.prepared_.clock.span(1)
        missing = [name for name in wanted if name not in series.frame.columns]
        if missing or series.target != wanted[0]:
            raise ValueError(
                f"series must have the target {wanted[0]!r} and the columns {wanted}. It lacks {missing}"
            )
        if series.clock.span(1) != step:
            raise ValueError(f"series must have steps of {step}. Got {series.clock.span(1)}")
        zone = self.prepared_.clock.zone
        if (series.clock.zone is None) != (zone is None):
            kind = f"with a time zone, as {zone}" if zone else "without a time zone"
            raise ValueError(f"series must have times {kind}. Got {series.clock.zone or 'none'}")
        if len(series) < need:
            raise ValueError(
                f"series must have at least {need} rows, for history and season. Got {len(series)}"
            )
