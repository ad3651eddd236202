"""The errors of a stream say what was expected and what came."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from gatewise import Cell, cells
from gatewise.runtime import Stream
from tests.compiler.examples import peephole
from tests.runtime.stacks import sequence, stack

zeros = np.zeros


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (zeros((2, 4)), ValueError, r"x must have shape \(2, 5\). Got \(2, 4\)"),
        (zeros(5), ValueError, r"x must have shape \(2, 5\). Got \(5,\)"),
        (zeros((1, 2, 5)), ValueError, r"x must have shape \(2, 5\). Got \(1, 2, 5\)"),
        (zeros(()), ValueError, r"x must have shape \(2, 5\). Got \(\)"),
        (zeros((2, 5), "float32"), TypeError, "x must be of float64. Got float32"),
        (zeros((2, 5), ">f8"), TypeError, "x must be of float64. Got >f8"),
        (zeros((2, 5), int), TypeError, "x must be of float64. Got int64"),
        ([[0.0] * 5] * 2, TypeError, "x must be a NumPy array of float64. Got list"),
        (torch.zeros(2, 5, dtype=torch.float64), TypeError, "x must be a NumPy array of float64. Got Tensor"),
    ],
)
def test_inputs_of_a_step(x: Any, error: type[Exception], message: str) -> None:
    stream = Stream(cells.lstm, stack(cells.lstm, 1, 5, 6), batch=2)
    with pytest.raises(error, match=message):
        stream.step(x)


def test_inputs_of_a_run() -> None:
    stream = Stream(cells.lstm, stack(cells.lstm, 1, 5, 6), batch=2)
    for x, message in (
        (zeros((7, 2, 4)), r"x must have shape \(7, 2, 5\). Got \(7, 2, 4\)"),
        (zeros((7, 5)), r"x must have shape \(7, 2, 5\). Got \(7, 5\)"),
        (zeros(()), r"x must have shape \(1, 2, 5\). Got \(\)"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.run(x)
    with pytest.raises(TypeError, match=r"x must be of float64. Got float32"):
        stream.run(zeros((7, 2, 5), "float32"))
    with pytest.raises(TypeError, match=r"x must be a NumPy array of float64. Got list"):
        stream.run([[[0.0]], []])  # type: ignore[arg-type]


def test_one_row_has_two_shapes() -> None:
    stream = Stream(cells.lstm, stack(cells.lstm, 1, 5, 6))
    with pytest.raises(ValueError, match=r"x must have shape \(1, 5\) or \(5,\). Got \(2, 5\)"):
        stream.step(zeros((2, 5)))
    with pytest.raises(ValueError, match=r"x must have shape \(4, 1, 5\) or \(4, 5\). Got \(4, 2, 5\)"):
        stream.run(zeros((4, 2, 5)))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (zeros((2, 5)), ValueError, r"out must have shape \(2, 6\). Got \(2, 5\)"),
        (zeros((2, 6), "float32"), TypeError, "out must be of float64. Got float32"),
        (np.broadcast_to(0.0, (2, 6)), ValueError, "destination is read-only"),
    ],
)
def test_a_step_with_a_bad_out_does_not_change_the_state(
    out: Any, error: type[Exception], message: str
) -> None:
    stream = Stream(cells.lstm, stack(cells.lstm, 1, 5, 6), batch=2)
    stream.step(sequence(1, 2, 5)[0])
    before = stream.state
    with pytest.raises(error, match=message):
        stream.step(zeros((2, 5)), out)
    np.testing.assert_equal(stream.state, before)


@pytest.mark.parametrize(
    ("cell", "changed", "message"),
    [
        (cells.lstm, {"weight_ih_l0": None}, "must hold 'weight_ih_l0'"),
        (cells.lstm, {"weight_hh_l0": None}, "must hold 'weight_hh_l0'"),
        (cells.lstm, {"weight_hh_l1": None}, "must hold 'weight_hh_l1'"),
        (peephole, {"v_l1": None}, "must hold 'v_l1'"),
        (cells.lstm, {"weight_ih_l1": None}, "holds 'weight_hh_l1': 1 layers of 'lstm' have weight_ih_l0"),
        (cells.lstm, {"v_l0": (6,)}, "holds 'v_l0': 2 layers of 'lstm' have weight_ih_l0"),
        (cells.lstm, {"l.weight_ih_l0": (24, 5)}, "holds 'l.weight_ih_l0': 2 layers of 'lstm'"),
        (cells.lstm, {"weight_ih_l0_reverse": (24, 5)}, "'weight_ih_l0_reverse': a bidirectional layer"),
        (cells.lstm, {"weight_hr_l0": (3, 6)}, "must hold 'weight_hr_l1'"),
        (cells.gru, {"weight_hr_l0": (3, 6)}, "'weight_hr_l0', but 'gru' uses its output 'h'"),
        (cells.lstm, {"weight_hr_l1": (3, 6)}, "'weight_hr_l1': the output of cell 'lstm' is not projected"),
        (cells.lstm, {"weight_ih_l0": (23, 5)}, "'weight_ih_l0' must have shape (24, 5). Got (23, 5)"),
        (cells.gru, {"weight_hh_l1": (18, 5)}, "'weight_hh_l1' must have shape (18, 6). Got (18, 5)"),
        (cells.lstm, {"bias_hh_l0": (6,)}, "'bias_hh_l0' must have shape (24,). Got (6,)"),
        (
            cells.lstm,
            {"weight_hh_l0": (24,)},
            "'weight_hh_l0' must be a matrix with at least one column. Got",
        ),
        (
            cells.lstm,
            {"weight_ih_l0": (24, 0)},
            "'weight_ih_l0' must be a matrix with at least one column. Got",
        ),
    ],
)
def test_weights(cell: Cell, changed: dict[str, tuple[int, ...] | None], message: str) -> None:
    weights = stack(cell, 2, 5, 6)
    for name, shape in changed.items():
        weights.pop(name, None)
        if shape is not None:
            weights[name] = zeros(shape)
    with pytest.raises(ValueError, match=f"^weights.*{re.escape(message)}"):
        Stream(cell, weights)


def test_element_types() -> None:
    weights = stack(cells.lstm, 1, 5, 6, "float16")
    with pytest.raises(TypeError, match=r"dtype must be float32 or float64. Got float16"):
        Stream(cells.lstm, weights)
    assert Stream(cells.lstm, weights, dtype="float32").dtype == "float32"
    with pytest.raises(TypeError, match=r"dtype must be float32 or float64. Got int32"):
        Stream(cells.lstm, weights, dtype="int32")


@pytest.mark.parametrize("batch", [0, -1, 1.0, True, "2", None])
def test_batches(batch: Any) -> None:
    with pytest.raises(ValueError, match=r"batch must be a positive integer. Got"):
        Stream(cells.lstm, stack(cells.lstm, 1, 5, 6), batch)
