"""Compiling the kernels of a saved model ahead of time, for instance when a container image is built."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

from gatewise.compiler.run import cache, machine
from gatewise.compiler.run.program import compiled
from gatewise.language import Cell
from gatewise.language.rewrites import with_options, without_random
from gatewise.runtime.jobs.affine import affine
from gatewise.runtime.jobs.loading import JOBS
from gatewise.runtime.layers_file import StoredLayers, stored_layers, stored_stacks
from gatewise.runtime.model_file import read_model


class CacheError(ValueError):
    """Raised if the kernel cache cannot be written."""


class Compiled(NamedTuple):
    """What was compiled.

    Attributes:
        cell: the name of the cell.
        dtype: of the weights: "float32" or "float64".
        kernels: the number of kernels that the model needs.
        new: how many of them were not in the cache yet.
        folder: the folder of the cache.
    """

    cell: str
    dtype: str
    kernels: int
    new: int
    folder: Path


def compile_ahead(path: str | Path, *, training: bool = True) -> Compiled:
    """Compile the kernels of a model file, for this machine, into the kernel cache.

    Afterwards no process of this user compiles anything for these layers on this kind of machine: not for
    sequences, steps or training, whatever the batch size. The kernels of a job's model include that of linear
    maps.

    Args:
        path: a file of `gatewise.save` or of a task, such as a forecaster's.
        training: whether to compile the kernels of training too.

    Raises:
        ModelFileError: the file is damaged, not gatewise's, of a newer version, or holds no layers.
        CacheError: the cache is off or cannot be written.
    """
    file = read_model(path, None)
    stored, further = stored_layers(file), stored_stacks(file).values()
    folder = cache.folder()
    if folder is None:
        raise CacheError("nothing can be compiled ahead while GATEWISE_CACHE is off")
    dtype = "float64" if next(iter(stored.weights.values())).dtype == "float64" else "float32"
    before = machine.compiled_modules()
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            kernels = sum(_compile(some, dtype, training) for some in (stored, *further))
            kernels += _compile_affine(dtype) if file.task in JOBS else 0
        except RuntimeWarning as error:
            raise CacheError(str(error)) from error
    return Compiled(stored.cell.name, dtype, kernels, machine.compiled_modules() - before, folder)


def _compile_affine(dtype: str) -> int:
    """Make sure that the kernel of linear maps is in the cache, which predictions of a job need."""
    return len([compiled(affine, dtype).forward])


def _compile(stored: StoredLayers, dtype: str, training: bool) -> int:
    """Make sure that every kernel is in the cache. Returns their number."""
    options = stored.options
    cell = with_options(
        stored.cell, bool(options["proj_size"]), options["zoneout"], options["recurrent_dropout"]
    )
    forward: dict[Cell, None] = {without_random(cell): None} | ({cell: None} if training else {})
    loaded = [compiled(each, dtype).forward for each in forward]
    if training:
        loaded += [compiled(cell, dtype).backward, compiled(cell, dtype).outer]
    return len(loaded)
