"""Recurrent layers in a model file: their equations, their options, their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from gatewise.language import Cell, names
from gatewise.language.form import from_form, to_form
from gatewise.language.form_reading import FormError, fields, identifier, shown
from gatewise.language.rewrites import projected, with_zoneout
from gatewise.runtime.arrays import Shape
from gatewise.runtime.layer_options import ALWAYS, DEFAULTS, LayerOptions, checks
from gatewise.runtime.model_file import ModelFile, ModelFileError, Tensors
from gatewise.runtime.weights import initial_shapes, shapes

KEY = "layers"
STACKS = "stacks"  # further layers beside the main ones, by name
MODULE = "module"  # the task of a whole torch module
TYPES = ("float16", "float32", "float64")
# The options in a file: all but those about initialisation.
OPTIONS = checks(LayerOptions)
_MOST_STACKS = 64
_MAY_BE_MISSING = {name: DEFAULTS[name] for name in OPTIONS if name not in ALWAYS}


@final
@dataclass(frozen=True)
class StoredLayers:
    """Layers as read from a file.

    Attributes:
        cell: the equations.
        options: the options, by the names of `OPTIONS`.
        weights: the weights, by the names of `torch.nn`, all of one type.
    """

    cell: Cell
    options: dict[str, Any]
    weights: Tensors

    @property
    def streamed(self) -> Cell:
        """The equations as a stream runs them: with a projection, and with the expected value of zoneout."""
        rates = tuple(self.options["zoneout"])
        projects = self.options["proj_size"] and not self.cell.projects
        cell = projected(self.cell) if projects else self.cell
        return with_zoneout(cell, rates) if any(rates) else cell


def described(cell: Cell, options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The entry for layers in a header. Their tensors are named by `prefix` and the name of the weight.

    Raises:
        FormError: the cell does not fit into a form.
    """
    return {KEY: _entry(cell, options, prefix)}


def described_stacks(stacks: Mapping[str, tuple[StoredLayers, str]]) -> dict[str, Any]:
    """The entry for further layers beside the main ones: for each name the layers, and their prefix.

    Raises:
        FormError: a cell does not fit into a form.
    """
    return {
        STACKS: {name: _entry(some.cell, some.options, prefix) for name, (some, prefix) in stacks.items()}
    }


def _entry(cell: Cell, options: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {"cell": to_form(cell), "prefix": prefix, **options}


def stored_stacks(file: ModelFile) -> dict[str, StoredLayers]:
    """The further layers of a model file by name; none if it has only the main ones.

    Raises:
        ModelFileError: equations, options and weights do not fit together.
    """
    try:
        given = file.header.get(STACKS, {})
        stacks = fields(given, STACKS, (), given)
        if len(stacks) > _MOST_STACKS:
            raise FormError(f"{STACKS} must be at most {_MOST_STACKS}. Got {len(stacks)}")
        return {identifier(name, STACKS): _stored(entry, file.tensors) for name, entry in stacks.items()}
    except ValueError as error:
        raise ModelFileError(f"{file.path}: the file does not describe recurrent layers ({error})") from error


def stored_layers(file: ModelFile) -> StoredLayers:
    """The layers of a model file.

    Raises:
        ModelFileError: the file has no layers, or equations, options and weights do not fit together.
    """
    if file.task == MODULE:
        raise ModelFileError(
            f"{file.path}: the file holds a whole torch module, not only recurrent layers. "
            "Read it with gatewise.load, or save one of its layers with gatewise.save(model.rnn, path)"
        )
    try:
        return _stored(file.header.get(KEY), file.tensors)
    except ValueError as error:
        raise ModelFileError(f"{file.path}: the file does not describe recurrent layers ({error})") from error


def cell_and_options(entry: Any, *more: str) -> tuple[Cell, dict[str, Any]]:
    """The equations and the options of an entry that also has the keys `more`.

    Raises:
        FormError: the entry does not describe layers.
    """
    parts = fields(entry, KEY, ("cell", *more, *ALWAYS), _MAY_BE_MISSING)
    cell = from_form(parts["cell"])
    given = {name: check(parts[name], name) for name, check in OPTIONS.items() if name in parts}
    options = _MAY_BE_MISSING | given
    _check_options(cell, options)
    return cell, options


def _stored(entry: Any, tensors: Tensors) -> StoredLayers:
    cell, options = cell_and_options(entry, "prefix")
    prefix = entry["prefix"]
    if not isinstance(prefix, str):
        raise FormError(f"prefix must be a text. Got {shown(prefix)}")
    weights = {name[len(prefix) :]: array for name, array in tensors.items() if name.startswith(prefix)}
    if options["num_layers"] > len(weights):  # checked first, so that a wrong number cannot take much memory
        raise FormError(f"num_layers: {options['num_layers']} layers but {len(weights)} weights")
    _check_weights(_expected(cell, options), weights)
    return StoredLayers(cell, options, weights)


def _check_options(cell: Cell, options: Mapping[str, Any]) -> None:
    rates, P = options["zoneout"], options["proj_size"]
    if len(rates) not in (0, len(cell.states)):
        raise FormError(f"zoneout must have a rate for each state. Got {len(rates)}")
    if cell.projects and not P:
        raise FormError("proj_size must be the width of the output, as the cell projects it. Got 0")
    if P and cell.reads_output:
        raise FormError(f"proj_size must be 0, as the cell uses its output. Got {P}")
    taken = [names.initial(s) for s in cell.states if names.initial(s) in cell.vectors]
    if options["learn_initial_state"] and taken:
        raise FormError(
            f"learn_initial_state: the vector {taken[0]!r} has the name of a learned initial state"
        )
    if P and rates and rates[0]:
        raise FormError(f"zoneout must be 0 for the projected state. Got {rates[0]}")


def _expected(cell: Cell, options: Mapping[str, Any]) -> dict[str, Shape]:
    """Names and shapes of all weights."""
    H, P, D = options["hidden_size"], options["proj_size"], 1 + options["bidirectional"]
    expected: dict[str, Shape] = {}
    for layer in range(options["num_layers"]):
        below = D * (P or H) if layer else options["input_size"]
        own = shapes(cell, below, H, options["bias"], P)
        if options["learn_initial_state"]:
            own |= initial_shapes(cell, H, P)
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[:D]:
            expected |= {name + suffix: shape for name, shape in own.items()}
    return expected


def _check_weights(expected: Mapping[str, Shape], weights: Tensors) -> None:
    for name in sorted(expected.keys() ^ weights.keys()):
        raise FormError(f"weights: {shown(name)} {'is missing' if name in expected else 'is unexpected'}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise FormError(f"weights: {name} must have shape {shape}. Got {weights[name].shape}")
    types = {array.dtype.name for array in weights.values()}
    if len(types) > 1 or not types <= set(TYPES):
        raise FormError(
            f"weights must all have one type of {', '.join(TYPES)}. Got {', '.join(sorted(types))}"
        )
