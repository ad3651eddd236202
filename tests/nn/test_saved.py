"""Tensors that backward reads are saved through autograd, and callers may change results in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian, jacobian
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import cells
from tests.nn.layers import mixed

T, B, H = 5, 2, 4

LAYERS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "GRU": {"num_layers": 2},
    "RNN": {"bidirectional": True, "batch_first": True},
}


def pair(kind: str, **options: Any) -> tuple[Any, Any]:
    made = [
        getattr(package, kind)(H, H, dtype=torch.float64, **options) for package in (gatewise.nn, torch.nn)
    ]
    made[1].load_state_dict(made[0].state_dict())
    return made[0], made[1]


def sequence(*shape: int) -> Tensor:
    return torch.randn(shape or (T, B, H), dtype=torch.float64)


def gradients(layer: Any, results: Any) -> list[Tensor]:
    layer.zero_grad()
    sum(result.sum() for result in results).backward()
    return [weight.grad.clone() for weight in layer.parameters()]


def in_place(layer: Any, x: Any) -> list[Tensor]:
    output, state = layer(x)
    steps = output if isinstance(output, Tensor) else output.data
    steps += 1
    torch.nn.functional.relu(steps, inplace=True)
    h = state[0] if isinstance(state, tuple) else state
    h.mul_(2)
    return [steps, h]


CALLS: dict[str, Callable[[], Any]] = {
    "padded": sequence,
    "packed": lambda: pack_padded_sequence(sequence(), torch.tensor([5, 3])),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("kind", LAYERS)
def test_results_changed_in_place(kind: str, call: Callable[[], Any]) -> None:
    options = LAYERS[kind] | ({"batch_first": False} if call is not sequence else {})
    mine, theirs = pair(kind, **options)
    x = call()
    torch.testing.assert_close(gradients(mine, in_place(mine, x)), gradients(theirs, in_place(theirs, x)))


@pytest.mark.parametrize("options", [{"checkpoint": 2}, {"zoneout": 0.1}, {"proj_size": 2}], ids=str)
def test_results_of_other_layers_changed_in_place(options: dict[str, Any]) -> None:
    layer, x = gatewise.nn.LSTM(H, H, dtype=torch.float64, **options), sequence()

    def call(change: bool) -> list[Tensor]:
        torch.manual_seed(5)
        output, (h, _) = layer(x, lengths=[2, 5])
        if change:
            output.mul_(2)
            h.mul_(3)
            return gradients(layer, [output, h])
        return gradients(layer, [output * 2, h * 3])

    torch.testing.assert_close(call(True), call(False))


@pytest.mark.parametrize("threads", [1, 2])
def test_results_of_overlapping_layers_changed_in_place(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        mine, theirs = (package.LSTM(32, 48, 3, dtype=torch.float64) for package in (gatewise.nn, torch.nn))
        theirs.load_state_dict(mine.state_dict())
        x = sequence(60, 4, 32)
        torch.testing.assert_close(gradients(mine, in_place(mine, x)), gradients(theirs, in_place(theirs, x)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("grad", [True, False])
def test_states_are_not_views(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        layers: list[Any] = [
            gatewise.nn.LSTM(H, H),
            gatewise.nn.LSTM(H, H, 2),
            gatewise.nn.GRU(H, H).bfloat16(),
        ]
        for layer in layers:
            x = torch.randn(T, B, H, dtype=layer.weight_ih_l0.dtype)
            output, state = layer(x)
            for result in (output, *(state if isinstance(state, tuple) else (state,))):
                assert not result.detach_().requires_grad


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_results_changed_in_place_in_a_compiled_model(backend: str) -> None:
    layer, x = gatewise.nn.GRU(H, H, dtype=torch.float64), sequence()
    compiled = torch.compile(lambda x: in_place(layer, x), backend=backend, fullgraph=True)
    torch.testing.assert_close(gradients(layer, compiled(x)), gradients(layer, in_place(layer, x)))
    torch._dynamo.reset()


MASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpoint": {"checkpoint": 2},
    "both directions": {"bidirectional": True},
    "two layers": {"num_layers": 2},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", MASKED.values(), ids=MASKED)
def test_a_mask_changed_before_backward(options: dict[str, Any], dtype: torch.dtype) -> None:
    layer, x = gatewise.nn.GRU(H, H, dtype=dtype, **options), torch.randn(T, B, H, dtype=dtype)
    mask = torch.zeros(T, B, dtype=torch.bool)
    mask[2:] = torch.tensor([True, False])

    def output() -> Tensor:
        found, _ = layer(x, reset=mask)
        return found.sum()  # type: ignore[no-any-return]

    expected = torch.autograd.grad(output(), list(layer.parameters()))
    changed = output()
    mask.zero_()
    try:
        found = torch.autograd.grad(changed, list(layer.parameters()))
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)  # noqa: PT017
    else:
        torch.testing.assert_close(found, expected)


def test_lengths_changed_before_backward() -> None:
    layer, x = gatewise.nn.GRU(H, H), torch.randn(T, B, H)
    lengths = torch.tensor([5, 2])
    expected = gradients(layer, layer(x, lengths=lengths)[:1])
    output, _ = layer(x, lengths=lengths)
    lengths.fill_(1)
    torch.testing.assert_close(gradients(layer, [output]), expected)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"checkpoint": 2}, {"bidirectional": True}], ids=str
)
@pytest.mark.parametrize("kind", LAYERS)
def test_batched_gradients(kind: str, options: dict[str, Any]) -> None:
    mine = getattr(gatewise.nn, kind)(H, H, dtype=torch.float64, **options)
    options.pop("checkpoint", None)
    theirs = getattr(torch.nn, kind)(H, H, dtype=torch.float64, **options)
    theirs.load_state_dict(mine.state_dict())
    x = sequence()
    found = jacobian(lambda x: mine(x)[0], x, vectorize=True)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, jacobian(lambda x: theirs(x)[0], x))  # type: ignore[no-untyped-call]
    output, _ = mine(x)
    ones = torch.ones(3, *output.shape, dtype=x.dtype)
    (batched,) = torch.autograd.grad(output, [mine.weight_hh_l0], ones, is_grads_batched=True)
    expected = torch.autograd.grad(mine(x)[0].sum(), [mine.weight_hh_l0])[0]
    torch.testing.assert_close(batched, expected.expand_as(batched))


@pytest.mark.parametrize(
    "call", [{}, {"lengths": [2, 5]}, {"reset": torch.eye(T, B, dtype=torch.bool)}], ids=list
)
@pytest.mark.parametrize("checkpoint", [0, 2])
def test_gradcheck_with_all_its_checks(call: dict[str, Any], checkpoint: int) -> None:
    layer = gatewise.nn.Recurrent(mixed, H, 3, dtype=torch.float64, checkpoint=checkpoint)
    x = sequence().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, **call)[0], (x,), check_batched_grad=True)
    if not call:
        assert torch.autograd.gradgradcheck(lambda x: layer(x[:3])[0], (x,), check_batched_grad=True)


def test_a_hessian() -> None:
    mine, theirs = pair("GRU")
    x = sequence(3, 1, H)
    found = hessian(lambda x: mine(x)[0].pow(2).sum(), x, vectorize=True)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, hessian(lambda x: theirs(x)[0].pow(2).sum(), x))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_steps_whose_states_depend_on_the_same_weights(kind: str) -> None:
    """Also differentiated twice, where the state that a step gets depends on the weights of the step."""
    found = []
    for package in (gatewise.nn, torch.nn):
        torch.manual_seed(1)
        step, state = getattr(package, kind)(H, H, dtype=torch.float64), None
        torch.manual_seed(2)
        for x in sequence():
            state = step(x, state)
        h = state[0] if isinstance(state, tuple) else state
        assert isinstance(h, Tensor)
        weights = list(step.parameters())
        once = torch.autograd.grad(h.sin().sum(), weights, create_graph=True)
        twice = torch.autograd.grad([g.pow(2).sum() for g in once], weights)
        found.append([g.detach() for g in (*once, *twice)])
    torch.testing.assert_close(*found)


def test_tied_layers_twice_differentiated() -> None:
    layer, x = gatewise.nn.Recurrent(cells.gru, H, H, dtype=torch.float64), sequence(3, 1, H)

    def twice(x: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip([name for name, _ in layer.named_parameters()], weights, strict=True))
        once, _ = torch.func.functional_call(layer, named, (x,))
        output, _ = torch.func.functional_call(layer, named, (once,))
        return output  # type: ignore[no-any-return]

    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, *layer.parameters())]
    assert torch.autograd.gradgradcheck(twice, leaves, fast_mode=True)
