# mypy: allow-untyped-defs, allow-incomplete-defs
"""The page on the file format is complete: the reader that it prints computes what the layers compute."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewise
from gatewise import (
    Cell,
    Input,
    cell,
    cells,
    dropout,
    layer_norm,
    linear,
    maximum,
    nn,
    project,
    sigmoid,
    tanh,
    where,
    zoneout,
)
from gatewise.language import form, form_reading
from gatewise.runtime import Stream
from gatewise.runtime.layers_file import described
from gatewise.runtime.model_file import write_model
from tests.compiler.examples import MADE_UP
from tests.nn.layers import H, I, mixed
from tests.runtime.stacks import sequence, stack

pytestmark = pytest.mark.usefixtures("quickly")

PAGE = Path(__file__).parents[2] / "docs" / "format.md"


@cell
def weighted(h, m, *, a, b: Input):
    """Operations with their own weights, and some that are random in training."""
    a, b = layer_norm(a, b)
    m = zoneout(m, sigmoid(linear(a)) * m + dropout(tanh(b), 0.3), 0.25)
    h = where(m < 0, linear(m), maximum(m, 0.1))
    return h, m


@cell
def shortened(h, m, *, a):
    m = 0.5 * m + tanh(a)
    h = project(tanh(m))
    return h, m


@pytest.fixture(scope="module")
def run() -> Callable[[Path, Any], Any]:
    """The reader in the page."""
    source = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1]
    names: dict[str, Any] = {}
    exec(compile(source, str(PAGE), "exec"), names)
    return names["run"]  # type: ignore[no-any-return]


def test_the_examples_of_the_page() -> None:
    failed, attempted = doctest.testfile(
        str(PAGE), module_relative=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL, encoding="utf-8"
    )
    assert (failed, attempted > 0) == (0, True)


def test_the_limits_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for limit in (
        form.MOST_STATES,
        form.MOST_PARAMETERS,
        form.MOST_NODES,
        form.MOST_VALUES,
        form.MOST_ARGUMENTS,
    ):
        assert f"1 to {limit}" in page
    assert f"at most {form_reading.MOST_LETTERS} letters" in page
    assert f"a whole number; now {form.VERSION}." in page
    assert all(f"`{op}`" in page for op in form.ARITY)


def write(path: Path, made: Cell, **options: Any) -> dict[str, Any]:
    """A file of two layers; returns its weights, and the initial states if they are learned."""
    sizes = {"input_size": I, "hidden_size": H, "num_layers": 2, "bias": True, "batch_first": False}
    more = {"dropout": 0.0, "bidirectional": False, "proj_size": 0, "checkpoint": 0}
    weights = stack(made, 2, I, H)
    if options.get("learn_initial_state"):
        rng = np.random.default_rng(2)
        weights |= {f"initial_{s}_l{k}": rng.standard_normal(H) for s in made.states for k in (0, 1)}
    write_model(path, "layers", described(made, {**sizes, **more, **options}), weights)
    return weights


def test_the_reader_of_the_page_starts_from_learned_states(
    tmp_path: Path, run: Callable[[Path, Any], Any]
) -> None:
    write(tmp_path / "m", cells.lstm, learn_initial_state=True)
    x = sequence(6, 2, I)
    expected = Stream.load(tmp_path / "m", batch=2).run(x)
    np.testing.assert_allclose(run(tmp_path / "m", x), expected, rtol=1e-12, atol=1e-13)


@cell
def zoned_lstm(h, c, *, i, f, g, o):
    """An LSTM with zoneout."""
    old_h, old_c = h, c
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return zoneout(old_h, h, 0.25), zoneout(old_c, c, 0.5)


def test_the_reader_of_the_page_supports_zoneout(tmp_path: Path, run: Callable[[Path, Any], Any]) -> None:
    weights, x = write(tmp_path / "m", cells.lstm, zoneout=[0.25, 0.5]), sequence(6, 2, I)
    expected = Stream(zoned_lstm, weights, batch=2).run(x)
    np.testing.assert_allclose(run(tmp_path / "m", x), expected, rtol=1e-12, atol=1e-13)


@cell
def nested(h, *, a):
    """A thousand nested terms, exponentially many without sharing."""
    for _ in range(300):
        h = h + 0.01 * (tanh(a + h) - h)
    return h


ANY = [cells.rnn, cells.lstm, cells.gru, mixed, weighted, nested, *(example.cell for example in MADE_UP)]


def compare(run: Callable[[Path, Any], Any], module: nn.Recurrent, path: Path) -> None:
    gatewise.save(module, path)
    torch.manual_seed(4)
    x = torch.randn(6, 3, I, dtype=torch.float64)
    with torch.no_grad():
        expected = module.eval()(x)[0].numpy()
    np.testing.assert_allclose(run(path, x.numpy()), expected, rtol=1e-12, atol=1e-13)


def test_the_reader_of_the_page_supports_the_options_of_layers(
    tmp_path: Path, run: Callable[[Path, Any], Any]
) -> None:
    options: dict[str, Any] = {"num_layers": 2, "zoneout": (0.5, 0.25), "learn_initial_state": True}
    module = nn.Recurrent(cells.lstm, I, H, dtype=torch.float64, **options)
    compare(run, module, tmp_path / "m")
    x = sequence(5, 1, I)
    np.testing.assert_allclose(Stream.load(tmp_path / "m").run(x), run(tmp_path / "m", x), rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("made", ANY, ids=lambda made: made.name)
def test_the_reader_of_the_page_computes_what_layers_compute(
    tmp_path: Path, run: Callable[[Path, Any], Any], made: Cell, bias: bool
) -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "bias": bias, "dtype": torch.float64}
    compare(run, nn.Recurrent(made, I, H, **options), tmp_path / "m")


@pytest.mark.parametrize("made", [cells.lstm, shortened], ids=lambda made: made.name)
def test_the_reader_of_the_page_supports_projections(
    tmp_path: Path, run: Callable[[Path, Any], Any], made: Cell
) -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64, "proj_size": 2}
    compare(run, nn.Recurrent(made, I, H, **options), tmp_path / "m")
