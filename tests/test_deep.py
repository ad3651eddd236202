# mypy: allow-untyped-defs, allow-incomplete-defs
"""Cells of hundreds of nested operations, with so many shared terms that no tree could hold them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import gatewise
from gatewise import Cell, cell, nn, sigmoid, tanh, where
from gatewise.insight.keeping import kept_states
from gatewise.language.graph import topological
from gatewise.language.writing.mathml import mathml
from gatewise.runtime import Stream

T, B, I, H = 4, 2, 3, 5


@cell
def small_steps(h, *, a):
    """Steps of Euler's method inside one step."""
    for _ in range(40):
        h = h + 0.005 * (tanh(a) - h)
    return h


@cell
def nested(h, *, a):
    for _ in range(120):
        h = tanh(h) * 0.5 + a
    return h


@cell
def doubled(h, c, *, a, f):
    """A cell that would have 2^60 terms without sharing; sums of sums in a gate and in a kept state."""
    for _ in range(60):
        h = 0.4 * (h * h + h) + 0.1 * a
        f = f + 0.01 * (f - h)
        a = a - 0.01 * (a + a)
    c = sigmoid(f) * c + (1 - sigmoid(f)) * a
    h = where(h < c, h, h * c)
    return h, c


each = pytest.mark.parametrize("deep", [small_steps, nested, doubled], ids=lambda deep: deep.name)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def layer_of(deep: Cell, **options: Any) -> nn.Recurrent:
    torch.manual_seed(2)
    return nn.Recurrent(deep, I, H, dtype=torch.float64, **options)


@each
def test_written_text_grows_linearly_with_the_number_of_operations(deep: Cell) -> None:
    for written, most in ((str(deep), 15), (deep.latex(), 30), (mathml(deep), 120)):
        assert len(written) < most * len(deep.nodes)
        assert max(map(len, written.splitlines())) < 120 * len(deep.nodes)
    assert all(len(repr(node)) < 100 for node in topological(deep.next_states))


@each
def test_derivatives_are_those_of_the_equations(deep: Cell, x: torch.Tensor) -> None:
    layer = layer_of(deep)
    assert torch.autograd.gradcheck(lambda v: layer(v)[0], (x.requires_grad_(),), fast_mode=True)
    by_x = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)[0]
    torch.autograd.grad(by_x.sum(), x)  # by the eager interpreter


@each
def test_copies_and_files_compute_the_same(deep: Cell, x: torch.Tensor, tmp_path: Path) -> None:
    layer = layer_of(deep).eval()
    expected = layer(x)[0].detach()
    gatewise.save(layer, tmp_path / "m")
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), gatewise.load(tmp_path / "m")]
    for again in copies:
        assert torch.equal(again(x)[0], expected)
        assert again.cell.signature() == deep.signature()
    np.testing.assert_array_equal(Stream.load(tmp_path / "m", batch=B).run(x.numpy()), expected.numpy())


@each
def test_onnx_runtime_computes_the_same(deep: Cell, x: torch.Tensor, tmp_path: Path) -> None:
    layer = layer_of(deep).float().eval()
    gatewise.export_onnx(layer, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    zeros = {f"initial_{state}": np.zeros((1, B, H), np.float32) for state in deep.states}
    got = session.run(None, {"X": x.float().numpy(), **zeros})[0]
    np.testing.assert_allclose(got.reshape(T, B, H), layer(x.float())[0].detach(), rtol=1e-4, atol=1e-5)


@each
def test_a_deep_cell_can_be_watched_and_edited(deep: Cell, x: torch.Tensor, tmp_path: Path) -> None:
    layer = layer_of(deep)
    with gatewise.watch(layer) as seen:
        output, _ = layer(x)
    assert torch.equal(seen["l0"].h, output)
    edited = gatewise.edit(layer, "l0", a_bar=lambda a: a + 1, steps=slice(2, None))
    changed = edited(x)[0]
    assert torch.equal(changed[:2], output[:2])
    assert not torch.equal(changed[2], output[2])
    assert "kernel" in str(gatewise.explain(layer, x))
    gatewise.look(layer, x, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 5e6


def test_layers_of_deep_cells_take_every_option(x: torch.Tensor) -> None:
    more: dict[str, Any] = {"forget_bias": 1.0, "zoneout": 0.1, "recurrent_dropout": 0.2, "checkpoint": 2}
    layer_of(doubled, **more)(x)[0].sum().backward()
    assert kept_states(doubled)["c"].keep.op == "sigmoid"
