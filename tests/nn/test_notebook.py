"""Layers in notebooks."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from gatewise import cells, nn

LAYERS: list[Any] = [
    nn.LSTM(3, 8, num_layers=2, bidirectional=True, proj_size=4),
    nn.GRU(3, 8),
    nn.Recurrent(cells.sru, 3, 8, bias=False),
    nn.GRUCell(3, 8),
    nn.Step(cells.indrnn, 2, 4),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_shows_its_equations_and_parameters(layer: Any) -> None:
    shown = ElementTree.fromstring(layer._repr_html_())
    assert shown.findtext("code") == f"{type(layer).__name__}({layer.extra_repr()})"
    assert len(list(shown.iter("math"))) == 1
    rows = [[cell.text or "" for cell in row] for row in shown.iter("tr")][1:]
    sizes = {name: (list(p.shape), p.numel()) for name, p in layer.named_parameters()}
    assert {
        name: ([*map(int, shape.split(" by "))], int(n.replace(",", ""))) for name, shape, n in rows
    } == sizes
    assert (
        shown.findtext("details/summary")
        == f"{sum(n for _, n in sizes.values()):,} numbers in {len(sizes)} parameters"
    )
    assert layer._repr_latex_() == layer.cell._repr_latex_()


def test_the_plain_text_stays() -> None:
    assert repr(nn.GRU(3, 8)) == "GRU(3, 8)"


def test_a_module_without_sizes_is_shown() -> None:
    layer = nn.GRU(3, 8)
    layer.weight_ih_l0 = torch.nn.Parameter(torch.zeros(0, 3))
    assert "0 by 3" in layer._repr_html_()
