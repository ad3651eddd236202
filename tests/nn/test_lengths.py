# mypy: allow-untyped-defs, allow-incomplete-defs
"""Padded rows with lengths: against torch's packed sequences, and against each row run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewise
from gatewise import cells
from gatewise import nn as ours
from tests.nn.layers import KINDS, H, I, mixed, pair

T = 7

LENGTHS = {
    "falling": [7, 5, 5, 2, 1],
    "shuffled": [2, 7, 1, 5, 5],
    "shorter-than-the-batch": [3, 4, 1],
    "all": [7, 7],
    "one-row": [4],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "both-ways-twice": {"num_layers": 2, "bidirectional": True},
    "batch-first": {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
}


def random_states(theirs: Any, B: int) -> list[Tensor]:
    scans = theirs.num_layers * (2 if theirs.bidirectional else 1)
    widths = [theirs.proj_size or H, H] if theirs.mode == "LSTM" else [H]
    return [torch.randn(scans, B, width, dtype=torch.float64) for width in widths]


def calling(lengths: list[int]) -> Callable[..., Any]:
    """A call of our layer with lengths, and of torch's with packing and padding."""

    def call(layer: Any, x: Tensor, *states: Tensor) -> Any:
        hx = (states if len(states) > 1 else states[0]) if states else None
        if isinstance(layer, ours.Recurrent):
            return layer(x, hx, lengths)
        first = layer.batch_first
        packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=first, enforce_sorted=False)
        output, final = layer(packed, hx)
        return pad_packed_sequence(output, batch_first=first, total_length=T)[0], final

    return call


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_it_computes_what_torch_computes_with_packing(
    kind: str,
    fixed: dict[str, Any],
    options: dict[str, Any],
    lengths: list[int],
    given: bool,
    assert_same: Callable[..., None],
) -> None:
    mine, theirs = pair(kind, **fixed, **options)
    B = len(lengths)
    x = torch.randn((B, T, I) if theirs.batch_first else (T, B, I), dtype=torch.float64)
    assert_same(mine, theirs, calling(lengths), x, *(random_states(theirs, B) if given else []))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_dropout_between_layers_drops_what_torch_drops(kind: str, assert_same: Callable[..., None]) -> None:
    mine, theirs = pair(kind, num_layers=3, dropout=0.4)
    assert_same(mine, theirs, calling([2, 7, 1, 5]), torch.randn(T, 4, I, dtype=torch.float64))


def gradients(output: Tensor, finals: tuple[Tensor, ...], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of one function of the results for all leaves, zeros where there is none."""
    torch.manual_seed(5)
    loss = (output * torch.randn(output.shape, dtype=output.dtype)).sum()
    for final in finals:
        loss = loss + (final * torch.randn(final.shape, dtype=final.dtype)).sum()
    return torch.autograd.grad(loss, leaves, materialize_grads=True)


@pytest.mark.parametrize("lengths", [[3, 0, 7, 0, 1], [0, 0], []], ids=["some", "all", "no-rows"])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("cell_", [cells.lstm, cells.gru, mixed])
def test_rows_without_steps_keep_their_initial_state(cell_: Any, given: bool, lengths: list[int]) -> None:
    layer = ours.Recurrent(cell_, I, H, 2, bidirectional=True, dtype=torch.float64)
    B, single = len(lengths), len(cell_.states) == 1
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(4, B, H, dtype=torch.float64, requires_grad=True) for _ in cell_.states]

    def run(x: Tensor, states: Any, *lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, final = layer(x, (states[0] if single else tuple(states)) if given else None, *lengths)
        return output, (final,) if single else final

    before = tuple(state if given else torch.zeros_like(state) for state in states)
    expected, finals = x.new_zeros(T, B, 2 * H), before
    for row, length in enumerate(lengths):
        if length:
            column = slice(row, row + 1)
            alone, last = run(x[:length, column], [state[:, column] for state in states])
            at = torch.tensor([row])
            expected = expected.index_copy(1, at, torch.cat([alone, alone.new_zeros(T - length, 1, 2 * H)]))
            finals = tuple(f.index_copy(1, at, one) for f, one in zip(finals, last, strict=True))
    output, found = run(x, states, lengths)
    torch.testing.assert_close((output, found), (expected, finals), rtol=1e-12, atol=1e-14)
    leaves = [x, *states, *layer.parameters()]
    if sum(lengths):
        wanted = gradients(expected, finals, leaves)
        torch.testing.assert_close(gradients(output, found, leaves), wanted, rtol=1e-11, atol=1e-12)


def test_values_after_the_end_of_a_row_are_not_read() -> None:
    layer = ours.LSTM(I, H, 2, bidirectional=True)
    x = torch.randn(T, 3, I)
    spoilt = x.clone()
    for row, length in enumerate(lengths := [4, 0, 7]):
        spoilt[length:, row] = torch.nan
    for clean, other in zip(
        torch.utils._pytree.tree_leaves(layer(x, lengths=lengths)),
        torch.utils._pytree.tree_leaves(layer(spoilt, lengths=lengths)),
        strict=True,
    ):
        assert torch.equal(clean, other)


def test_lengths_may_be_a_list_or_integers_of_any_type() -> None:
    layer = ours.GRU(I, H, batch_first=True)
    x = torch.randn(3, T, I)
    expected, _ = layer(x, None, [2, 7, 0])
    for dtype in (torch.int64, torch.int32, torch.uint8, torch.uint16, torch.uint64):
        assert torch.equal(layer(x, lengths=torch.tensor([2, 7, 0], dtype=dtype))[0], expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_rows_of_full_length_are_a_batch_without_lengths(
    batch_first: bool, everything: Callable[..., Any]
) -> None:
    layer = ours.LSTM(I, H, 2, dropout=0.5, zoneout=0.1, batch_first=batch_first)
    x = torch.randn(*((3, T) if batch_first else (T, 3)), I)
    found = everything(layer, lambda layer, x: layer(x, lengths=[T] * 3), x)
    expected = everything(layer, lambda layer, x: layer(x), x)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert gatewise.explain(layer, x, lengths=[T] * 3) == gatewise.explain(layer, x)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_row_has_the_bits_that_it_has_alone(bidirectional: bool) -> None:
    layer = ours.LSTM(I, H, 2, bidirectional=bidirectional)
    x = torch.randn(T, 4, I)
    output, (h_n, c_n) = layer(x, lengths=(lengths := [3, 7, 1, 5]))
    for row, length in enumerate(lengths):
        alone, (h, c) = layer(x[:length, row])
        assert torch.equal(output[:length, row], alone)
        assert torch.equal(h_n[:, row], h)
        assert torch.equal(c_n[:, row], c)


@pytest.mark.parametrize("batch_first", [False, True])
def test_derivatives_of_a_users_cell_against_finite_differences(batch_first: bool) -> None:
    layer = ours.Recurrent(mixed, 2, 2, bidirectional=True, batch_first=batch_first, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(3, 3, 2, dtype=torch.float64)
    h, m = torch.randn(2, 2, 3, 2, dtype=torch.float64)

    def function(x: Tensor, h: Tensor, m: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, weights, strict=True))
        output, finals = torch.func.functional_call(layer, given, (x, (h, m), [1, 3, 0]))
        return output, *finals

    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, h, m, *layer.parameters())]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("batch_first", [False, True])
def test_watched_values_are_nan_after_the_end_of_a_row(batch_first: bool) -> None:
    layer = ours.LSTM(I, H, 2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(T, 4, I)
    with gatewise.watch(layer) as seen:
        output, _ = layer(x.transpose(0, 1) if batch_first else x, lengths=(lengths := [2, 0, 5, 1]))
    output = output.transpose(0, 1) if batch_first else output
    for row, length in enumerate(lengths):
        for name in seen:
            values = seen[name]
            for value in values.names:
                assert getattr(values, value).shape == (T, 4, H)
                assert not getattr(values, value)[:length, row].isnan().any()
                assert getattr(values, value)[length:, row].isnan().all()
        both = torch.cat([seen["l1"].h, seen["l1_reverse"].h], -1)
        assert torch.equal(both[:length, row], output[:length, row])


def test_the_eager_interpreter_computes_the_same() -> None:
    layer = ours.GRU(I, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, 3, I, dtype=torch.float64)
    expected, _ = layer(x, lengths=[3, 0, 6])
    each, _ = torch.func.vmap(lambda x: layer(x, lengths=[3, 0, 6]))(torch.stack([x, -x]))
    torch.testing.assert_close(each[0], expected, rtol=1e-12, atol=1e-14)
    assert layer.to("meta")(x.to("meta"), lengths=[3, 0, 6])[0].shape == (T, 3, 2 * H)


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ([1, 2], ValueError, r"lengths must have shape \(batch,\) = \(3,\)\. Got \(2,\)\."),
        (torch.ones(3, 1).long(), ValueError, r"\(batch,\) = \(3,\)\. Got \(3, 1\)\."),
        ([1, 8, 2], ValueError, r"lengths must be from 0 to 7, the steps of the input\. Got 1 to 8\."),
        ([1, -1, 2], ValueError, r"from 0 to 7, .* Got -1 to 2\."),
        ([1.0, 2.0, 3.0], TypeError, r"lengths must be whole numbers\. Got torch\.float32\."),
        (torch.ones(3, dtype=torch.bool), TypeError, r"lengths must be whole numbers\. Got torch\.bool\."),
    ],
)
def test_wrong_lengths_are_refused(lengths: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ours.GRU(I, H)(torch.zeros(T, 3, I), lengths=lengths)


def test_lengths_without_a_batch_are_refused() -> None:
    layer = ours.GRU(I, H)
    with pytest.raises(ValueError, match=r"lengths must be None for input without a batch"):
        layer(torch.zeros(T, I), lengths=[3])
    packed = pack_padded_sequence(torch.zeros(T, 2, I), torch.tensor([7, 3]))
    with pytest.raises(ValueError, match=r"lengths must be None for a PackedSequence"):
        layer(packed, lengths=[7, 3])
