"""``gatewise forecast``: read a series, train, test against naive forecasts, forecast what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from gatewise.apps.job import Common, job_command
from gatewise.apps.options import Among
from gatewise.apps.reading import chosen_reading, spelled
from gatewise.extras import needed_by

if TYPE_CHECKING:
    from gatewise.tasks.forecast.evaluation import Evaluation
    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.series import Panel, TimeSeries
    from gatewise.tasks.shared.training import Epoch


class ForecastError(ValueError):
    """Raised for options that do not go together. The message is one sentence."""


Static = Annotated[
    list[str] | None,
    typer.Option(help="With --id: column that describes a whole series, as its region; may be repeated."),
]
Horizon = Annotated[int | None, typer.Option(min=1, help="Steps ahead to forecast. (default: one season)")]
Log = Annotated[
    bool, typer.Option("--log", help="Forecast the logarithm of the target, as of counts that grow.")
]
OUTPUTS = ("point", "quantiles", "gaussian", "student-t", "negative-binomial")
Output = Annotated[
    str,
    typer.Option(help="quantiles, gaussian, student-t, negative-binomial (of counts), or point."),
    Among(OUTPUTS),
]
Refit = Annotated[
    bool,
    typer.Option("--refit/--no-refit", help="Train again with the validation part at the end."),
]
Classical = Annotated[
    bool,
    typer.Option("--classical", help="Compare with exponential smoothing and theta, of statsmodels."),
]
Members = Annotated[
    int, typer.Option(min=1, max=64, help="Networks whose forecasts are averaged; 5 take 5 times as long.")
]
Mode = Annotated[
    str,
    typer.Option(help="direct: all steps at once; recursive: one after another, each from the last."),
    Among(("direct", "recursive")),
]
MOST_HORIZON = 60  # steps, if --horizon is not given


@job_command(example="gatewise forecast sales.csv --target sold --horizon 14")
def forecast(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV, Parquet or JSON lines, a folder of Parquet, or -. Without one: a year of weather."
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to forecast.")] = None,
    horizon: Horizon = None,
    season: Annotated[int | None, typer.Option(min=1, help="Steps in a season. (default: chosen)")] = None,
    id: Annotated[
        str | None, typer.Option(help="Column that tells several series apart, which are all forecast.")
    ] = None,
    static: Static = None,
    wide: Annotated[bool, typer.Option("--wide", help="Each column of numbers is a series.")] = False,
    log: Log = False,
    non_negative: Annotated[bool, typer.Option("--non-negative", help="Forecasts below 0 become 0.")] = False,
    output: Output = "quantiles",
    refit: Refit = True,
    members: Members = 1,
    mode: Mode = "direct",
    classical: Classical = False,
    *,
    common: Common,
    reading: dict[str, Any],
) -> ForecastFlow:
    """Train a network on a series, test it against naive forecasts, and forecast what comes next.

    Without a file it learns a year of hourly weather. With one it learns the column --target
    from the past of all columns of numbers. The end of the series is held out for the test.
    """
    _refuse_contradictions(log, output, mode, reading)
    from gatewise.tasks.forecast.split import untested_parts
    from gatewise.tasks.series import as_panel

    series = _read(file, target, _Roles(id, tuple(static or ()), wide), reading)
    horizon = horizon or _default_horizon(as_panel(series))
    rows = untested_parts(as_panel(series), horizon)
    for one in as_panel(series):
        one.require_ahead(horizon)

    from gatewise.tasks.forecast.forecaster import Forecaster

    forecaster = Forecaster(
        horizon,
        cell=common.cell,
        hidden_size=common.hidden_size,
        num_layers=common.layers,
        season=season,
        max_epochs=common.epochs,
        seed=common.seed,
        log=log,
        refit=refit,
        output=output,
        non_negative=non_negative,
        members=members,
        mode=mode,
    )
    words = [*(["--on", str(file)] if file else []), *spelled(reading)]
    if classical:
        _require_statsmodels()
    return ForecastFlow(forecaster, series, rows, [file] if file else [], words, classical)


def _refuse_contradictions(log: bool, output: str, mode: str, reading: dict[str, Any]) -> None:
    """Refuse options that contradict each other, before anything is read."""
    if log and output == "negative-binomial":
        raise ForecastError(
            "--log: --output negative-binomial forecasts the counts themselves; leave --log out."
        )
    if mode == "recursive" and set(reading.get("inputs", ())) - {"none", ""}:
        raise ForecastError(
            "--past: --mode recursive reads no inputs but those of --known; leave --past out."
        )


def _require_statsmodels() -> None:
    """Refuse --classical before training if statsmodels is not installed."""
    with needed_by("--classical"):
        import statsmodels  # noqa: F401


class _Roles(NamedTuple):
    """How a file holds several series, if it does."""

    id: str | None
    static: tuple[str, ...]
    wide: bool


@dataclass
class ForecastFlow:
    """The steps of the job. The first ``rows[p]`` steps of each series are not tested on."""

    estimator: Forecaster
    series: TimeSeries | Panel
    rows: NDArray[np.int64]
    data: Sequence[Path]
    look: Sequence[str]
    classical: bool = False

    @property
    def name(self) -> str:
        """The name of the series, and the cell."""
        return f"{Path(self.series.name).stem}-{self.estimator.equations.name}"

    @property
    def files(self) -> Mapping[str, str]:
        """The files of the run folder, with their meaning."""
        from gatewise.tasks.forecast.run_folder import FILES, PANEL_FILES
        from gatewise.tasks.series import as_panel

        return FILES if as_panel(self.series).alone else PANEL_FILES

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be learned."""
        from gatewise.apps.report import show_series

        show_series(console, self.series, self.rows, self.estimator)

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Fit the forecaster."""
        from gatewise.tasks.series import as_panel

        kept = as_panel(self.series).head(self.rows)
        self.estimator.fit(kept.series[0] if kept.alone else kept, on_epoch, checkpoint=checkpoint)

    def epoch_text(self, epoch: Epoch) -> str:
        """The validation error in the target's unit."""
        scale = self.estimator.prepared_.encoding.scale[0]
        error, best = f"{epoch.error * scale:.3g}", f"{epoch.best * scale:.3g} {self.series.unit}"
        return f"validation MAE {error}, best {best}"

    @cached_property
    def tested(self) -> Evaluation:
        """The test."""
        return self.estimator.backtest(self.series, self.rows)

    @cached_property
    def compared(self) -> Evaluation | None:
        """The test beside exponential smoothing and theta, if it is asked for."""
        from gatewise.tasks.forecast.classical import beside_classical
        from gatewise.tasks.series import as_panel

        season = self.estimator.prepared_.encoding.season
        return beside_classical(self.tested, as_panel(self.series), season) if self.classical else None

    def test(self) -> None:
        """Forecast the end of the series from every step."""
        _ = self.tested, self.compared

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the run. Returns the metrics."""
        from gatewise.tasks.forecast.run_folder import write_run

        write_run(folder, self.estimator, self.series, self.tested, self.compared)
        return self.estimator.metrics_

    def show_results(self, console: Console) -> None:
        """Print the errors beside those of naive forecasts."""
        from gatewise.apps.report import show_classical, show_errors

        show_errors(console, self.estimator, self.series, self.tested)
        if self.compared is not None:
            season = self.series.clock.span(self.estimator.prepared_.encoding.season)
            show_classical(console, self.compared, self.series, season)

    def remarks(self) -> Sequence[str]:
        """Sentences if series are not forecast, and if pictures lack letters of the target's name."""
        from gatewise.insight.figures.lettering import missing_letters
        from gatewise.tasks.forecast.panels import too_short
        from gatewise.tasks.series import as_panel

        boxes = missing_letters(self.series.target)
        letters = f"No font on this machine has {boxes!r}: boxes stand for them in the pictures."
        return [
            *too_short(as_panel(self.series), self.estimator.prepared_.least),
            *([letters] if boxes else []),
        ]


def _read(
    file: Path | None, target: str | None, roles: _Roles, options: dict[str, Any]
) -> TimeSeries | Panel:
    """Read a series, or a panel if the options say so."""
    from gatewise.tasks.series import read_series
    from gatewise.tasks.series.panel import read_panel, read_wide
    from gatewise.tasks.series.weather import FILE, TARGET

    time, reading = options.get("time"), chosen_reading(options)
    if roles.wide and (roles.id or roles.static or target or reading.known):
        raise ForecastError(
            "--wide: each column is a series; --id, --static, --target and --known name none."
        )
    if roles.static and not roles.id:
        raise ForecastError("--static: name the column that tells series apart with --id.")
    if file is None:
        if roles.id or roles.wide:
            option = "--id" if roles.id else "--wide"
            raise ForecastError(f"{option} goes with FILE: the bundled year of weather is one series.")
        return read_series(FILE, target or TARGET, time, reading)
    if roles.wide:
        return read_wide(file, time, reading)
    if roles.id:
        return read_panel(file, target, roles.id, time, roles.static, reading)
    return read_series(file, target, time, reading)


def _default_horizon(panel: Panel) -> int:
    """The shortest season, but at most an eighth of the rows of a usual series."""
    season = min(panel.clock.seasons(), default=1)
    return max(1, min(season, MOST_HORIZON, int(np.median(panel.rows)) // 8))
