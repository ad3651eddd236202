# mypy: allow-untyped-defs, allow-incomplete-defs
"""Pickles of cells: with their equations, in other processes, and after a cell is defined again."""

from __future__ import annotations

import copy
import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest
from hypothesis import given, reject, settings

from gatewise import Cell, cell, cells, sigmoid, tanh
from gatewise.language.form import from_form, same, to_form
from gatewise.language.form_reading import FormError
from gatewise.language.pickling import restored
from tests.language.generated import random_cells

SHIPPED = [found for found in vars(cells).values() if isinstance(found, Cell)]


@cell
def here(h, *, a):
    """A cell of this module."""
    h = tanh(a)
    return h


def in_a_closure(rate: float) -> Cell:
    @cell
    def leaky(h, *, f, g):
        h = rate * sigmoid(f) * h + (1 - rate) * tanh(g)
        return h

    return leaky


def with_joblib(obj: object) -> object:
    file = io.BytesIO()
    joblib.dump(obj, file)
    file.seek(0)
    return joblib.load(file)


WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda obj: pickle.loads(pickle.dumps(obj)),
    "first protocol": lambda obj: pickle.loads(pickle.dumps(obj, 0)),
    "cloudpickle": lambda obj: pickle.loads(cloudpickle.dumps(obj)),
    "joblib": with_joblib,
    "deepcopy": copy.deepcopy,
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@every_way
@pytest.mark.parametrize("shipped", [*SHIPPED, here], ids=lambda shipped: shipped.name)
def test_a_cell_that_is_defined_here_comes_back_as_itself(shipped: Cell, way: Callable[[Any], Any]) -> None:
    assert way(shipped) is shipped
    assert way({"in": [shipped]})["in"][0] is shipped


@every_way
def test_a_cell_of_a_closure_keeps_its_constants(way: Callable[[Any], Any]) -> None:
    for rate in (0.1, 0.7):
        leaky = in_a_closure(rate)
        back = way(leaky)
        assert same(back, leaky)
        assert (str(back), repr(back), back.__doc__) == (str(leaky), repr(leaky), leaky.__doc__)
    assert not same(way(in_a_closure(0.1)), in_a_closure(0.7))


def test_a_pickle_loaded_twice_is_one_cell() -> None:
    pickled = pickle.dumps(in_a_closure(0.2))
    assert pickle.loads(pickled) is pickle.loads(pickled)  # so that its kernels are looked up once


def test_the_same_cell_gives_the_same_pickle() -> None:
    assert pickle.dumps(in_a_closure(0.3)) == pickle.dumps(in_a_closure(0.3))
    assert joblib.hash(in_a_closure(0.3)) == joblib.hash(in_a_closure(0.3)) != joblib.hash(in_a_closure(0.4))


@settings(max_examples=100, deadline=None)
@given(random_cells(more=("mean", "norm", "linear", "dropout", "zoneout")))
def test_any_cell_of_the_language_comes_back(drawn: Cell) -> None:
    try:
        to_form(drawn)
    except FormError:
        reject()
    back = pickle.loads(pickle.dumps(drawn))
    assert json.dumps(to_form(back)) == json.dumps(to_form(drawn))
    assert back.signature() == drawn.signature()
    assert pickle.dumps(back) == pickle.dumps(drawn)


def test_cells_that_differ_in_the_sign_of_zero_are_different(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_zero(zero: float) -> Cell:
        @cell
        def f(h, *, a):
            return tanh(a) + h * zero

        f.__qualname__ = "with_zero_of"
        return f

    minus = with_zero(-0.0)
    monkeypatch.setattr(sys.modules[__name__], "with_zero_of", with_zero(0.0), raising=False)
    assert pickle.loads(pickle.dumps(minus)).signature() == minus.signature()


NOTEBOOK = """
    import pickle, sys
    from gatewise import cell, sigmoid, tanh

    @cell
    def mine(h, *, f, g):
        h = sigmoid(f) * h + tanh(g)
        return h

    first = pickle.dumps(mine)

    @cell
    def mine(h, *, f, g):
        h = sigmoid(f) * h - tanh(g)
        return h

    was = pickle.loads(first)
    assert "+ tanh" in str(was) and "- tanh" in str(mine), (str(was), str(mine))
    assert pickle.loads(pickle.dumps(mine)) is mine
    sys.stdout.buffer.write(first)
"""


def test_a_cell_of_main_loads_in_another_process_and_is_not_the_one_defined_since() -> None:
    script = [sys.executable, "-c", textwrap.dedent(NOTEBOOK)]
    pickled = subprocess.run(script, capture_output=True, check=True, timeout=120).stdout
    back = pickle.loads(pickled)
    assert str(back).startswith("mine(h, *, f, g)")
    assert "h' = sigmoid(f_bar) * h + tanh(g_bar)" in str(back)
    assert repr(back) == "<cell __main__.mine>"


def test_a_cell_of_a_module_that_was_changed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from gatewise import cell, tanh\n@cell\ndef mine(h, *, a):\n    h = {}\n    return h\n"
    (tmp_path / "changing_cells.py").write_text(source.format("tanh(a)"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import changing_cells  # type: ignore[import-not-found]

    before, pickled = changing_cells.mine, pickle.dumps(changing_cells.mine)
    exec(source.format("tanh(a) + h"), changing_cells.__dict__)  # as importlib.reload does
    assert pickle.loads(pickled) is not changing_cells.mine
    assert same(pickle.loads(pickled), before)
    monkeypatch.delitem(sys.modules, "changing_cells")
    assert same(pickle.loads(pickled), before)


def test_a_cell_goes_to_a_new_process_and_comes_back() -> None:
    context = multiprocessing.get_context("spawn")
    sent = in_a_closure(0.5)
    with context.Pool(1) as pool:
        assert same(pool.apply(to_form_and_back, (sent,)), sent)


def to_form_and_back(received: Cell) -> Cell:
    return from_form(to_form(received))


@cell
def beyond_a_form(h, *, a):
    h = tanh(a) + h * float("nan")
    return h


def test_a_cell_that_no_form_can_hold_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(beyond_a_form)) is beyond_a_form


def test_a_name_in_a_pickle_is_never_called() -> None:
    assert same(restored(json.dumps(to_form(here)), "os", "getcwd", None), here)
