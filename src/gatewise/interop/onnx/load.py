"""`import_onnx`: the network of an ONNX file as a torch module."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from torch import Tensor, nn

from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.node import operator_of
from gatewise.interop.onnx.program import FAILURES, SERVED, Program

# The oldest version of the standard whose operators are served.
_OLDEST = 7


class OnnxModule(nn.Module):
    """The network of an ONNX file: called with the inputs of the file in order, gives its outputs in order.

    One output comes as itself, several as a tuple.

    Attributes:
        inputs: the names of the inputs.
        outputs: the names of the outputs.
        program: the graph; its recurrent nodes are modules in it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.program = Program(model.graph, _opset(model))
        self.inputs, self.outputs = self.program.inputs, self.program.outputs
        if self.program.outside:
            raise OnnxError(f"the value {self.program.outside[0]!r} is used, and nothing gives it")

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs, from the inputs."""
        if len(inputs) != len(self.inputs):
            raise TypeError(
                f"expected {len(self.inputs)} inputs: {', '.join(self.inputs)}. Got {len(inputs)}."
            )
        outputs = self.program(*inputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def import_onnx(path: str | os.PathLike[str]) -> OnnxModule:
    """Read an ONNX file as a torch module whose recurrent nodes run on gatewise's cells.

    Nodes RNN, GRU and LSTM are served with every attribute of the standard: directions, both layouts,
    activations, clipping, peepholes, `sequence_lens`, and so on. Their weights must be constants of the file,
    and are parameters of the module, ready to be trained further. Around them may stand the operators in
    `gatewise.interop.onnx.operators`, and `Scan`, which runs step by step in torch.

    Nothing in the file is executed, and none of it is believed.

    Raises:
        OnnxError: the file is damaged, or has a node that is not served; the message names it.
        FileNotFoundError: there is no such file.
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
    except (DecodeError, onnx.checker.ValidationError, *FAILURES) as error:
        raise OnnxError(f"{path}: the file is damaged or no ONNX file: {error}") from error


def _read(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    _opset(model)
    _served(model.graph)
    onnx.checker.check_model(model)
    return model


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or versions[0] < _OLDEST:
        found = versions[0] if versions else "none; it is damaged or no ONNX file"
        raise OnnxError(f"the version of its operators must be {_OLDEST} or newer. Got {found}")
    return int(versions[0])


def _served(graph: onnx.GraphProto) -> None:
    """Refuse operators that are not known here, before anything else is looked at."""
    for proto in graph.node:
        operator = operator_of(proto)
        if operator not in SERVED:
            name, served = proto.name or ", ".join(proto.output), ", ".join(sorted(SERVED))
            raise OnnxError(f"node {name!r}: the operator {operator!r} is not served. Served are {served}")
        for attribute in proto.attribute:
            if attribute.HasField("g"):
                _served(attribute.g)
