"""Every cell of the package is written to a file that ONNX Runtime runs, and read back."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from gatewise import cells, export_onnx, import_onnx
from gatewise.nn import Recurrent

# As docs/interop.md says.
NATIVE = {
    "rnn": "RNN", "rnn_relu": "RNN", "gru": "GRU", "gru_reset_before": "GRU", "lstm": "LSTM",
    "lstm_peephole": "LSTM", "lstm_coupled": "LSTM", "lstm_hard_sigmoid": "LSTM",
}  # fmt: skip


@pytest.mark.parametrize("name", cells.__all__)
def test_a_shipped_cell_is_exported_and_imported(name: str, tmp_path: Path) -> None:
    cell, path = getattr(cells, name), tmp_path / "layer.onnx"
    layer = Recurrent(cell, 3, 6, proj_size=4 if cell.projects else 0, bidirectional=True).eval()
    export_onnx(layer, path)  # export runs the file and compares it with the layer
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators & {"RNN", "GRU", "LSTM", "Scan"} == {NATIVE.get(name, "Scan")}
    x = torch.randn(7, 2, 3)
    widths = [4 if cell.projects and state == cell.states[0] else 6 for state in cell.states]
    states = tuple(torch.randn(2, 2, width) for width in widths)
    with torch.no_grad():
        output, finals = layer(x, states if len(states) > 1 else states[0])
        found, *rest = import_onnx(path)(x, *states)
    torch.testing.assert_close(found, output, rtol=1e-4, atol=1e-5)
    for back, final in zip(rest, finals if len(states) > 1 else (finals,), strict=True):
        torch.testing.assert_close(back, final, rtol=1e-4, atol=1e-5)
