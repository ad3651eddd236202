"""``gatewise predict``: the predictions of a saved model for files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console

from gatewise.apps.predict_forecast import Answers, Options
from gatewise.apps.reading import TIMES, chosen_reading, reads_content, refuse_missing
from gatewise.apps.session import status_of
from gatewise.apps.standard_input import ending_of, with_standard_input
from gatewise.files import save

if TYPE_CHECKING:
    from gatewise.tasks.shared.predictor import Predictor
    from gatewise.tasks.shared.reading.options import Reading
    from gatewise.tasks.shared.written import Write


class PredictError(ValueError):
    """Raised for input that cannot be predicted from. The message is one sentence."""


@reads_content
def predict(
    model: Annotated[Path, typer.Argument(help="The file of a model, or the folder of its run.")],
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files like those of training, folders of Parquet, or - for standard input.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the predictions: .csv, .jsonl or .parquet; of a tagger also .conllu or .tsv. "
            "(default: printed)"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a line for each row, or with --out a report.")
    ] = False,
    least: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of a tagger: leave words untagged whose probability is smaller."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Threads that read sequences side by side. (default: 1)"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="File that keeps what the next forecast needs: then FILE has only new rows."),
    ] = None,
    anomalies: Annotated[
        bool, typer.Option("--anomalies", help="Score every step, in place of a forecast.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=1e-9, max=0.05, help="Share of usual steps to flag. (default: 0.001)")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="File for a picture of the anomalies: .png, .svg or .pdf.")
    ] = None,
    id: Annotated[
        str | None, typer.Option(help="Column that tells the series of a panel apart. (default: id)")
    ] = None,
    quantiles: Annotated[
        bool, typer.Option("--quantiles", help="Add a column for each quantile of the forecast.")
    ] = False,
    *,
    reading: dict[str, Any],
) -> None:
    """Predict from files with a model that classify, tag, write or forecast has trained.

    Torch is not needed. Files are read one after the other, so that a folder may be larger than memory; a
    sequence lies within one file.

    Examples:

    gatewise predict runs/newark_weather_2013-lstm weather.csv

    gatewise predict model.safetensors parts/ --out predicted.parquet

    gatewise predict runs/load-lstm load.csv --anomalies --picture anomalies.png
    """
    options = Options(resume, anomalies, rate, picture, id, quantiles)
    job = partial(_run, model, data, out, as_json, least, threads, options, reading)
    raise typer.Exit(status_of(job))


for _name in ("resume", "anomalies", "rate", "picture", "id", "quantiles"):
    get_args(predict.__annotations__[_name])[1].rich_help_panel = "Options of forecasters"


def _run(
    model: Path,
    data: list[Path],
    out: Path | None,
    as_json: bool,
    least: float | None,
    threads: int | None,
    options: Options,
    reading: dict[str, Any],
    console: Console,
) -> int:
    if not model.exists():
        raise PredictError(f"MODEL: there is no file {model}.")
    if model.is_dir() and not (model / "model.safetensors").is_file():
        raise PredictError(f"MODEL: the folder {model} has no model.safetensors.")
    refuse_missing(data)
    chosen_reading(reading)
    if out is not None and out.is_dir():
        raise PredictError(f"--out must name a file. Got the folder {out}.")
    from gatewise.tasks.shared.predictor import SEQUENCES, Predictor

    start, predictor = perf_counter(), Predictor(model, threads=threads or 1)
    if threads is not None and predictor.task not in SEQUENCES:
        raise PredictError(f"--threads is for models of sequences. {model} holds one for {predictor.task}.")
    if least is not None:
        if predictor.task != "tag":
            raise PredictError(f"--least is for taggers. {model} holds a model for {predictor.task}.")
        predictor = Predictor(model, threads=threads or 1, least=least)
    answers = _answers(predictor, options, reading)
    with with_standard_input(data, partial(ending_of, task=predictor.task)) as files:
        tables, rows = _write(predictor, answers, files, out, as_json, reading, console)
    _finish(answers)
    if out is None:
        return 0
    report = {"task": predictor.task, "tables": tables, "rows": rows, "out": str(out)}
    seconds = round(perf_counter() - start, 3)
    if as_json:
        console.file.write(json.dumps(report | {"seconds": seconds}) + "\n")
    else:
        console.print(f"Wrote {rows:,} rows to {out} in {seconds:.1f} s.")
    return 0


def _write(
    predictor: Predictor, answers: Callable[[Any], Any], data: list[Path], out: Path | None, as_json: bool,
    reading: dict[str, Any], console: Console,
) -> tuple[int, int]:  # fmt: skip
    """Print the answers, or write them to a file. Returns the number of tables, and that of rows."""
    from gatewise.tasks.shared.written import table_file

    if out is None:
        with _printing(console, as_json) as write:
            return _predict(predictor, answers, data, write, reading)
    if out.suffix.lower() in predictor.formats:
        text, rows = predictor.rewritten(data, out.suffix.lower(), _chosen(reading))
        save(out, text.encode())
        return len(data), rows
    with table_file(out) as write:
        return _predict(predictor, answers, data, write, reading)


def _answers(predictor: Predictor, options: Options, reading: dict[str, Any]) -> Callable[[Any], Any]:
    """What answers to tables: the predictor, or for a forecaster the answers that are asked for."""
    options.check(predictor.task)
    if predictor.task == "forecast":
        return Answers(predictor.model, options, reading)
    for name in TIMES:
        if name in reading:
            option = name.replace("_", "-")
            raise PredictError(f"--{option} is for forecasters; this model is one for {predictor.task}.")
    return predictor


def _finish(answers: Callable[[Any], Any]) -> None:
    """Write what follows the output."""
    if isinstance(answers, Answers):
        answers.finish()


def _predict(
    predictor: Predictor,
    answers: Callable[[Any], Any],
    data: list[Path],
    write: Write,
    reading: dict[str, Any],
) -> tuple[int, int]:
    """Predict for all tables. Returns their number, and the number of rows that were written."""
    chosen = _chosen(reading)
    tables = rows = 0
    for path in data:
        for table in _one_sentence(path, predictor.read(path, chosen)):
            with _naming(path):
                found = answers(table)
            write(found)
            tables, rows = tables + 1, rows + len(found)
    return tables, rows


def _chosen(reading: dict[str, Any]) -> Reading:
    """How the content of a file is read; a forecaster itself reads the times."""
    made: Reading = chosen_reading({name: value for name, value in reading.items() if name not in TIMES})
    return made


def _one_sentence(path: Path, tables: Iterator[Any]) -> Iterator[Any]:
    """The tables, with errors that name the file."""
    while True:
        with _naming(path):
            table = next(tables, None)
        if table is None:
            return
        yield table


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Context manager that puts the name of the file before an error that lacks it."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        if str(path) in str(error):
            raise
        raise PredictError(f"{path}: {error}") from error


@contextmanager
def _printing(console: Console, as_json: bool) -> Iterator[Write]:
    """Print tables: as CSV with one header, or as lines of JSON."""
    from gatewise.tasks.shared.written import csv_text, json_lines, like

    first: list[Any] = []

    def write(table: Any) -> None:
        table = like(table, first[0] if first else table.schema)
        console.file.write(json_lines(table) if as_json else csv_text(table, header=not first))
        first.append(table.schema)

    yield write
