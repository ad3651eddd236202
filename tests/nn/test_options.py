# mypy: allow-untyped-defs, allow-incomplete-defs
"""Options of layers: random masks compiled and eager, projections against torch, and refused values."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise
from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    dropout,
    layer_norm,
    linear,
    project,
    sigmoid,
    tanh,
)
from gatewise import nn as ours
from gatewise import zoneout as kept
from gatewise.compiler.run import program
from gatewise.nn.walk.obstacles import Obstacle
from tests.nn.layers import pair
from tests.selection import with_rest

pytestmark = pytest.mark.usefixtures("quickly")

T, B, I, H, P = 7, 4, 3, 6, 2

recurrent: Any = ours.Recurrent  # a constructor that takes options of any type


@cell
def normal(h, c, *, i, f, g, o):
    """An LSTM whose pre-activations and cell state are normalised."""
    i, f, g, o = layer_norm(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(layer_norm(c))
    return h, c


@cell
def reset_first(h, *, r, z, n: Input):
    """A GRU whose reset gate comes before the product."""
    z = sigmoid(z)
    h = (1 - z) * tanh(n + linear(sigmoid(r) * h)) + z * h
    return h


@cell
def dicey(h, m, *, a, b: Split, v: Vector):
    """Random operations in the equations themselves."""
    m = kept(m, dropout(tanh(a), 0.25) + v * dropout(b.h, 0.5, per="sequence"), 0.375)
    h = sigmoid(b.x) * tanh(m) + 0.5 * h
    return h, m


CELLS: dict[str, tuple[Cell, dict[str, Any]]] = {
    "lstm": (cells.lstm, {}),
    "gru": (cells.gru, {}),
    "normal": (normal, {}),
    "reset-first": (reset_first, {}),
    "projected": (cells.lstm, {"proj_size": P}),
    "dicey": (dicey, {}),
}
CHANCES: dict[str, dict[str, Any]] = {
    "zoneout": {"zoneout": 0.25},
    "recurrent-dropout": {"recurrent_dropout": 0.375},
    "all": {"zoneout": 0.25, "recurrent_dropout": 0.375, "weight_drop": 0.25},
}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "both-ways": {"bidirectional": True, "num_layers": 2},
    "batch-first-no-bias": {"batch_first": True, "bias": False},
}


def layer_of(kind: str, **options: Any) -> Any:
    """A layer of one of the cells. For a projected LSTM, only the cell state has zoneout."""
    equations, more = CELLS[kind]
    if "proj_size" in more and "zoneout" in options:
        options["zoneout"] = (0.0, options["zoneout"])
    torch.manual_seed(1)
    return recurrent(equations, I, H, dtype=torch.float64, **more, **options)


def inputs(layer: Any) -> list[Tensor]:
    """A sequence and initial states."""
    torch.manual_seed(4)
    x = torch.randn((B, T, I) if layer.batch_first else (T, B, I), dtype=torch.float64)
    scans = layer.num_layers * (1 + layer.bidirectional)
    widths = [layer.proj_size or H] + [H] * (len(layer.cell.states) - 1)
    return [x, *(torch.randn(scans, B, width, dtype=torch.float64) for width in widths)]


def hidden(states: tuple[Tensor, ...]) -> Any:
    return states[0] if len(states) == 1 else states


def call(layer: Any, x: Tensor, *states: Tensor) -> Any:
    return layer(x, hidden(states))


def call_ragged(layer: Any, x: Tensor, *states: Tensor) -> Any:
    return layer(x, hidden(states), lengths=[3, 7, 0, 5])


def call_reset(layer: Any, x: Tensor, *states: Tensor) -> Any:
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset.view(-1)[::5] = True
    return layer(x, hidden(states), reset=reset)


def call_ragged_reset(layer: Any, x: Tensor, *states: Tensor) -> Any:
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset.view(-1)[::5] = True
    return layer(x, hidden(states), [3, 7, 0, 5], reset)


def tensors(results: Any) -> list[Tensor]:
    """The output and the final states."""
    output, final = results
    return [output, *(final if isinstance(final, tuple) else (final,))]


CALLS = [call, call_ragged, call_reset, call_ragged_reset]


@pytest.fixture
def eagerly(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From here on, no call is compiled."""

    def obstacles(*tensors: Any) -> Iterator[Obstacle]:
        yield Obstacle("a test is in the way", "none")

    def switch() -> None:
        monkeypatch.setattr("gatewise.nn.scan.obstacles", obstacles)
        for module in ("scan", "checkpoint"):
            monkeypatch.setattr(f"gatewise.nn.{module}.serves", lambda tensors: False)

    return switch


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        difference = (found[name] - value).abs() - 1e-12 * value.abs()
        assert float(difference.max()) <= atol, name


# Every cell with all options in every form and call, and each option alone.
CASES = [
    *((kind, "all", form, calling) for kind in CELLS for form in FORMS for calling in CALLS),
    *((kind, chance, "plain", call_ragged_reset) for kind in CELLS for chance in CHANCES if chance != "all"),
]
OFTEN = with_rest(CASES, lambda kind, chance, *_: chance == "all" or kind in ("lstm", "projected"))


@pytest.mark.parametrize(
    ("kind", "chance", "form", "calling"),
    OFTEN,
    ids=["-".join([*case[:3], case[3].__name__]) for case in CASES],
)
def test_kernels_drop_what_the_interpreter_drops(kind, chance, form, calling, everything, eagerly) -> None:
    layer = layer_of(kind, **CHANCES[chance], **FORMS[form])
    compiled = everything(layer, calling, *inputs(layer))
    eagerly()
    assert_close(compiled, everything(layer, calling, *inputs(layer)))
    outside = everything(layer.eval(), calling, *inputs(layer))
    assert not torch.allclose(compiled["result 0"], outside["result 0"])


@pytest.mark.parametrize(
    ("steps", "calling", "form"),
    [
        (3, call, "both-ways"),
        (1, call_ragged, "plain"),
        (3, call_ragged, "batch-first-no-bias"),
        (50, call, "plain"),
    ],
)
@pytest.mark.parametrize("kind", CELLS)
def test_segments_drop_what_the_whole_drops(kind, form, calling, steps, everything, eagerly) -> None:
    layer = layer_of(kind, **CHANCES["all"], **FORMS[form])
    whole = everything(layer, calling, *inputs(layer))
    layer.checkpoint = steps
    in_segments = everything(layer, calling, *inputs(layer))
    for name, value in whole.items():
        if name.startswith("result"):
            assert torch.equal(in_segments[name], value)
    assert_close(in_segments, whole)
    eagerly()
    assert_close(everything(layer, calling, *inputs(layer)), whole)


@pytest.mark.parametrize("kind", CELLS)
def test_the_number_of_threads_changes_no_bit(kind, everything, monkeypatch) -> None:
    monkeypatch.setattr(program, "_THREAD_WORK", 1)
    monkeypatch.setattr(program, "_STEP_WORK", 1)
    layer = layer_of(kind, **CHANCES["all"], **FORMS["both-ways"])
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(everything(layer, call_ragged, *inputs(layer)))
    for name, value in found[0].items():
        if name.startswith("result"):
            assert torch.equal(found[1][name], value), name
    assert_close(found[1], found[0])


@pytest.mark.parametrize("kind", CELLS)
def test_watched_values_show_what_zoneout_kept(kind, eagerly) -> None:
    layer = layer_of(kind, **CHANCES["all"], bidirectional=True)
    x, *states = inputs(layer)

    def watched() -> dict[str, Tensor]:
        torch.manual_seed(9)
        with gatewise.watch(layer) as seen:
            output, _ = layer(x, hidden(tuple(states)))
        values = {f"{of}.{name}": seen[of][name] for of in seen for name in seen[of].names}
        return values | {"output": output.detach()}

    compiled = watched()
    width = layer.proj_size or H
    assert torch.equal(compiled["l0.h"], compiled["output"][..., :width])
    eagerly()
    assert_close(compiled, watched())


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_with_random_masks_against_finite_differences(kind) -> None:
    layer = layer_of(kind, **CHANCES["all"])
    x, *states = inputs(layer)
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(5)
        states, weights = leaves[: len(layer.cell.states)], leaves[len(layer.cell.states) :]
        given = dict(zip(names, weights, strict=True))
        return tuple(tensors(torch.func.functional_call(layer, given, (x, hidden(states)))))

    leaves = [
        v.detach()[:2].clone() if v is x else v.detach().clone() for v in (x, *states, *layer.parameters())
    ]
    assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves], fast_mode=True)
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize("kind", CELLS)
def test_in_evaluation_mode_a_state_is_its_expected_value(kind) -> None:
    layer = layer_of(kind, zoneout=0.25)
    x, *states = inputs(layer)
    with torch.no_grad():
        expected = tensors(call(layer.eval(), x[:1], *states))[-1]
        layer.zoneout = ()
        plain = tensors(call(layer, x[:1], *states))[-1]
    torch.testing.assert_close(expected, 0.25 * states[-1] + 0.75 * plain, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["lstm", "gru", "normal", "reset-first", "projected"])
def test_in_evaluation_mode_no_connection_is_dropped(kind) -> None:
    layer = layer_of(kind, recurrent_dropout=0.5, weight_drop=0.5).eval()
    plain = layer_of(kind).eval()
    x, *states = inputs(layer)
    found, expected = (tensors(call(one, x, *states)) for one in (layer, plain))
    assert all(torch.equal(*both) for both in zip(found, expected, strict=True))


PROJECTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-bias": {"bias": False},
    "both-ways-batch-first": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}


@pytest.mark.parametrize("form", PROJECTED)
def test_projected_lstms_are_those_of_torch(form, assert_same) -> None:
    mine, theirs = pair("LSTM", proj_size=P, **PROJECTED[form])
    assert [*mine.state_dict()] == [*theirs.state_dict()]
    mine.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(mine.state_dict(), strict=True)
    scans = mine.num_layers * (1 + mine.bidirectional)
    states = [torch.randn(scans, B, width, dtype=torch.float64) for width in (P, mine.hidden_size)]
    x = torch.randn((B, T, 3) if mine.batch_first else (T, B, 3), dtype=torch.float64)
    assert_same(mine, theirs, lambda layer, x, *states: layer(x, states), x, *states)
    assert_same(mine, theirs, lambda layer, x: layer(x), x)
    assert_same(mine, theirs, lambda layer, x: layer(x), x[0])  # without a batch


def test_rows_of_a_projected_lstm_end_at_their_lengths(assert_same) -> None:
    mine, theirs = pair("LSTM", proj_size=P, bidirectional=True)
    lengths = [3, 7, 1, 5]

    def padded(layer: Any, x: Tensor) -> Any:
        if layer is mine:
            return layer(x, lengths=lengths)
        packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        output, final = layer(packed)
        return pad_packed_sequence(output)[0], final

    assert_same(mine, theirs, padded, torch.randn(T, B, 3, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # of torch itself
def test_a_projected_lstm_is_compiled_watched_and_swapped() -> None:
    theirs = torch.nn.LSTM(I, H, proj_size=P)
    model = torch.nn.Sequential(theirs)
    x = torch.randn(T, B, I)
    expected, (h, c) = theirs(x)
    swapped: Any = gatewise.accelerate(model)[0]
    assert isinstance(swapped, ours.LSTM)
    assert "gatewise" in str(gatewise.accelerate.report(model))
    with gatewise.strict(), gatewise.watch(model) as seen:
        output, _ = swapped(x)
        output.sum().backward()
    torch.testing.assert_close(output, expected)
    (name,) = seen
    assert torch.equal(seen[name].h, output)
    torch.testing.assert_close(seen[name].c[-1], c[0])
    torch.testing.assert_close(seen[name].h[-1], h[0])
    assert seen[name].c.shape == (T, B, H)


@cell
def fed(h, *, a: Input):
    """A cell whose gates do not see the state."""
    return tanh(a) + 0.5 * h


@cell
def named(h, *, a, initial_h: Vector):
    """A vector with a name that a layer uses."""
    return tanh(a) * initial_h


@cell
def narrow(h, c, *, a, b: Input):
    """An output that is projected."""
    c = tanh(a) + sigmoid(b) * c
    return project(c), c


RATE = "must be a number from 0 to less than 1"
CHRONO = {"init": "chrono", "max_steps": 9}
REFUSED: dict[str, tuple[Cell, dict[str, Any], str]] = {
    **{
        f"{name}-{value}": (cells.gru, {name: value}, rf"^{name} {RATE}.* Got {value!r}\.$")
        for name in ("zoneout", "recurrent_dropout", "weight_drop")
        for value in (-0.1, 1, True, None, "half", 1j, float("nan"))
    },
    "zoneout-few": (cells.lstm, {"zoneout": (0.1,)}, r"one for each of the 2 states of cell 'lstm'"),
    "zoneout-many": (cells.gru, {"zoneout": (0.1, 0.2)}, r"each of the 1 states .* Got \(0.1, 0.2\)"),
    "zoneout-true": (cells.gru, {"zoneout": (True,)}, r"Got \(True,\)"),
    "zoneout-projected": (cells.lstm, {"zoneout": 0.1, "proj_size": 2}, "^zoneout .*'h', which is proj"),
    "zoneout-projecting": (narrow, {"zoneout": 0.1, "proj_size": 2}, "^zoneout .*'h', which is proj"),
    "dropout-unseen": (fed, {"recurrent_dropout": 0.1}, "^recurrent_dropout .* 'fed', whose gates do not"),
    "drop-unseen": (fed, {"weight_drop": 0.1}, "^weight_drop must be 0 for cell 'fed', whose gates do not"),
    "proj-output": (cells.gru, {"proj_size": 2}, "^proj_size must be 0 for cell 'gru': .* Got 2"),
    "proj-missing": (narrow, {}, "^proj_size must be given for cell 'narrow'"),
    "init": (cells.gru, {"init": "xavier"}, "^init must be one of 'torch', .* Got 'xavier'"),
    "chrono-alone": (cells.gru, {"init": "chrono"}, "^max_steps must be given with init='chrono'"),
    "steps-alone": (cells.gru, {"max_steps": 9}, "^max_steps .* and only then. Got 9"),
    **{
        f"steps-{value}": (cells.gru, CHRONO | {"max_steps": value}, "^max_steps .* at least 3")
        for value in (2, True, "9", float("nan"), float("inf"))
    },
    **{
        f"bias-{value}": (cells.gru, {"forget_bias": value}, f"^forget_bias must be .* Got {value!r}")
        for value in (True, "1", float("nan"), float("inf"))
    },
    "bias-no-gate": (cells.rnn, {"forget_bias": 1.0}, "^forget_bias needs a gate .* 'rnn' has none"),
    "chrono-no-gate": (cells.rnn, CHRONO, "^init='chrono' needs a gate"),
    "bias-none": (cells.gru, {"forget_bias": 1.0, "bias": False}, "^forget_bias .* bias is False"),
    "bias-twice": (cells.gru, {"forget_bias": 1.0, **CHRONO}, "^forget_bias must be None"),
    "learned-name": (named, {"learn_initial_state": True}, "^learn_initial_state .*'initial_h' has the name"),
}


@pytest.mark.parametrize(("of", "options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_impossible_and_useless_options_are_refused(of, options, words) -> None:
    with pytest.raises(ValueError, match=words):
        recurrent(of, I, H, **options)


def test_learn_initial_state_must_be_true_or_false() -> None:
    with pytest.raises(TypeError, match=r"^learn_initial_state should be of type bool, got: int$"):
        recurrent(cells.gru, I, H, learn_initial_state=1)


def test_a_step_does_not_project() -> None:
    with pytest.raises(ValueError, match=r"^cell must not project its output in a Step\. Got 'narrow'"):
        ours.Step(narrow, I, H)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_layers_with_names_of_torch_accept_all_options(name) -> None:
    options: dict[str, Any] = {
        "zoneout": 0.25, "recurrent_dropout": 0.125, "weight_drop": 0.5, "learn_initial_state": True,
        "checkpoint": 3, "init": "orthogonal",
    }  # fmt: skip
    kind = getattr(cells, name.lower())
    outputs = []
    for make in (getattr(ours, name), lambda *sizes, **more: recurrent(kind, *sizes, **more)):
        torch.manual_seed(0)
        layer = make(I, H, 2, **options)
        outputs.append(layer(torch.randn(T, B, I))[0])
    assert torch.equal(*outputs)
    with pytest.raises(TypeError, match="unexpected keyword argument 'zoneuot'"):
        getattr(ours, name)(I, H, zoneuot=0.1)


def test_options_are_printed() -> None:
    options = {"zoneout": (0.25, 0.0), "recurrent_dropout": 0.5, "weight_drop": 0.125, "forget_bias": 1.0}
    shown = "zoneout=(0.25, 0.0), recurrent_dropout=0.5, weight_drop=0.125, forget_bias=1.0"
    assert repr(recurrent(cells.lstm, I, H, **options)) == f"Recurrent(lstm, {I}, {H}, {shown})"
    more = {"init": "chrono", "max_steps": 9, "learn_initial_state": True}
    shown = "init=chrono, max_steps=9, learn_initial_state=True"
    assert repr(recurrent(cells.gru, I, H, zoneout=0.0, **more)) == f"Recurrent(gru, {I}, {H}, {shown})"


def test_layers_pickled_before_there_were_options_still_run() -> None:
    layer = recurrent(cells.gru, I, H).eval()
    x = torch.randn(T, B, I)
    expected, _ = layer(x)
    for name in (
        "checkpoint", "zoneout", "recurrent_dropout", "weight_drop", "init", "forget_bias", "max_steps",
        "learn_initial_state",
    ):  # fmt: skip
        del vars(layer)[name]
    old = pickle.loads(pickle.dumps(layer))
    assert torch.equal(old(x)[0], expected)
    assert repr(old) == f"Recurrent(gru, {I}, {H})"
    old.reset_parameters()
    old.train()(x)[0].sum().backward()
    assert old.weight_hh_l0.grad is not None
