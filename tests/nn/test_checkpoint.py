# mypy: allow-untyped-defs, allow-incomplete-defs
"""Layers with `checkpoint`, which save states only every few steps, against the same layers without it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import gatewise
from gatewise import cells
from gatewise import nn as ours
from tests.nn.layers import H, I, mixed

T, B = 11, 4


CELLS = {"lstm": cells.lstm, "rnn": cells.rnn, "gru": cells.gru, "mixed": mixed}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no-bias-both-ways": {"bias": False, "bidirectional": True},
    "batch-first": {"num_layers": 2, "bidirectional": True, "batch_first": True},
}
LENGTHS = {"whole": None, "lengths": [3, 0, 11, 8]}


class Other(Tensor):
    """A tensor that the kernels do not support."""


def leaves_of(layer: Any, given: bool) -> list[Tensor]:
    """The input and, with `given`, initial states."""
    torch.manual_seed(2)
    dtype = layer.weight_ih_l0.dtype
    scans = layer.num_layers * (1 + layer.bidirectional)
    x = torch.randn((B, T, I) if layer.batch_first else (T, B, I), dtype=dtype)
    states = [torch.randn(scans, B, H, dtype=dtype) for _ in layer.cell.states]
    return [leaf.requires_grad_() for leaf in (x, *(states if given else []))]


def resets_for(layer: Any) -> Tensor:
    """A reset at a quarter of all steps, including the first of a segment and of the sequence."""
    reset = torch.rand(T, B, generator=torch.Generator().manual_seed(4)) < 0.25
    reset[[0, 4, 10], 0] = reset[8, 2] = True
    return reset.T if layer.batch_first else reset


def results(
    layer: Any, leaves: Sequence[Tensor], lengths: list[int] | None, reset: Tensor | None = None
) -> list[Tensor]:
    x, *states = leaves
    given = (states[0] if len(states) == 1 else tuple(states)) if states else None
    output, final = layer(x, given, lengths, reset)
    return [output, *(final if isinstance(final, tuple) else (final,))]


def gradients(found: Sequence[Tensor], layer: Any, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    derivatives = [torch.randn_like(result) for result in found]
    return torch.autograd.grad(found, [*leaves, *layer.parameters()], derivatives)


def with_checkpoint(layer: Any, steps: int) -> Any:
    twin = copy.deepcopy(layer)
    twin.checkpoint = steps
    return twin


@pytest.mark.parametrize("steps", [1, 4, 11, 50])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("resetting", [False, True], ids=["on", "resets"])
@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("cell_", CELLS.values(), ids=CELLS.keys())
def test_results_and_gradients_are_those_without_checkpoint(
    cell_: Any, options: dict[str, Any], given: bool, resetting: bool, lengths: list[int] | None, steps: int
) -> None:
    layer = ours.Recurrent(cell_, I, H, dtype=torch.float64, **options)
    leaves, reset = leaves_of(layer, given), resets_for(layer) if resetting else None
    expected = results(layer, leaves, lengths, reset)
    twin = with_checkpoint(layer, steps)
    found = results(twin, leaves, lengths, reset)
    for mine, plain in zip(found, expected, strict=True):
        assert torch.equal(mine, plain)
    pairs = zip(gradients(found, twin, leaves), gradients(expected, layer, leaves), strict=True)
    for mine, plain in pairs:
        torch.testing.assert_close(mine, plain, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("cell_", [cells.lstm, cells.gru, cells.rnn], ids=["lstm", "gru", "rnn"])
def test_gradients_of_input_and_states_have_the_same_bits(cell_: Any, lengths: list[int] | None) -> None:
    layer = ours.Recurrent(cell_, I, H, 2, bidirectional=True)
    leaves = leaves_of(layer, given=True)
    twin = with_checkpoint(layer, 3)
    expected = gradients(results(layer, leaves, lengths), layer, leaves)
    found = gradients(results(twin, leaves, lengths), twin, leaves)
    for mine, plain in zip(found[: len(leaves)], expected, strict=False):
        assert torch.equal(mine, plain)


@pytest.mark.parametrize("wanted", ["input", "h_0", "weight_hh_l0", "bias_ih_l0"])
@pytest.mark.parametrize("part", [0, 1])
def test_only_requested_leaves_get_a_gradient(part: int, wanted: str) -> None:
    layer = with_checkpoint(ours.GRU(I, H, dtype=torch.float64), 4)
    x, h = leaves_of(layer, given=True)
    named = {"input": x, "h_0": h, **dict(layer.named_parameters())}
    for name, leaf in named.items():
        leaf.requires_grad_(name == wanted)
    torch.autograd.backward(layer(x, h)[part].sum())
    assert [name for name, leaf in named.items() if leaf.grad is not None] == [wanted]
    plain = with_checkpoint(layer, 0)
    (expected,) = torch.autograd.grad(
        plain(x, h)[part].sum(), dict(plain.named_parameters()).get(wanted, named[wanted])
    )
    torch.testing.assert_close(named[wanted].grad, expected, rtol=1e-13, atol=1e-14)


def test_without_gradients_there_are_no_segments() -> None:
    layer = ours.LSTM(I, H, 2, checkpoint=3)
    x = torch.randn(T, B, I)
    expected, _ = layer(x)
    with torch.no_grad():
        assert torch.equal(layer(x)[0], expected)


def test_backward_may_run_twice() -> None:
    layer = ours.LSTM(I, H, checkpoint=4)
    x = torch.randn(T, B, I, requires_grad=True)
    total = layer(x)[0].sum()
    (first,) = torch.autograd.grad(total, x, retain_graph=True)
    assert torch.equal(torch.autograd.grad(total, x)[0], first)


def test_packed_sequences() -> None:
    layer = ours.GRU(I, H, 2, bidirectional=True, dtype=torch.float64)
    packed = pack_padded_sequence(
        torch.randn(T, B, I, dtype=torch.float64), torch.tensor([3, 11, 8, 1]), enforce_sorted=False
    )
    leaf = packed.data.requires_grad_()
    found, expected = (layer_(packed)[0].data for layer_ in (with_checkpoint(layer, 4), layer))
    assert torch.equal(found, expected)
    mine, plain = (torch.autograd.grad(output.sum(), leaf)[0] for output in (found, expected))
    torch.testing.assert_close(mine, plain, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("batch_first", [False, True])
def test_watched_values_are_the_same(batch_first: bool, lengths: list[int] | None) -> None:
    layer = ours.LSTM(I, H, bidirectional=True, batch_first=batch_first)
    twin, x = with_checkpoint(layer, 4), torch.randn((B, T, I) if batch_first else (T, B, I))
    with gatewise.watch(torch.nn.ModuleList([layer, twin])) as seen:
        plain, _ = layer(x, lengths=lengths)
        output, _ = twin(x, lengths=lengths)
        torch.autograd.backward(output.sum())
    assert torch.equal(output, plain)
    for name in ("l0", "l0_reverse"):
        for value in seen[f"0.{name}"].names:
            mine, expected = getattr(seen[f"1.{name}"], value), getattr(seen[f"0.{name}"], value)
            assert torch.equal(mine.nan_to_num(7), expected.nan_to_num(7))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("resetting", [False, True], ids=["on", "resets"])
@pytest.mark.parametrize("reverse", [False, True])
def test_without_a_kernel_torch_computes_the_segments_again(
    reverse: bool, resetting: bool, lengths: list[int] | None
) -> None:
    layer = ours.LSTM(I, H, bidirectional=reverse, dtype=torch.float64)
    leaves, reset = leaves_of(layer, given=True), resets_for(layer) if resetting else None
    others = [leaf.as_subclass(Other) for leaf in leaves]
    twin = with_checkpoint(layer, 4)
    with gatewise.strict(), pytest.raises(RuntimeError, match="subclass"):
        twin(others[0])
    found, expected = results(twin, others, lengths, reset), results(layer, leaves, lengths, reset)
    for mine, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.as_subclass(Tensor), plain, rtol=1e-13, atol=1e-14)
    for mine, plain in zip(gradients(found, twin, leaves), gradients(expected, layer, leaves), strict=True):
        torch.testing.assert_close(mine.as_subclass(Tensor), plain, rtol=1e-12, atol=1e-13)


def test_saved_memory_does_not_grow_with_the_number_of_steps() -> None:
    def kept(layer: ours.Recurrent) -> int:
        sizes: list[int] = []

        def keep(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        x = torch.randn(900, B, I, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layer(x)
        return sum(sizes) - x.nbytes - sum(weight.nbytes for weight in layer.parameters())

    states = 2 * B * H * 4  # bytes of the states of one step
    assert kept(ours.LSTM(I, H, checkpoint=30)) <= (900 // 30 + 1) * states
    assert kept(ours.LSTM(I, H)) >= 900 * states


def test_it_is_printed_copied_and_pickled() -> None:
    layer = ours.GRU(I, H, 2, checkpoint=7)
    assert repr(layer) == "GRU(3, 5, num_layers=2, checkpoint=7)"
    assert repr(ours.Recurrent(cells.gru, I, H, checkpoint=7)) == "Recurrent(gru, 3, 5, checkpoint=7)"
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.checkpoint == 7
    old = ours.GRU(I, H)
    del old.__dict__["checkpoint"]  # as pickled by an earlier version
    assert pickle.loads(pickle.dumps(old)).checkpoint == 0
    assert repr(old) == "GRU(3, 5)"


def test_wrong_values_are_refused() -> None:
    with pytest.raises(TypeError, match="checkpoint should be of type int, got: float"):
        ours.GRU(I, H, checkpoint=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"checkpoint must be a number of steps, or 0 for none\. Got -1\."):
        ours.GRU(I, H, checkpoint=-1)
    with pytest.raises(ValueError, match=r"checkpoint must be a number of steps, or 0 for none\. Got True\."):
        ours.GRU(I, H, checkpoint=True)


def test_a_gradient_of_a_gradient() -> None:
    layer, x = ours.GRU(I, H, checkpoint=3), torch.randn(T, B, I, requires_grad=True)
    found = []
    for steps in (3, 0):
        layer.checkpoint = steps
        (once,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        found.append(torch.autograd.grad(once.square().sum(), list(layer.parameters())))
    torch.testing.assert_close(*found)


def watched(call: Any, *inputs: Tensor) -> Any:
    with FlopCounterMode(display=False):
        return call(*inputs)


def compiled(call: Any, *inputs: Tensor) -> Any:
    return torch.compile(call, backend="aot_eager")(*inputs)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("seen_by", [watched, compiled])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True, "batch_first": True}, {"zoneout": 0.4}], ids=str
)
def test_resets_and_random_masks_where_torch_computes_again(
    options: dict[str, Any], lengths: Sequence[int] | None, seen_by: Any
) -> None:
    torch.manual_seed(0)
    layer: Any = ours.GRU(I, H, checkpoint=2, dtype=torch.float64, **options)
    shape = (B, T) if layer.batch_first else (T, B)
    x, reset = torch.randn(*shape, I, dtype=torch.float64), torch.rand(shape) < 0.4

    def results(of: Any) -> list[Tensor]:
        torch.manual_seed(3)
        output, h = of(lambda x, reset: layer(x, lengths=lengths, reset=reset), x, reset)
        return [output, h, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]

    expected = results(lambda call, *inputs: call(*inputs))
    torch.testing.assert_close(results(seen_by), expected, rtol=1e-10, atol=1e-11)


def test_under_transforms_of_torch_every_step_is_saved() -> None:
    layer, x = ours.LSTM(I, H, checkpoint=2), torch.randn(T, B, I)

    def loss(x: Tensor) -> Any:
        return layer(x)[0].square().sum()

    found = torch.func.grad(loss)(x)
    torch.testing.assert_close(found, torch.autograd.grad(loss(x.requires_grad_()), x)[0])
