# mypy: allow-untyped-defs, allow-incomplete-defs
"""Forms: every cell can be restored from its form, and any other data is refused with a `FormError`."""

from __future__ import annotations

import copy
import doctest
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    dropout,
    exp,
    layer_norm,
    linear,
    maximum,
    project,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
    zoneout,
)
from gatewise.language.form import ARITY, MOST_NODES, VERSION, from_form, same, to_form
from gatewise.language.form_reading import MOST_LETTERS, FormError
from gatewise.language.graph import OPERATIONS, RANDOM
from gatewise.language.rewrites import projected, with_recurrent_dropout, with_zoneout, without_random
from tests.language.generated import random_cells


@cell
def plain(h, m, *, a: Input, b: Split, d, v: Vector):
    """Every kind of parameter, a number without a short decimal, an infinity, and a negative zero."""
    d = sigmoid(d + 2**-1.5)
    m = where(d < 0.5, d * m, -0.0) + tanh(a + b.x) / 3
    aside = maximum(softplus(m), -math.inf)  # noqa: F841 - to be watched
    h = relu(m * v + b.h) - sqrt(abs(exp(-m)))
    return h, m


@cell
def learned(h, m, *, a, b: Input, v: Vector):
    """The operations that have their own weights, and the random ones."""
    a, b = layer_norm(a, b, eps=1e-3)
    m = zoneout(m, sigmoid(linear(a)) * m + dropout(tanh(b), 0.3, per="sequence"), 0.1)
    h = project(linear(m) * v)
    return h, m


@cell
def swap(h, c, *, a):
    """A state that becomes another one, and a value that becomes two states."""
    return tanh(a), h


CELLS = [
    cells.rnn, cells.lstm, cells.gru, plain, learned, swap, projected(cells.lstm), without_random(learned),
    with_recurrent_dropout(with_zoneout(cells.lstm, (0.1, 0.5)), 0.25),
]  # fmt: skip
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)


def through_json(form: Any) -> Any:
    return json.loads(json.dumps(form, allow_nan=False, sort_keys=True))


def assert_same(one: Cell, other: Cell) -> None:
    assert one.signature() == other.signature()
    assert (str(one), one.latex()) == (str(other), other.latex())
    assert list(one.values) == list(other.values)
    assert (one.name, one.states, one.parameters) == (other.name, other.states, other.parameters)
    assert to_form(one) == to_form(other)


@every_cell
def test_a_cell_is_restored_from_its_form(cell: Cell) -> None:
    back = from_form(through_json(to_form(cell)))
    assert back is not cell
    assert_same(back, cell)


@every_cell
def test_a_cell_from_a_form_is_copied_and_pickled(cell: Cell) -> None:
    back = from_form(to_form(cell))
    assert copy.deepcopy(back) is back
    assert_same(copy.copy(back), back)
    assert_same(pickle.loads(pickle.dumps(back)), back)


def test_a_cell_that_its_module_has_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(cells.lstm)) is cells.lstm


def test_the_name_in_a_form_is_a_label_and_is_not_looked_up() -> None:
    form = to_form(cells.rnn) | {"name": "os.system('x') \" é"}
    back = from_form(form)
    assert back.name == form["name"]
    assert back.signature() == cells.rnn.signature()
    assert_same(pickle.loads(pickle.dumps(back)), back)
    assert same(back, cells.rnn)
    assert not same(back, cells.rnn_relu)


def test_a_pickle_of_a_cell_from_a_form_does_not_need_its_function() -> None:
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).signature())"
    pickled = pickle.dumps(from_form(to_form(plain)))
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickled, capture_output=True, check=True, timeout=120
    )
    assert done.stdout.decode().strip() == plain.signature()


def test_the_examples_in_the_docstrings() -> None:
    failed, attempted = doctest.testmod(sys.modules[from_form.__module__])
    assert (failed, attempted > 0) == (0, True)


def test_every_operation_of_the_language_has_its_number_of_arguments() -> None:
    assert ARITY.keys() == OPERATIONS.keys() | RANDOM | {"linear", "project", "mean", "norm"}
    for op, function in OPERATIONS.items():
        count = ARITY[op]
        assert count is not None
        assert math.isfinite(function(*[0.5] * count))
        with pytest.raises(TypeError):
            function(*[0.5] * (count - 1))


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, 1e308, math.inf, -math.inf, 2**-1.5, 3])
def test_a_constant_keeps_every_bit(value: float) -> None:
    @cell
    def with_constant(h, *, a):
        return a * maximum(h, value)

    back = from_form(through_json(to_form(with_constant)))
    assert back.signature() == with_constant.signature()
    assert repr(float(value)) in back.signature()


def test_a_cell_that_a_form_cannot_hold_is_refused_on_writing() -> None:
    @cell
    def nan(h, *, a):
        return a * math.nan

    @cell
    def deep(h, *, a):
        for _ in range(MOST_NODES):
            a = tanh(a)
        return a

    with pytest.raises(FormError, match="is NaN, which a form cannot hold"):
        to_form(nan)
    with pytest.raises(FormError, match=f"cell 'deep' cannot be written.*1 to {MOST_NODES} items"):
        to_form(deep)


def chain(count: int) -> list[dict[str, Any]]:
    """A cell with this many nodes, each the square of the one before."""
    return [
        {"op": "gate", "name": "a", "part": ""},
        *({"op": "mul", "args": [place, place]} for place in range(count - 2)),
        {"op": "state", "name": "h"},
    ]


def rnn_of(nodes: list[Any], **more: Any) -> dict[str, Any]:
    last = len(nodes) - 2
    ends = {"nodes": nodes, "next_states": [last], "seen": last + 1, "values": [["a_bar", 0], ["h", last]]}
    return to_form(cells.rnn) | ends | more


def test_a_form_at_the_limits_is_a_usable_cell() -> None:
    most = MOST_NODES - 2
    cycle = ("neg", "tanh", "neg", "relu", "neg", "abs", "neg", "relu")
    deep = [{"op": cycle[place % 8], "args": [place]} for place in range(most)]
    form = rnn_of([{"op": "gate", "name": "a", "part": ""}, *deep, {"op": "state", "name": "h"}])
    back = from_form(form)
    assert str(back).count("tanh(") == back.latex().count("tanh(") == -(-most // 8)
    shared = from_form(rnn_of(chain(MOST_NODES)))  # 2**4094 terms when written out
    assert_same(from_form(through_json(to_form(shared))), shared)


LONG: dict[str, list[dict[str, Any]]] = {
    "linear": [{"op": "linear", "name": str(place), "args": [place]} for place in range(205)],
    "norm": [{"op": "norm", "name": "0", "value": 0.1, "args": [place]} for place in range(64)],
    "dropout": [
        {"op": "dropout", "name": str(place), "part": "step", "value": 0.1, "args": [place]}
        for place in range(300)
    ],
    "exp": [{"op": "exp", "args": [place]} for place in range(3000)],
}


@pytest.mark.parametrize("inner", LONG.values(), ids=LONG)
def test_a_form_that_takes_long_to_compile_is_refused(inner: list[dict[str, Any]]) -> None:
    form = rnn_of([{"op": "gate", "name": "a", "part": ""}, *inner, {"op": "state", "name": "h"}])
    assert refusal(form).startswith("nodes: compiling them would take some ")


def test_a_form_of_the_first_version_is_read() -> None:
    assert same(from_form({**to_form(cells.lstm), "form": 1}), cells.lstm)


def refusal(form: Any) -> str:
    with pytest.raises(FormError) as caught:
        from_form(form)
    assert len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.parametrize("data", [None, 3, "x", [], [1], {}, {"form": 1}, True, {"form": "1"}])
def test_data_that_is_not_a_form_is_refused(data: Any) -> None:
    assert refusal(data).startswith("form must be an object")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The form of the LSTM with one part replaced; ``nodes.4.op`` is a path."""
    form: Any = through_json(to_form(cells.lstm))
    *outer, last = (int(key) if key.isdecimal() else key for key in path.split("."))
    inner = form
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return form  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("form", VERSION + 1, f"has version {VERSION + 1}; this gatewise reads versions up to {VERSION}"),
        ("form", 0, f"form must be a whole number from 1 to {VERSION}. Got 0"),
        ("form", True, "form must be a whole number"),
        ("more", 1, "has 'more'"),
        ("name", "", "name must be a text of 1 to"),
        ("name", "a\nb", "name must be a text"),
        ("name", "x" * (MOST_LETTERS + 1), "name must be a text"),
        ("name", 7, "name must be a text"),
        ("states", "hc", "states must be a list. Got 'hc'"),
        ("states", [], "states must have 1 to 64 items. Got 0"),
        ("states", ["h"], "no state 'c' is declared"),
        ("states.0", "c", "'c' appears twice"),
        ("states.0", "i", "'i' appears twice"),
        ("states.0", "1h", "each state must be a name"),
        ("states.0", "lambda", "each state must be a name"),
        ("states.0", "\ufb01", "each state must be a name"),  # a ligature, which Python reads as "fi"
        ("states.0", ["h"], "each state must be a text"),
        ("parameters", {}, "parameters must be a list"),
        ("parameters", [["v", "vector"]], "node 0: no gate 'i' is declared"),
        ("parameters.0", ["i"], "each parameter must have 2 items. Got 1"),
        ("parameters.0.1", "gates", "the kind of a parameter must be one of gate, split, input, vector"),
        ("parameters.0.1", ["gate"], "the kind of a parameter must be one of gate"),
        ("parameters.0.1", "vector", "node 0: no gate 'i' is declared"),
        ("parameters.0.0", "q", "node 0: no gate 'i' is declared"),
        ("nodes", [], "nodes must have 1 to"),
        ("nodes", [1], "node 0 must be an operation that this version knows. Got None"),
        ("nodes.4", [], "node 4 must be an operation"),
        ("nodes.4.op", "sigmoyd", "node 4 must be an operation that this version knows. Got 'sigmoyd'"),
        ("nodes.4.op", "seed", "node 4 must be an operation"),
        ("nodes.4.op", "linear_back", "node 4 must be an operation"),
        ("nodes.4.op", "mul", "node 4: args must have 2 items. Got 1"),
        ("nodes.4.args", [0, 1], "node 4: args must have 1 items. Got 2"),
        ("nodes.4.args", 0, "node 4: args must be a list"),
        ("nodes.4.args", [4], "node 4: each arg must be a whole number from 0 to 3. Got 4"),
        ("nodes.4.args", [10**30], "node 4: each arg must be a whole number from 0 to 3. Got int"),
        ("nodes.4.args", [-1], "node 4: each arg must be a whole number"),
        ("nodes.4.args", [0.0], "node 4: each arg must be a whole number"),
        ("nodes.4.args", [True], "node 4: each arg must be a whole number"),
        ("nodes.4.name", "i", "node 4 must be an object with op, args. It has 'name'"),
        ("nodes.0.name", "z", "node 0: no gate 'z' is declared"),
        ("nodes.0.part", "x", "node 0: no gate 'i.x' is declared"),
        ("nodes.0.part", 7, "node 0: part must be a text"),
        ("nodes.0.args", [0], "node 0 must be an object"),
        ("nodes.0", {"op": "tanh", "args": [0]}, "node 0: each arg: no node comes before it"),
        ("nodes.4", {"op": "constant", "value": "NaN"}, "node 4: value must be a number, 'Infinity'"),
        ("nodes.4", {"op": "constant", "value": 10**400}, "node 4: value must be a number"),
        ("nodes.4", {"op": "constant", "value": True}, "node 4: value must be a number"),
        ("nodes.4", {"op": "constant", "value": [1]}, "node 4: value must be a number"),
        ("nodes.4", {"op": "less", "args": [0, 1]}, "nodes: argument 0 of 'mul' cannot be 'less'"),
        ("nodes.8", {"op": "where", "args": [0, 1, 2]}, "nodes: argument 0 of 'where' cannot be 'gate'"),
        ("nodes.4", {"op": "linear", "name": "1", "args": [0]}, "linear must be numbered from 0 on"),
        ("nodes.4", {"op": "linear", "args": [0]}, "lacks 'name'"),
        ("nodes.4", {"op": "project", "args": [0]}, "nodes: only the next value of 'h' may be projected"),
        ("nodes.4", {"op": "mean", "args": [0] * 65}, "node 4: args must have 1 to 64 items. Got 65"),
        ("nodes.4", {"op": "norm", "name": "1", "value": 0, "args": [0]}, "'norm' has no argument number"),
        (
            "nodes.4",
            {"op": "norm", "name": "0", "value": -1, "args": [0]},
            "must add a number from 0 on to the variance. Got -1.0",
        ),
        (
            "nodes.4",
            {"op": "dropout", "name": "0", "part": "day", "value": 0.5, "args": [0]},
            "'dropout' must be drawn per step or per sequence. Got 'day'",
        ),
        (
            "nodes.4",
            {"op": "dropout", "name": "0", "part": "step", "value": 1, "args": [0]},
            "the rate of 'dropout' must be from 0 to less than 1. Got 1.0",
        ),
        (
            "nodes.4",
            {"op": "dropout", "name": "x", "part": "step", "value": 0.5, "args": [0]},
            "each 'dropout' must have its own number. Got 'x'",
        ),
        ("next_states", [0], "next_states must have 2 items. Got 1"),
        ("next_states.0", 99, "next_states must be a whole number from 0 to 14. Got 99"),
        ("next_states.0", 0, "values: 'h' is not the next value of the state 'h'"),
        ("seen", None, "seen must be a whole number"),
        ("values", [], "values must have 1 to"),
        ("values.0", ["i_bar"], "each value must have 2 items"),
        ("values.0.0", "j_bar", "values: 'i_bar' is missing"),
        ("values.0.0", "f_bar", "values: 'f_bar' appears twice"),
        ("values.0.0", "i bar", "the name of a value must be a name"),
        ("values.0.1", 1, "values: 'i_bar' is not its pre-activation"),
        ("values.0.1", 77, "values: 'i_bar' must be a whole number"),
    ],
)
def test_each_fault_has_its_own_message(path: str, value: Any, message: str) -> None:
    assert message in refusal(changed(path, value))


def test_faults_of_the_whole_form_have_their_own_message() -> None:
    lstm = through_json(to_form(cells.lstm))
    unused = lstm | {"nodes": [*lstm["nodes"], {"op": "tanh", "args": [5]}]}
    assert refusal(unused) == "nodes: 1 of them are unused or appear twice"
    twice = lstm | {"nodes": [*lstm["nodes"], lstm["nodes"][0]]}
    assert refusal(twice) == "nodes: 1 of them are unused or appear twice"
    wasted = lstm | {"parameters": [*lstm["parameters"], ["v", "vector"]]}
    assert refusal(wasted) == "parameters: 'v' is never used in the next states"
    taken = through_json(to_form(cells.indrnn))
    taken["parameters"][1][0] = taken["nodes"][1]["name"] = "norm_bias_3"
    assert refusal(taken) == "parameters: 'norm_bias_3' is reserved for the gain or bias of a norm"
    fed = rnn_of([{"op": "vector", "name": "a"}, {"op": "state", "name": "h"}], parameters=[["a", "vector"]])
    assert refusal(fed | {"next_states": [0], "values": [["h", 0]]}) == "parameters: no gate sees the input"
    assert f"nodes must have 1 to {MOST_NODES} items" in refusal(rnn_of(chain(MOST_NODES + 1)))
    gru = to_form(cells.gru)
    assert refusal(gru | {"seen": 0}) == "seen must be the state 'h' or a dropout of it"
    compared = [
        {"op": "gate", "name": "a", "part": ""},
        {"op": "less", "args": [0, 0]},
        {"op": "tanh", "args": [0]},
        {"op": "state", "name": "h"},
    ]
    watched = {"values": [["a_bar", 0], ["b", 1], ["h", 2]]}
    assert refusal(rnn_of(compared, **watched)) == "values: 'b' is a comparison, not a number"
    computed = [
        {"op": "gate", "name": "a", "part": ""},
        {"op": "state", "name": "h"},
        {"op": "mul", "args": [0, 1]},
        {"op": "project", "args": [2]},
    ]
    ends = {"next_states": [3], "seen": 1, "values": [["a_bar", 0], ["h", 3]]}
    assert "narrower than the values" in refusal(rnn_of(computed, **ends))


@settings(deadline=None, max_examples=150)
@given(random_cells())
def test_any_cell_is_restored_from_its_form(made: Cell) -> None:
    assert_same(from_form(through_json(to_form(made))), made)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([*ARITY, "gate", "state", "vector", "constant", "seed", "h", "i_bar", "x", "0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all parts of a form."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [p for key, value in inner for p in [(*path, key), *places(value, (*path, key))]]


@st.composite
def mutated_forms(draw: Callable[..., Any]) -> Any:
    """The form of a cell with some parts replaced, removed, duplicated or moved."""
    form = through_json(to_form(draw(st.sampled_from(CELLS))))
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from(places(form) or [("form",)]))
        inner = form
        for key in outer:
            inner = inner[key]
        how = draw(st.sampled_from(["replace", "shift", "remove", "double", "move"]))
        old = inner.get(last) if isinstance(inner, dict) else inner[last]
        if how == "shift" and type(old) is int:
            inner[last] = old + draw(st.integers(-3, 3))
        elif how == "remove":
            del inner[last]
        elif how == "double" and isinstance(inner, list):
            inner.insert(last, copy.deepcopy(old))
        elif how == "move":
            *other, end = draw(st.sampled_from(places(form)))
            source = form
            for key in other:
                source = source[key]
            inner[last] = copy.deepcopy(source[end])
        else:
            inner[last] = draw(anything)
    return form


@settings(deadline=None, max_examples=600)
@given(mutated_forms())
def test_a_mutated_form_is_a_complete_cell_or_refused(form: Any) -> None:
    try:
        found = from_form(form)
    except FormError:
        return
    assert_same(from_form(through_json(to_form(found))), found)


@settings(deadline=None)
@given(anything)
def test_random_data_is_not_a_form(data: Any) -> None:
    with pytest.raises(FormError):
        from_form(data)
