# mypy: allow-untyped-defs, allow-incomplete-defs
"""Rows that are reset in the middle, against every segment run as its own sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import gatewise
from gatewise import nn as ours
from tests.nn.layers import KINDS, H, I, mixed, pair

T, B = 9, 4

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-bias": {"bias": False},
    "both-ways": {"bidirectional": True},
}
# The steps before which each row is reset.
WHERE: dict[str, list[list[int]]] = {
    "here-and-there": [[3, 5], [], [1, 2, 8], [4]],
    "never": [[], [], [], []],
    "at-the-start": [[0], [0, 6], [], [0]],
    "always": [list(range(T))] * B,
    "all-rows-at-once": [[4]] * B,
}


def mask(where: list[list[int]]) -> Tensor:
    reset = torch.zeros(T, len(where), dtype=torch.bool)
    for row, steps in enumerate(where):
        reset[steps, row] = True
    return reset


def row_by_row(layer: Any, x: Tensor, states: tuple[Tensor, ...], reset: Tensor, ends: list[int]) -> Any:
    """Every segment of every row, run alone by a one-layer module of torch from the row's initial state.

    The final state of the first direction is that of the last segment, the one of the second direction that
    of the first segment.
    """
    outputs, finals = [], []
    for row, end in enumerate(ends):
        starts = sorted({0, *(t for t in range(end) if reset[t, row])})
        pieces, last = [], []
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            given = tuple(state[:, row : row + 1] for state in states)
            piece, final = layer(x[start:stop, row : row + 1], given if len(given) > 1 else given[0])
            pieces.append(piece)
            last.append(final if isinstance(final, tuple) else (final,))
        outputs.append(torch.cat([*pieces, x.new_zeros(len(x) - end, 1, pieces[0].size(2))]))
        chosen = [last[-1], last[0]][: 2 if layer.bidirectional else 1]
        finals.append([torch.stack([of[n][d] for d, of in enumerate(chosen)]) for n in range(len(states))])
    return torch.cat(outputs, 1), tuple(torch.cat(column, 1) for column in zip(*finals, strict=True))


@pytest.mark.parametrize("ends", [None, [9, 4, 6, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE.keys())
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize(("kind", "fixed"), KINDS.values(), ids=KINDS.keys())
def test_a_reset_row_is_its_segments_run_alone_by_torch(
    kind: str,
    fixed: dict[str, Any],
    options: dict[str, Any],
    where: list[list[int]],
    ends: list[int] | None,
    assert_same: Callable[..., None],
) -> None:
    mine, theirs = pair(kind, **fixed, **options)
    scans, widths = 1 + theirs.bidirectional, [theirs.proj_size or H, H][: 2 if kind == "LSTM" else 1]
    states = [torch.randn(scans, B, width, dtype=torch.float64) for width in widths]
    reset = mask(where)

    def call(layer: Any, x: Tensor, *states: Tensor) -> Any:
        if isinstance(layer, ours.Recurrent):
            return layer(x, states if len(states) > 1 else states[0], lengths=ends, reset=reset)
        return row_by_row(layer, x, states, reset, ends or [T] * B)

    assert_same(mine, theirs, call, torch.randn(T, B, I, dtype=torch.float64), *states)


@pytest.mark.parametrize("lengths", [None, [9, 0, 6, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_resets_of_several_layers(kind: str, given: bool, lengths: list[int] | None) -> None:
    both = getattr(ours, kind)(I, H, 2, bidirectional=True, batch_first=True, dtype=torch.float64)
    first = getattr(ours, kind)(I, H, bidirectional=True, dtype=torch.float64)
    second = getattr(ours, kind)(2 * H, H, bidirectional=True, dtype=torch.float64)
    weights = both.state_dict()
    first.load_state_dict({name: weight for name, weight in weights.items() if "_l0" in name})
    second.load_state_dict({k.replace("_l1", "_l0"): w for k, w in weights.items() if "_l1" in k})
    x, reset = torch.randn(T, B, I, dtype=torch.float64), mask(WHERE["here-and-there"])
    h, c = torch.randn(2, 4, B, H, dtype=torch.float64)

    def hx(layers: slice) -> Any:
        if not given:
            return None
        return (h[layers], c[layers]) if kind == "LSTM" else h[layers]

    found, final = both(x.transpose(0, 1), hx(slice(None)), lengths, reset.T)
    middle, below = first(x, hx(slice(0, 2)), lengths, reset)
    expected, above = second(middle, hx(slice(2, 4)), lengths, reset)
    assert torch.equal(found.transpose(0, 1), expected)
    for whole, lower, upper in zip(
        *((s if kind == "LSTM" else (s,)) for s in (final, below, above)), strict=True
    ):
        assert torch.equal(whole, torch.cat([lower, upper]))


def test_a_reset_at_the_first_step_changes_nothing() -> None:
    layer = ours.LSTM(I, H, 2, bidirectional=True)
    x = torch.randn(T, B, I)
    expected, _ = layer(x)
    assert torch.equal(layer(x, reset=mask(WHERE["never"]))[0], expected)
    assert torch.equal(layer(x, reset=mask([[0]] * B))[0], expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_without_a_batch(batch_first: bool) -> None:
    layer = ours.GRU(I, H, bidirectional=True, batch_first=batch_first)
    x, reset = torch.randn(T, I), mask([[2, 5]])[:, 0]
    output, h_n = layer(x, reset=reset)
    pieces = [layer(piece)[0] for piece in (x[:2], x[2:5], x[5:])]
    assert torch.equal(output, torch.cat(pieces))
    assert torch.equal(h_n[0], output[-1, :H])
    assert torch.equal(h_n[1], output[0, H:])


@pytest.mark.parametrize("lengths", [None, [1, 3, 0]], ids=["whole", "lengths"])
def test_derivatives_of_a_users_cell_against_finite_differences(lengths: list[int] | None) -> None:
    layer = ours.Recurrent(mixed, 2, 2, bidirectional=True, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(3, 3, 2, dtype=torch.float64)
    h, m = torch.randn(2, 2, 3, 2, dtype=torch.float64)
    reset = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)

    def function(x: Tensor, h: Tensor, m: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, weights, strict=True))
        output, finals = torch.func.functional_call(layer, given, (x, (h, m), lengths, reset))
        return output, *finals

    leaves = [leaf.detach().clone().requires_grad_() for leaf in (x, h, m, *layer.parameters())]
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_watched_values_are_reset_too() -> None:
    layer = ours.LSTM(I, H, bidirectional=True)
    x = torch.randn(T, B, I)
    with gatewise.watch(layer) as seen:
        layer(x, reset=mask([[4]] * B))
    with gatewise.watch(layer) as alone:
        layer(x[4:])
    for name in ("l0", "l0_reverse"):
        for value in seen[name].names:
            torch.testing.assert_close(getattr(seen[name], value)[4:], getattr(alone[name], value))


def test_the_mask_may_have_any_memory_layout() -> None:
    layer = ours.GRU(I, H, bidirectional=True)
    x, reset = torch.randn(T, B, I), mask(WHERE["here-and-there"])
    expected, _ = layer(x, reset=reset)
    assert torch.equal(layer(x, reset=reset.T.contiguous().T)[0], expected)
    assert torch.equal(layer(x, reset=torch.stack([reset, ~reset], -1)[..., 0])[0], expected)
    same = torch.arange(T)[:, None].eq(4).expand(T, B)
    assert torch.equal(layer(x, reset=same)[0], layer(x, reset=same.clone())[0])


@pytest.mark.parametrize(
    ("reset", "error", "words"),
    [
        (torch.zeros(T, 2), TypeError, r"reset must be a tensor of torch\.bool\. Got torch\.float32\."),
        ([True] * T, TypeError, r"reset must be a tensor of torch\.bool\. Got list\."),
        (torch.zeros(2, T).bool(), ValueError, r"without its last axis, \(9, 2\)\. Got \(2, 9\)\."),
        (torch.zeros(T).bool(), ValueError, r"without its last axis, \(9, 2\)\. Got \(9,\)\."),
        (torch.zeros(T, 2, device="meta").bool(), ValueError, r"device of the input, cpu\. Got meta\."),
    ],
)
def test_a_wrong_mask_is_refused(reset: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ours.GRU(I, H)(torch.zeros(T, 2, I), reset=reset)


def test_a_packed_sequence_takes_no_mask() -> None:
    packed = pack_padded_sequence(torch.zeros(T, 2, I), torch.tensor([9, 3]))
    with pytest.raises(ValueError, match=r"reset must be None for a PackedSequence\. .* padded input and"):
        ours.GRU(I, H)(packed, reset=torch.zeros(T, 2).bool())
