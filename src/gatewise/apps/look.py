"""``gatewise look``: shows a saved network at work, as a page for any browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from gatewise.apps.helping import example
from gatewise.apps.options import option_of
from gatewise.apps.pages import check_page
from gatewise.apps.reading import CONTENT, chosen_reading, reads_tables, refuse_missing
from gatewise.apps.session import status_of
from gatewise.apps.standard_input import DASH, ending_of, with_standard_input
from gatewise.apps.subject import Subject

if TYPE_CHECKING:
    from gatewise.insight.page.look import Look
    from gatewise.tasks.series import TimeSeries

MODEL = "model.safetensors"  # the file name in the folder of a run
ROWS = 4  # windows of a series
SHOWN = 6  # findings that are printed
# What the models of other jobs read.
READS = {
    "classify": "sequences, as the file of training",
    "tag": "sentences, as CoNLL-U, columns or text",
    "write": "a text",
}


class LookError(ValueError):
    """Raised for input that cannot be shown. The message is one sentence."""


@example("gatewise look runs/newark_weather_2013-lstm --out weather.html")
@reads_tables
def look(
    model: Annotated[
        Path | None, typer.Argument(help="A .safetensors file, or the folder that gatewise forecast left.")
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            help="What the network reads. For a forecaster: CSV or Parquet. (default: a year of weather) "
            "For other jobs: a file like that of training. For layers: .npy, .npz or .csv, of steps by "
            "inputs, or steps by rows by inputs."
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a small LSTM that has learned to remember a letter.")
    ] = False,
    megabytes: Annotated[float, typer.Option(min=1, max=1000, help="Size of the page, at most.")] = 10,
    out: Annotated[Path | None, typer.Option(help="The page. (default: the model's name with .html)")] = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Show a trained network at work: what it forgets, writes and says at each step, as one HTML page.

    The page opens without a network. It has the equations, every gate of every layer at every step, what
    each unit remembers and since when, and which inputs mattered.
    """

    def job(console: Console) -> int:
        if demo or model is None:
            _only_demo(demo, model, on, reading)
            page, subject = out or Path("demo.html"), _demo
        else:
            file = model / MODEL if model.is_dir() else model
            page, subject = out or file.with_suffix(".html"), partial(_saved, file, on, reading)
        check_page("--out", page)
        chosen_reading(reading)
        _show(console, _look(subject(), page, megabytes))
        return 0

    raise typer.Exit(status_of(job))


def _only_demo(demo: bool, model: Path | None, on: Path | None, reading: dict[str, Any]) -> None:
    if not demo:
        raise LookError("MODEL: give the file of a network, or --demo.")
    if model is not None or on is not None or reading:
        raise LookError("--demo: it has a network and data of its own; leave MODEL and --on out.")


def _demo() -> Subject:
    from gatewise.apps.demo import demo

    return demo()


def _look(subject: Subject, page: Path, megabytes: float) -> Look:
    import gatewise

    return gatewise.look(
        subject.model, subject.x, page, title=subject.title, megabytes=megabytes, **subject.more
    )


def _saved(file: Path, on: Path | None, reading: dict[str, Any]) -> Subject:
    from gatewise.runtime.model_file import read_model

    if not file.exists():
        raise LookError(f"MODEL: there is no file {file}.")
    refuse_missing([] if on is None else [on])
    task = read_model(file, None).task
    if task == "compare":
        return _compared(file, on, reading)
    if task not in (*READS, "forecast"):
        return _layers(file, on, reading)
    with with_standard_input([] if on is None else [on], partial(ending_of, task=task)) as found:
        read = found[0] if found else None
        return _job(task, file, read, reading) if task in READS else _forecaster(file, read, reading)


def _job(task: str, file: Path, on: Path | None, reading: dict[str, Any]) -> Subject:
    """A model of a job with sequences, run on the first ones of a file."""
    from gatewise.apps import look_jobs

    series = [name for name in reading if name not in CONTENT]
    if series:
        option = option_of(series[0])
        raise LookError(f"{option} is for forecasters: {file} holds a model that reads {READS[task]}.")
    if on is None and reading:
        raise LookError(f"{option_of(next(iter(reading)))} says how --on is read: give both.")
    return _subject(look_jobs.SHOWN[task](file, on, chosen_reading(reading)))


def _compared(file: Path, on: Path | None, reading: dict[str, Any]) -> Subject:
    """A network that `gatewise compare` has trained, run on new sequences of its task."""
    from gatewise.tasks.synthetic.saved import load_network, shown

    if on is not None or reading:
        raise LookError(f"{file} holds a network of gatewise compare, which draws its own sequences.")
    return _subject(shown(load_network(file)))


def _subject(arguments: dict[str, Any]) -> Subject:
    return Subject(arguments.pop("model"), arguments.pop("x"), arguments.pop("title"), arguments)


def _layers(file: Path, on: Path | None, reading: dict[str, Any]) -> Subject:
    """Layers saved by `gatewise.save`, run on arrays."""
    import torch

    import gatewise
    from gatewise.apps.look_data import read_arrays

    if on == DASH:
        raise LookError("--on: arrays are not read from standard input; name a file.")
    module = gatewise.load(file)
    if not isinstance(module, gatewise.nn.Recurrent):
        raise LookError(
            f"{file} must hold a forecaster or recurrent layers, but it holds a whole module. From Python, "
            "gatewise.look(model, x, page) shows it."
        )
    if on is None or reading:
        option = f"--{next(iter(reading), '')}".replace("_", "-")
        wrong = f"{option} is for forecasters" if reading else "--on must name what they read"
        raise LookError(f"{wrong}: {file} holds layers of {module.input_size} inputs.")
    found = read_arrays(on, module.input_size)
    x = torch.from_numpy(found.x).to(module.get_parameter("weight_ih_l0").dtype)
    more: dict[str, Any] = {"lengths": found.lengths, "feature_names": found.names}
    return Subject(module, x, f"Inside {file.name}", more)


def _forecaster(file: Path, on: Path | None, reading: dict[str, Any]) -> Subject:
    """A forecaster, run on evenly spaced windows of the longest series, the last window first."""
    import numpy as np

    from gatewise.tasks.forecast.forecaster import Forecaster
    from gatewise.tasks.forecast.panels import series_of
    from gatewise.tasks.series import as_panel
    from gatewise.tasks.series.files import read_file
    from gatewise.tasks.series.weather import FILE

    forecaster = Forecaster.load(file)
    prepared = forecaster.prepared_
    table = read_file(on or FILE, chosen_reading(reading))
    if on is None and not set(prepared.encoding.columns) <= set(table.names):
        raise LookError(f"--on must name what it reads: {file} forecasts {prepared.encoding.target!r}.")
    panel = as_panel(series_of(prepared.encoding, table, reading.get("time")))
    panel = panel.part([int(np.argmax(panel.rows))])
    series, history = panel.series[0], prepared.history
    forecaster.predict(series if panel.alone else panel)  # raises if the series does not fit
    encoding = prepared.encoding.of_series(panel.ids[0], series.values)
    first = min(prepared.need, len(series)) - 1
    origins = np.unique(np.linspace(len(series) - 1, first, ROWS).round().astype(np.int64))[::-1].copy()
    batch = prepared.windows(panel, forecaster.steps).batch(origins)
    ends, whose = origins.tolist(), "" if panel.alone else f" of {panel.label(0)}"
    span, network = series.clock.span, forecaster.network_
    scale, mean = encoding.scale[0], encoding.mean[0]
    more = {
        "call": lambda x: network(batch._replace(inputs=x)) * scale + mean,
        "output": lambda forecasts: forecasts[0, :, -1],
        "output_name": f"the forecast of {encoding.target} {span(forecaster.steps)} ahead",
        "outputs": [f"{span(k)} ahead" for k in range(1, forecaster.steps + 1)],
        "times": _times(series, ends, history),
        "row_names": [f"the window{whose} up to {series.when(end)}" for end in ends],
        "feature_names": prepared.encoding.names(span),
    }
    title = f"Inside a forecaster of {encoding.target} ({forecaster.cell_name})"
    return Subject(network, batch.inputs, title, more)


def _times(series: TimeSeries, origins: list[int], history: int) -> list[list[str]]:
    return [[series.when(max(step, 0)) for step in range(end + 1 - history, end + 1)] for end in origins]


def _show(console: Console, found: Look) -> None:
    for sentence in (*found.findings[:SHOWN], *found.notes):
        console.print(f"- {sentence}")
    console.print(Text(f"\n{found.path}", style="bold"), f"({found.megabytes:.1f} MB); open it in a browser.")
