"""The cells of ONNX's operators, in every variant, against the equations in NumPy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatewise.interop.onnx.cells import cell_of
from gatewise.interop.onnx.node import Node
from gatewise.interop.onnx.reading import inputs_of, variants_of, weights_of
from gatewise.interop.onnx.weights import packed, unpacked
from tests.interop.onnx.equations import run
from tests.interop.onnx.models import NAMES, drawn
from tests.nn.scanning import interpreted


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_a_cell_computes_the_equations_of_the_standard(operator: str, seed: int) -> None:
    attributes, given = drawn(operator, seed, "float64")
    given = {name: array for name, array in given.items() if name != "sequence_lens"}
    names = tuple(name if given.get(name) is not None else "" for name in NAMES)
    node = Node(operator, "", names, ("Y",), attributes, 22)
    tensors = {name: torch.from_numpy(array) for name, array in given.items() if array is not None}
    D = tensors["R"].size(0)
    weights = weights_of(node, tensors, D)
    initial = [tensors.get(name) for name in inputs_of(node)[2:]]
    Y, *finals = run(operator, attributes, given)
    for d, variant in enumerate(variants_of(node, D, weights[0].P is not None)):
        zeros = torch.zeros(tensors["X"].size(1), tensors["R"].size(2), dtype=torch.float64)
        states = tuple(zeros if state is None else state[d] for state in initial)
        found = interpreted(
            cell_of(variant), tensors["X"], unpacked(variant, weights[d]), states,
            reverse=attributes["direction"] == "reverse" or d == 1,
        )  # fmt: skip
        np.testing.assert_allclose(found.output, Y[:, d], rtol=1e-12, atol=1e-12)
        for state, final in zip(found.states, finals, strict=True):
            np.testing.assert_allclose(state, final[d], rtol=1e-12, atol=1e-12)
        assert cell_of(variant) is cell_of(variant)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_weights_are_converted_in_both_directions(operator: str, seed: int) -> None:
    attributes, given = drawn(operator, seed, "float64")
    names = tuple(name if given.get(name) is not None else "" for name in NAMES)
    node = Node(operator, "", names, ("Y",), attributes, 22)
    tensors = {name: torch.from_numpy(array) for name, array in given.items() if array is not None}
    theirs = weights_of(node, tensors, tensors["R"].size(0))[0]
    variant = variants_of(node, tensors["R"].size(0), theirs.P is not None)[0]
    cell = cell_of(variant)
    ours = unpacked(variant, theirs)
    again = packed(variant, {p.name: p.name for p in cell.parameters}, cell, ours)
    assert [part is None for part in again] == [part is None for part in theirs]
    if not variant.input_forget:
        for part, expected in zip(again, theirs, strict=True):
            assert part is expected or (part is not None and expected is not None and part.equal(expected))
    assert all(map(torch.equal, unpacked(variant, again).flat, ours.flat))
