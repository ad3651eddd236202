"""The commands and their options. Slow imports happen when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gatewise._version import __version__
from gatewise.apps.compare import compare
from gatewise.apps.compile import compile_model
from gatewise.apps.learn import learn
from gatewise.apps.look import look
from gatewise.apps.predict import predict
from gatewise.apps.reading import reads_tables
from gatewise.apps.tag import tag
from gatewise.apps.write import write

app = typer.Typer(
    help="Recurrent networks, compiled and readable at every step.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatewise {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
@reads_tables
def forecast(
    file: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet file. Without one: a year of weather.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to forecast.")] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Steps ahead to forecast. (default: one season)")
    ] = None,
    season: Annotated[int | None, typer.Option(min=1, help="Steps in a season. (default: chosen)")] = None,
    cell: Annotated[str, typer.Option(help="lstm, gru, rnn, ..., or FILE.py:NAME of your own.")] = "lstm",
    hidden_size: Annotated[int, typer.Option(min=1, max=4096, help="Hidden units.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most; training stops early by itself.")] = 30,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same result.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads. (default: as many as torch takes)")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results. (default: runs/NAME-CELL)")
    ] = None,
    *,
    reading: dict[str, Any],
) -> None:
    """Train a network on a series, test it against naive forecasts, and forecast what comes next.

    Without a file it learns a year of hourly weather. With one it learns the column --target
    from the past of all columns of numbers. The end of the series is held out for the test.
    """
    from gatewise.apps.forecast import Request, run

    raise typer.Exit(
        run(Request(file, target, reading, horizon, season, cell, hidden_size, epochs, seed, threads, out))
    )


app.command()(tag)
app.command()(write)
app.command()(compare)
app.command()(look)
app.command()(predict)
app.command()(learn)
app.command("compile")(compile_model)
