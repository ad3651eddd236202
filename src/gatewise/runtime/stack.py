"""Layers with packed weights, shared by any number of streams."""

from __future__ import annotations

import ctypes
from typing import Any, final

import numpy as np

from gatewise.compiler.run.program import compiled
from gatewise.language import Cell
from gatewise.language.rewrites import without_random
from gatewise.runtime.arrays import Array, address, aligned
from gatewise.runtime.weights import Layer, initial_states, sizes_of


@final
class Stack:
    """L layers of H units over I inputs, with outputs P wide. Immutable.

    Attributes:
        widths: the width of each state, by name.
        fields: for each layer, the fields of a call that are the same for all streams.
        initial: the initial value of each state, by name, ``[L, 1, H]`` (the output ``[L, 1, P]``).
    """

    def __init__(self, cell: Cell, layers: list[Layer]) -> None:
        self.cell = cell
        self.L, self.I = len(layers), layers[0]["weight_ih"].shape[1]
        self.H, self.P = sizes_of(cell, layers)
        self.widths = dict.fromkeys(cell.states, self.H) | {cell.states[0]: self.P}
        self.dtype: np.dtype[Any] = layers[0]["weight_ih"].dtype
        self.initial = initial_states(cell, layers, self.widths)
        self.kernels = compiled(without_random(cell), self.dtype.name)
        self.program = self.kernels.forward
        self._packed: list[dict[str, Array]] = []
        self.fields = [self._pack(layer) for layer in layers]

    def _pack(self, layer: Layer) -> dict[str, int]:
        I, vectors = layer["weight_ih"].shape[1], self.cell.vectors
        sizes = self.kernels.forward_packed(I, self.H, self.P) | {f"vector_{v}": self.H for v in vectors}
        packed = aligned({name: (size,) for name, size in sizes.items()}, self.dtype)
        for v in vectors:
            packed[f"vector_{v}"][:] = layer[v]
        self._packed.append(packed)
        fields = {"I": I, "H": self.H, "P": self.P}
        fields |= {name: address(array) for name, array in packed.items()}
        weights = {
            "w_ih": address(layer["weight_ih"]), "w_hh": address(layer["weight_hh"]),
            "b_ih": address(layer.get("bias_ih")), "b_hh": address(layer.get("bias_hh")),
            "w_linear": address(layer.get("weight_linear")), "b_linear": address(layer.get("bias_linear")),
            "w_hr": address(layer.get("weight_hr")),
        }  # fmt: skip
        self.program.prepare(ctypes.addressof(self.program.arguments.fill(fields | weights)))
        return fields
