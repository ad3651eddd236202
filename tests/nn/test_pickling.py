# mypy: allow-untyped-defs, allow-incomplete-defs
"""Pickled layers keep their own equations, wherever and whenever they are loaded."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest
import torch
from torch import Tensor, nn

import gatewise
from gatewise import nn as ours

pytestmark = pytest.mark.usefixtures("quickly")

T, B, I, H = 5, 2, 3, 4

NOTEBOOK = """
    import io, pickle, sys, torch, gatewise
    from gatewise import cell, sigmoid, tanh
    torch.manual_seed(0)

    @cell
    def mine(h, *, f, g):
        h = sigmoid(f) * h + tanh(g)
        return h

    layers = {"rnn": gatewise.nn.Recurrent(mine, 3, 4), "step": gatewise.nn.Step(mine, 3, 4)}
    model = torch.nn.ModuleDict(layers)
    x = torch.randn(5, 2, 3)
    expected = model["rnn"](x)[0].detach()
    pickled = pickle.dumps(model)
    torch.save(model, sys.argv[1] + "/model.pt")
    gatewise.save(model["rnn"], sys.argv[1] + "/rnn.safetensors")

    @cell
    def mine(h, *, f, g):
        h = sigmoid(f) * h - tanh(g)
        return h

    new = gatewise.nn.Recurrent(mine, 3, 4)
    new.load_state_dict(model["rnn"].state_dict())
    assert not torch.equal(new(x)[0], expected)
    for older in (
        pickle.loads(pickled)["rnn"],
        torch.load(sys.argv[1] + "/model.pt", weights_only=False)["rnn"],
        gatewise.load(sys.argv[1] + "/rnn.safetensors"),
    ):
        assert torch.equal(older(x)[0], expected)
        assert "+ tanh" in str(older.cell)
    assert torch.equal(pickle.loads(pickle.dumps(new))(x)[0], new(x)[0])
    torch.save((x, expected), sys.argv[1] + "/expected.pt")
"""


def test_a_layer_older_than_its_cell_keeps_its_equations(tmp_path: Path) -> None:
    script = [sys.executable, "-c", textwrap.dedent(NOTEBOOK), str(tmp_path)]
    subprocess.run(script, check=True, timeout=200)
    x, expected = torch.load(tmp_path / "expected.pt")
    model = torch.load(tmp_path / "model.pt", weights_only=False)  # this process has no such cell
    assert torch.equal(model["rnn"](x)[0], expected)


def in_a_closure(rate: float) -> gatewise.Cell:
    @gatewise.cell
    def leaky(h, *, g):
        h = rate * h + (1 - rate) * gatewise.tanh(g)
        return h

    return leaky


def through_joblib(obj: Any) -> Any:
    file = io.BytesIO()
    joblib.dump(obj, file)
    file.seek(0)
    return joblib.load(file)


def through_torch(obj: Any) -> Any:
    file = io.BytesIO()
    torch.save(obj, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS: dict[str, Any] = {
    "pickle": lambda obj: pickle.loads(pickle.dumps(obj)),
    "cloudpickle": lambda obj: pickle.loads(cloudpickle.dumps(obj)),
    "joblib": through_joblib,
    "torch.save": through_torch,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_models_of_cells_from_closures(way: Any) -> None:
    layers = [ours.Recurrent(in_a_closure(rate), width, H) for rate, width in ((0.5, I), (0.9, H))]
    edited = gatewise.edit(layers[0], "l0", h=0.5, steps=[1])
    model = nn.ModuleList([*layers, edited, gatewise.accelerate(nn.Sequential(nn.GRU(I, H)))])
    back: Any = way(model)
    x = torch.randn(T, B, I)
    for one, other in zip([model[0], model[2], model[3]], [back[0], back[2], back[3]], strict=True):
        assert torch.equal(one(x)[0], other(x)[0])
        other(x)[0].sum().backward()


def outputs(layer: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = layer(x)[0]
    return found


def test_a_layer_goes_to_a_new_process() -> None:
    layer, x = ours.Recurrent(in_a_closure(0.5), I, H), torch.randn(T, B, I)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert torch.equal(pool.apply(outputs, (layer, x)), outputs(layer, x))
