"""Layers of torch with their kernels in a browser: lengths, resets, both directions, checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gatewise import cells
from gatewise.compiler.wasm.target import RELAXED
from gatewise.nn import Recurrent
from tests.compiler.wasm.browser import Machine, in_browser

T, B, I, H = 9, 4, 3, 10


pytestmark = pytest.mark.usefixtures("one_thread")


def computed(layer: Recurrent, x: torch.Tensor, calls: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    """The output, the final states and every gradient."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    output, final = layer(x, **calls)
    finals = final if isinstance(final, tuple) else (final,)
    loss = sum((value * value.cos()).sum() for value in (output, *finals))
    loss.backward()
    gradients = [x.grad, *(parameter.grad for parameter in layer.parameters())]
    return [tensor.detach().numpy().copy() for tensor in (output, *finals, *gradients)]


RESET = torch.zeros(T, B, dtype=torch.bool)
RESET[3, 0] = RESET[5, 0] = RESET[1, 2] = RESET[8, 3] = True


@pytest.mark.parametrize("cell", [cells.lstm, cells.gru], ids=lambda cell: cell.name)
@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, {"lengths": [3, 9, 0, 5]}),
        ({}, {"reset": RESET}),
        ({"num_layers": 2, "bidirectional": True}, {"lengths": [3, 9, 1, 5], "reset": RESET}),
        ({"checkpoint": 4}, {"reset": RESET}),
    ],
    ids=["lengths", "resets", "both-ways-with-both", "checkpoint"],
)
def test_layers_give_the_same_bits(
    cell: Any, options: dict[str, Any], calls: dict[str, Any], machine: Machine
) -> None:
    torch.manual_seed(0)
    layer, x = Recurrent(cell, I, H, **options), torch.randn(T, B, I)
    expected = computed(layer, x, calls)
    with in_browser(machine, RELAXED):
        found = computed(layer, x, calls)
    for n, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=str(n))
