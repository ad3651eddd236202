"""``gatewise forecast``: read a series, train, test against naive forecasts, forecast what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gatewise.apps.job import Common, job_command
from gatewise.apps.reading import read, spelled

if TYPE_CHECKING:
    from gatewise.tasks.forecast.evaluation import Evaluation
    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.series import TimeSeries
    from gatewise.tasks.shared.training import Epoch

MOST_HORIZON = 60  # steps, if --horizon is not given


@job_command(example="gatewise forecast sales.csv --target sold --horizon 14")
def forecast(
    file: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet file. Without one: a year of weather.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to forecast.")] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Steps ahead to forecast. (default: one season)")
    ] = None,
    season: Annotated[int | None, typer.Option(min=1, help="Steps in a season. (default: chosen)")] = None,
    *,
    common: Common,
    reading: dict[str, Any],
) -> ForecastFlow:
    """Train a network on a series, test it against naive forecasts, and forecast what comes next.

    Without a file it learns a year of hourly weather. With one it learns the column --target
    from the past of all columns of numbers. The end of the series is held out for the test.
    """
    from gatewise.tasks.forecast.split import untested_rows

    series = _read(file, target, reading)
    horizon = horizon or _default_horizon(series)
    rows = untested_rows(series, horizon)

    from gatewise.tasks.forecast.forecaster import Forecaster

    forecaster = Forecaster(
        horizon,
        cell=common.cell,
        hidden_size=common.hidden_size,
        num_layers=common.layers,
        season=season,
        max_epochs=common.epochs,
        seed=common.seed,
    )
    words = [*(["--on", str(file)] if file else []), *spelled(reading)]
    return ForecastFlow(forecaster, series, rows, [file] if file else [], words)


@dataclass
class ForecastFlow:
    """The steps of the job. The first `rows` steps of the series are not tested on."""

    estimator: Forecaster
    series: TimeSeries
    rows: int
    data: Sequence[Path]
    look: Sequence[str]

    @property
    def name(self) -> str:
        """The name of the series, and the cell."""
        return f"{Path(self.series.name).stem}-{self.estimator.equations.name}"

    @property
    def files(self) -> Mapping[str, str]:
        """The files of the run folder, with their meaning."""
        from gatewise.tasks.forecast.run_folder import FILES

        return FILES

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be learned."""
        from gatewise.apps.report import show_series

        show_series(console, self.series, self.rows, self.estimator)

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Fit the forecaster."""
        self.estimator.fit(self.series.head(self.rows), on_epoch, checkpoint=checkpoint)

    def epoch_text(self, epoch: Epoch) -> str:
        """The validation error in the target's unit."""
        scale = self.estimator.prepared_.encoding.scale[0]
        error, best = f"{epoch.error * scale:.3g}", f"{epoch.best * scale:.3g} {self.series.unit}"
        return f"validation MAE {error}, best {best}"

    @cached_property
    def tested(self) -> Evaluation:
        """The test."""
        return self.estimator.backtest(self.series, self.rows)

    def test(self) -> None:
        """Forecast the end of the series from every step."""
        _ = self.tested

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the run. Returns the metrics."""
        from gatewise.tasks.forecast.run_folder import write_run

        write_run(folder, self.estimator, self.series, self.tested)
        return self.estimator.metrics_

    def show_results(self, console: Console) -> None:
        """Print the errors beside those of naive forecasts."""
        from gatewise.apps.report import show_errors

        show_errors(console, self.estimator, self.series, self.tested)

    def remarks(self) -> Sequence[str]:
        """A sentence if pictures lack letters of the target's name."""
        from gatewise.insight.figures.lettering import missing_letters

        boxes = missing_letters(self.series.target)
        return (
            [f"No font on this machine has {boxes!r}: boxes stand for them in the pictures."] if boxes else []
        )


def _read(file: Path | None, target: str | None, reading: dict[str, Any]) -> TimeSeries:
    from gatewise.tasks.series.weather import FILE, TARGET

    series: TimeSeries = read(file or FILE, target if file else target or TARGET, reading)
    return series


def _default_horizon(series: TimeSeries) -> int:
    """The shortest season, but at most an eighth of the rows."""
    season = min(series.clock.seasons(), default=1)
    return max(1, min(season, MOST_HORIZON, len(series) // 8))
