# mypy: allow-untyped-defs, allow-incomplete-defs
"""Options of a layer: chance compiled and eager, projections against torch, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import Cell, Input, Split, Vector, cell, cells, dropout, layer_norm, linear, sigmoid, tanh
from gatewise import nn as ours
from gatewise import zoneout as kept
from gatewise.compiler import program
from gatewise.nn.obstacles import Obstacle

T, B, I, H, P = 7, 4, 3, 6, 2

recurrent: Any = ours.Recurrent  # takes options of any type


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
    """Chance in the equations themselves."""
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
    """A layer of one of the cells; of a projected LSTM only the cell state can be zoned out."""
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
    """From then on, no call is compiled."""

    def obstacles(*tensors: Any) -> Iterator[Obstacle]:
        yield Obstacle("a test is in the way", "none")

    def switch() -> None:
        for module in ("scan", "checkpoint"):
            monkeypatch.setattr(f"gatewise.nn.{module}.obstacles", obstacles)

    return switch


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-12) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        difference = (found[name] - value).abs() - 1e-12 * value.abs()
        assert float(difference.max()) <= atol, name


# Every cell with all options in every form and call, and each option by itself.
CASES = [
    *((kind, "all", form, calling) for kind in CELLS for form in FORMS for calling in CALLS),
    *((kind, chance, "plain", call_ragged_reset) for kind in CELLS for chance in CHANCES if chance != "all"),
]


@pytest.mark.parametrize(
    ("kind", "chance", "form", "calling"),
    CASES,
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
def test_threads_change_no_bit(kind, everything, monkeypatch) -> None:
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
def test_what_is_watched_is_what_was_kept(kind, eagerly) -> None:
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
def test_gradients_under_chance_against_finite_differences(kind) -> None:
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
def test_outside_of_training_a_state_is_what_is_to_be_expected(kind) -> None:
    layer = layer_of(kind, zoneout=0.25)
    x, *states = inputs(layer)
    with torch.no_grad():
        expected = tensors(call(layer.eval(), x[:1], *states))[-1]
        layer.zoneout = ()
        plain = tensors(call(layer, x[:1], *states))[-1]
    torch.testing.assert_close(expected, 0.25 * states[-1] + 0.75 * plain, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["lstm", "gru", "normal", "reset-first", "projected"])
def test_dropped_connections_are_all_there_outside_of_training(kind) -> None:
    layer = layer_of(kind, recurrent_dropout=0.5, weight_drop=0.5).eval()
    plain = layer_of(kind).eval()
    x, *states = inputs(layer)
    found, expected = (tensors(call(one, x, *states)) for one in (layer, plain))
    assert all(torch.equal(*both) for both in zip(found, expected, strict=True))
