"""Our layers against those of torch: with the same seed and the same input, all results are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from tests.nn.layers import KINDS, H, I, pair

T, B = 7, 4

Check: TypeAlias = Callable[..., None]

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-bias": {"bias": False},
    "batch-first": {"batch_first": True},
    "two-layers-both-ways": {"num_layers": 2, "bidirectional": True},
    "all": {"num_layers": 3, "bidirectional": True, "batch_first": True, "bias": False, "dropout": 0.4},
}

STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("RNNCell", {}),
    "rnn-relu": ("RNNCell", {"nonlinearity": "relu"}),
    "lstm": ("LSTMCell", {}),
    "gru": ("GRUCell", {}),
}


def states(module: Any, *batch: int) -> tuple[Tensor, ...]:
    """Random initial states for a layer of torch."""
    scans = module.num_layers * (2 if module.bidirectional else 1)
    widths = [module.proj_size or H, H] if module.mode == "LSTM" else [H]
    return tuple(torch.randn(scans, *batch, width, dtype=module.weight_ih_l0.dtype) for width in widths)


def flat(result: Any) -> list[Tensor]:
    """Output and final states as a list of tensors."""
    output, final = result
    return [output, *(final if isinstance(final, tuple) else (final,))]


def call(module: Any, x: Tensor, *hx: Tensor) -> Any:
    return module(x, hx if len(hx) > 1 else hx[0]) if hx else module(x)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_a_layer_computes_what_torch_computes(
    kind: str, fixed: dict[str, Any], options: dict[str, Any], given: bool, assert_same: Check
) -> None:
    mine, theirs = pair(kind, **fixed, **options)
    x = torch.randn((B, T, I) if theirs.batch_first else (T, B, I), dtype=torch.float64)
    assert_same(mine, theirs, call, x, *(states(theirs, B) if given else ()))


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_without_a_batch(
    kind: str, fixed: dict[str, Any], batch_first: bool, given: bool, assert_same: Check
) -> None:
    mine, theirs = pair(kind, batch_first=batch_first, bidirectional=True, **fixed)
    x = torch.randn(T, I, dtype=torch.float64)
    assert_same(mine, theirs, call, x, *(states(theirs) if given else ()))


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("batch", [(B,), (), (0,)], ids=["batch", "no-batch", "empty-batch"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(("kind", "fixed"), STEPS.values(), ids=STEPS.keys())
def test_a_step_computes_what_torch_computes(
    kind: str, fixed: dict[str, Any], bias: bool, batch: tuple[int, ...], given: bool, assert_same: Check
) -> None:
    mine, theirs = pair(kind, bias=bias, **fixed)
    hx = torch.randn(2 if kind == "LSTMCell" else 1, *batch, H, dtype=torch.float64)
    assert_same(mine, theirs, call, torch.randn(*batch, I, dtype=torch.float64), *(hx if given else ()))


@pytest.mark.parametrize(("kind", "fixed"), [*KINDS.values(), *STEPS.values()])
def test_the_same_seed_gives_the_same_weights(kind: str, fixed: dict[str, Any]) -> None:
    options = {} if kind.endswith("Cell") else {"num_layers": 2, "bidirectional": True}
    mine, theirs = pair(kind, dtype=torch.float32, **fixed, **options)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, weight in theirs.named_parameters():
        assert torch.equal(mine.get_parameter(name), weight), name


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_float32_is_as_accurate_as_torch(
    kind: str,
    fixed: dict[str, Any],
    training: bool,
    everything: Callable[..., dict[str, Tensor]],
) -> None:
    mine, theirs = pair(kind, dtype=torch.float32, num_layers=2, **fixed)
    mine.train(training)
    theirs.train(training)
    inputs = (torch.randn(T, B, I), *states(theirs, B))
    found, peer = everything(mine, call, *inputs), everything(theirs, call, *inputs)
    truth = everything(theirs.double(), call, *(tensor.double() for tensor in inputs))
    for name, exact in truth.items():
        error, allowed = (found[name] - exact).abs().max(), (peer[name] - exact).abs().max()
        resolution = torch.finfo(torch.float32).eps * exact.abs().max()
        assert error <= 4 * (allowed + resolution), name


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e300, -1e300])
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_nan_and_infinity_spread_as_in_torch(kind: str, fixed: dict[str, Any], value: float) -> None:
    mine, theirs = pair(kind, bidirectional=True, **fixed)
    x = torch.randn(T, B, I, dtype=torch.float64)
    x[3, 1, 2] = value
    hx = states(theirs, B)
    hx[0][0, 3, 0] = value
    expected, found = flat(call(theirs, x, *hx)), flat(call(mine, x, *hx))
    for ours_, theirs_ in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-11, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_an_empty_batch(kind: str, fixed: dict[str, Any], assert_same: Check) -> None:
    mine, theirs = pair(kind, num_layers=2, bidirectional=True, **fixed)
    assert_same(mine, theirs, call, torch.randn(T, 0, I, dtype=torch.float64))


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 1),
        lambda x: x.repeat(1, 1, 2)[..., ::2],
        lambda x: x[:1].expand(B, T, I),
        lambda x: x.flip(1)[:, ::2],
    ],
    ids=["transposed", "strided-units", "expanded", "strided-steps"],
)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_input_and_states_in_any_memory_layout(
    kind: str, fixed: dict[str, Any], batch_first: bool, view: Callable[[Tensor], Tensor], assert_same: Check
) -> None:
    mine, theirs = pair(kind, batch_first=batch_first, **fixed)
    x = torch.randn(B, T, I, dtype=torch.float64)
    rows = view(x).size(0 if batch_first else 1)
    hx = [state.mT.contiguous() for state in states(theirs, rows)]
    assert_same(mine, theirs, lambda layer, x, *hx: call(layer, view(x), *(s.mT for s in hx)), x, *hx)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_first_input_may_be_changed_before_backward(kind: str, frozen: bool) -> None:
    name, options = KINDS[kind]
    mine, theirs = pair(name, batch_first=True, **options)
    found = []
    for layer in (mine, theirs):
        torch.manual_seed(4)
        layer.requires_grad_(not frozen)
        x = torch.randn(2, 6, I, dtype=torch.float64, requires_grad=True)
        y = x * 1
        output = layer(y)[0]
        y.zero_()
        output.square().sum().backward()
        found.append([x.grad, *(weight.grad for weight in layer.parameters() if not frozen)])
    torch.testing.assert_close(*found)
