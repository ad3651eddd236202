"""`export_onnx` of whole models: the file computes what the module does, or there is an error and no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import gatewise
from gatewise import cell, cells, export_onnx, layer_norm, sigmoid, tanh
from gatewise.interop.onnx import OnnxError, whole
from tests.nn.models import MODELS

pytestmark = pytest.mark.usefixtures("torchlib_once")


@cell
def light(h, *, f, g):  # type: ignore[no-untyped-def]
    """A user's cell."""
    f = sigmoid(f)
    h = f * h + (1 - f) * tanh(layer_norm(g))
    return h


class Output(nn.Module):
    """The output of a recurrent layer, without its states."""

    def forward(self, found: tuple[Tensor, Any]) -> Tensor:
        return found[0]


def agree(path: Path, model: nn.Module, *calls: Tensor) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for x in calls:
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            expected = model.eval()(x)
        for got, want in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
            torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_common_models(name: str, tmp_path: Path) -> None:
    made, x, others = MODELS[name]
    model, path = made().train(), tmp_path / "model.onnx"
    export_onnx(model, path, x)
    assert model.training
    assert "Scan" not in {node.op_type for node in onnx.load(path).graph.node}
    agree(path, model, x, *others)


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": lambda i, **options: gatewise.nn.LSTM(i, 4, **options),
    "gru": lambda i, **options: gatewise.nn.GRU(i, 4, **options),
    "rnn": lambda i, **options: gatewise.nn.RNN(i, 4, nonlinearity="relu", **options),
    "peephole": lambda i, **options: gatewise.nn.Recurrent(cells.lstm_peephole, i, 4, **options),
    "light": lambda i, **options: gatewise.nn.Recurrent(light, i, 4, **options),
}
BETWEEN: list[Callable[[], nn.Module]] = [nn.Tanh, nn.Identity, lambda: nn.Dropout(0.5)]


@st.composite
def stacks(draw: st.DrawFn) -> nn.Sequential:
    """Recurrent layers with random options, and other modules between them."""
    parts, width, rows_first = list[nn.Module](), 3, draw(st.booleans())
    for kind in draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=3)):
        two = draw(st.booleans())
        options = {"num_layers": draw(st.integers(1, 2)), "bias": draw(st.booleans()), "bidirectional": two}
        zoneout = 0.1 * draw(st.booleans())
        parts += [LAYERS[kind](width, batch_first=rows_first, zoneout=zoneout, **options), Output()]
        parts.append(draw(st.sampled_from(BETWEEN))())
        width = 8 if two else 4
    return nn.Sequential(*parts, nn.LayerNorm(width), nn.Linear(width, 2))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=stacks(), seed=st.integers(0, 99))
def test_random_stacks(model: nn.Module, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("stack") / "model.onnx"
    torch.manual_seed(seed)
    export_onnx(model, path, torch.randn(3, 2, 3))
    agree(path, model, *(torch.randn(*sizes, 3) for sizes in ((1, 1), (7, 4), (2, 5))))


def test_recurrent_modules_of_torch_are_native_nodes(tmp_path: Path) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(5, 2, 3)
    model = nn.Sequential(nn.LSTM(3, 4, 2), Output(), nn.RNN(4, 4, nonlinearity="relu"), Output())
    export_onnx(model, path, x)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert [operator for operator in operators if operator in ("LSTM", "RNN")] == ["LSTM", "LSTM", "RNN"]
    assert [type(layer) for layer in (model[0], model[2])] == [nn.LSTM, nn.RNN]
    agree(path, model, torch.randn(9, 3, 3))


def test_states_names_and_axes(tmp_path: Path) -> None:
    path, inputs = tmp_path / "model.onnx", (torch.randn(5, 2, 3), torch.zeros(1, 2, 4))
    gru = gatewise.nn.GRU(3, 4)
    export_onnx(gru, path, *inputs, input_names=["x", "h0"], output_names=["y", "h"])
    graph = onnx.load(path).graph
    (steps, rows, x), (one, again, h) = (value.type.tensor_type.shape.dim for value in graph.input)
    assert (x.dim_value, one.dim_value, h.dim_value) == (3, 1, 4)
    assert steps.dim_param != rows.dim_param == again.dim_param != ""
    assert [value.name for value in (*graph.input, *graph.output)] == ["x", "h0", "y", "h"]


class Refusing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if bool(x.sum() > 0) else -x


class Folding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = gatewise.nn.GRU(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        folded: Tensor = self.rnn(x)[0].reshape(5, -1)
        return folded


def test_what_cannot_be_written_or_checked_is_refused(tmp_path: Path) -> None:
    path, x = tmp_path / "model.onnx", torch.randn(5, 2, 3)
    with pytest.raises(OnnxError, match=r"torch cannot export the Refusing: .*data-dependent"):
        export_onnx(Refusing(), path, x)
    with pytest.raises(OnnxError, match="the Folding takes no other sizes than those of the inputs given"):
        export_onnx(Folding(), path, x)
    with pytest.raises(
        TypeError, match=r"give example inputs of the Sequential: export_onnx\(module, path, x"
    ):
        export_onnx(nn.Sequential(gatewise.nn.GRU(3, 4)), path)
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module\. Got str\."):
        export_onnx("model", path, x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lengths is for a Recurrent without example inputs"):
        export_onnx(Folding(), path, x, lengths=True)
    with pytest.raises(ValueError, match="input_names is for a module with example inputs"):
        export_onnx(gatewise.nn.GRU(3, 4), path, input_names=["x"])
    with pytest.raises(ValueError, match="l0 is edited"):
        export_onnx(nn.Sequential(gatewise.edit(gatewise.nn.GRU(3, 4), "l0", z=1.0)), path, x)
    assert not list(tmp_path.iterdir())


def test_a_file_with_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(request: whole.Request) -> Any:
        proto = exported(request)
        proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
        return proto

    exported = whole._exported
    monkeypatch.setattr(whole, "_exported", off)
    with pytest.raises(
        OnnxError, match=r"over inputs of shapes .* the file gives another .* than the module"
    ):
        export_onnx(nn.Sequential(nn.Linear(3, 4)), tmp_path / "model.onnx", torch.randn(5, 2, 3))
    assert not list(tmp_path.iterdir())
