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
from gatewise.compiler.emit.number import FLOAT32, NUMBERS
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.run.program import CHUNK_BYTES, ROWS_TO_JOIN, CompiledCell
from gatewise.compiler.wasm.modules import module
from gatewise.compiler.wasm.target import RELAXED, TARGETS
from gatewise.language import Cell, names
from gatewise.language.rewrites import without_random
from gatewise.runtime.arrays import Array
from gatewise.runtime.layers_file import StoredLayers, stored_layers
from gatewise.runtime.model_file import read_model
from gatewise.runtime.weights import Layer, initial_states, layers_of, sizes_of
from gatewise.web.describing import ENGINE, TABLE, described, joined, kernels_of, parameters_of

if TYPE_CHECKING:
    from gatewise.nn import Recurrent

_FORMAT = 1
_ALIGNED = 64  # bytes


def export_wasm(
    model: Recurrent | str | Path, folder: str | os.PathLike[str], *, training: bool = False
) -> None:
    """Write recurrent layers as a folder that a web page runs: kernels as WebAssembly, weights, a module.

    The files:

    - ``gatewise.js``, ``gatewise.d.ts``: a small ES module without dependencies, and its types
    - ``model.json``, ``weights.bin``: the model
    - ``kernel-relaxed.wasm``, ``kernel-plain.wasm``: the kernel for browsers with relaxed SIMD and without it
    - ``model-file.js``: all of it as one script, for pages that are opened from a file
    - with `training`, ``backward-*.wasm`` and ``outer-*.wasm``: the kernels of gradients. ``gatewise.js``
      then also has `layers`, whose weights the page can train

    The output has the bits of `gatewise.runtime.Stream` in browsers with relaxed SIMD on a processor that
    rounds a product and its sum once; the page can ask (see ``docs/web.md``).

    Args:
        model: layers in one direction, or the path of a model file with such layers (which needs no torch).
        folder: the folder; it is made if it is missing, and files in it are replaced.
        training: whether the page can also record values and compute gradients.

    Raises:
        TypeError: `model` is neither layers nor a path.
        ValueError: the layers cannot run step by step (bidirectional ones), or are edited; with `training`,
            they are in float64, or learn their initial states.
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
    if training:
        about["training"] = _training(cell, layers, about)
    kernel = ForwardKernel(kernels.plan)
    contents = {
        about["kernels"][name]: module("forward", kernel, number, target) for name, target in TARGETS.items()
    }
    if training:
        for name, file_of in about["training"]["kernels"].items():
            for kind, code in kernels_of(cell, TARGETS[name]).items():
                contents[file_of[kind]] = code
    contents[about["weights"]] = weights
    contents["model-file.js"] = _script(about, contents)
    contents["model.json"] = json.dumps(about, indent=1).encode()
    contents["gatewise.js"] = _source(training, "module.js").encode()
    contents["gatewise.d.ts"] = joined("gatewise.d.ts", *["training.d.ts"] * training).encode()
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
        "table": TABLE,
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
    given = {
        weight["field"]: layer[weight["name"]] for weight in parameters_of(cell) if weight["name"] in layer
    }
    vectors = dict.fromkeys((f"vector_{v}" for v in cell.vectors), H)
    return {
        "inputSize": I,
        "packed": kernels.forward_packed(I, H, P) | vectors,
        "weights": {field: data.add(array) for field, array in given.items()},
    }


def _training(cell: Cell, layers: list[Layer], about: Mapping[str, Any]) -> dict[str, Any]:
    """What a page needs of layers that it trains, beside what `_described` says."""
    if about["dtype"] != FLOAT32.name:
        raise ValueError(f"export_wasm: training in a page is in float32. The model is in {about['dtype']}.")
    learned = {names.initial(state) for state in cell.states} - set(cell.vectors)
    if any(learned & layer.keys() for layer in layers):
        raise ValueError(
            "export_wasm: training in a page begins from states that the page gives, or from zeros. "
            f"The model learns {', '.join(sorted(learned))}."
        )
    name_of = {weight["field"]: weight["name"] for weight in parameters_of(cell)}
    sizes = {"hiddenSize": about["hiddenSize"], "outputSize": about["outputSize"]}
    return {
        "cell": described(cell),
        "kernels": {
            target: {
                "forward": forward,
                "backward": f"backward-{target}.wasm",
                "outer": f"outer-{target}.wasm",
            }
            for target, forward in about["kernels"].items()
        },
        "layers": [
            {
                "inputSize": layer["inputSize"],
                **sizes,
                "bias": "b_ih" in layer["weights"],
                "weights": {name_of[field]: place for field, place in layer["weights"].items()},
            }
            for layer in about["layers"]
        ],
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
    source = _source("training" in about, "script.js")
    return "\n".join(["(() => {", '"use strict";', source, data + "})();", ""]).encode()


def _source(training: bool, end: str) -> str:
    """The JavaScript of a model, which ends as a module or as a script."""
    engine = (*ENGINE, "stored.js") if training else ()
    return joined("machine.js", "core.js", *engine, end, *[f"training-{end}"] * training)
