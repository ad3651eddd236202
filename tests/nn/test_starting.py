# mypy: allow-untyped-defs, allow-incomplete-defs
"""Initialisation of parameters, and learned initial states."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from gatewise import Input, Split, Vector, cell, cells, layer_norm, linear, project, sigmoid, tanh
from gatewise import nn as ours
from tests.nn.layers import mixed

T, B, I, H = 5, 4, 3, 6
ORDERS = {"lstm": "ifgo", "gru": "rzn"}
CHRONO: dict[str, Any] = {"init": "chrono", "max_steps": 30}

recurrent: Any = ours.Recurrent


@cell
def peephole(h, c, *, i, f, g, p: Vector, q: Vector):
    """Gates that look at the cell state."""
    c = sigmoid(f + p * c) * c + sigmoid(i - q * c) * tanh(g)
    return tanh(c), c


@cell
def parts(h, *, a: Split, b: Split, c: Input):
    """Two biases that add up in one gate, and a gate with one bias."""
    kept = sigmoid(a.x + a.h)
    return tanh(b.x + b.h) + h * kept + 0 * c


@cell
def from_state(h, *, a: Input, z: Split):
    """A gate that only the state opens."""
    return sigmoid(z.h) * h + tanh(a + z.x)


@cell
def coupled(h, *, i, g):
    """A gate that writes as much as it forgets."""
    i = sigmoid(i)
    h = (1 - i) * h + i * tanh(g)
    return h


@cell
def rich(h, c, *, i, f, g, o):
    """Operations with their own parameters: normalised gates, a product, a projected output."""
    i, f, g, o = layer_norm(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(i) * tanh(linear(g))
    h = project(sigmoid(o) * tanh(layer_norm(c)))
    return h, c


def blocks(parameter: Tensor) -> tuple[Tensor, ...]:
    return torch.split(parameter.detach(), H)


def bias_of(layer: Any, gate: str, suffix: str = "_l0") -> Tensor:
    """The sum of both biases of a gate."""
    sides = ((layer.cell.input_gates, "bias_ih"), (layer.cell.state_gates, "bias_hh"))
    found = [
        blocks(getattr(layer, name + suffix))[order.index(gate)] for order, name in sides if gate in order
    ]
    return torch.stack(found).sum(0)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_default_initialisation_draws_the_numbers_of_torch(kind) -> None:
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
    equations = {"RNN": cells.rnn, "LSTM": cells.lstm, "GRU": cells.gru}[kind]
    torch.manual_seed(3)
    layer = recurrent(equations, I, H, init="torch", **options)
    torch.manual_seed(3)
    expected = getattr(torch.nn, kind)(I, H, **options).state_dict()
    assert [*layer.state_dict()] == [*expected]
    assert all(torch.equal(value, expected[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("of", [cells.lstm, cells.gru, mixed, peephole, rich])
def test_matrices_are_orthogonal_block_by_block(of) -> None:
    more = {"proj_size": 2} if of is rich else {}
    layer = recurrent(of, I, H, 2, dtype=torch.float64, init="orthogonal", bidirectional=True, **more)
    for name, parameter in layer.named_parameters():
        if name.startswith(("weight_hh", "weight_linear", "weight_hr")):
            for block in blocks(parameter):
                narrow = block if block.size(0) <= block.size(1) else block.T
                eye = torch.eye(len(narrow), dtype=torch.float64)
                torch.testing.assert_close(narrow @ narrow.T, eye, rtol=0, atol=1e-12)
        elif name.startswith("weight_ih"):
            for block in blocks(parameter):
                bound = math.sqrt(6 / sum(block.shape))
                assert 0.5 * bound < float(block.abs().max()) <= bound
        elif name.startswith("bias"):
            assert not parameter.any()
    first = blocks(layer.weight_hh_l0)
    assert not any(torch.equal(first[0], other) for other in first[1:])


@pytest.mark.parametrize("init", ["torch", "orthogonal"])
@pytest.mark.parametrize(
    ("of", "kept"),
    [(cells.lstm, "f"), (cells.gru, "z"), (peephole, "f"), (parts, "a"), (from_state, "z")],
    ids=["lstm", "gru", "peephole", "parts", "from-state"],
)
def test_forget_bias_is_the_bias_of_gates_that_keep_a_state(of, kept, init) -> None:
    made = []
    for options in ({}, {"forget_bias": 1.5}):
        torch.manual_seed(3)
        made.append(recurrent(of, I, H, 2, init=init, **options))
    plain, layer = made
    for suffix in ("_l0", "_l1"):
        if of is from_state:  # only the bias of the recurrent part
            assert bool((blocks(layer.get_parameter("bias_hh" + suffix))[0] == 1.5).all())
            continue
        assert bool((bias_of(layer, kept, suffix) == 1.5).all())
        for gate in {*of.input_gates} - {kept}:
            assert torch.equal(bias_of(layer, gate, suffix), bias_of(plain, gate, suffix))
    for name, parameter in layer.named_parameters():
        if not name.startswith("bias"):
            assert torch.equal(parameter, plain.get_parameter(name))


def test_a_gate_that_keeps_by_closing_gets_the_negative_bias() -> None:
    assert bool((bias_of(recurrent(coupled, I, H, forget_bias=1.5), "i") == -1.5).all())
    bias = bias_of(recurrent(coupled, I, H, **CHRONO), "i")
    assert -math.log(29) <= float(bias.min()) <= float(bias.max()) <= 0


def test_a_normalised_gate_gets_its_forget_bias_after_the_norm() -> None:
    """Before the norm, a bias that is equal for all units would be subtracted again."""
    layer = recurrent(rich, I, H, proj_size=2, init="orthogonal", forget_bias=2.0)
    found = {name: value.detach() for name, value in layer.named_parameters() if name.startswith("norm_bias")}
    assert {name: value.tolist() for name, value in found.items()} == {
        f"norm_bias_{n}_l0": H * [2.0 * (n == 1)] for n in range(5)
    }
    assert not layer.bias_ih_l0.any()


def test_chrono_biases_remember_for_a_while() -> None:
    """Tallec & Ollivier 2018, section 2.

    The forget gate's bias is log u with u from U(1, most - 1), the input gate's bias is -log u.
    """
    torch.manual_seed(5)
    wide = 4000
    layer = recurrent(cells.lstm, 1, wide, init="chrono", max_steps=30, dtype=torch.float64)
    order = ORDERS["lstm"]
    biases = {name: layer.bias_ih_l0.detach().view(4, wide)[n] for n, name in enumerate(order)}
    others = {name: layer.bias_hh_l0.detach().view(4, wide)[n] for n, name in enumerate(order)}
    u = biases["f"].exp()
    assert 1 <= float(u.min()) < 1.1
    assert 28.9 < float(u.max()) <= 29
    assert abs(float(u.mean()) - 15) < 0.8  # the standard deviation is 28 / sqrt(12) / sqrt(4000) = 0.13
    assert abs(float(u.var()) - 28**2 / 12) < 4
    assert torch.equal(biases["i"], -biases["f"])
    assert not others["f"].any()
    assert not others["i"].any()
    for gate in "go":
        assert float(biases[gate].abs().max()) <= 1 / math.sqrt(wide)


def test_a_gru_remembers_by_its_update_gate() -> None:
    layer = recurrent(cells.gru, I, H, **CHRONO)
    z = bias_of(layer, "z")
    assert float(z.min()) >= 0
    assert float(z.max()) <= math.log(29)
    assert float(bias_of(layer, "r").abs().max()) <= 2 / math.sqrt(H)


WAYS: dict[str, dict[str, Any]] = {
    "torch": {}, "orthogonal": {"init": "orthogonal"}, "chrono": CHRONO,
    "forget-bias": {"forget_bias": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_norms_and_learned_states_have_no_effect_at_first(way) -> None:
    layer = recurrent(rich, I, H, 2, proj_size=2, learn_initial_state=True, **WAYS[way])
    for name, parameter in layer.named_parameters():
        if name.startswith("norm_gain"):
            assert bool((parameter == 1).all())
        elif name.startswith(("initial_", "norm_bias")) and (way != "chrono" or "_4_" in name):
            assert not parameter.any()


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("way", WAYS)
def test_every_initialisation_in_float64_and_on_the_meta_device(way, device) -> None:
    layer = recurrent(rich, I, H, 2, proj_size=2, dtype=torch.float64, device=device, **WAYS[way])
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert {p.device.type for p in layer.parameters()} == {device}


@pytest.mark.parametrize("way", WAYS)
def test_the_default_device_of_torch_is_used_by_default(way) -> None:
    with torch.device("meta"):
        assert recurrent(cells.lstm, I, H, **WAYS[way]).weight_hh_l0.is_meta
        layer = recurrent(cells.lstm, I, H, device="cpu", zoneout=0.5, dtype=torch.float16, **WAYS[way])
    assert not any(p.is_meta for p in layer.parameters())
    x = torch.randn(T, B, I, dtype=torch.float16)
    with torch.device("meta"):
        assert not layer(x)[0].is_meta


def test_reset_parameters_initialises_again() -> None:
    layer = recurrent(cells.lstm, I, H, init="orthogonal", forget_bias=1.0)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.reset_parameters()
    assert not torch.equal(layer.weight_hh_l0, before["weight_hh_l0"])
    assert torch.equal(layer.bias_ih_l0, before["bias_ih_l0"])


@cell
def bearing(h, *, a, initial_h: Vector, bias_a: Vector):
    """Vectors with names similar to those of other parameters."""
    return tanh(a) * initial_h + bias_a


@pytest.mark.parametrize("init", ["torch", "orthogonal"])
def test_vectors_are_initialised_alike_whatever_their_names(init) -> None:
    layer = recurrent(bearing, I, H, init=init)
    for vector in (layer.initial_h_l0, layer.bias_a_l0):
        assert 0 < float(vector.detach().abs().max()) <= 1 / math.sqrt(H)


LEARNING: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (cells.lstm, {}),
    "gru-both-ways": (cells.gru, {"num_layers": 2, "bidirectional": True}),
    "lstm-batch-first": (cells.lstm, {"batch_first": True, "bidirectional": True}),
    "projected": (cells.lstm, {"proj_size": 2}),
    "segments": (cells.lstm, {"checkpoint": 2}),
}


def learned(kind: str) -> Any:
    """A layer with learned initial states, after some training."""
    equations, options = LEARNING[kind]
    layer = recurrent(equations, I, H, dtype=torch.float64, learn_initial_state=True, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("initial_"):
                parameter.copy_(torch.randn_like(parameter))
    return layer


def by_hand(layer: Any, x: Tensor, **more: Any) -> Any:
    """The same layer with the same initial states passed for every row."""
    scans = [
        f"_l{k}{way}" for k in range(layer.num_layers) for way in ("", "_reverse")[: 1 + layer.bidirectional]
    ]
    states = tuple(
        torch.stack([getattr(layer, f"initial_{state}{suffix}") for suffix in scans])[:, None].repeat(1, B, 1)
        for state in layer.cell.states
    )
    return layer(x, states if len(states) > 1 else states[0], **more)


@pytest.mark.parametrize("lengths", [None, [3, 0, 5, 1]], ids=["whole", "ragged"])
@pytest.mark.parametrize("kind", LEARNING)
def test_learned_states_are_used_by_default(kind, lengths, assert_same) -> None:
    layer = learned(kind)
    x = torch.randn((B, T, I) if layer.batch_first else (T, B, I), dtype=torch.float64)
    twin = copy.deepcopy(layer)
    more = {} if lengths is None else {"lengths": lengths}
    assert_same(
        layer, twin, lambda one, x: one(x, **more) if one is layer else by_hand(one, x, **more), x
    )  # fmt: skip


def test_learned_states_without_a_batch_and_with_resets() -> None:
    layer = learned("lstm")
    x = torch.randn(T, I, dtype=torch.float64)
    whole, _ = layer(x, reset=torch.tensor([False, False, True, False, False]))
    pieces = [layer(x[:2])[0], layer(x[2:])[0]]
    torch.testing.assert_close(whole, torch.cat(pieces), rtol=0, atol=1e-15)


def test_passed_states_replace_learned_ones() -> None:
    layer = learned("lstm")
    x, zeros = torch.randn(T, B, I, dtype=torch.float64), torch.zeros(1, B, H, dtype=torch.float64)
    output, _ = layer(x, (zeros, zeros))
    plain = recurrent(cells.lstm, I, H, dtype=torch.float64)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if not k.startswith("initial_")})
    assert torch.equal(output, plain(x)[0])
    output.sum().backward()
    assert layer.initial_h_l0.grad is None


def test_learned_states_are_parameters_like_others() -> None:
    layer = learned("gru-both-ways")
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected, _ = layer(x)
    names = [f"initial_h_l{k}{way}" for k in (0, 1) for way in ("", "_reverse")]
    assert [name for name, _ in layer.named_parameters() if "initial" in name] == names
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[0], expected)
    fresh = recurrent(cells.gru, I, H, 2, bidirectional=True, dtype=torch.float64, learn_initial_state=True)
    assert not torch.equal(fresh(x)[0], expected)
    fresh.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(fresh(x)[0], expected)


@pytest.mark.parametrize("lengths", [None, [3, 0, 5]])
def test_a_layer_on_the_cpu_under_another_default_device(lengths: list[int] | None) -> None:
    layer, x = ours.LSTM(4, 6), torch.randn(5, 3, 4, requires_grad=True)
    expected = layer(x, lengths=lengths)[0]
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    found: list[torch.Tensor] = []

    def run() -> None:  # in a new thread, with its own scratch memory
        with torch.device("meta"):
            output = layer(x, lengths=lengths)[0]
            found.extend([output, *torch.autograd.grad(output.sum(), x)])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], gradient)
