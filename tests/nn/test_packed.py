"""Packed sequences: rows of any length, against torch and against each row run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatewise import cells
from gatewise import nn as ours
from tests.nn.layers import KINDS, H, I, pair

T = 7

LENGTHS = {
    "falling": [7, 5, 5, 2, 1],
    "equal": [7, 7, 7],
    "one-row": [4],
    "one-step": [1, 1],
    "shuffled": [2, 7, 1, 5, 5],
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-bias": {"bias": False},
    "all": {"num_layers": 3, "bidirectional": True, "batch_first": True, "dropout": 0.4},
}


def pack(x: Tensor, lengths: list[int]) -> PackedSequence:
    return pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=lengths == sorted(lengths)[::-1])


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_packed_input_gives_packed_output_as_in_torch(
    kind: str,
    fixed: dict[str, Any],
    options: dict[str, Any],
    lengths: list[int],
    given: bool,
    assert_same: Callable[..., None],
) -> None:
    made = pair(kind, **fixed, **options)
    scans = made[1].num_layers * (2 if made[1].bidirectional else 1)
    widths = [made[1].proj_size or H, H] if kind == "LSTM" else [H]
    states = [torch.randn(scans, len(lengths), width, dtype=torch.float64) for width in widths]

    def call(layer: Any, x: Tensor, *hx: Tensor) -> Any:
        packed = pack(x, lengths)
        output, final = layer(packed, (hx if len(hx) > 1 else hx[0]) if hx else None)
        assert isinstance(output, PackedSequence)
        assert torch.equal(output.batch_sizes, packed.batch_sizes)
        assert output.sorted_indices is packed.sorted_indices
        assert output.unsorted_indices is packed.unsorted_indices
        return output.data, final

    x = torch.randn(max(lengths), len(lengths), I, dtype=torch.float64)
    assert_same(made[0], made[1], call, x, *(states if given else []))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_row_has_the_results_that_it_has_alone(bidirectional: bool) -> None:
    lengths = LENGTHS["shuffled"]
    layer = ours.Recurrent(cells.gru, I, H, 2, bidirectional=bidirectional, dtype=torch.float64)
    x = torch.randn(T, len(lengths), I, dtype=torch.float64)
    packed, h_n = layer(pack(x, lengths))
    output, _ = pad_packed_sequence(packed, padding_value=torch.nan)
    for row, length in enumerate(lengths):
        alone, h_alone = layer(x[:length, row])
        torch.testing.assert_close(output[:length, row], alone, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(h_n[:, row], h_alone, rtol=1e-12, atol=1e-14)
        assert output[length:, row].isnan().all()


def test_packed_float32_keeps_its_type_and_gradient() -> None:
    layer = ours.LSTM(I, H)
    x = torch.randn(T, 3, I, requires_grad=True)
    output, _ = layer(pack(x, [3, 7, 5]))
    assert output.data.dtype == torch.float32
    torch.autograd.backward(output.data.sum())
    assert x.grad is not None
    assert (x.grad[3:, 0] == 0).all()
    assert (x.grad[:3, 0] != 0).all()


@pytest.mark.parametrize(
    ("order", "back"), [(None, [1, 0]), ([1, 0], [0, 1]), ([1, 0], [0, 7]), ([1, 0], [1])]
)
def test_indices_that_are_not_inverse_to_each_other_are_refused(order: Any, back: Any) -> None:
    indices = (None if rows is None else torch.tensor(rows) for rows in (order, back))
    packed = PackedSequence(torch.randn(3, 3), torch.tensor([2, 1]), *indices)
    with pytest.raises(RuntimeError, match="unsorted_indices of a PackedSequence must undo"):
        ours.GRU(3, 4)(packed)
