"""``gatewise forecast``: read, train, test, write. Errors are reported in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gatewise.apps import report
from gatewise.apps.cells import chosen_cell
from gatewise.apps.reading import read
from gatewise.apps.session import INTERRUPTED, progress, status_of

if TYPE_CHECKING:
    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.series import TimeSeries
    from gatewise.tasks.shared.training import Epoch

MOST_HORIZON = 60  # steps, if --horizon is not given


@dataclass(frozen=True)
class Request:
    """The options of the command. None means: choose automatically."""

    file: Path | None
    target: str | None
    reading: dict[str, Any]
    horizon: int | None
    season: int | None
    cell: str
    hidden_size: int
    epochs: int
    seed: int
    threads: int | None
    out: Path | None


def run(request: Request) -> int:
    """Run the command. Returns the exit status, as `session.status_of`."""
    return status_of(partial(_run, request))


def _run(request: Request, console: Console) -> int:
    cell = chosen_cell(request.cell)
    series = _read(request)
    horizon = request.horizon or _default_horizon(series)

    from gatewise.tasks.forecast.split import untested_rows

    rows = untested_rows(series, horizon)

    import torch

    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.forecast.run_folder import write_run
    from gatewise.tasks.shared.run_folder import NewFolder, free_name, given_name

    if request.threads is not None:
        torch.set_num_threads(request.threads)
    forecaster = Forecaster(
        horizon,
        cell=cell,
        hidden_size=request.hidden_size,
        season=request.season,
        max_epochs=request.epochs,
        seed=request.seed,
    )
    stem = f"{Path(series.name).stem}-{forecaster.equations.name}"
    name = partial(given_name, request.out) if request.out else partial(free_name, stem)
    with NewFolder(name) as folder:
        report.show_series(console, series, rows, forecaster)
        _fit(forecaster, series.head(rows), console)
        tested = forecaster.backtest(series, rows)
        write_run(folder.writing, forecaster, series, tested)
    try:
        report.show_errors(console, forecaster, series, tested)
        report.show_folder(console, forecaster, folder.path, series.target)
        report.show_look(console, folder.path, request.file, request.reading)
    except KeyboardInterrupt:
        console.print(f"Stopped by Ctrl-C. Everything was written to {folder.path}.")
        return INTERRUPTED
    return INTERRUPTED if forecaster.interrupted_ else 0


def _read(request: Request) -> TimeSeries:
    from gatewise.tasks.series.weather import FILE, TARGET

    series: TimeSeries
    if request.file is None:
        series = read(FILE, request.target or TARGET, request.reading)
    else:
        series = read(request.file, request.target, request.reading)
    return series


def _default_horizon(series: TimeSeries) -> int:
    """The shortest season, but at most an eighth of the rows."""
    season = min(series.clock.seasons(), default=1)
    return max(1, min(season, MOST_HORIZON, len(series) // 8))


def _fit(forecaster: Forecaster, series: TimeSeries, console: Console) -> None:
    with progress(console) as bar:
        task = bar.add_task("training", total=forecaster.max_epochs, state="")

        def show(epoch: Epoch) -> None:
            scale = forecaster.prepared_.encoding.scale[0]
            error, best = f"{epoch.error * scale:.3g}", f"{epoch.best * scale:.3g} {series.unit}"
            state = f"epoch {epoch.number}, validation MAE {error}, best {best}"
            bar.update(task, completed=epoch.number, state=state)

        forecaster.fit(series, show)
        bar.update(task, total=forecaster.epochs_)
