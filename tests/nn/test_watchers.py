"""Tools that watch torch's operators see what layers compute; no memory changes without their notice."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import gatewise
from gatewise import cells
from tests.selection import with_rest

pytestmark = pytest.mark.usefixtures("quickly")

T, B, I, H = 5, 2, 3, 4

CLASSIC: dict[str, Callable[[], Any]] = {
    "lstm": lambda: gatewise.nn.LSTM(I, H),
    "lstm, projected": lambda: gatewise.nn.LSTM(I, H, proj_size=2, bidirectional=True),
    "gru, rows first": lambda: gatewise.nn.GRU(I, H, 2, batch_first=True, bidirectional=True),
    "rnn, no biases": lambda: gatewise.nn.RNN(I, H, 2, "relu", bias=False),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "peepholes": lambda: gatewise.nn.Recurrent(cells.lstm_peephole, I, H, 2),
    "layer norm": lambda: gatewise.nn.Recurrent(cells.lstm_layer_norm, I, H),
    "zoneout": lambda: gatewise.nn.LSTM(I, H, zoneout=0.3).eval(),
}
LAYERS = CLASSIC | OTHERS


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def traced(layer: Any, *inputs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and tracing compares sizes
        return torch.jit.trace(layer, inputs)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_trace(make: Callable[[], Any]) -> None:
    layer, x = make(), torch.randn(T, B, I)
    program = traced(layer, x)
    close(program(x), layer(x))
    other = torch.randn(T, B, I)
    close(program(other), layer(other))


@pytest.mark.parametrize("make", CLASSIC.values(), ids=CLASSIC)
def test_a_trace_of_a_classic_layer_takes_other_lengths(make: Callable[[], Any]) -> None:
    layer = make()
    program, x = traced(layer, torch.randn(T, B, I)), torch.randn(T + 4, B + 3, I)
    close(program(x), layer(x))
    program(x)[0].sum().backward()
    found = [weight.grad.clone() for weight in layer.parameters()]
    layer.zero_grad()
    layer(x)[0].sum().backward()
    close(found, [weight.grad for weight in layer.parameters()])


def test_a_trace_of_steps_and_of_states() -> None:
    step, layer = gatewise.nn.GRUCell(I, H), gatewise.nn.LSTM(I, H)
    program, x = traced(step, torch.randn(B, I)), torch.randn(B + 1, I)
    close(program(x), step(x))
    states = torch.randn(1, B, H), torch.randn(1, B, H)
    x = torch.randn(T, B, I)
    close(traced(layer, torch.randn(T, B, I), states)(x, states), layer(x, states))


# Symbolic sizes take most of the time of these traces: of these layers torch traces two, the interpreter one.
SYMBOLIC = ("lstm, projected", "gru, rows first", "peepholes")


@pytest.mark.parametrize(
    ("name", "mode"),
    with_rest(
        itertools.product(LAYERS, ("real", "fake", "symbolic")),
        lambda name, mode: mode != "symbolic" or name in SYMBOLIC,
    ),
)
def test_make_fx(name: str, mode: Any) -> None:
    # In float64, because under fake tensors the interpreter runs, which rounds in another order.
    # Three steps: a first one, a last one and one between, since each is traced.
    layer, x = LAYERS[name]().double(), torch.randn(3, B, I).double()

    def output(x: Tensor) -> Any:
        return layer(x)[0]

    def gradients(x: Tensor) -> Any:
        return torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))

    for function in (output, gradients):
        graph = make_fx(function, tracing_mode=mode, _allow_non_fake_inputs=True)(x)
        other = torch.randn_like(x)
        close(graph(other), function(other))


class Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that records the operators it sees."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("lengths", [None, [5, 2]])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_dispatch_mode(make: Callable[[], Any], lengths: Any) -> None:
    layer, x = make(), torch.randn(T, B, I)
    if layer.batch_first:
        x = x.transpose(0, 1)
    with Seen() as seen:
        found = layer(x, lengths=lengths)
        found[0].sum().backward()
    assert any("gatewise.scan_gradient" in name or "mm" in name for name in seen.names)
    gradients = [weight.grad for weight in layer.parameters()]
    layer.zero_grad()
    expected = layer(x, lengths=lengths)
    expected[0].sum().backward()
    close(found, expected)
    close(gradients, [weight.grad for weight in layer.parameters()])


@pytest.mark.parametrize("checkpoint", [0, 2])
def test_a_dispatch_mode_in_backward_only(checkpoint: int) -> None:
    layer, x = gatewise.nn.GRU(I, H, checkpoint=checkpoint), torch.randn(T, B, I)
    output, _ = layer(x)
    with Seen() as seen:
        output.sum().backward()
    assert any("mm" in name for name in seen.names)


def flops(layer: Any, x: Tensor, train: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        output, _ = layer(x)
        if train:
            output.sum().backward()
    return int(counter.get_total_flops())


def test_flops_are_counted() -> None:
    layer: Any = gatewise.nn.LSTM(I, H, 2)
    x = torch.randn(T, B, I)
    products = 2 * T * B * sum(w.numel() for w in layer.parameters() if w.dim() == 2)
    assert flops(layer, x, train=False) == products
    # For each matrix the derivatives of the matrix and of its factor, but not of the first layer's input.
    assert flops(layer, x, train=True) == 3 * products - 2 * T * B * layer.weight_ih_l0.numel()
    projected = gatewise.nn.LSTM(I, H, proj_size=2)
    products = 2 * T * B * sum(w.numel() for w in projected.parameters() if w.dim() == 2)
    assert flops(projected, x, train=False) == products


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_fake_tensors(make: Callable[[], Any]) -> None:
    shape = make()(torch.randn(T, B, I))[0].shape
    with FakeTensorMode():
        layer = make()
        output = layer(torch.randn(T, B, I))[0]
        output.sum().backward()
        assert output.shape == shape
        assert all(weight.grad.shape == weight.shape for weight in layer.parameters())


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_functionalisation_and_meta(make: Callable[[], Any]) -> None:
    layer, x = make(), torch.randn(T, B, I)
    close(torch.func.functionalize(lambda x: layer(x)[0])(x), layer(x)[0])
    assert layer.to("meta")(x.to("meta"))[0].shape == make()(x)[0].shape


def test_tensors_without_memory() -> None:
    layer = gatewise.nn.GRU(I, H)
    zeros = torch._efficientzerotensor(T, B, I)
    close(layer(zeros), layer(torch.zeros(T, B, I)))
    functional = torch._to_functional_tensor(torch.ones(T, B, I))
    found = torch._from_functional_tensor(layer(functional)[0])
    close(found, layer(torch.ones(T, B, I))[0])
    escaped: list[Tensor] = []
    torch.func.vmap(lambda x: (x, escaped.append(x))[0])(torch.randn(3, T, B, I))  # type: ignore[func-returns-value]
    for strange in (escaped[0], torch.randn(T, B, I).to_sparse(), torch.randn(T, B, I).to_mkldnn()):
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            layer(strange)


class Scaled(torch.Tensor):
    """A subclass that sees torch functions."""


def test_a_subclass() -> None:
    layer, x = gatewise.nn.LSTM(I, H), torch.randn(T, B, I)
    found = layer(x.as_subclass(Scaled))[0]
    close(found.as_subclass(Tensor), layer(x)[0])


def test_the_older_exporter_of_onnx(tmp_path: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    layer, x = gatewise.nn.LSTM(I, H, 2, bidirectional=True), torch.randn(T + 3, B + 1, I)
    path = str(tmp_path / "model.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "T", 1: "B"}}}
        torch.onnx.export(layer, (torch.randn(T, B, I),), path, dynamo=False, **names)  # type: ignore[arg-type]
    found = onnxruntime.InferenceSession(path).run(None, {"x": x.numpy()})
    close(torch.from_numpy(found[0]), layer(x)[0].detach())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("calling", ["padded", "lengths", "reset", "recorded"])
def test_sixteen_bits(kind: str, dtype: torch.dtype, calling: str) -> None:
    layer = getattr(gatewise.nn, kind)(I, H, 2, bidirectional=True).to(dtype)
    x = torch.randn(T, B, I).to(dtype)
    options: dict[str, Any] = {"lengths": {"lengths": [2, 5]}}.get(calling, {})
    options |= {"reset": torch.eye(T, B, dtype=torch.bool)} if calling == "reset" else {}
    way = gatewise.explain(layer, x, **options)["l1_reverse"].runs_in
    assert way == ("eager interpreter" if calling == "reset" else "torch")
    output, _ = layer(x, **options)
    assert output.dtype == dtype
    output.sum().backward()
    exact = getattr(gatewise.nn, kind)(I, H, 2, bidirectional=True)
    exact.load_state_dict({name: weight.float() for name, weight in layer.state_dict().items()})
    if calling == "recorded":
        with gatewise.watch(layer) as seen:
            layer(x)
        assert seen["l0"].h.dtype == dtype
    torch.testing.assert_close(output.float(), exact(x.float(), **options)[0], atol=0.03, rtol=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "sru", "indrnn", "gru_d"])
def test_every_parameter_gets_a_gradient(name: str, dtype: torch.dtype) -> None:
    layer = gatewise.nn.Recurrent(getattr(cells, name), I, H).to(dtype)
    for create_graph in (False, True):
        output = layer(torch.randn(T, B, I).to(dtype))[0]
        found = torch.autograd.grad(output.sum(), list(layer.parameters()), create_graph=create_graph)
        assert [gradient.shape for gradient in found] == [weight.shape for weight in layer.parameters()]


@gatewise.cell
def threshold(h, *, p, v: gatewise.Vector):  # type: ignore[no-untyped-def]
    """A vector that only a condition reads."""
    h = gatewise.where(p < v, gatewise.tanh(p), 0.5 * h)
    return h


def test_a_vector_in_a_condition_gets_a_gradient() -> None:
    layer = gatewise.nn.Recurrent(threshold, I, H).bfloat16()
    layer(torch.randn(T, B, I).bfloat16())[0].sum().backward()
    assert all(weight.grad is not None for weight in layer.parameters())
