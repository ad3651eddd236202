# mypy: allow-untyped-defs, allow-incomplete-defs
"""Exported layers, run in ONNX Runtime by the test, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from gatewise import (
    Input,
    Vector,
    cell,
    cells,
    exp,
    export_onnx,
    import_onnx,
    layer_norm,
    linear,
    log,
    maximum,
    minimum,
    nn,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
)
from gatewise.interop.onnx import OnnxError, step
from tests.interop.onnx.models import by_reference
from tests.nn.layers import mixed

I, H = 3, 5


@cell
def every_operation(h, *, a, b: Input):
    """Each operation of the language once."""
    x = maximum(minimum(a, 2), -b) / (1 + exp(-abs(b)))
    y = where(x < b, relu(x), softplus(-x)) + where(a <= h, sigmoid(a), sqrt(h * h + 1))
    return tanh(y - log(2 + h * h)) ** 3


@cell
def barely(h, m, k, *, a: Input, v: Vector):
    """States that are the same for all rows, that pass on another state, and that are constant."""
    return v * 2, h + a, where(v < 3, v, v)


@cell
def peepholes(h, c, *, i, f, g, o, p_i: Vector, p_f: Vector, p_o: Vector):
    """Gers & Schmidhuber 2000."""
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
    h = sigmoid(o + p_o * c) * tanh(c)
    return h, c


@cell
def named_like_the_file(h, *, X, Y_h: Vector, initial_h: Vector):
    """Parameters with the names of inputs and outputs of the file."""
    return tanh(X + Y_h) + initial_h


@cell
def reset_first(h, *, r, z, n: Input):
    """Cho et al. 2014."""
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n + linear(r * h))
    return z * h + (1 - z) * n


@cell
def normalised(h, c, *, i, f, g, o):
    """Ba, Kiros & Hinton 2016."""
    i, f, g, o = layer_norm(i, f, g, o)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


MODULES: dict[str, Any] = {
    "rnn": lambda **options: nn.RNN(I, H, **options),
    "rnn relu": lambda **options: nn.RNN(I, H, nonlinearity="relu", bias=False, **options),
    "lstm": lambda **options: nn.LSTM(I, H, 2, bidirectional=True, **options),
    "lstm dropout": lambda **options: nn.LSTM(I, H, 2, dropout=0.5, **options),
    "gru": lambda **options: nn.GRU(I, H, 2, batch_first=True, bidirectional=True, **options),
    "mixed": lambda **options: nn.Recurrent(mixed, I, H, 2, bidirectional=True, **options),
    "mixed batch first": lambda **options: nn.Recurrent(mixed, I, H, bias=False, batch_first=True, **options),
    "every operation": lambda **options: nn.Recurrent(every_operation, I, H, **options),
    "barely": lambda **options: nn.Recurrent(barely, I, H, bidirectional=True, **options),
    "peepholes": lambda **options: nn.Recurrent(peepholes, I, H, bidirectional=True, **options),
    "projected": lambda **options: nn.LSTM(I, H, 2, proj_size=2, bidirectional=True, **options),
    "reset first": lambda **options: nn.Recurrent(reset_first, I, H, 2, bidirectional=True, **options),
    "normalised": lambda **options: nn.Recurrent(normalised, I, H, bidirectional=True, **options),
    "zoneout": lambda **options: nn.Recurrent(cells.gru, I, H, zoneout=0.3, **options),
    "learned": lambda **options: nn.Recurrent(cells.gru, I, H, 2, learn_initial_state=True, **options),
    "recurrent dropout": lambda **options: nn.Recurrent(cells.lstm, I, H, recurrent_dropout=0.3, **options),
    "lstm step": lambda **options: nn.LSTMCell(I, H, **options),
    "named like the file": lambda **options: nn.Step(named_like_the_file, I, H, **options),
    "mixed step": lambda **options: nn.Step(mixed, I, H, bias=False, **options),
}
NATIVE = {
    "rnn": "RNN",
    "rnn relu": "RNN",
    "lstm": "LSTM",
    "lstm dropout": "LSTM",
    "gru": "GRU",
    "peepholes": "LSTM",
    "reset first": "GRU",
    "learned": "GRU",
    "recurrent dropout": "LSTM",
}
TYPES = [torch.float32, torch.float64]


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def run(path: Path, *given: torch.Tensor) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feeds = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
    return [torch.from_numpy(value) for value in session.run(None, feeds)]


def drawn(module: Any, T: int, B: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Input and states."""
    dtype = next(module.parameters()).dtype
    rows: tuple[int, ...] = (B,)
    sizes = rows
    if isinstance(module, nn.Recurrent):
        rows = (module.num_layers * (2 if module.bidirectional else 1), B)
        sizes = (B, T) if module.batch_first else (T, B)
    widths = [module.proj_size or H, *[H] * (len(module.cell.states) - 1)]
    states = [torch.randn(*rows, width, dtype=dtype) for width in widths]
    return torch.randn(*sizes, I, dtype=dtype), tuple(states)


def flat(results: Any) -> list[torch.Tensor]:
    return [results] if isinstance(results, torch.Tensor) else [t for part in results for t in flat(part)]


def results(module: Any, x: torch.Tensor, states: tuple[torch.Tensor, ...], *more: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return flat(module(x, states if len(states) > 1 else states[0], *more))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("kind", MODULES)
def test_file_and_import_give_the_numbers_of_the_module(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = MODULES[kind](dtype=dtype)
    export_onnx(module, tmp_path / "layer.onnx")
    assert module.training
    again = import_onnx(tmp_path / "layer.onnx")
    assert (NATIVE.get(kind) in operators(tmp_path / "layer.onnx")) == (kind in NATIVE and dtype == TYPES[0])
    bound = 1e-5 if dtype == torch.float32 else 1e-12
    for T, B in ((1, 1), (6, 4), (9, 2)):
        x, states = drawn(module, T, B)
        expected = results(module.eval(), x, states)
        for found in (run(tmp_path / "layer.onnx", x, *states), flat(again(x, *states))):
            torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("kind", [kind for kind in MODULES if isinstance(MODULES[kind](), nn.Recurrent)])
def test_rows_of_different_lengths(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = MODULES[kind](dtype=dtype)
    export_onnx(module, tmp_path / "layer.onnx", lengths=True)
    again = import_onnx(tmp_path / "layer.onnx")
    assert again.inputs[-1] == "sequence_lens"
    bound = 1e-5 if dtype == torch.float32 else 1e-12
    x, states = drawn(module, 7, 4)
    lengths = torch.tensor([3, 0, 7, 1], dtype=torch.int32)
    expected = results(module.eval(), x, states, lengths)
    for found in (run(tmp_path / "layer.onnx", x, *states, lengths), flat(again(x, *states, lengths))):
        torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("kind", MODULES)
def test_the_file_is_valid_and_the_reference_agrees(kind: str, tmp_path: Path) -> None:
    whole = MODULES[kind]()
    options = {"bidirectional": False} if isinstance(whole, nn.Recurrent) else {}
    module = type(whole)(*([whole.cell] if type(whole) in (nn.Recurrent, nn.Step) else []), I, H, **options)
    module = module.double()
    export_onnx(module, tmp_path / "layer.onnx")
    onnx.checker.check_model(tmp_path / "layer.onnx", full_check=True)
    x, states = drawn(module, 4, 3)
    names = ["X", *(f"initial_{name}" for name in module.cell.states)]
    feeds = {name: tensor.numpy() for name, tensor in zip(names, (x, *states), strict=True)}
    found = by_reference(onnx.load(tmp_path / "layer.onnx"), feeds)  # the reference scans forwards only
    for theirs, mine in zip(found, results(module, x, states), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-12, atol=1e-12)


def test_the_file_describes_itself(tmp_path: Path) -> None:
    export_onnx(nn.LSTM(I, H, 2, bidirectional=True), tmp_path / "layer.onnx", lengths=True)
    model = onnx.load(tmp_path / "layer.onnx")
    sizes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {
        "X": ["T", "B", I], "initial_h": [4, "B", H], "initial_c": [4, "B", H], "sequence_lens": ["B"],
        "Y": ["T", "B", 2 * H], "Y_h": [4, "B", H], "Y_c": [4, "B", H],
    }  # fmt: skip
    assert model.doc_string == str(cells.lstm)


def test_something_else_than_a_recurrent_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="give example inputs of the LSTM"):
        export_onnx(torch.nn.LSTM(I, H), tmp_path / "layer.onnx")
    with pytest.raises(ValueError, match=r"must be float32 or float64\. Got torch\.float16\."):
        export_onnx(nn.GRU(I, H).half(), tmp_path / "layer.onnx")
    with pytest.raises(ValueError, match="lengths is for sequences"):
        export_onnx(nn.GRUCell(I, H), tmp_path / "layer.onnx", lengths=True)
    with pytest.raises(ValueError, match=r"must have less than 2 GB\. Got 6\.0 GB\."):
        export_onnx(nn.LSTM(I, 20_000, device="meta"), tmp_path / "layer.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_unsupported_operation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(step._WRITERS, "softplus")
    with pytest.raises(OnnxError, match="cell 'every_operation' has the unsupported operation 'softplus'"):
        export_onnx(nn.Recurrent(every_operation, I, H), tmp_path / "layer.onnx")
    assert list(tmp_path.iterdir()) == []


class OddLayer(nn.GRU):
    """After the first steps, computes something else than its cell."""

    def forward(self, *given):
        output: Any
        output, h_n = super().forward(*given)
        return output.where(torch.arange(len(output))[:, None, None] < 3, 0.5), h_n


class OddStep(nn.GRUCell):
    """Computes something else than its cell."""

    def forward(self, *given):
        h: Any = super().forward(*given)
        return h + 0.01


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OddLayer(I, H), r"over 6 steps of 1 rows the file gives another Y than the module"),
        (OddLayer(I, H).double(), r"over 6 steps of 1 rows the file gives another Y than the module"),
        (OddStep(I, H), r"over 1 steps of 1 rows the file gives another Y_h than the module: .* by 0\.01,"),
    ],
)
def test_a_file_with_other_results_is_not_written(module: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "layer.onnx"
    path.write_text("what was there")
    with pytest.raises(OnnxError, match=message):
        export_onnx(module, path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "layer.onnx"
    path.write_text("what was there")
    export_onnx(nn.GRU(I, H), path)
    assert operators(path) >= {"GRU"}
    assert list(tmp_path.iterdir()) == [path]


def test_weights_so_large_that_rounding_grows_with_each_step(tmp_path: Path) -> None:
    module = nn.RNN(I, 64)
    torch.manual_seed(0)
    torch.nn.init.normal_(module.get_parameter("weight_hh_l0"), std=0.4)
    export_onnx(module, tmp_path / "layer.onnx")
    assert operators(tmp_path / "layer.onnx") >= {"RNN"}


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    module: Any = nn.Recurrent(mixed, I, H)
    with torch.no_grad():
        module.weight_ih_l0[0] = np.nan
    export_onnx(module, tmp_path / "layer.onnx")
    x, states = drawn(module, 3, 2)
    expected = results(module, x, states)
    found = run(tmp_path / "layer.onnx", x, *states)
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-5)
