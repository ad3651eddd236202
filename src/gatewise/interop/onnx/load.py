"""`import_onnx`: the network of an ONNX file as a torch module."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_model
from torch import Tensor, nn

from gatewise import files
from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.constants import Scope
from gatewise.interop.onnx.inlining import written_out
from gatewise.interop.onnx.limits import Limit
from gatewise.interop.onnx.node import dtype_of
from gatewise.interop.onnx.program import FAILURES, Program
from gatewise.interop.onnx.survey import refuse_lacks

# The oldest supported operator set.
_OLDEST = 7

_MOST = 2**31  # bytes: the limit of protobuf, the container format

# Bytes that computed constants may need: _ROOM, plus _GROWTH times the constants in the file.
_ROOM, _GROWTH = 2**28, 32


class OnnxModule(nn.Module):
    """The network of an ONNX file: a function of its inputs, in order, that returns its outputs.

    A single output is returned as a tensor, several as a tuple.

    Attributes:
        inputs: the names of the inputs.
        outputs: the names of the outputs.
        program: the graph. Its recurrent nodes are submodules.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        limit = Limit(_ROOM + _GROWTH * model.ByteSize())
        self.program = Program(model.graph, Scope(_opset(model), limit))
        self.inputs, self.outputs = self.program.inputs, self.program.outputs
        self._elements = [value.type.tensor_type.elem_type for value in model.graph.output]
        if self.program.outside:
            raise OnnxError(f"the value {self.program.outside[0]!r} is used, but no node computes it")

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network. Inputs are passed in order or by name."""
        left = [name for name in self.inputs[len(inputs) :] if name in named]
        if (*self.inputs[: len(inputs)], *left) != self.inputs or len(inputs) + len(named) != len(
            self.inputs
        ):
            raise TypeError(
                f"inputs must be {len(self.inputs)}: {', '.join(self.inputs)}. "
                f"Got {len(inputs)}{''.join(f', {name}' for name in named)}."
            )
        found = self.program(*inputs, *(named[name] for name in left))
        outputs = tuple(map(_of_element, found, self._elements))
        return outputs[0] if len(outputs) == 1 else outputs


def _of_element(output: Tensor, element: int) -> Tensor:
    """An output in its element type: the operators on integers compute with floating-point numbers."""
    return output.to(dtype_of(element)) if element in _WHOLE and output.is_floating_point() else output


_WHOLE = (TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32)


def import_onnx(path: str | os.PathLike[str]) -> OnnxModule:
    """Read an ONNX file as a torch module whose recurrent nodes run on gatewise's cells.

    The nodes RNN, GRU and LSTM are supported with every attribute of the standard: directions, both layouts,
    activations, clipping, peepholes, `sequence_lens` and so on. Their weights must be constants of the file,
    or computed from constants. They become trainable parameters of the module. All other nodes run in torch;
    the supported ones are in `gatewise.interop.onnx.operators`, and If, Loop and Scan.

    Nothing in the file is executed, and everything in it is checked.

    Raises:
        OnnxError: the file is damaged, or has unsupported parts; the message names all of them.
        FileNotFoundError: the file does not exist.
        ImportError: onnx is missing.

    Example:
        >>> import gatewise, tempfile, torch
        >>> layer = gatewise.nn.GRU(3, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gatewise.export_onnx(layer, f"{folder}/gru.onnx")
        ...     again = gatewise.import_onnx(f"{folder}/gru.onnx")
        >>> x, h = torch.randn(5, 2, 3), torch.zeros(1, 2, 8)
        >>> torch.allclose(again(x, h)[0], layer(x, h)[0], atol=1e-6)
        True
    """
    path = Path(path)
    try:
        return OnnxModule(_read(path))
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from error.__cause__
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OnnxError(f"{path}: {error.strerror or error}") from error
    except (DecodeError, onnx.checker.ValidationError, *FAILURES) as error:
        raise OnnxError(f"{path}: the file is damaged or not an ONNX file: {error}") from error


def _read(path: Path) -> onnx.ModelProto:
    with files.open_to_read(path) as file:
        if files.size_of(file) >= _MOST:
            raise OnnxError(f"the file must have less than 2 GB. Got {files.size_of(file) / 2**30:.1f} GB")
        model = onnx.load_model_from_string(file.read())
    load_external_data_for_model(model, str(path.parent))
    model = written_out(model, _opset(model))
    refuse_lacks(model.graph, _opset(model))
    _check(model)
    return model


def _check(model: onnx.ModelProto) -> None:
    """Check a model against the standard. Inputs and outputs without a shape are common, and allowed."""
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(model)


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or versions[0] < _OLDEST:
        found = versions[0] if versions else "none; it is damaged or not an ONNX file"
        raise OnnxError(f"the version of its operators must be {_OLDEST} or newer. Got {found}")
    return int(versions[0])
