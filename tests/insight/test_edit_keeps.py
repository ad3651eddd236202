# mypy: allow-untyped-defs, allow-incomplete-defs
"""What an edit does not change, and what `edit` refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise
from gatewise import Cell, CellError, cells
from gatewise import nn as ours
from gatewise.interop.onnx.export import export_onnx
from tests.insight.edited_by_hand import products, rich
from tests.insight.networks import LENGTHS, B, H, I, T, calls, layer_of, leaky, name, seen_by, sequence, start


def same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(nan=7.5), b.nan_to_num(nan=7.5))


@pytest.mark.parametrize("of", [cells.lstm, cells.gru, leaky, products], ids=name)
def test_values_that_are_neither_edited_nor_influenced_keep_their_bits(of: Cell) -> None:
    layer, x, given = layer_of(of), sequence(), torch.randn(H)
    before = seen_by(layer, x, **calls()["both"])["l0"]
    for value in of.values:
        edited = layer
        for other in of.values:  # the same equations in each case
            units = [0, 2] if other == value else []
            edited = gatewise.edit(edited, "l0", steps=[4], rows=[1, 3], units=units, **{other: given})
        after = seen_by(edited, x, **calls()["both"])["l0"]
        assert not same(after[value], before[value])
        assert same(after[value][4, [1, 3]][:, [0, 2]], given[[0, 2]].expand(2, 2))
        for each in of.values:
            assert same(after[each][:4], before[each][:4])
            assert same(after[each][4][:, [1, 3]], before[each][4][:, [1, 3]])
            assert same(after[each][:, [0, 2, 4]], before[each][:, [0, 2, 4]])


@pytest.mark.parametrize("value", ["keep", "write", "leak"])
def test_a_product_fused_into_a_sum_is_rounded_as_before(value: str) -> None:
    layer, x = layer_of(products), sequence()
    new: Any = {value: 3.0}
    before, edited = seen_by(layer, x)["l0"], gatewise.edit(layer, "l0", rows=[1], **new)
    after = seen_by(edited, x)["l0"]
    for each in products.values:
        assert same(after[each][:, 2:], before[each][:, 2:])


@pytest.mark.parametrize("options", [
    {"num_layers": 2, "bidirectional": True}, {"zoneout": 0.3, "recurrent_dropout": 0.2}, {"checkpoint": 4},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("of", [products, rich], ids=name)
def test_an_edit_of_nothing_changes_no_bit(of: Cell, options: dict[str, Any]) -> None:
    layer, x = layer_of(of, **options), sequence()
    nothing: Any = dict.fromkeys(of.values, 3.0)
    edited = gatewise.edit(layer, "*", units=[], **nothing)
    for call in calls().values():
        outputs = []
        for model in (layer, edited):
            torch.manual_seed(11)
            outputs.append(model(x, start(model), **call)[0])
        assert same(*outputs)


@pytest.mark.parametrize("of", [cells.gru, leaky, rich], ids=name)
def test_values_of_the_same_run_patched_in_change_nothing(of: Cell) -> None:
    layer, x = layer_of(of, num_layers=2), sequence()
    seen, output = seen_by(layer, x, lengths=LENGTHS), layer(x, lengths=LENGTHS)[0]
    edited = gatewise.edit(layer, "l0", **{value: seen["l0"][value] for value in of.values})
    torch.testing.assert_close(edited(x, lengths=LENGTHS)[0], output, rtol=1e-6, atol=1e-6)
    # NaN after the end of a row is not a value: rows longer than in the other run keep their own values.
    later = gatewise.edit(layer, "l0", **{of.states[0]: torch.where(seen["l0"].h.isnan(), torch.nan, 0.0)})
    h = seen_by(later, x)["l0"].h
    assert bool((h[:3, 0] == 0).all())
    assert bool((h[3:, 0] != 0).all())


def test_one_value_per_unit_replaces_the_old_one_where_it_is_not_nan() -> None:
    layer, x = layer_of(cells.gru), sequence()
    before = seen_by(layer, x)["l0"]
    edited = gatewise.edit(layer, "l0", h=torch.tensor([0.5, torch.nan, -0.5, torch.nan]), steps=[2])
    after = seen_by(edited, x)["l0"].h
    assert same(
        after[2],
        torch.stack(
            [torch.full((B,), 0.5), before.h[2, :, 1], torch.full((B,), -0.5), before.h[2, :, 3]], -1
        ),
    )
    assert bool(after.isfinite().all())


def test_after_a_patch_of_a_whole_layer_its_input_does_not_matter() -> None:
    layer, x, other = layer_of(cells.gru, num_layers=2), sequence(), torch.randn(T, B, I)
    patched = gatewise.edit(layer, "l0", h=seen_by(layer, other)["l0"].h)
    assert same(patched(x)[0], layer(other)[0])


def test_an_edited_layer_takes_packed_sequences_with_rows_in_the_callers_order() -> None:
    layer, x = layer_of(cells.lstm, bidirectional=True), sequence()
    lengths = torch.tensor([3, 9, 2, 6, 1])
    patch = torch.randn(T, B, H)
    edited = gatewise.edit(layer, "*", rows=[0, 3], steps=slice(1, None), c=patch)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    found = pad_packed_sequence(edited(packed)[0], total_length=T)[0]
    assert same(found, edited(x, lengths=lengths)[0])
    assert not same(found, layer(x, lengths=lengths)[0])


def test_gradients_are_those_of_finite_differences() -> None:
    layer, x = layer_of(products, dtype=torch.float64), sequence(dtype=torch.float64)[:4].requires_grad_()
    edited = gatewise.edit(
        layer, "l0", units=[1], steps=[1, 2], write=lambda w: w * w, f_bar=torch.randn(H).double()
    )
    assert torch.autograd.gradcheck(lambda x, *_: edited(x)[0], (x, *edited.parameters()))


def test_an_edited_model_trains_the_weights_of_the_original() -> None:
    model: Any = nn.ModuleDict({"encoder": layer_of(cells.gru), "norm": nn.BatchNorm1d(H)})
    before = pickle.dumps(model)
    edited = gatewise.edit(model, "encoder.l0", z=0.5)
    assert pickle.dumps(model) == before
    assert [id(p) for p in edited.parameters()] == [id(p) for p in model.parameters()]
    assert [id(b) for b in edited.buffers()] == [id(b) for b in model.buffers()]
    assert edited.state_dict().keys() == model.state_dict().keys()
    assert str(edited["encoder"]) == "Recurrent(gru, 3, 4, edited=['l0'])"
    apart: Any = copy.deepcopy(edited)
    x = sequence()
    assert same(apart["encoder"](x)[0], edited["encoder"](x)[0])
    assert not same(apart["encoder"](x)[0], model["encoder"](x)[0])
    with torch.no_grad():
        apart["encoder"].weight_ih_l0.zero_()
    assert bool(model["encoder"].weight_ih_l0.any())


def test_an_edited_layer_is_pickled_with_its_edits() -> None:
    layer, x = layer_of(products, dtype=torch.float64), sequence(dtype=torch.float64)
    edited = gatewise.edit(layer, "l0", f_bar=lambda f: 2 * f, keep=torch.randn(T, B, H), units=[0, 2])
    edited = gatewise.edit(edited, "l0", f_bar=lambda f: -f, steps=[3])
    again = pickle.loads(pickle.dumps(edited))
    before, after = seen_by(edited, x)["l0"], seen_by(again, x)["l0"]
    assert after.names == tuple(products.values)
    assert all(same(before[name], after[name]) for name in before.names)
    assert same(after.f_bar[0, :, 0], 2 * seen_by(layer, x)["l0"].f_bar[0, :, 0])


def test_an_edited_layer_runs_without_kernels() -> None:
    layer, x = layer_of(cells.lstm, dtype=torch.float64), sequence(dtype=torch.float64)
    edited = gatewise.edit(layer, "l0", units=[1], steps=[2, 5], f_bar=1.5, c=lambda c: -c)
    with gatewise.watch(edited, names=["f_bar", "c"], grad=True) as eager:
        edited(x)
    found = seen_by(edited, x)["l0"]
    assert eager["l0"].names == ("f_bar", "c")
    assert bool((eager["l0"].f_bar[[2, 5], :, 1] == 1.5).all())
    torch.testing.assert_close(eager["l0"].c, found.c)
    assert edited.bfloat16()(x.bfloat16())[0].isfinite().all()


def test_analyses_use_the_edited_equations() -> None:
    layer, x = layer_of(cells.lstm, dtype=torch.float64), sequence(dtype=torch.float64)
    held = gatewise.edit(layer, "l0", f=1.0)
    ledger = seen_by(held, x)["l0"].ledger()
    seen = seen_by(held, x)["l0"]
    torch.testing.assert_close(ledger.written, seen.i * seen.g)
    assert ledger.gate == "f"
    flow = gatewise.gradient_flow(held, lambda: held(x)[0].square().sum(), shares=True)["l0"]
    held(x)[0].square().sum().backward()
    assert flow.shares is not None
    for weight, shares in flow.shares.items():
        torch.testing.assert_close(shares.sum(0), getattr(layer, f"{weight}_l0").grad)
    for analysis in (gatewise.fixed_points, gatewise.lyapunov):
        with pytest.raises(ValueError, match=f"{analysis.__name__}: 'l0' is edited"):
            analysis(seen)
    with pytest.raises(ValueError, match="decompose: 'l0' is edited"):
        gatewise.decompose(held, x, slice(2, 4))


def test_functions_that_read_the_cell_refuse_an_edited_layer(tmp_path: Any) -> None:
    edited = gatewise.edit(layer_of(cells.gru, num_layers=2), "l1", z=1.0)
    with pytest.raises(ValueError, match="save: l1 is edited"):
        gatewise.save(edited, tmp_path / "layers.safetensors")
    with pytest.raises(ValueError, match="export_onnx: l1 is edited"):
        export_onnx(edited, tmp_path / "layers.onnx")
    assert not list(tmp_path.iterdir())


MODEL = {"encoder": (cells.lstm, {"num_layers": 2}), "narrow": (cells.lstm, {"proj_size": 2})}
SHAPES = r"must have shape \(hidden_size,\) = \(4,\) or \(steps, rows, 4\)\. Got \(9, 4\)"
REFUSED: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "decoder",
        {"f": 1.0},
        ValueError,
        r"no layer has the name 'decoder'\. There are encoder\.l0, encoder\.l1",
    ),
    ("step.*", {"f": 1.0}, ValueError, r"'step\.l0' is a single step"),
    ("*r.l0", {"z": 1.0}, ValueError, r"'encoder\.l0' \(lstm\) has no value 'z'\. It has i_bar, f_bar"),
    ("*.l1", {"edit_0_bar": 1.0}, ValueError, r"has no value 'edit_0_bar'"),
    (
        "narrow.l0",
        {"h": 0.0},
        ValueError,
        r"'h' of 'narrow\.l0' is projected\. Edit the values that it is computed from",
    ),
    ("*.l1", {"f": 1.0, "units": [H]}, ValueError, r"units of 'encoder\.l1' .* from -4 to 3\. Got \[4\]"),
    ("*.l1", {"f": 1.0, "units": 2}, ValueError, r"units of 'encoder\.l1' must be a slice or indices"),
    ("*.l1", {"f": "open"}, TypeError, r"f must be a finite number, a function or a tensor .* Got 'open'"),
    ("*.l1", {"f": float("inf")}, TypeError, r"f must be a finite number, .* Got inf"),
    ("*.l1", {"f": torch.zeros(T, H)}, ValueError, SHAPES),
    ("*.l1", {"f": torch.full((H,), torch.inf)}, ValueError, r"values of f must be finite"),
    (
        "*.l1",
        {"f": lambda f: None},
        CellError,
        r"test_edit_keeps.py:\d+: cell 'lstm': the edit of f got",
    ),
    ("*.l1", {"f": lambda f: f > 0}, CellError, r"the edit of f got a comparison"),
    ("*.l1", {"f": gatewise.linear}, CellError, r"the edit of f needs weights or is random"),
    ("*.l1", {"f": lambda f: gatewise.dropout(f, 0.5)}, CellError, r"needs weights or is random"),
    ("*.l1", {"f": lambda f: gatewise.layer_norm(f)}, CellError, r"needs weights or is random"),
]


@pytest.mark.parametrize(("where", "arguments", "error", "message"), REFUSED)
def test_what_edit_refuses(
    where: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = nn.ModuleDict({name: layer_of(of, **options) for name, (of, options) in MODEL.items()})
    model["step"] = ours.LSTMCell(I, H)
    with pytest.raises(error, match=message):
        gatewise.edit(model, where, **arguments)


def test_only_models_are_edited() -> None:
    with pytest.raises(TypeError, match=r"edit: model must be a torch\.nn\.Module. Got str"):
        gatewise.edit("model", "l0", f=1.0)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="edit: the model has no recurrent layer of gatewise"):
        gatewise.edit(nn.Linear(2, 2), "l0", f=1.0)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"steps": [T]}, r"the edit of 'f' in 'l0': steps must be a slice or indices from -9 to 8\. Got \[9\]"),
    ({"rows": [0, -B - 1]}, r"the edit of 'f' in 'l0': rows must be .* from -5 to 4\. Got \[0, -6\]"),
    ({"f": torch.zeros(T + 1, B, H)}, r"must have \(steps, rows\) = \(10, 5\), as .* Got \(9, 5\)"),
])  # fmt: skip
def test_what_an_edited_layer_refuses_when_it_is_called(arguments: dict[str, Any], message: str) -> None:
    edited = gatewise.edit(layer_of(cells.lstm), "l0", **({"f": 1.0} | arguments))
    with pytest.raises(ValueError, match=message):
        edited(sequence())


WRAPPED: dict[str, Any] = {
    "weight_norm": lambda layer: torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0"),
    "old weight_norm": lambda layer: torch.nn.utils.weight_norm(layer, "weight_hh_l0"),
    "spectral_norm": lambda layer: torch.nn.utils.parametrizations.spectral_norm(layer, "weight_ih_l0"),
    "old spectral_norm": lambda layer: torch.nn.utils.spectral_norm(layer, "weight_ih_l0"),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight_hh_l0", 0.5),  # type: ignore[no-untyped-call]
    "accelerated": lambda layer: gatewise.accelerate(nn.Sequential(nn.GRU(I, H)))[0],
}


class Whole(nn.Module):
    """A model that contains a layer twice, and stores its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first, self.again, self.head = layer, nn.Sequential(layer), nn.Linear(H, 1)
        self.kept: Any = None

    def forward(self, x: Tensor) -> Tensor:
        output, state = self.first(x)
        self.kept = {"state": [state, self.again(x)[1]]}
        found: Tensor = self.head(output)
        return found


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_weights_that_are_computed_at_each_call(wrap: Any) -> None:
    model, x = Whole(wrap(ours.GRU(I, H))).eval(), sequence()
    before = model(x)
    assert before.requires_grad
    same_model = gatewise.edit(model, "first.l0", z=0.3, units=[])
    other = gatewise.edit(model, "first.l0", z=0.3, units=[1])
    assert other.again[0] is other.first
    assert other.first is not model.first
    assert same(same_model(x), before)
    assert not same(other(x), before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    assert not same(model(x), before)
    assert same(same_model(x), model(x))
    other(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert isinstance(gatewise.edit(other, "first.l0", h=0.0, steps=[0])(x), Tensor)
