"""`torch.onnx.export` of modules with our layers: native nodes, and the numbers of the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnxruntime
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils import _pytree as pytree

import gatewise
from gatewise import Vector, cell, cells, layer_norm, linear, sigmoid, softplus, tanh

pytestmark = [
    pytest.mark.usefixtures("torchlib_once"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:# The axis name:UserWarning"),
]
I, H = 3, 4
STEPS, ROWS = torch.export.Dim("steps"), torch.export.Dim("rows")
SIZES = ((5, 2), (9, 3), (1, 1))


@cell
def own(h, c, *, f, g, v: Vector):  # type: ignore[no-untyped-def]
    """A cell that ONNX has no operator for."""
    f = sigmoid(f)
    c = f * c + (1 - f) * tanh(g + v * c)
    h = 0.1 * tanh(layer_norm(c) + linear(h)) + (softplus(90 * c) - softplus(-90 * c)) / 90
    return h, c


class Several(nn.Module):
    """Layers side by side over one sequence."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *given: Tensor) -> Any:
        return [layer(*given) for layer in self.layers]


class Called(nn.Module):
    """A layer that is called with certain arguments."""

    def __init__(self, call: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.call = nn.ModuleList(layers), call

    def forward(self, *given: Tensor) -> Any:
        return self.call(*self.layers, *given)


def exported(model: nn.Module, given: tuple[Tensor, ...], axes: Any) -> ModelProto:
    program = torch.onnx.export(
        model.eval(), given, dynamo=True, dynamic_shapes={"given": axes}, verbose=False
    )
    assert program is not None
    return program.model_proto


def agree(proto: ModelProto, model: nn.Module, *calls: Sequence[Tensor], atol: float = 1e-5) -> None:
    """Assert that ONNX Runtime gives the numbers of the module."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for given in calls:
        fed = zip((i.name for i in session.get_inputs()), given, strict=True)
        found = session.run(None, {name: tensor.numpy() for name, tensor in fed})
        with torch.no_grad():
            expected = pytree.tree_leaves(model(*given))
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-5, atol=atol)


def operators(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node if node.op_type in ("LSTM", "GRU", "RNN", "Scan")]


def xs(dtype: torch.dtype = torch.float32) -> Iterator[tuple[Tensor]]:
    yield from ((torch.randn(T, B, I, dtype=dtype),) for T, B in SIZES)


def test_classic_layers_are_native_nodes() -> None:
    layers = [
        gatewise.nn.LSTM(I, H),
        gatewise.nn.LSTM(I, H, 2, bidirectional=True, bias=False),
        gatewise.nn.GRU(I, H, 2, dropout=0.5, learn_initial_state=True, zoneout=0.0),
        gatewise.nn.GRU(I, H, bidirectional=True),
        gatewise.nn.RNN(I, H, nonlinearity="relu"),
        gatewise.nn.Recurrent(cells.lstm_peephole, I, H, bidirectional=True),
        gatewise.nn.Recurrent(cells.gru_reset_before, I, H),
        weight_norm(gatewise.nn.LSTM(I, H), "weight_hh_l0"),
        gatewise.nn.LSTM(I, H, checkpoint=2),
    ]
    model, (first, *others) = Several(*layers), xs()
    proto = exported(model, first, ({0: STEPS, 1: ROWS},))
    assert operators(proto) == [*["LSTM"] * 3, *["GRU"] * 3, "RNN", "LSTM", "GRU", "LSTM", "LSTM"]
    agree(proto, model, first, *others)


def test_other_cells_are_scans() -> None:
    layers = [
        gatewise.nn.Recurrent(own, I, H, 2, bidirectional=True),
        gatewise.nn.LSTM(I, H, proj_size=2),
        gatewise.nn.GRU(I, H, zoneout=0.2, recurrent_dropout=0.1),
    ]
    model, (first, *others) = Several(*layers), xs()
    proto = exported(model, first, ({0: STEPS, 1: ROWS},))
    assert operators(proto) == ["Scan"] * 6
    agree(proto, model, first, *others)


def test_float64_is_a_scan() -> None:
    model = Several(gatewise.nn.LSTM(I, H, 2), gatewise.nn.RNN(I, H)).double()
    first, *others = xs(torch.float64)
    proto = exported(model, first, ({0: STEPS, 1: ROWS},))
    assert operators(proto) == ["Scan"] * 3
    agree(proto, model, first, *others, atol=1e-12)


def test_batch_first_and_without_a_batch() -> None:
    layers = [gatewise.nn.GRU(I, H, batch_first=True), gatewise.nn.Recurrent(own, I, H, batch_first=True)]
    model, (first, *others) = Several(*layers), xs()
    agree(exported(model, first, ({0: ROWS, 1: STEPS},)), model, first, *others)
    model = Several(gatewise.nn.LSTM(I, H))
    calls = [(torch.randn(T, I),) for T in (4, 1, 7)]
    agree(exported(model, calls[0], ({0: STEPS},)), model, *calls)


def test_initial_states_resets_and_steps() -> None:
    def call(lstm: nn.Module, step: nn.Module, gru: nn.Module, x: Tensor, h: Tensor, reset: Tensor) -> Any:
        output, (h_n, _) = lstm(x, (h, h))
        return output, step(x[-1], (h_n[0], h[1])), gru(x, h[:1], reset=reset)

    layers = gatewise.nn.LSTM(I, H, 2), gatewise.nn.LSTMCell(I, H), gatewise.nn.GRU(I, H)
    model = Called(call, *layers)
    calls = [(torch.randn(T, B, I), torch.randn(2, B, H), torch.rand(T, B) < 0.4) for T, B in SIZES]
    axes = ({0: STEPS, 1: ROWS}, {1: ROWS}, {0: STEPS, 1: ROWS})
    proto = exported(model, calls[0], axes)
    assert operators(proto) == ["LSTM", "LSTM", "LSTM", "Scan"]
    agree(proto, model, *calls)


def test_a_program_of_torch_export() -> None:
    model, (first, *others) = Several(gatewise.nn.LSTM(I, H)).eval(), xs()
    program = torch.export.export(model, first, dynamic_shapes={"given": ({0: STEPS, 1: ROWS},)})
    assert "gatewise.scan" in str(program.graph)
    found = torch.onnx.export(program, verbose=False)
    assert found is not None
    assert operators(found.model_proto) == ["LSTM"]
    agree(found.model_proto, model, first, *others)


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode:UserWarning")
def test_a_layer_that_is_random_in_training_is_refused() -> None:
    layer, given = gatewise.nn.GRU(I, H, zoneout=0.1), (torch.randn(5, 2, I),)
    with pytest.raises(Exception, match=r"random in training.*call model.eval\(\) first"):
        torch.onnx.export(layer, given, dynamo=True, verbose=False)


def test_outside_of_an_export_the_operator_stays() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    program = torch.export.export(Several(gatewise.nn.GRU(I, H)), (torch.randn(5, 2, I),))
    table: Any = torch._decomp.decomposition_table
    traced = make_fx(program.module(), decomposition_table=table)(torch.randn(5, 2, I))
    assert "gatewise.scan" in str(traced.graph)


def test_rows_of_different_lengths() -> None:
    def call(gru: nn.Module, mine: nn.Module, x: Tensor, lengths: Tensor, h: Tensor) -> Any:
        output, h_n = gru(x, h, lengths)
        return mine(output, lengths=lengths), output, h_n

    layers = (
        gatewise.nn.GRU(I, H, 2, bidirectional=True),
        gatewise.nn.Recurrent(own, 2 * H, H, bidirectional=True),
    )
    model = Called(call, *layers)
    calls = [(torch.randn(T, B, I), torch.randint(0, T + 1, (B,)), torch.randn(4, B, H)) for T, B in SIZES]
    proto = exported(model, calls[0], ({0: STEPS, 1: ROWS}, {0: ROWS}, {1: ROWS}))
    assert operators(proto) == ["GRU", "GRU", "Scan", "Scan"]
    agree(proto, model, *calls)
