"""All readers of a random cell agree: file, stream, copy, ONNX file, and an edit without effect."""

from __future__ import annotations

import copy
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gatewise
from gatewise.nn import Recurrent
from gatewise.runtime import Stream
from tests.random_cells.drawing import Drawn, drawn_cells
from tests.random_cells.quickly import compiling_quickly
from tests.random_cells.test_random_cells import drawn

I, H, B, T = 3, 5, 2, 6


def layer_of(cell: Drawn, number: int, layers: int = 1) -> Recurrent:
    torch.manual_seed(number)
    proj_size = 3 if cell.projects else 0
    return Recurrent(cell.cell(), I, H, num_layers=layers, proj_size=proj_size, dtype=torch.float64).eval()


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal bits, and NaN where the other one is NaN."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


@drawn(30, 300)
@given(drawn_cells(), st.integers(0, 1000), st.integers(1, 2))
def copies_compute_the_same(cell: Drawn, number: int, layers: int) -> None:
    layer = layer_of(cell, number, layers)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        expected = layer(x)[0]
        path = Path(folder) / "layer.safetensors"
        gatewise.save(layer, path)
        for other in (gatewise.load(path), pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert same_bits(other(x)[0], expected)
        whole, stepwise = (Stream.load(path, batch=B) for _ in range(2))
    assert same_bits(torch.from_numpy(whole.run(x.numpy())), expected)
    steps = np.stack([stepwise.step(x_t) for x_t in x.numpy()])
    assert same_bits(torch.from_numpy(steps), expected)


@drawn(15, 301)
@given(drawn_cells(), st.integers(0, 1000), st.data())
def an_edit_to_the_same_changes_nothing(cell: Drawn, number: int, data: st.DataObject) -> None:
    layer = layer_of(cell, number)
    name = data.draw(
        st.sampled_from([name for name in layer.cell.values if name != "h" or not cell.projects])
    )
    x = torch.randn(T, B, I, dtype=torch.float64)
    with torch.no_grad():
        same: Any = {name: lambda v: v}
        assert same_bits(gatewise.edit(layer, "l0", **same)(x)[0], layer(x)[0])


@drawn(15, 302)
@given(drawn_cells(smooth=True), st.integers(0, 1000))
def onnx_runtime_computes_the_same(cell: Drawn, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        gatewise.export_onnx(layer_of(cell, number), Path(folder) / "layer.onnx")  # compares


@pytest.mark.parametrize(
    "holds", [copies_compute_the_same, an_edit_to_the_same_changes_nothing, onnx_runtime_computes_the_same]
)
def test_all_readers_of_a_random_cell_agree(holds) -> None:  # type: ignore[no-untyped-def]
    with compiling_quickly():
        holds()
