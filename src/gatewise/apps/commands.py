"""The commands and their options. Slow imports happen when a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from gatewise._version import __version__
from gatewise.apps.classify import classify
from gatewise.apps.compare import compare
from gatewise.apps.compile import compile_model
from gatewise.apps.forecast import forecast
from gatewise.apps.learn import learn
from gatewise.apps.look import look
from gatewise.apps.options import checked
from gatewise.apps.predict import predict
from gatewise.apps.tag import tag
from gatewise.apps.usage import Commands
from gatewise.apps.write import write

app = typer.Typer(
    cls=Commands,
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


for _command in (forecast, classify, tag, write, compare, look, predict, learn):
    app.command()(checked(_command))
app.command("compile")(checked(compile_model))
