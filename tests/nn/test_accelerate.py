"""`accelerate`: swapping the recurrent modules of torch inside a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise import accelerate
from gatewise import nn as ours

pytestmark = pytest.mark.usefixtures("quickly")


class Network(nn.Module):
    """An encoder, a step in a loop, and a head: three kinds of recurrent module at three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(3, 4, 2, batch_first=True, dropout=0.3, bidirectional=True)
        self.inner = nn.ModuleDict({"rnn": nn.RNN(8, 4, nonlinearity="relu", bias=False)})
        self.step = nn.GRUCell(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        encoded, _ = self.encoder(x)
        middle, _ = self.inner["rnn"](encoded.transpose(0, 1))
        h = middle[0]
        for step in middle:
            h = self.step(step, h)
        found: Tensor = self.head(h)
        return found


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


def test_every_recurrent_module_is_swapped_and_the_model_computes_the_same(network: Network) -> None:
    x = torch.randn(2, 5, 3)
    network.eval()
    before = network(x)
    assert accelerate(network) is network
    modules = dict(network.named_modules())
    kinds = {
        "encoder": (ours.LSTM, nn.LSTM),
        "inner.rnn": (ours.RNN, nn.RNN),
        "step": (ours.GRUCell, nn.GRUCell),
    }
    for path, both in kinds.items():
        assert all(isinstance(modules[path], kind) for kind in both)
    torch.testing.assert_close(network(x), before)


def test_the_parameters_are_the_same_objects_and_training_continues(network: Network) -> None:
    weights = dict(network.named_parameters())
    optimiser = torch.optim.Adam(network.parameters())
    accelerate(network)
    assert {name: id(weight) for name, weight in network.named_parameters()} == {
        name: id(weight) for name, weight in weights.items()
    }
    before = weights["encoder.weight_hh_l0"].clone()
    torch.autograd.backward(network(torch.randn(2, 5, 3)).sum())
    optimiser.step()
    assert not torch.equal(network.encoder.get_parameter("weight_hh_l0"), before)


def test_arguments_and_mode_are_kept(network: Network) -> None:
    theirs = {path: repr(module) for path, module in network.named_modules() if "." not in path and path}
    network.encoder.eval()
    accelerate(network)
    assert {path: repr(getattr(network, path)) for path in theirs} == theirs
    assert (network.training, network.encoder.training, network.step.training) == (True, False, True)
    assert network.inner["rnn"].nonlinearity == "relu"


def test_the_random_generator_is_not_advanced(network: Network) -> None:
    torch.manual_seed(5)
    accelerate(network)
    found = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(found, torch.rand(3))


def test_a_shared_module_is_swapped_once() -> None:
    shared = nn.LSTM(3, 4)
    model = nn.ModuleDict({"a": shared, "b": nn.ModuleList([shared])})
    accelerate(model)
    assert isinstance(model["a"], ours.LSTM)
    assert model["a"] is model["b"][0]  # type: ignore[index]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "LSTMCell", "GRUCell"])
def test_a_model_that_is_a_recurrent_module_itself(kind: str) -> None:
    theirs = getattr(nn, kind)(3, 4)
    mine: Any = accelerate(theirs)
    assert mine is theirs
    assert isinstance(mine, getattr(ours, kind))


def test_the_warning_about_dropout_comes_from_the_constructor_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nn.GRU(3, 4, dropout=0.25)
    mine: Any = accelerate(theirs)
    assert mine.dropout == 0.25


def test_a_second_swap_changes_nothing(network: Network) -> None:
    accelerate(network)
    modules = list(network.modules())
    assert list(accelerate(network).modules()) == modules


class OwnSums(nn.LSTM):
    """A subclass that computes by itself."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return input.sum(-1), hx


class OwnChecks(nn.GRU):
    """A subclass that changes a method that torch's forward calls."""

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        assert input.dim() == 3


class OwnCell(nn.LSTM):
    """A subclass with an attribute that has another meaning in gatewise."""

    def __init__(self) -> None:
        super().__init__(3, 4)
        self.cell = nn.Linear(4, 4)

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, state = super().forward(input, hx)
        return self.cell(output), state


class HandWrittenGRU(nn.Module):
    """A GRU with its steps in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(7, 12)


def with_another_forward() -> nn.Module:
    layer = nn.GRU(3, 4)
    layer.forward = lambda x: x  # type: ignore[method-assign, assignment]
    return layer


def quantized() -> nn.Module:
    model = nn.ModuleList([nn.LSTM(3, 4)])
    return torch.ao.quantization.quantize_dynamic(model, {nn.LSTM})[0]  # type: ignore[no-any-return, no-untyped-call]


LEFT: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "own forward": (lambda: OwnSums(3, 4), "torch", "a subclass, OwnSums, whose own forward does not"),
    "own checks": (
        lambda: OwnChecks(3, 4),
        "torch",
        "its own check_input would replace what gatewise's forward uses",
    ),
    "own attribute": (OwnCell, "torch", "its own cell would replace what gatewise's forward uses"),
    "no kind": (lambda: nn.RNNBase("GRU", 3, 4), "torch", "a subclass of Module, which has no equations"),
    "replaced forward": (with_another_forward, "torch", "its forward was replaced by another"),
    "device": (lambda: nn.GRU(3, 4, device="meta"), "torch", "its weights are on meta"),
    "a short step": (lambda: nn.RNNCell(3, 4), "torch", "a single step with so few products"),
    "type": (lambda: nn.GRUCell(3, 4).half(), "torch", "its weights are torch.float16"),
    "quantized": (quantized, "its own code", "quantized"),
    "script": (lambda: torch.jit.script(nn.GRU(3, 4)), "its own code", "compiled by torch.jit"),
    "by hand": (HandWrittenGRU, "its own code", "recurrent by its name, but not a module of torch"),
}


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore:.*Please use torch.ao")
@pytest.mark.parametrize(("make", "runs_in", "reason"), LEFT.values(), ids=LEFT.keys())
def test_a_module_that_the_swap_could_change_is_not_swapped_with_a_reason(
    make: Callable[[], nn.Module], runs_in: str, reason: str
) -> None:
    layer = make()
    before = type(layer)
    model = nn.ModuleDict({"a": nn.ModuleList([layer])})
    accelerate(model)
    assert type(layer) is before
    (row,) = accelerate.report(model).rows
    assert (row.path, row.runs_in) == ("a.0", runs_in)
    assert row.why.startswith(reason)


def test_the_report_before_and_after(network: Network) -> None:
    assert {row.why for row in accelerate.report(network).rows} == {
        "not swapped yet: gatewise.accelerate(model)"
    }
    network.step.half()
    accelerate(network)
    assert str(accelerate.report(network)).splitlines() == [
        "module     layer                                                                        "
        "runs in   why",
        "encoder    LSTM(3, 4, num_layers=2, batch_first=True, dropout=0.3, bidirectional=True)  gatewise",
        "inner.rnn  RNN(8, 4, bias=False)                                                        gatewise",
        "step       GRUCell(4, 4)                                                                "
        "torch     its weights are torch.float16; kernels are compiled for float32 and float64",
    ]


def test_the_report_of_a_model_without_recurrent_modules() -> None:
    assert str(accelerate.report(nn.Linear(1, 1))) == "The model has no recurrent modules."
    assert "(the model)" in str(accelerate.report(nn.GRU(1, 1)))


@pytest.mark.parametrize("call", [accelerate, accelerate.undo, accelerate.report])
def test_only_modules_are_accepted(call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"accelerate.*: model must be a torch\.nn\.Module. Got dict"):
        call({})
