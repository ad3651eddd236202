"""What a recurrent network makes of a linear forecast.

Shapes: ``T`` steps of history, ``B`` forecasts, ``I`` inputs, ``H`` hidden units, ``K`` steps of the horizon,
``F`` inputs whose future is known, ``Z`` numbers and ``C`` categories that describe a series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine, Repeated
from gatewise.runtime.jobs.encoding import Encoding
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.naive import Whole
from gatewise.runtime.jobs.parts import Ahead, attributes, width
from gatewise.runtime.layers_file import StoredLayers
from gatewise.runtime.model_file import ModelFile


@dataclass(frozen=True)
class Correction:
    """The recurrent layers of one network of a forecaster, and what follows them.

    Attributes:
        layers: the recurrent layers.
        head: the map of their output to changes of the forecast.
        share: ``[K]``, how far the forecast moves from the last value to the seasonal naive forecast.
        ahead: the map from the inputs of a step ahead; None without such inputs.
        tables: for each category of a series, a row of numbers for each class.
    """

    layers: Layers
    head: Affine | Repeated
    share: Array
    ahead: Ahead | None = None
    tables: Sequence[Array] = ()

    @classmethod
    def from_file(
        cls, file: ModelFile, stored: StoredLayers, encoding: Encoding, horizon: int, prefix: str = ""
    ) -> Correction:
        """That of a file, whose tensors have names that begin with a prefix.

        Raises:
            ValueError, KeyError: the file does not hold it.
        """
        hidden = stored.options["hidden_size"]
        head = affine(file, f"{prefix}head", horizon, hidden)
        share = tensor(file, f"{prefix}share", (horizon,))
        tables = [
            tensor(file, f"{prefix}attributes.tables.{place}.weight", (size, width(size)))
            for place, size in enumerate(encoding.sizes)
        ]
        inputs = encoding.input_size + len(encoding.numbers) + sum(table.shape[1] for table in tables)
        if stored.options["input_size"] != inputs or stored.options["bidirectional"]:
            raise ValueError(f"its layers must read {inputs} inputs in one direction")
        known = len(encoding.known)
        ahead = _ahead(file, f"{prefix}ahead", hidden, known) if known else None
        return cls(Layers(stored), head, share, ahead, tables)

    @property
    def nothing(self) -> Correction:
        """One that leaves the last value as it is."""
        shape = len(self.share), self.layers.output_size
        head = Affine(np.zeros(shape, np.float32), np.zeros(shape[0], np.float32))
        return replace(self, head=head, share=np.zeros_like(self.share), ahead=None)

    def repeated(self, rows: int) -> Correction:
        """The same for many calls of `after` with this number of rows, by one thread at a time."""
        return self if isinstance(self.head, Repeated) else replace(self, head=self.head.repeated(rows))

    def __call__(
        self, windows: Array, described: tuple[Array, Whole], level: Array, seasonal: Array, coming: Array
    ) -> tuple[Array, Array]:
        """The forecasts without the linear part, ``[B, K]``, and the output of the layers, ``[B, H]``.

        Args:
            windows: ``[T, B, I]``, the inputs.
            described: ``[Z]`` and ``[C]``, the attributes of the series.
            level: ``[B, 1]``, the last value.
            seasonal: ``[B, K]``, the seasonal naive forecast.
            coming: ``[B, K, F]``, the inputs of the steps ahead.
        """
        output = self.layers(self.read(windows, described)).last
        return self.after(output, level, seasonal, coming), output

    def read(self, inputs: Array, described: tuple[Array, Whole]) -> Array:
        """What the layers read: inputs ``[..., I]`` and the attributes of the series."""
        constant = attributes(self.tables, *described)
        if not len(constant):
            return inputs
        shaped = np.broadcast_to(constant, (*inputs.shape[:-1], len(constant)))
        return np.concatenate([inputs, shaped], axis=-1)

    def after(self, output: Array, level: Array, seasonal: Array, coming: Array) -> Array:
        """The forecasts without the linear part, ``[B, K]``, from the output of the layers."""
        forecast: Array = level + self.share * (seasonal - level) + self.head(output)
        return forecast if self.ahead is None else forecast + self.ahead(output, coming)


def tensor(file: ModelFile, name: str, shape: tuple[int, ...]) -> Array:
    """A tensor of a file, float32 of a shape."""
    array = file.tensors[name]
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} must be float32 of shape {shape}")
    return array


def affine(file: ModelFile, name: str, outputs: int, inputs: int) -> Affine:
    """A linear map of a file."""
    weight = tensor(file, f"{name}.weight", (outputs, inputs))
    return Affine(weight, tensor(file, f"{name}.bias", (outputs,)))


def _ahead(file: ModelFile, name: str, hidden: int, known: int) -> Ahead:
    """The map from the inputs of a step ahead of a file."""
    units = file.tensors[f"{name}.context.bias"].size
    context = (
        tensor(file, f"{name}.context.weight", (units, hidden)),
        tensor(file, f"{name}.context.bias", (units,)),
    )
    weights = tensor(file, f"{name}.known.weight", (units, known))
    return Ahead(context, weights, tensor(file, f"{name}.out.weight", (1, units + known)))
