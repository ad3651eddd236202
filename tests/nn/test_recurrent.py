# mypy: allow-untyped-defs, allow-incomplete-defs
"""A layer as a torch module: parameters, copies, files, and tools for modules."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrizations, parametrize, prune

from gatewise import Input, Split, Vector, cell, cells, sigmoid, tanh
from gatewise import nn as ours

pytestmark = pytest.mark.usefixtures("quickly")

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "bias": False}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "batch_first": True}),
    ("LSTM", {"proj_size": 2, "num_layers": 2}),
    ("GRU", {"bias": False}),
]
STEPS: list[tuple[str, dict[str, Any]]] = [
    ("RNNCell", {}),
    ("RNNCell", {"nonlinearity": "relu"}),
    ("LSTMCell", {"bias": False}),
    ("GRUCell", {}),
]


@cell
def odd(h, m, *, a: Input, b: Split, d, v: Vector, w: Vector):
    """One parameter of every kind."""
    d = sigmoid(d + w)
    m = d * m + (1 - d) * tanh(a + b.x)
    h = tanh(m * v + b.h)
    return h, m


@cell
def blind(h, *, a: Input, f: Input):
    """A cell whose gates do not see the state."""
    f = sigmoid(f)
    h = f * h + (1 - f) * a
    return h


@cell
def clash(h, *, a, weight_hh: Vector):
    """A cell whose vector has the name of a weight."""
    h = tanh(a) * weight_hh
    return h


def made(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return getattr(ours, kind)(3, 4, **options), getattr(torch.nn, kind)(3, 4, **options)


def output_of(layer: Any, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result = layer(torch.randn(5, 3) if isinstance(layer, ours.Step) else torch.randn(5, 2, 3))
    return result if isinstance(result, Tensor) else result[0]


@pytest.mark.parametrize(("kind", "options"), [*LAYERS, *STEPS])
def test_a_state_dict_goes_both_ways_strictly(kind: str, options: dict[str, Any]) -> None:
    mine, theirs = made(kind, options)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    other = getattr(torch.nn, kind)(3, 4, **options)
    other.load_state_dict(mine.state_dict(), strict=True)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, weight in theirs.state_dict().items():
        assert torch.equal(other.state_dict()[name], weight)


@pytest.mark.parametrize(("kind", "options"), [*LAYERS, *STEPS])
def test_it_prints_as_in_torch(kind: str, options: dict[str, Any]) -> None:
    mine, theirs = made(kind, options)
    assert repr(mine) == repr(theirs)


def test_any_cell_prints_its_name() -> None:
    assert repr(ours.Recurrent(cells.gru, 3, 4, 2)) == "Recurrent(gru, 3, 4, num_layers=2)"
    assert repr(ours.Step(cells.gru, 3, 4, bias=False)) == "Step(gru, 3, 4, bias=False)"


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_all_weights_and_the_attributes_of_torch(kind: str, options: dict[str, Any]) -> None:
    mine, theirs = made(kind, options)
    shapes = [[weight.shape for weight in scan] for scan in theirs.all_weights]
    assert [[weight.shape for weight in scan] for scan in mine.all_weights] == shapes
    for name in theirs.__constants__[1:]:  # without the mode
        assert getattr(mine, name) == getattr(theirs, name)
    before = output_of(mine.eval())
    mine.flatten_parameters()
    assert torch.equal(output_of(mine), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize(("kind", "options"), [*LAYERS, *STEPS])
def test_a_copy_computes_the_same_with_its_own_weights(
    kind: str, options: dict[str, Any], copied: Any
) -> None:
    layer, _ = made(kind, options)
    twin = copied(layer)
    assert torch.equal(output_of(twin), output_of(layer))
    before = output_of(layer)
    with torch.no_grad():
        twin.get_parameter(next(iter(dict(twin.named_parameters())))).add_(1)
    assert torch.equal(output_of(layer), before)
    assert not torch.equal(output_of(twin), before)


def test_a_pickled_layer_of_any_cell_is_loaded_from_a_file() -> None:
    layer = ours.Recurrent(cells.gru, 3, 4)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(output_of(torch.load(file, weights_only=False)), output_of(layer))


def test_parameters_of_every_kind_have_names_and_shapes() -> None:
    layer = ours.Recurrent(odd, 3, 4, 2, bidirectional=True)
    shapes = {name: tuple(weight.shape) for name, weight in layer.named_parameters()}
    assert {name: shape for name, shape in shapes.items() if name.endswith("l1_reverse")} == {
        "weight_ih_l1_reverse": (12, 8),
        "weight_hh_l1_reverse": (8, 4),
        "bias_ih_l1_reverse": (12,),
        "bias_hh_l1_reverse": (8,),
        "v_l1_reverse": (4,),
        "w_l1_reverse": (4,),
    }
    assert all(weight.abs().max() <= 0.5 for weight in layer.parameters())


@pytest.mark.parametrize("cell_", [odd, blind])
def test_a_layer_of_any_cell_is_its_step_repeated(cell_: Any) -> None:
    layer = ours.Recurrent(cell_, 3, 4, dtype=torch.float64)
    step = ours.Step(cell_, 3, 4, dtype=torch.float64)
    step.load_state_dict({name.removesuffix("_l0"): w for name, w in layer.state_dict().items()})
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    output, final = layer(x)
    hx = None
    for t in range(5):
        hx = step(x[t], hx)
        h = hx if isinstance(hx, Tensor) else hx[0]
        torch.testing.assert_close(output[t], h, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(final, _stacked(hx), rtol=1e-12, atol=1e-14)


def _stacked(hx: Any) -> Any:
    return hx[None] if isinstance(hx, Tensor) else tuple(state[None] for state in hx)


def test_a_vector_may_not_have_the_name_of_a_weight() -> None:
    with pytest.raises(ValueError, match=r"cell 'clash': Vector 'weight_hh' has the name of a weight"):
        ours.Recurrent(clash, 3, 4)


def test_weights_may_be_shared_between_layers() -> None:
    first, second = ours.GRU(4, 4), ours.GRU(4, 4)
    second.weight_hh_l0 = first.weight_hh_l0
    torch.autograd.backward(second(first(torch.randn(5, 2, 4))[0])[0].sum())
    with torch.no_grad():
        first.get_parameter("weight_hh_l0").zero_()
    assert second.state_dict()["weight_hh_l0"].abs().sum() == 0
    assert len({id(p) for p in torch.nn.ModuleList([first, second]).parameters()}) == 7


def test_a_weight_may_be_replaced() -> None:
    mine, theirs = made("LSTM", {})
    replacement = torch.nn.Parameter(torch.randn(16, 4))
    mine.load_state_dict(theirs.state_dict())
    mine.weight_hh_l0 = theirs.weight_hh_l0 = replacement
    torch.testing.assert_close(output_of(mine), output_of(theirs))


def test_functional_call() -> None:
    mine, theirs = made("GRU", {})
    weights = {name: torch.randn_like(weight) for name, weight in theirs.named_parameters()}
    x = torch.randn(5, 2, 3)
    found, _ = torch.func.functional_call(mine, weights, (x,))
    torch.testing.assert_close(found, torch.func.functional_call(theirs, weights, (x,))[0])


def test_parametrizations_and_pruning() -> None:
    layer = ours.LSTM(3, 4)
    parametrizations.orthogonal(layer, "weight_hh_l0")
    prune.l1_unstructured(layer, "weight_ih_l0", amount=0.5)  # type: ignore[no-untyped-call]
    output = output_of(layer)
    torch.autograd.backward(output.sum())
    assert parametrize.is_parametrized(layer)
    assert layer.get_parameter("weight_ih_l0_orig").grad is not None
    plain = ours.LSTM(3, 4)
    plain.load_state_dict({name: getattr(layer, name).detach() for name in plain.state_dict()})
    torch.testing.assert_close(output_of(plain), output)


def test_conversion_of_type_and_device() -> None:
    layer = ours.LSTM(3, 4).double()
    assert layer(torch.randn(5, 2, 3, dtype=torch.float64))[0].dtype == torch.float64
    assert layer.bfloat16()(torch.randn(5, 2, 3, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    assert layer.to("meta")(torch.randn(5, 2, 3, device="meta").bfloat16())[0].shape == (5, 2, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "LSTMCell"])
def test_under_autocast_a_layer_computes_in_the_type_of_its_weights(kind: str, dtype: torch.dtype) -> None:
    layer = getattr(ours, kind)(3, 4)
    x = torch.randn(5, 3) if kind == "LSTMCell" else torch.randn(5, 2, 3)
    first, *_ = layer(x.to(dtype).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, *rest = layer(x.to(dtype))
        again, *_ = layer(x.to(dtype), *rest) if kind != "LSTMCell" else (found,)
    assert found.dtype == again.dtype == torch.float32
    assert torch.equal(found, first)
    torch.autograd.backward(found.sum())
    assert all(weight.grad is not None for weight in layer.parameters())


def test_autocast_does_not_convert_float64() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match="does not match"):
        ours.LSTM(3, 4)(torch.randn(5, 2, 3, dtype=torch.float64))
