"""`watch`: recording layers while they compute."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import cells
from gatewise import nn as ours

T, B, I, H = 5, 3, 2, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def network() -> Any:
    return nn.ModuleDict({"encoder": ours.LSTM(I, H, 2, bidirectional=True), "step": ours.LSTMCell(I, H)})


def test_layers_are_named_by_path_layer_and_direction() -> None:
    model = network()
    with gatewise.watch(model) as seen:
        model["encoder"](torch.randn(T, B, I))
        model["step"](torch.randn(B, I))
    scans = ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert list(seen) == [*(f"encoder.{scan}" for scan in scans), "step.l0"]
    assert len(seen) == 5
    assert "encoder.l1" in seen
    assert "encoder.l2" not in seen


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [cells.rnn, cells.rnn_relu, cells.lstm, cells.gru], ids=lambda c: c.name)
def test_every_value_of_every_cell_is_recorded_time_first(cell: gatewise.Cell, batch_first: bool) -> None:
    layer = ours.Recurrent(cell, I, H, batch_first=batch_first, bidirectional=True)
    with gatewise.watch(layer) as seen:
        output, _ = layer(torch.randn((B, T, I) if batch_first else (T, B, I)))
    output = output.transpose(0, 1) if batch_first else output
    for name, part in zip(("l0", "l0_reverse"), output.chunk(2, -1), strict=True):
        assert seen[name].names == tuple(cell.values)
        assert all(getattr(seen[name], value).shape == (T, B, H) for value in cell.values)
        torch.testing.assert_close(seen[name].h, part.detach())


def test_gates_are_activated_and_preactivations_are_not() -> None:
    layer = ours.LSTM(I, H)
    with gatewise.watch(layer) as seen:
        layer(torch.randn(T, B, I))
    values = seen["l0"]
    torch.testing.assert_close(values.f, torch.sigmoid(values.f_bar))
    torch.testing.assert_close(values.h, values.o * torch.tanh(values.c))
    torch.testing.assert_close(values.c[1:], values.f[1:] * values.c[:-1] + (values.i * values.g)[1:])


def test_watching_changes_neither_output_nor_gradient() -> None:
    layer = ours.GRU(I, H, 2)
    x = torch.randn(T, B, I, requires_grad=True)
    plain, _ = layer(x)
    with gatewise.watch(layer) as seen:
        watched, _ = layer(x)
    assert torch.equal(watched, plain)
    (found,) = torch.autograd.grad(watched.sum(), x)
    assert torch.equal(found, torch.autograd.grad(plain.sum(), x)[0])
    assert not any(getattr(seen["l0"], name).requires_grad for name in seen["l0"].names)


def test_the_last_call_is_kept_and_nothing_is_recorded_outside() -> None:
    layer = ours.RNN(I, H)
    with gatewise.watch(layer) as seen:
        layer(torch.zeros(T, B, I))
        last, _ = layer(torch.ones(2, B, I))
    layer(torch.zeros(T, B, I))
    torch.testing.assert_close(seen["l0"].h, last.detach())


def test_an_error_inside_ends_the_recording() -> None:
    layer = ours.RNN(I, H)
    with pytest.raises(RuntimeError, match="inside"), gatewise.watch(layer) as seen:
        raise RuntimeError("inside")
    layer(torch.zeros(T, B, I))
    assert list(seen) == []


def test_watches_are_independent() -> None:
    first, second = ours.RNN(I, H), ours.GRU(I, H)
    both = nn.ModuleList([first, second])
    with gatewise.watch(both) as all_seen, gatewise.watch(second) as seen:
        first(torch.zeros(T, B, I))
        second(torch.zeros(T, B, I))
        with gatewise.watch(second) as inner:
            pass
        second(torch.ones(T, B, I))
    assert (list(all_seen), list(seen), list(inner)) == (["0.l0", "1.l0"], ["l0"], [])
    assert torch.equal(all_seen["1.l0"].z, seen["l0"].z)


def test_packed_rows_come_in_the_callers_order_with_nan_past_their_end() -> None:
    lengths = [2, 5, 1]
    x = torch.randn(T, B, I)
    layer = ours.LSTM(I, H, bidirectional=True)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    with gatewise.watch(layer) as seen:
        layer(packed)
    for row, length in enumerate(lengths):
        with gatewise.watch(layer) as alone:
            layer(x[:length, row : row + 1])
        for name in ("l0", "l0_reverse"):
            torch.testing.assert_close(seen[name].f[:length, row], alone[name].f[:, 0])
            assert seen[name].f[length:, row].isnan().all()
            assert seen[name].f.shape == (T, B, H)


def test_without_a_batch_it_records_a_batch_of_one() -> None:
    layer = ours.GRU(I, H)
    with gatewise.watch(layer) as seen:
        layer(torch.randn(T, I))
    assert seen["l0"].z.shape == (T, 1, H)


def test_projected_states_have_their_own_width() -> None:
    layer = ours.LSTM(I, H, proj_size=2)
    with gatewise.watch(layer) as seen:
        output, _ = layer(torch.randn(T, B, I))
    assert torch.equal(seen["l0"].h, output.detach())
    assert seen["l0"].c.shape == (T, B, H)


def test_a_copy_made_meanwhile_is_not_watched() -> None:
    layer = ours.GRU(I, H)
    with gatewise.watch(layer) as seen:
        for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            twin(torch.zeros(T, B, I))
    assert list(seen) == []


def test_the_error_for_a_wrong_name_lists_the_right_ones() -> None:
    layer = ours.GRU(I, H)
    with gatewise.watch(layer) as seen:
        with pytest.raises(KeyError, match="none yet; call the model inside the with block"):
            seen["l0"]
        layer(torch.zeros(T, B, I))
    with pytest.raises(KeyError, match=r"no layer 'encoder' was seen\. Seen: l0"):
        seen["encoder"]
    with pytest.raises(AttributeError, match=r"'l0' \(gru\) has no value 'f'\. It has r_bar, .*, z, n, h\."):
        seen["l0"].f  # noqa: B018
    assert {"names", "z", "n_bar_h"} <= set(dir(seen["l0"]))


def test_a_recording_prints() -> None:
    layer = ours.RNN(I, H)
    with gatewise.watch(layer) as seen:
        assert repr(seen) == "<nothing seen>"
        layer(torch.zeros(T, B, I))
    assert repr(seen) == "<l0 (rnn): a_bar, h; [(5, 3, 4)]>"
    assert isinstance(pickle.loads(pickle.dumps(seen))["l0"].h, Tensor)


def test_a_model_that_cannot_be_watched() -> None:
    with (
        pytest.raises(TypeError, match=r"watch: model must be a torch\.nn\.Module. Got list"),
        gatewise.watch([]),  # type: ignore[arg-type]
    ):
        pass
    with pytest.raises(ValueError, match="no recurrent layer of gatewise"), gatewise.watch(nn.Linear(1, 1)):
        pass
    theirs = nn.ModuleDict({"encoder": nn.LSTM(I, H)})
    with pytest.raises(ValueError, match=r"torch's \(encoder\); gatewise.accelerate"), gatewise.watch(theirs):
        pass


def test_steps_units_rows_and_types_can_be_chosen() -> None:
    model, x = network(), torch.randn(T, B, I)
    chosen: dict[str, Any] = {
        "names": ["f", "c"],
        "layers": "encoder.l1*",
        "units": [2, 0],
        "steps": slice(1, 4),
    }
    with gatewise.watch(model) as everything, gatewise.watch(model, **chosen, dtype=torch.float16) as seen:
        model["encoder"](x)
    assert list(seen) == ["encoder.l1", "encoder.l1_reverse"]
    for name, values in seen.items():
        assert values.names == ("f", "c")
        for value in ("f", "c"):
            expected = everything[name][value][1:4][..., [2, 0]].half()
            assert torch.equal(values[value], expected)


def test_a_part_of_the_values_does_not_keep_all_of_them_in_memory() -> None:
    layer = ours.LSTM(I, H)
    with gatewise.watch(layer, steps=slice(1), units=slice(2)) as seen:
        layer(torch.randn(T, B, I))
    assert seen["l0"].f.untyped_storage().nbytes() == 4 * B * 2


def test_kernels_record_only_requested_values() -> None:
    layer = ours.LSTM(I, H)
    with gatewise.watch(layer, ["f"]), gatewise.watch(layer, ["c"]):
        assert list(layer._names_to_record) == ["f", "c"]
    with gatewise.watch(layer, ["f"], grad=True):
        assert list(layer._names_to_record) == []
    assert list(layer._names_to_record) == []
    with gatewise.watch(layer, "f_bar"):
        assert list(layer._names_to_record) == ["f_bar"]


@pytest.mark.parametrize("cell", [cells.rnn, cells.lstm, cells.gru], ids=lambda c: c.name)
def test_gradients_flow_through_values_if_wanted(cell: gatewise.Cell) -> None:
    layer = ours.Recurrent(cell, I, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    with gatewise.watch(layer, grad=True) as seen:
        output, _ = layer(x, lengths=[2, 5, 4])
    state = seen["l1"].h
    torch.testing.assert_close(state.nan_to_num(), output[..., :H], rtol=1e-12, atol=1e-12)
    leaves = [x, *layer.parameters()]
    found, expected = (
        torch.autograd.grad(part.square().sum(), leaves, retain_graph=True, materialize_grads=True)
        for part in (state.nan_to_num(), output[..., :H])
    )
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_unknown_names_are_refused_at_once() -> None:
    layer = ours.GRU(I, H, bidirectional=True)
    with (
        pytest.raises(ValueError, match=r"no layer has the name 'l1'\. There are l0, l0_reverse\."),
        gatewise.watch(layer, layers=["l1"]),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"no layer has a value 'f'\. There are r_bar, .*, h\."),
        gatewise.watch(layer, names=["f"]),
    ):
        pass


def test_a_single_step_has_no_passage() -> None:
    step = ours.LSTMCell(I, H)
    with gatewise.watch(step) as seen:
        step(torch.randn(B, I))
    with pytest.raises(ValueError, match="'l0' is a single step; this needs a layer over a sequence"):
        seen["l0"].ledger()
    with pytest.raises(KeyError, match=r"'l0' \(lstm\) has no value 'z'\. It has i_bar"):
        seen["l0"]["z"]


def test_gradients_flow_through_the_values_of_a_single_step() -> None:
    step, x = ours.LSTMCell(I, H, dtype=torch.float64), torch.randn(B, I, dtype=torch.float64)
    with gatewise.watch(step, grad=True) as seen:
        h, _ = step(x)
    assert seen["l0"].names == tuple(cells.lstm.values)
    found, expected = (torch.autograd.grad(part.sum(), [*step.parameters()]) for part in (seen["l0"].h, h))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
