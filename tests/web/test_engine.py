"""The engine in a real browser, compared with layers in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import gatewise
from gatewise import Cell, cells
from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.run.program import compiled
from gatewise.compiler.wasm.target import PLAIN, RELAXED
from gatewise.web.describing import editable
from tests.random_cells.drawing import Drawn, few_cells
from tests.random_cells.quickly import compiling_quickly
from tests.selection import with_rest
from tests.tabs import Tabs
from tests.web.engine import Engine, Problem, Results, assert_same_bits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHIPPED = [cell for cell in vars(cells).values() if isinstance(cell, Cell)]
# One of each kind: slots of every sort, a product in the middle, means, a projection, exponential gates.
ALWAYS = (cells.rnn, cells.lstm, cells.gru, cells.gru_layer_norm, cells.lstm_projected, cells.slstm)
shipped = pytest.mark.parametrize(
    "cell", with_rest(SHIPPED, lambda cell: cell in ALWAYS), ids=lambda cell: cell.name
)
EPS = float(np.finfo(np.float32).eps)
NORMAL = 1e-30  # smaller numbers may differ: WebAssembly computes with subnormal numbers

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def engine(browser: Browser) -> Iterator[Engine]:
    page = browser.new_page()
    yield Engine(page)
    page.close()


def problem(cell: Cell, T: int = 7, B: int = 5, I: int = 3, H: int = 18, **more: Any) -> Problem:
    options = {"proj_size": max(1, H // 4)} if cell is cells.lstm_projected else {}
    return Problem(cell, T, B, I, H, **{"options": options, **more})


def assert_same(p: Problem, found: Results) -> None:
    """Assert that all results of the engine have the bits of Python, and those by vectors nearly so.

    Python adds up the parts of the rows by torch, in another order than the engine. Each order is off by at
    most B - 1 roundings of the sum of absolute parts.
    """
    expected = p.run()
    vectors = [f"by {name}" for name in p.cell.vectors]
    assert_same_bits(found, expected, apart=vectors)
    if vectors:
        parts = sum(np.abs(np.stack([row_of(p, row)[name] for name in vectors])) for row in range(p.B))
        for name, size in zip(vectors, parts, strict=True):
            assert (np.abs(found[name] - expected[name]) <= p.B * EPS * size).all(), name


def row_of(p: Problem, row: int) -> Results:
    """The results of one row alone."""
    one = Problem(p.cell, p.T, 1, p.I, p.H, p.options, given=p.given, reverse=p.reverse)
    one.layer.load_state_dict(p.layer.state_dict())
    one.x, one.by = p.x[:, row : row + 1], p.by[:, row : row + 1]
    one.states = {name: values[row : row + 1] for name, values in p.states.items()}
    one.by_states = {name: values[row : row + 1] for name, values in p.by_states.items()}
    one.lengths = None if p.lengths is None else [p.lengths[row]]
    one.reset = None if p.reset is None else p.reset[:, row : row + 1]
    return one.run()


RESET = torch.zeros(7, 5, dtype=torch.bool)
RESET[3, 0] = RESET[5, 0] = RESET[1, 2] = RESET[6, 3] = RESET[0, 4] = True
LENGTHS = [3, 7, 0, 7, 5]


@shipped
def test_every_cell_gives_the_bits_of_python(cell: Cell, engine: Engine) -> None:
    """Outputs, final states, every named value, every gradient."""
    p = problem(cell)
    assert_same(p, engine.run(p))


@pytest.mark.parametrize(
    "cell", [cells.lstm, cells.gru_layer_norm, cells.lstm_projected], ids=lambda c: c.name
)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize(
    "more",
    [{"lengths": LENGTHS}, {"reset": RESET}, {"lengths": [3, 7, 1, 7, 5], "reset": RESET}, {"given": False}],
    ids=["lengths", "reset", "lengths-and-reset", "from-zeros"],
)
def test_rows_of_different_lengths_that_restart(
    cell: Cell, more: dict[str, Any], reverse: bool, engine: Engine
) -> None:
    p = problem(cell, reverse=reverse, **more)
    assert_same(p, engine.run(p))


def test_no_row_has_a_step(engine: Engine) -> None:
    p = problem(cells.lstm, lengths=[0] * 5)
    assert_same(p, engine.run(p))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cell=some.sampled_from(ALWAYS),
    T=some.integers(1, 40),
    B=some.integers(1, 33),
    I=some.integers(1, 9),
    H=some.integers(1, 40),
    bias=some.booleans(),
    reverse=some.booleans(),
    random=some.randoms(use_true_random=False),
)
def test_any_sizes(
    cell: Cell, T: int, B: int, I: int, H: int, bias: bool, reverse: bool, random: Any, engine: Engine
) -> None:
    H = max(H, 2) if cell is cells.lstm_projected else H
    p = problem(cell, T, B, I, H, reverse=reverse)
    p.options = {**p.options, "bias": bias}
    p.lengths = random.choice([None, [random.randint(0, T) for _ in range(B)]])
    p.reset = random.choice([None, torch.tensor([[random.random() < 0.2] * B for _ in range(T)])])
    p.__post_init__()
    assert_same(p, engine.run(p))


NAMED_LIKE_WEIGHTS = gatewise.read_cell(
    """
    def named_like_weights(h, *, f, bias_f: Vector, edit0_0: Vector):
        f = sigmoid(f + bias_f)
        h = f * h + edit0_0 * tanh(f)
        return h
    """
)


def test_names_that_resemble_those_of_weights_and_edits(engine: Engine) -> None:
    p = problem(NAMED_LIKE_WEIGHTS, B=2, options={"bias": False})
    assert_same_bits(engine.run(p), p.run())
    p.editable = editable(NAMED_LIKE_WEIGHTS)
    found = engine.run(p, keep=False, edits=[{"name": "f", "value": 0.5}])
    p.layer = gatewise.edit(p.layer, "l0", f=0.5)
    assert_same_bits(found, p.run(backward=False))


NAMED_LIKE_PARTS_OF_OBJECTS = gatewise.read_cell(
    """
    def constructor(constructor, isPrototypeOf, toString, *, hasOwnProperty, valueOf: Vector):
        hasOwnProperty = sigmoid(hasOwnProperty)
        isPrototypeOf = hasOwnProperty * isPrototypeOf + (1 - hasOwnProperty) * valueOf
        toString = 0.5 * toString + isPrototypeOf
        constructor = tanh(toString)
        return constructor, isPrototypeOf, toString
    """
)


def test_names_that_every_object_of_javascript_has(engine: Engine) -> None:
    p = problem(NAMED_LIKE_PARTS_OF_OBJECTS, B=2)
    assert_same(p, engine.run(p))
    sent = p.sent()
    sent["by"]["states"] = {}
    p.by_states = {name: torch.zeros_like(values) for name, values in p.by_states.items()}
    assert_same(p, engine.results("runOf", sent))
    p.editable = editable(NAMED_LIKE_PARTS_OF_OBJECTS)
    found = engine.run(p, keep=False, edits=[{"name": "toString", "value": 0.5, "units": [2]}])
    p.layer = gatewise.edit(p.layer, "l0", {"toString": 0.5}, units=[2])
    assert_same_bits(found, p.run(backward=False))


@pytest.mark.parametrize("number", with_rest(range(8), lambda number: number == 0))
def test_a_random_cell_gives_the_bits_of_python(number: int, engine: Engine) -> None:
    """Sums of two rows do not depend on their order, so those by vectors are the same too."""

    @few_cells(number)
    def holds(drawn: Drawn) -> None:
        p = Problem(drawn.cell(), 3, 2, 3, 5, {"proj_size": 2} if drawn.projects else {}, seed=number)
        with compiling_quickly(kept=True):
            expected = p.run()
        found = engine.run(p)
        for name, values in expected.items():
            tiny = (np.abs(values) < NORMAL) & (np.abs(found[name]) < NORMAL)
            np.testing.assert_array_equal(found[name][~tiny], values[~tiny], err_msg=name)

    holds()


def test_without_gradients_and_watching_the_output_is_the_same(engine: Engine) -> None:
    p = problem(cells.lstm)
    expected = p.run(backward=False)
    found = engine.run(p, keep=False, watch=[])
    assert found.keys() == {"output", "final h", "final c"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("cell", ALWAYS, ids=lambda cell: cell.name)
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_derivatives_by_the_states_after_each_step(cell: Cell, reverse: bool, engine: Engine) -> None:
    """They are the derivatives by the initial states of the steps that are left."""
    p = problem(cell, reverse=reverse)
    sent = p.sent()
    sent["by"]["derivatives"] = True
    found = engine.results("runOf", sent)
    assert_same(p, found)
    for t in range(p.T - 1) if not reverse else range(1, p.T):
        rest = problem(cell, reverse=reverse)
        after = slice(0, t) if reverse else slice(t + 1, None)
        rest.x, rest.by = p.x[after], p.by[after]
        rest.states = {n: state_at(found, p, n, t) for n in cell.states}
        expected = rest.run()
        for n, name in enumerate(cell.states):
            shape = p.T, p.B, p.widths[name]
            by = expected[f"by initial {name}"].reshape(shape[1:]) + (0 if n else p.by[t].numpy())
            np.testing.assert_array_equal(found[f"by each {name}"].reshape(shape)[t], by, err_msg=name)


def state_at(found: Results, p: Problem, name: str, t: int) -> torch.Tensor:
    values = found[f"value {name}"].reshape(p.T, p.B, p.widths[name])
    return torch.tensor(values[t])


EDITS: list[dict[str, Any]] = [
    {"name": "z", "value": 0.25},
    {"name": "n", "value": -0.5, "steps": [2, 3], "units": [0, 5, 17], "rows": [1, 4]},
    {"name": "h", "value": 0.75, "steps": [4], "units": [1]},
    {"name": "n_bar_h", "value": 2.0, "rows": [0]},
]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["", "lengths"])
@pytest.mark.parametrize("edits", [[], *([edit] for edit in EDITS), EDITS], ids=str)
def test_held_values_give_the_bits_of_edited_layers(
    edits: list[dict[str, Any]], lengths: list[int] | None, engine: Engine
) -> None:
    p = problem(cells.gru, lengths=lengths, editable=editable(cells.gru))
    found = engine.run(p, keep=False, edits=edits)
    for edit in edits:
        where = {name: which for name, which in edit.items() if name not in ("name", "value")}
        p.layer = gatewise.edit(p.layer, "l0", {edit["name"]: edit["value"]}, **where)
    with compiling_quickly():
        assert_same_bits(found, p.run(backward=False))


@pytest.mark.parametrize(
    "cell", with_rest(SHIPPED, lambda cell: cell is cells.gru), ids=lambda cell: cell.name
)
def test_every_value_can_be_held(cell: Cell, engine: Engine) -> None:
    made = editable(cell)
    p = problem(cell, editable=made)
    projected = {name for name, node in cell.values.items() if node.op == "project"}
    assert set(made.edits) == set(cell.values) - projected
    for name in made.edits:
        p.layer = problem(cell).layer
        found = engine.run(p, keep=False, edits=[{"name": name, "value": 0.5, "units": [3, 4], "steps": [2]}])
        p.layer = gatewise.edit(p.layer, "l0", {name: 0.5}, units=[3, 4], steps=[2])
        with compiling_quickly():
            assert_same_bits(found, p.run(backward=False))


def test_a_later_edit_goes_before_an_earlier_one(engine: Engine) -> None:
    p = problem(cells.gru, editable=editable(cells.gru))
    values = [float(n) for n in range(18)]
    edits = [
        {"name": "z", "value": values},
        {"name": "z", "value": 0.25, "steps": [2, 3]},
        {"name": "z", "value": 0.5, "steps": [3, 4], "units": [1]},
    ]
    z = engine.run(p, keep=False, edits=edits)["value z"].reshape(7, 5, 18)
    expected = np.broadcast_to(np.array(values, np.float32), z.shape).copy()
    expected[2:4] = 0.25
    expected[3:5, :, 1] = 0.5
    np.testing.assert_array_equal(z, expected)


def test_plain_simd_is_close(engine: Engine) -> None:
    p = problem(cells.lstm)
    found, expected = engine.run(p, PLAIN), p.run()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-4, err_msg=name)
    assert any((found[name] != values).any() for name, values in expected.items())


def test_runs_of_a_layer_may_go_back_in_any_order_and_again(engine: Engine) -> None:
    """Also after the weights and the input have changed, which a run has copied."""
    p, other = problem(cells.lstm), problem(cells.lstm, T=4, seed=1)
    same = engine.page.evaluate(
        """async ([sent, other]) => {
          const layer = await layerOf(sent);
          const x = numbersOf(sent.x);
          const first = layer.forward(x, { rows: 5, keep: true });
          const expected = backward(first, sent);
          const second = layer.forward(x, { rows: 5, keep: true });
          x.fill(9);
          layer.weights.weight_hh.fill(0.5);
          forward(layer, other);
          const equal = (a, b) => Object.keys(a).every((name) => textOf(a[name]) === textOf(b[name]));
          return [equal(backward(second, sent), expected), equal(backward(first, sent), expected)];
        }""",
        [p.sent(), other.sent()],
    )
    assert same == [True, True]


@shipped
def test_packed_weights_and_scratch_memory_have_the_sizes_of_python(cell: Cell, engine: Engine) -> None:
    p = problem(cell)
    sizes = engine.page.evaluate(
        """async (sent) => {
          const layer = await layerOf(sent);
          backward(forward(layer, sent), sent);
          const { pass } = layer._memory;
          return [pass._packed, pass.back._scratch];
        }""",
        p.sent(),
    )
    kernels = compiled(p.layer._equations(), "float32", RELAXED.width(FLOAT32))
    assert sizes[0] == kernels.forward_packed(p.I, p.H, p.P)
    assert sizes[1] == {**kernels.backward_scratch(p.B, p.I, p.H, p.P), "by_inputs": 0}


def test_memory_is_that_of_the_largest_call(tabs: Tabs) -> None:
    with tabs.open() as page:
        Engine(page)
        sizes = page.evaluate(
            """async (sent) => {
              const layer = await layerOf(sent);
              const size = (T) => {
                const run = layer.forward(new Float32Array(T * 5 * 3), { rows: 5, keep: true });
                run.backward({ output: run.output });
                return layer._memory.machine.memory.buffer.byteLength;
              };
              return [size(3), size(500), size(3), size(500), size(250)];
            }""",
            problem(cells.lstm).sent(),
        )
    assert sizes[0] < sizes[1]
    assert len(set(sizes[1:])) == 1


def test_hundreds_of_layers_share_memory(engine: Engine) -> None:
    """A browser gives a page about a hundred memories. Layers of one go backward as if it were theirs."""
    p = problem(cells.lstm)
    same = engine.page.evaluate(
        """async (sent) => {
          const expected = backward(forward(await layerOf(sent), sent), sent);
          const runs = [];
          for (let n = 0; n < 200; n++) runs.push(forward(await layerOf(sent), sent));
          const equal = (a, b) => Object.keys(a).every((name) => textOf(a[name]) === textOf(b[name]));
          return runs.every((run) => equal(backward(run, sent), expected));
        }""",
        p.sent(),
    )
    assert same


def test_a_call_that_is_too_large_is_refused_and_the_next_one_runs(engine: Engine) -> None:
    said, output = engine.page.evaluate(
        """async (sent) => {
          const layer = await layerOf(sent);
          const expected = forward(layer, sent).output;
          const huge = { length: 3 * 2e7, *[Symbol.iterator]() {} };
          let said = "";
          try { layer.forward(huge, { watch: true }); } catch (error) { said = error.message; }
          return [said, textOf(forward(layer, sent).output) === textOf(expected)];
        }""",
        problem(cells.lstm).sent(),
    )
    assert re.fullmatch(
        r"gatewise: the arrays of this call need more memory than there is, above \d+ MB\.", said
    )
    assert output


def test_the_engine_says_what_runs(engine: Engine) -> None:
    told = engine.page.evaluate(
        """async (sent) => {
          const { kernels, shapes } = await layerOf(sent);
          const { cell, states, values, simd, sameBits, trains } = kernels;
          return [gatewise.simd(), { cell, states, values, simd, sameBits, trains }, shapes];
        }""",
        problem(cells.lstm_peephole).sent(),
    )
    p = problem(cells.lstm_peephole)
    assert told[0] == {"kind": "relaxed", "sameBits": True}
    assert told[1] == {
        "cell": "lstm_peephole",
        "states": ["h", "c"],
        "values": list(cells.lstm_peephole.values),
        "simd": "relaxed",
        "sameBits": True,
        "trains": True,
    }
    assert told[2] == {name: list(weight.shape) for name, weight in p.parameters.items()}


VALUES = ",".join(cells.lstm.values)
KEPT = "layer.forward(x, { rows: 5, keep: true"
WRONG = {
    "new Layer({ inputSize: 0, hiddenSize: 2 })": "inputSize must be a positive integer. Got 0.",
    "new Layer({ inputSize: 1, hiddenSize: 2, outputSize: 3 })": "outputSize must be hiddenSize, 2. Got 3.",
    "layer.forward(x, { rows: 5, steps: 3 })": "x must have 45 numbers. Got 30.",
    "layer.forward(x, { rows: 3 })": "steps must be a positive integer. Got 3.33",
    "layer.forward(x, { rows: 5, watch: ['k'] })": f"watch must name some of {VALUES}. Got k.",
    "layer.forward(x, { rows: 5, states: { h: x } })": "states must hold h,c. Got h.",
    "layer.forward(x, { rows: 5, states: { h: x, c: x } })": "states.h must have 90 numbers. Got 30.",
    "layer.forward(x, { rows: 5, lengths: [1, 2, 3, 0, 0] })": "lengths must be integers from 0 to 2. Got 3.",
    "layer.forward(x, { rows: 5, reset: [1] })": "reset must have 10 numbers. Got 1.",
    "layer.forward(x, { rows: 5 }).backward()": "a run that goes backward must be made with keep: true.",
    f"{KEPT} }}).backward({{ output: x }})": "output must have 180 numbers. Got 30.",
    f"{KEPT} }}).backward({{ states: {{ k: x }} }})": "states must hold h,c. Got k.",
    f"{KEPT}, lengths: [1, 2, 0, 0, 0] }}).backward({{ derivatives: true }})": "derivatives by states at",
    "layer.forward(x, { rows: 5, edits: [{ name: 'f', value: 1 }] })": "edits need kernels of an editable",
    "layer.weights.bias_hh = x; layer.forward(x, { rows: 5 })": "weights.bias_hh must have 72 numbers.",
}


EDIT = "layer.forward(x, { rows: 5, edits: [{ name: 'f', value: 1"
WRONG_EDITS = {
    f"{EDIT}, name: 'k' }}] }})": f"an edit must name one of {VALUES}. Got k.",
    f"{EDIT}, value: [1] }}] }})": "the value of an edit must have 18 numbers. Got 1.",
    f"{EDIT} / 0 }}] }})": "f must be finite. Got Infinity.",
    f"{EDIT}, units: [18] }}] }})": "units of an edit must be from 0 to 17. Got 18.",
    f"{EDIT}, steps: [2] }}] }})": "steps of an edit must be from 0 to 1. Got 2.",
    f"{EDIT} }}], keep: true }}).backward()": "kernels that go backward must have backward and outer,",
}


@pytest.mark.parametrize(("call", "message"), [*WRONG.items(), *WRONG_EDITS.items()])
def test_a_wrong_call_is_refused(call: str, message: str, engine: Engine) -> None:
    made = editable(cells.lstm) if call in WRONG_EDITS else None
    said = engine.page.evaluate(
        """async ([sent, call]) => {
          const layer = await layerOf(sent);
          const Layer = gatewise.Layer.bind(null, layer.kernels);
          const x = new Float32Array(30);
          try { eval(call); } catch (error) { return error.message; }
        }""",
        [problem(cells.lstm, editable=made).sent(), call],
    )
    assert said.startswith(f"gatewise: {message}")
