"""``gatewise compile``: compiles the kernels of a saved model ahead of time."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console

from gatewise.apps.helping import example
from gatewise.apps.session import status_of

MODEL = "model.safetensors"  # the file name in the folder of a run


@example("gatewise compile runs/newark_weather_2013-lstm --no-training")
def compile_model(
    model: Annotated[
        Path, typer.Argument(help="A .safetensors file, or the folder that gatewise forecast left.")
    ],
    training: Annotated[bool, typer.Option(help="The kernels of training, too.")] = True,
) -> None:
    """Compile the kernels of a model, so that later processes need not.

    The kernels are stored in $GATEWISE_CACHE, or in the user's cache folder, for this type of machine.
    """

    def job(console: Console) -> int:
        from gatewise.runtime.ahead import compile_ahead

        start, file = perf_counter(), model / MODEL if model.is_dir() else model
        if not file.exists():
            raise ValueError(f"MODEL: there is no file {file}.")
        done = compile_ahead(file, training=training)
        what = f"{done.kernels} kernels of {done.cell} ({done.dtype})"
        if done.new:
            console.print(f"Compiled {done.new} of {what} in {perf_counter() - start:.1f} s.")
        else:
            console.print(f"Nothing to compile: the {what} are there already.")
        console.print(f"They are kept in {done.folder}.")
        return 0

    raise typer.Exit(status_of(job))
