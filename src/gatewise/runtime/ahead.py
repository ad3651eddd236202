"""Kernels of a saved model, compiled before anybody waits for them: when an image is built, say."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from gatewise.compiler.run import cache, machine
from gatewise.compiler.run.program import compiled
from gatewise.language import Cell
from gatewise.language.rewrites import with_options, without_random
from gatewise.runtime.layers_file import StoredLayers, stored_layers
from gatewise.runtime.model_file import read_model


class CacheError(ValueError):
    """Kernels cannot be kept."""


class Compiled(NamedTuple):
    """What was compiled.

    Attributes:
        cell: the name of the cell.
        dtype: of the weights: "float32" or "float64".
        kernels: how many kernels the model has.
        new: how many of them had to be compiled.
        folder: where they are kept.
    """

    cell: str
    dtype: str
    kernels: int
    new: int
    folder: Path


def compile_ahead(path: str | Path, *, training: bool = True) -> Compiled:
    """Compile the kernels of the recurrent layers in a model file, for this machine, into the kernel cache.

    Afterwards no process of this user on such a machine compiles anything for them, in whole sequences, in
    steps, or in training, whatever the sizes of the batches.

    Args:
        path: a file of `gatewise.save` or of a task, such as a forecaster's.
        training: whether the kernels of training are among them.

    Raises:
        ModelFileError: the file is damaged, foreign, of a newer version or holds no layers.
        CacheError: kernels cannot be kept, or are not to be.
    """
    stored = stored_layers(read_model(path, None))
    folder = cache.folder()
    if folder is None:
        raise CacheError("nothing can be compiled ahead while GATEWISE_CACHE is off")
    dtype = "float64" if next(iter(stored.weights.values())).dtype == "float64" else "float32"
    before = machine.compiled_modules()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            kernels = _compile(stored, dtype, training)
        except RuntimeWarning as error:
            raise CacheError(str(error)) from error
    return Compiled(stored.cell.name, dtype, kernels, machine.compiled_modules() - before, folder)


def _compile(stored: StoredLayers, dtype: str, training: bool) -> int:
    """Have every kernel on disk; how many there are."""
    options = stored.options
    cell = with_options(
        stored.cell, bool(options["proj_size"]), options["zoneout"], options["recurrent_dropout"]
    )
    forward: dict[Cell, None] = {without_random(cell): None} | ({cell: None} if training else {})
    loaded = [compiled(each, dtype).forward for each in forward]
    if training:
        loaded += [compiled(cell, dtype).backward, compiled(cell, dtype).outer]
    return len(loaded)
