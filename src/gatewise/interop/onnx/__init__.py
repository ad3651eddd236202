"""Export and import of recurrent networks as ONNX files.

Sources: the operators RNN, GRU, LSTM and Scan at https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from importlib.util import find_spec

from gatewise import files

if find_spec("onnx") is None:
    raise ImportError("gatewise reads and writes ONNX files with onnx: pip install 'gatewise[onnx]'")


class OnnxError(ValueError):
    """Raised for a damaged or unsupported file, and for an export that computes something else."""

    def __init__(self, message: str) -> None:
        super().__init__(files.escaped(" ".join(message.split())))
