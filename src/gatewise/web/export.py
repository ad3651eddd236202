"""`export_wasm`: writes recurrent layers as a folder that a web page runs."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from gatewise import files
from gatewise._version import __version__
from gatewise.compiler.emit.number import NUMBERS
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.run.program import CHUNK_BYTES, ROWS_TO_JOIN, CompiledCell
from gatewise.compiler.wasm.modules import module
from gatewise.compiler.wasm.target import RELAXED, TARGETS
from gatewise.language import Cell
from gatewise.language.rewrites import without_random
from gatewise.runtime.arrays import Array
from gatewise.runtime.layers_file import StoredLayers, stored_layers
from gatewise.runtime.model_file import read_model
from gatewise.runtime.weights import Layer, initial_states, layers_of, sizes_of

if TYPE_CHECKING:
    from gatewise.nn import Recurrent

_HERE = Path(__file__).parent
_FORMAT = 1
_TABLE = 64  # functions of a kernel that are called by address; kernels have up to 20
_ALIGNED = 64  # bytes
# The fields of the kernel for weights, and their names in torch.
_WEIGHTS = {
    "w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh",
    "w_linear": "weight_linear", "b_linear": "bias_linear", "w_hr": "weight_hr",
}  # fmt: skip


def export_wasm(model: Recurrent | str | Path, folder: str | os.PathLike[str]) -> None:
    """Write recurrent layers as a folder that a web page runs: kernels as WebAssembly, weights, a module.

    The files:

    - ``gatewise.js``, ``gatewise.d.ts``: a small ES module without dependencies, and its types
    - ``model.json``, ``weights.bin``: the model
    - ``kernel-relaxed.wasm``, ``kernel-plain.wasm``: the kernel for browsers with relaxed SIMD and without it
    - ``model-file.js``: all of it as one script, for pages that are opened from a file

    The output has the bits of `gatewise.runtime.Stream` in browsers with relaxed SIMD on a processor that
    rounds a product and its sum once; the page can ask (see ``docs/web.md``).

    Args:
        model: layers in one direction, or the path of a model file with such layers (which needs no torch).
        folder: the folder; it is made if it is missing, and files in it are replaced.

    Raises:
        TypeError: `model` is neither layers nor a path.
        ValueError: the layers cannot run step by step (bidirectional ones), or are edited.
        ModelFileError: the file is damaged, not gatewise's, of a newer version, or holds no layers.

    Example:
        >>> import pathlib, tempfile, gatewise
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> gatewise.export_wasm(gatewise.nn.LSTM(3, 8), folder)
        >>> for path in sorted(folder.iterdir()):
        ...     print(path.name)
        gatewise.d.ts
        gatewise.js
        kernel-plain.wasm
        kernel-relaxed.wasm
        model-file.js
        model.json
        weights.bin
    """
    stored = _stored(model)
    cell = stored.streamed
    layers = layers_of(cell, stored.weights, None)
    number = NUMBERS[layers[0]["weight_ih"].dtype.name]
    kernels = CompiledCell(without_random(cell), number, RELAXED)
    about, weights = _described(cell, kernels, layers)
    kernel = ForwardKernel(kernels.plan)
    contents = {
        about["kernels"][name]: module("forward", kernel, number, target) for name, target in TARGETS.items()
    }
    contents[about["weights"]] = weights
    contents["model-file.js"] = _script(about, contents)
    contents["model.json"] = json.dumps(about, indent=1).encode()
    contents["gatewise.js"] = b"\n".join(map(_part, ("machine.js", "core.js", "module.js")))
    contents["gatewise.d.ts"] = _part("gatewise.d.ts")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        files.save(Path(folder) / name, content)


def _stored(model: Recurrent | str | Path) -> StoredLayers:
    if isinstance(model, str | os.PathLike):
        return stored_layers(read_model(model, None))
    from gatewise.nn.modules.files import options_of, weights_of  # needs torch
    from gatewise.nn.modules.recurrent import Recurrent

    if not isinstance(model, Recurrent):
        kind = type(model).__name__
        raise TypeError(f"export_wasm: model must be a gatewise.nn.Recurrent or a path. Got {kind}.")
    return StoredLayers(model.cell, options_of(model), weights_of(model))


def _described(cell: Cell, kernels: CompiledCell, layers: list[Layer]) -> tuple[dict[str, Any], bytes]:
    """What ``model.json`` says, and the content of ``weights.bin``."""
    plan, (H, P) = kernels.plan, sizes_of(cell, layers)
    data = _Data()
    widths = dict.fromkeys(cell.states, H) | {cell.states[0]: P}
    initial = initial_states(cell, layers, widths)
    about = {
        "format": _FORMAT,
        "version": __version__,
        "cell": cell.name,
        "dtype": kernels.number.name,
        "inputSize": layers[0]["weight_ih"].shape[1],
        "hiddenSize": H,
        "outputSize": P,
        "numLayers": len(layers),
        "kernels": {name: f"kernel-{name}.wasm" for name in TARGETS},
        "weights": "weights.bin",
        "table": _TABLE,
        "fields": ForwardKernel(plan).arguments.names,
        "gates": plan.gates,
        "perRow": kernels.forward_scratch(1, H, P) | {"means": len(plan.forward.means)},
        "chunkBytes": CHUNK_BYTES,
        "joins": plan.joins,
        "rowsToJoin": ROWS_TO_JOIN,
        "states": [
            {"name": name, "width": width, "initial": data.add(initial[name])}
            for name, width in widths.items()
        ],
        "layers": [_layer(cell, kernels, layer, (H, P), data) for layer in layers],
    }
    return about, bytes(data.content)


def _layer(
    cell: Cell, kernels: CompiledCell, layer: Layer, sizes: tuple[int, int], data: _Data
) -> dict[str, Any]:
    """Describe a layer: its inputs, the sizes of its packed weights, and where its weights are."""
    (H, P), I = sizes, layer["weight_ih"].shape[1]
    weights = {field: layer[name] for field, name in _WEIGHTS.items() if name in layer}
    vectors = {f"vector_{v}": layer[v] for v in cell.vectors}
    return {
        "inputSize": I,
        "packed": kernels.forward_packed(I, H, P) | dict.fromkeys(vectors, H),
        "weights": {field: data.add(array) for field, array in (weights | vectors).items()},
    }


@final
class _Data:
    """Arrays one after another, aligned."""

    def __init__(self) -> None:
        self.content = bytearray()

    def add(self, array: Array) -> dict[str, int]:
        """Append an array; returns where it begins, in bytes, and its size, in numbers."""
        self.content += bytes(-len(self.content) % _ALIGNED)
        at = len(self.content)
        self.content += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
        return {"at": at, "count": array.size}


def _script(about: Mapping[str, Any], contents: Mapping[str, bytes]) -> bytes:
    """Everything as one classic script: browsers do not load modules from files."""
    encoded = {name: b64encode(content).decode() for name, content in contents.items()}
    data = f"const ABOUT = {json.dumps(about)};\nconst FILES = {json.dumps(encoded)};\n"
    return b"\n".join(
        [
            b"(() => {",
            b'"use strict";',
            *map(_part, ("machine.js", "core.js", "script.js")),
            data.encode() + b"})();",
            b"",
        ]
    )


def _part(name: str) -> bytes:
    return (_HERE / name).read_bytes()
