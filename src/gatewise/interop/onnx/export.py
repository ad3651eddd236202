"""`export_onnx`: writes a module as an ONNX file, after checking that the file computes the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from onnx import ModelProto
from torch import nn

from gatewise import files
from gatewise.interop.onnx.builder import Builder
from gatewise.interop.onnx.check import check
from gatewise.interop.onnx.layers import operated, scanned
from gatewise.interop.onnx.match import native
from gatewise.interop.onnx.step import Scanner, from_input, step
from gatewise.language.rewrites import without_random, written_out
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.nn.modules.step import Step

_MOST = 2**31  # bytes: the limit of protobuf, the container format
_TYPES = {torch.float32: "float32", torch.float64: "float64"}


def export_onnx(
    module: nn.Module,
    path: str | os.PathLike[str],
    *inputs: Any,
    lengths: bool = False,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Write a module, in evaluation mode, to an ONNX file.

    A layer whose equations are those of ONNX's RNN, GRU or LSTM, with any activations and attributes, becomes
    that operator; its graph decides, not its name. Any other cell becomes a `Scan` for each direction. So
    does everything in float64, since ONNX Runtime has the operators for float32 only. Before the file is
    written, it runs in ONNX Runtime and is compared with the module, for several numbers of steps and rows
    and for random states.

    A single `Recurrent` or `Step` needs no example inputs, and its file has the inputs below. Any other
    module is exported by `torch.onnx.export`, which traces a call with `inputs`.

    Args:
        module: a `Recurrent` (also `RNN`, `LSTM`, `GRU`) or a `Step`, in float32 or float64; or, with
            `inputs`, any torch module that contains such layers.
        path: the file. An existing file is replaced if the export succeeds.
        inputs: example arguments for a call of the module.
        lengths: whether the file of a `Recurrent` has the input ``sequence_lens``, the steps of each row.
        dynamic_shapes: the free axes of the inputs, as for `torch.export.export`; by default all axes whose
            size the module does not fix.
        input_names: names for the inputs in the file, by default those of the arguments of ``forward``.
        output_names: names for the outputs.

    Shape:
        Inputs and outputs of the file of a single `Recurrent` or `Step`, with T and B free:

        - X: ``[T, B, I]``, ``[B, T, I]`` for a module with `batch_first`; for a `Step` ``[B, I]``.
        - initial_{state}: ``[L*D, B, H]``, for a `Step` ``[B, H]``; one for each state of the cell, by its
          name: initial_h, initial_c. A projected first state is P wide.
        - sequence_lens: int32 ``[B]``, from 0 to T.
        - Y: the output, shaped like X but D*H wide, zeros past the end of a row. A `Step` has none.
        - Y_{state}: the final states, shaped like the initial ones: Y_h, Y_c.

    Raises:
        TypeError: `module` is not a torch module, or needs `inputs` and got none.
        ValueError: the weights have 2 GB or more, or are neither float32 nor float64; a layer is edited; an
            option does not apply to this kind of module.
        OnnxError: a cell or a module cannot be exported, or the file does not compute what the module does.
            Nothing is written then.
        ImportError: onnx, onnxruntime or, for a whole module, onnxscript is missing.

    Example:
        >>> import gatewise, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gatewise.export_onnx(gatewise.nn.LSTM(3, 8), f"{folder}/lstm.onnx")
        ...     gatewise.import_onnx(f"{folder}/lstm.onnx").inputs
        ('X', 'initial_h', 'initial_c')
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"export_onnx: module must be a torch.nn.Module. Got {type(module).__name__}.")
    size = sum(parameter.nbytes for parameter in module.parameters())
    if size >= _MOST:
        raise ValueError(f"export_onnx: the weights must have less than 2 GB. Got {size / 2**30:.1f} GB.")
    told = {"dynamic_shapes": dynamic_shapes, "input_names": input_names, "output_names": output_names}
    if inputs:
        if lengths:
            raise ValueError("export_onnx: lengths is for a Recurrent without example inputs.")
        files.save(path, _whole(module, inputs, told))
        return
    for name, value in told.items():
        if value is not None:
            raise ValueError(f"export_onnx: {name} is for a module with example inputs. Got none.")
    files.save(path, _alone(module, lengths))


def _whole(module: nn.Module, inputs: tuple[Any, ...], told: dict[str, Any]) -> bytes:
    from gatewise.interop.onnx.whole import Request, whole_model  # needs onnxscript

    return whole_model(Request(module, inputs, **told))


def _alone(module: nn.Module, lengths: bool) -> bytes:
    """The checked content of the file for one layer or step."""
    if not isinstance(module, (Recurrent, Step)):
        kind = type(module).__name__
        raise TypeError(f"export_onnx: give example inputs of the {kind}: export_onnx(module, path, x).")
    module.refuse_edits("export_onnx")
    dtype = module._weights(_suffixes(module)[0]).weight_ih.dtype
    if dtype not in _TYPES:
        raise ValueError(f"export_onnx: the weights must be float32 or float64. Got {dtype}.")
    if lengths and isinstance(module, Step):
        raise ValueError("export_onnx: lengths is for sequences; a Step takes a single step.")
    model: bytes = _model(module, Builder(_TYPES[dtype]), lengths).SerializeToString()
    check(model, module, lengths)
    return model


def _model(module: Recurrent | Step, b: Builder, lengths: bool) -> ModelProto:
    cell = written_out(without_random(module._equations()))  # evaluation mode
    scanners = [Scanner(cell, module._weights(suffix), suffix) for suffix in _suffixes(module)]
    widths = [module.proj_size or module.hidden_size, *[module.hidden_size] * (len(cell.states) - 1)]
    if isinstance(module, Step):
        _single(b, scanners[0], widths)
    else:
        _layers(b, module, scanners, widths, lengths)
    return b.model(cell.name, str(cell))


def _suffixes(module: Recurrent | Step) -> list[str]:
    if isinstance(module, Step):
        return [""]
    return [suffix for layer in range(module.num_layers) for suffix in module._suffixes(layer)]


def _single(b: Builder, scanner: Scanner, widths: Sequence[int]) -> None:
    """One step."""
    x = b.input("X", ["B", scanner.weights.weight_ih.size(1)])
    names = scanner.cell.states
    states = [b.input(f"initial_{n}", ["B", width]) for n, width in zip(names, widths, strict=True)]
    after = step(b, scanner, from_input(b, scanner, x), states)
    for name, width, value in zip(names, widths, after, strict=True):
        b.output(value, ["B", width], f"Y_{name}")


def _layers(
    b: Builder, module: Recurrent, scanners: Sequence[Scanner], widths: Sequence[int], lengths: bool
) -> None:
    """Add all layers over a sequence."""
    D = len(module._suffixes(0))
    sizes: tuple[str, str] = ("B", "T") if module.batch_first else ("T", "B")
    x = b.input("X", (*sizes, module.input_size))
    shapes = [(len(scanners), "B", width) for width in widths]
    names = module.cell.states
    given = [b.input(f"initial_{n}", shape) for n, shape in zip(names, shapes, strict=True)]
    lens = b.input("sequence_lens", ["B"], "int32") if lengths else ""
    states = [_split(b, state, module.num_layers, D) for state in given]
    operator = native(scanners[0].cell) if b.dtype == "float32" else None
    finals = []
    x = b.node("Transpose", x, perm=[1, 0, 2]) if module.batch_first else x
    for layer in range(module.num_layers):
        mine, initial = scanners[layer * D : (layer + 1) * D], [state[layer] for state in states]
        if operator:
            x, ends = operated(b, operator, mine, x, initial, lens)
        else:
            x, ends = scanned(b, mine, x, initial, lens)
        finals.append(ends)
    x = b.node("Transpose", x, perm=[1, 0, 2]) if module.batch_first else x
    b.output(x, (*sizes, D * widths[0]), "Y")
    for name, shape, column in zip(names, shapes, zip(*finals, strict=True), strict=True):
        b.output(b.node("Concat", *column, axis=0), shape, f"Y_{name}")


def _split(b: Builder, state: str, layers: int, D: int) -> list[str]:
    """Split a state ``[L*D, B, H]`` into one ``[D, B, H]`` for each layer."""
    if layers == 1:
        return [state]
    return b.nodes("Split", layers, state, b.integers(*[D] * layers), axis=0)
