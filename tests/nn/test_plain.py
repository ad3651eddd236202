"""Plain calls, which are prepared once, against the same calls on the general path."""

from __future__ import annotations

import copy
import gc
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import gatewise
from gatewise import cells
from gatewise.nn.kernels.plain.call import Plain, prepare
from gatewise.nn.kernels.prepared import Prepared
from gatewise.nn.modules.layer import Layer

pytestmark = pytest.mark.usefixtures("quickly")

CELLS = ["lstm", "gru", "rnn", "rnn_relu", "min_gru", "ugrnn", "lstm_peephole", "lstm_layer_norm"]


def everything(module: Any, x: Tensor, hx: Any) -> dict[str, Tensor]:
    """All results of a call, and all gradients of a random sum of them."""
    x = x.clone().requires_grad_()
    states = [
        state.clone().requires_grad_() for state in torch.utils._pytree.tree_leaves(() if hx is None else hx)
    ]
    given_states = None if hx is None else states[0] if isinstance(hx, Tensor) else tuple(states)
    module.zero_grad(set_to_none=True)
    results = torch.utils._pytree.tree_leaves(module(x, given_states))
    torch.manual_seed(7)
    sum((result * torch.randn_like(result)).sum() for result in results).backward()
    found = {f"result {n}": result.detach() for n, result in enumerate(results)} | {"by x": x.grad}
    found |= {f"by state {n}": state.grad for n, state in enumerate(states)}
    found |= {f"by {name}": weight.grad for name, weight in module.named_parameters()}
    with torch.no_grad():
        inferred = torch.utils._pytree.tree_leaves(module(x, given_states))
    return found | {f"inferred {n}": result for n, result in enumerate(inferred)}


def on_the_general_path() -> Any:
    """Turn prepared calls off."""
    return mock.patch.object(Layer, "_plain_call", return_value=None)


@st.composite
def modules(draw: st.DrawFn) -> tuple[Any, Tensor, Any]:
    """Modules with one layer or one step, each with an input, and with states or None."""
    torch.manual_seed(draw(st.integers(0, 1000)))
    cell = getattr(cells, draw(st.sampled_from(CELLS)))
    T, B, I, H = (draw(st.integers(1, most)) for most in (6, 5, 6, 19))
    bias, dtype = draw(st.booleans()), draw(st.sampled_from([torch.float32, torch.float64]))
    batched, given_states = draw(st.booleans()), draw(st.booleans())
    rows = [B] if batched else []
    if draw(st.booleans()):
        module: Any = gatewise.nn.Step(cell, I, H, bias, dtype=dtype)
        x, shape = torch.randn(*rows, I, dtype=dtype), (*rows, H)
        widths = [H] * len(cell.states)
    else:
        batch_first = draw(st.booleans())
        proj_size = draw(st.integers(1, H - 1)) if H > 1 and cell is cells.lstm and draw(st.booleans()) else 0
        module = gatewise.nn.Recurrent(
            cell, I, H, bias=bias, batch_first=batch_first, proj_size=proj_size, dtype=dtype
        )
        order = [*rows, T] if batch_first else [T, *rows]
        x, shape = torch.randn(*order, I, dtype=dtype), (1, *rows, H)
        widths = [proj_size or H, *[H] * (len(cell.states) - 1)]
    states = tuple(torch.randn(*shape[:-1], width, dtype=dtype) for width in widths)
    hx = None if not given_states else states if len(states) > 1 else states[0]
    return module, x, hx


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules(), st.sampled_from([1, 2]))
def test_bits_are_those_of_the_general_path(call: tuple[Any, Tensor, Any], threads: int) -> None:
    module, x, hx = call
    with (
        mock.patch("torch.get_num_threads", return_value=threads),
        mock.patch("gatewise.compiler.run.program._THREAD_WORK", 1),
        mock.patch("gatewise.compiler.run.program._STEP_WORK", 1),
    ):
        with on_the_general_path():
            expected = everything(module, x, hx)
        module(x, hx)
        found = everything(module, x, hx)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def plain_calls(module: Any, *inputs: Any) -> int:
    """How many of two calls were plain."""
    with mock.patch.object(Plain, "__call__", autospec=True, side_effect=Plain.__call__) as called:
        module(*inputs)
        module(*inputs)
    return int(called.call_count)


def test_the_second_call_of_a_shape_is_prepared() -> None:
    layer, x = gatewise.nn.GRU(3, 5), torch.randn(4, 2, 3)
    assert plain_calls(layer, x) == 1
    assert plain_calls(layer, x) == 2
    assert plain_calls(layer, x, torch.zeros(1, 2, 5)) == 1
    assert plain_calls(gatewise.nn.LSTMCell(3, 5), x[0]) == 1


def test_a_module_that_changed_is_prepared_again() -> None:
    layer, x = gatewise.nn.GRU(3, 5), torch.randn(4, 4, 3)
    layer(x)
    layer.batch_first = True
    assert layer(x)[1].shape == (1, 4, 5)
    expected = gatewise.nn.GRU(3, 5, batch_first=True)
    expected.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], expected(x)[0])
    options: list[dict[str, Any]] = [{"zoneout": 0.5}, {"recurrent_dropout": 0.5}, {"weight_drop": 0.5}]
    for option in options:
        lstm = gatewise.nn.LSTM(3, 5, **option).eval()
        calm = lstm(x)[0]
        assert torch.equal(lstm(x)[0], calm)
        assert not torch.equal(lstm.train()(x)[0], calm)
        assert torch.equal(lstm.eval()(x)[0], calm)


def test_replaced_weights_are_noticed() -> None:
    layer, x = gatewise.nn.LSTM(3, 5), torch.randn(4, 2, 3)
    layer(x)
    other = gatewise.nn.LSTM(3, 5)
    found = torch.func.functional_call(layer, dict(other.named_parameters()), (x,))[0]
    assert torch.equal(found, other(x)[0])
    layer.weight_hh_l0.data = torch.randn(7, 5)
    with pytest.raises(RuntimeError, match="weight_hh must have shape"):
        layer(x)
    layer.weight_hh_l0.data = other.weight_hh_l0.data.double()
    with pytest.raises(RuntimeError):
        layer(x)


def preparations(module: Any, *inputs: Tensor) -> int:
    """How many of four calls, one for each input, are prepared."""
    with mock.patch("gatewise.nn.modules.layer.prepare", side_effect=prepare) as called:
        for x in inputs:
            module(x)
        return sum(1 for call in called.call_args_list if prepare(*call.args) is not None)


def test_a_call_is_prepared_once() -> None:
    x = torch.randn(4, 2, 3)
    assert preparations(gatewise.nn.GRU(3, 5), x, x, x, x) == 1
    assert preparations(gatewise.nn.Recurrent(cells.lstm_layer_norm, 3, 5), x, x, x, x) == 1
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert preparations(gatewise.nn.GRU(3, 5), turned, turned, x, x) == 1
    layer = gatewise.nn.GRU(3, 5)
    assert preparations(layer, x) == 1
    assert preparations(layer.double(), x.double(), x.double()) == 1
    assert preparations(layer.eval(), x.double()) == 0  # nothing is drawn in training
    assert preparations(layer.train(), x.double()) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_prepare_their_own_calls(copied: Any) -> None:
    layer, x = gatewise.nn.GRU(3, 5), torch.randn(4, 2, 3)
    expected = layer(x)[0]
    twin = copied(layer)
    assert "_plain" not in vars(twin)
    assert torch.equal(twin(x)[0], expected)
    assert torch.equal(twin(x)[0], expected)


def test_for_many_shapes_only_some_calls_stay_prepared() -> None:
    layer = gatewise.nn.RNN(3, 5)
    for T in range(1, 60):
        layer(torch.randn(T, 1, 3))
    gc.collect()
    assert len(vars(layer)["_plain"]) <= 16


def test_results_may_be_changed_in_place_before_backward() -> None:
    for module, shape in ((gatewise.nn.LSTM(3, 5), (4, 2, 3)), (gatewise.nn.LSTMCell(3, 5), (2, 3))):
        x = torch.randn(shape)
        module(x)
        first = module(x)[0]
        first.sum().backward()
        expected = [weight.grad for weight in module.parameters()]
        module.zero_grad()
        output = module(x)[0]
        output += 1
        output.sum().backward()
        torch.testing.assert_close([w.grad for w in module.parameters()], expected, rtol=0, atol=0)
        with torch.no_grad():
            module(x)[0].mul_(0)
        assert torch.equal(module(x)[0], first)


def test_gradients_of_gradients_and_batches_of_them() -> None:
    layer = gatewise.nn.GRU(2, 3, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    layer(x)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], (x,))
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))
    jacobian: Any = torch.autograd.functional.jacobian
    one_by_one = jacobian(lambda x: layer(x)[0], x)
    assert torch.allclose(jacobian(lambda x: layer(x)[0], x, vectorize=True), one_by_one)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules())
def test_frozen_weights_give_the_same_bits(call: tuple[Any, Tensor, Any]) -> None:
    module, x, hx = call

    def results() -> list[Tensor]:
        with torch.no_grad():
            return torch.utils._pytree.tree_leaves(module(x, hx))

    expected = results()
    assert gatewise.freeze(module) is module
    for _ in range(3):
        assert all(map(torch.equal, results(), expected))
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(0.5)
    changed = results()
    gatewise.unfreeze(module)
    assert all(map(torch.equal, changed, results()))


def test_a_frozen_model_is_packed_once_and_after_a_change() -> None:
    layer, x = gatewise.freeze(gatewise.nn.LSTM(3, 5)), torch.randn(2, 1, 3)
    with mock.patch.object(Prepared, "pack", autospec=True, side_effect=Prepared.pack) as packed:
        with torch.no_grad():
            for _ in range(4):
                layer(x)
        assert packed.call_count == 1
        optimiser = torch.optim.SGD(layer.parameters(), 0.1)
        layer(x)[0].sum().backward()  # a call with a gradient packs the weights itself
        optimiser.step()
        with torch.no_grad():
            found = [layer(x)[0] for _ in range(3)][-1]
    assert packed.call_count == 2
    assert torch.equal(found, gatewise.unfreeze(layer)(x)[0])
    other = gatewise.nn.LSTM(3, 5)
    gatewise.freeze(layer).load_state_dict(other.state_dict())
    with torch.no_grad():
        assert all(torch.equal(layer(x)[0], other(x)[0]) for _ in range(3))


def test_something_else_than_a_module_is_not_frozen() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module\. Got dict\."):
        gatewise.freeze({})  # type: ignore[type-var]


def test_threads_share_a_frozen_layer() -> None:
    layer, x = gatewise.freeze(gatewise.nn.GRU(3, 40)), torch.randn(50, 1, 3)
    with torch.no_grad():
        expected = layer(x)[0]

    def call(_: int) -> bool:
        with torch.no_grad():
            return all(torch.equal(layer(x)[0], expected) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(8)))
