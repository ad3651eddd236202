"""Recurrent nodes: every attribute of the standard, against NumPy, ONNX Runtime and ONNX's reference."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from gatewise import import_onnx, watch
from gatewise.interop.onnx import OnnxError
from tests.interop.onnx.equations import GATES, Attributes, run
from tests.interop.onnx.models import Array, Given, by_onnx_runtime, by_reference, drawn, fed, model, saved

OPERATORS = ["RNN", "GRU", "LSTM"]


def by_gatewise(operator: str, attributes: Attributes, given: Given, folder: Path) -> list[Array]:
    module = import_onnx(saved(model(operator, attributes, given), folder))
    with torch.no_grad():
        return [y.numpy() for y in module(*(torch.from_numpy(a) for a in fed(given).values()))]


def turned(given: Given) -> Given:
    """The same with the batch first."""
    names = ("X", "initial_h", "initial_c")
    return {k: a.swapaxes(0, 1) if a is not None and k in names else a for k, a in given.items()}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_node_gives_the_numbers_of_onnx_runtime(operator: str, seed: int, tmp_path: Path) -> None:
    attributes, given = drawn(operator, seed)
    by_runtime = by_onnx_runtime(model(operator, attributes, given), fed(given))
    by_equations = run(operator, attributes, given)
    results = by_gatewise(operator, attributes, given, tmp_path)
    for found, theirs, exact in zip(results, by_runtime, by_equations, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-5)


PLAIN: Attributes = {"hidden_size": 4, "direction": "bidirectional"}


def plain(operator: str) -> tuple[Attributes, Given]:
    """A node with all inputs, in float64, without the attributes that ONNX's reference ignores."""
    rng = np.random.default_rng(5)
    G = GATES[operator]
    shapes = {"X": (5, 3, 2), "W": (2, 4 * G, 2), "R": (2, 4 * G, 4), "B": (2, 8 * G), "initial_h": (2, 3, 4)}
    if operator == "LSTM":
        shapes |= {"initial_c": (2, 3, 4), "P": (2, 12)}
    own: Attributes = {"linear_before_reset": 1} if operator == "GRU" else {}
    return PLAIN | own, {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_node_gives_the_numbers_of_the_reference_in_either_layout(operator: str, tmp_path: Path) -> None:
    attributes, given = plain(operator)
    ours = by_gatewise(operator, attributes, given, tmp_path)
    for found, value in zip(ours, by_reference(model(operator, attributes, given), fed(given)), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)
    attributes, given = attributes | {"layout": 1}, turned(given)
    ours = by_gatewise(operator, attributes, given, tmp_path)
    for found, value in zip(ours, by_reference(model(operator, attributes, given), fed(given)), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)


def test_ragged_rows_with_the_batch_first(tmp_path: Path) -> None:
    attributes, given = plain("LSTM")
    given["sequence_lens"] = np.array([5, 0, 2], "int32")
    Y, *finals = run("LSTM", attributes, given)
    expected = [Y.transpose(2, 0, 1, 3), *(final.swapaxes(0, 1) for final in finals)]
    ours = by_gatewise("LSTM", attributes | {"layout": 1}, turned(given), tmp_path)
    for found, value in zip(ours, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)


def test_an_old_file_with_constant_lengths_and_lower_case_activations(tmp_path: Path) -> None:
    attributes, given = plain("GRU")
    attributes |= {"activations": ["sigmoid", "TANH", "hardSigmoid", "elu"]}
    lengths = np.array([2, 5, 4], "int32")
    given["sequence_lens"] = lengths
    made = model("GRU", attributes, given, opset=7)
    made.graph.node[0].attribute.remove(
        next(a for a in made.graph.node[0].attribute if a.name == "hidden_size")
    )
    made.graph.initializer.append(numpy_helper.from_array(lengths, "sequence_lens"))
    module = import_onnx(saved(made, tmp_path))
    assert module.inputs == ("X", "initial_h")
    found = module(*(torch.from_numpy(given[name]) for name in module.inputs))
    for mine, value in zip(found, run("GRU", attributes, given), strict=True):
        np.testing.assert_allclose(mine.detach(), value, rtol=1e-12, atol=1e-12)


def test_lengths_beyond_the_input_are_refused(tmp_path: Path) -> None:
    attributes, given = plain("GRU")
    given["sequence_lens"] = np.array([6, 1, 2], "int32")
    with pytest.raises(ValueError, match=r"sequence_lens must be from 0 to 5.*Got \[6, 1, 2\]"):
        by_gatewise("GRU", attributes, given, tmp_path)


MISFITS: dict[str, tuple[str, Array, str]] = {
    "width": ("X", np.zeros((5, 3, 1)), r"input.size\(-1\) must be equal to input_size. Expected 2, got 1"),
    "type": ("X", np.zeros((5, 3, 2), "float32"), r"RNN input dtype \(torch.float32\) does not match"),
    "dimensions": ("X", np.zeros((5, 2)), r"X must have 3 dimensions. Got 2"),
    "steps": ("X", np.zeros((0, 3, 2)), "Expected sequence length to be larger than 0"),
    "state": ("initial_c", np.zeros((2, 1, 4)), r"Expected initial_c size \(2, 3, 4\), got \[2, 1, 4\]"),
    "lengths": ("sequence_lens", np.array([1]), r"sequence_lens must be whole numbers of shape \(3,\). Got"),
}


@pytest.mark.parametrize(("name", "array", "message"), MISFITS.values(), ids=MISFITS)
def test_inputs_that_do_not_fit_the_weights_are_refused(
    name: str, array: Array, message: str, tmp_path: Path
) -> None:
    attributes, given = plain("LSTM")
    given["sequence_lens"] = np.array([5, 1, 2])
    module = import_onnx(saved(model("LSTM", attributes, given), tmp_path))
    with pytest.raises((ValueError, RuntimeError), match=message):
        module(*map(torch.from_numpy, fed(given | {name: array}).values()))


def test_it_is_trained_watched_and_copied_like_any_layer(tmp_path: Path) -> None:
    attributes, given = plain("LSTM")
    module = import_onnx(saved(model("LSTM", attributes, given), tmp_path))
    inputs = [torch.from_numpy(array) for array in fed(given).values()]
    with watch(module) as seen:
        module(*inputs)[0].square().sum().backward()
    assert list(seen) == ["program.recurrent.directions.0.l0", "program.recurrent.directions.1.l0"]
    assert seen["program.recurrent.directions.1.l0"].f.shape == (5, 3, 4)
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    again = copy.deepcopy(module)
    torch.nn.init.zeros_(next(module.parameters()))
    assert not torch.equal(module(*inputs)[0], again(*inputs)[0])
    assert set(again.state_dict()) == set(module.state_dict())


WRONG: dict[str, tuple[Attributes, dict[str, tuple[int, ...]], str]] = {
    "direction": ({"direction": "up"}, {}, "direction is 'up'; the standard has forward, reverse"),
    "activations": ({"activations": ["Tanh"]}, {}, "activations must be 6 names. Got 1"),
    "activation": ({"activations": ["Sin"] * 6}, {}, "activations has 'Sin'; the standard has Affine"),
    "alpha": ({"activations": ["Affine"] * 6}, {}, "activation Affine needs its alpha and beta"),
    "left over": ({"activation_alpha": [1.0]}, {}, "activation_alpha and activation_beta have more numbers"),
    "hidden_size": ({"hidden_size": 3}, {}, r"W must have shape \(2, 12, 2\). Got \(2, 16, 2\)"),
    "B": ({}, {"B": (2, 31)}, r"B must have shape \(2, 32\). Got \(2, 31\)"),
    "R": ({}, {"R": (2, 16)}, "W and R must be there, with 3 dimensions"),
}


@pytest.mark.parametrize(("changed", "shapes", "message"), WRONG.values(), ids=WRONG)
def test_violations_of_the_standard_are_refused(
    changed: Attributes, shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    attributes, given = plain("LSTM")
    given |= {name: np.zeros(shape) for name, shape in shapes.items()}
    path = saved(model("LSTM", attributes | changed, given), tmp_path)
    with pytest.raises(OnnxError, match=rf"model.onnx: node 'recurrent' \(LSTM\): {message}"):
        import_onnx(path)
