"""Memory safety: tensors that do not fit together are refused before a kernel accesses memory outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gatewise
from gatewise import cells
from tests.nn.layers import mixed

T, B, I, H = 5, 3, 4, 6
CLEAN = (RuntimeError, ValueError, TypeError)
MARGIN = 64

LAYERS: dict[str, Callable[[], Any]] = {
    "lstm": lambda: gatewise.nn.LSTM(I, H),
    "lstm, two layers": lambda: gatewise.nn.LSTM(I, H, 2),
    "lstm, projected": lambda: gatewise.nn.LSTM(I, H, proj_size=2, bidirectional=True),
    "gru, rows first": lambda: gatewise.nn.GRU(I, H, batch_first=True),
    "rnn, no biases": lambda: gatewise.nn.RNN(I, H, bias=False),
    "gru, checkpoint": lambda: gatewise.nn.GRU(I, H, checkpoint=2),
    "learned states": lambda: gatewise.nn.LSTM(I, H, learn_initial_state=True),
    "every kind of parameter": lambda: gatewise.nn.Recurrent(mixed, I, H),
    "layer norm": lambda: gatewise.nn.Recurrent(cells.lstm_layer_norm, I, H),
    "peepholes": lambda: gatewise.nn.Recurrent(cells.lstm_peephole, I, H),
    "linear": lambda: gatewise.nn.Recurrent(cells.gru_reset_before, I, H),
    "no gate sees the state": lambda: gatewise.nn.Recurrent(cells.min_gru, I, H),
    "dropped weights": lambda: gatewise.nn.LSTM(I, H, weight_drop=0.5, recurrent_dropout=0.5),
}


class Poisoned:
    """Copies of tensors with NaN on both sides."""

    def __init__(self) -> None:
        self._margins: list[Tensor] = []

    def copy(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        memory = torch.full((tensor.numel() + 2 * MARGIN,), torch.nan, dtype=tensor.dtype)
        self._margins += [memory[:MARGIN], memory[-MARGIN:]]
        found = memory[MARGIN : MARGIN + tensor.numel()].view(tensor.shape)
        return found.copy_(tensor)

    def check(self) -> None:
        assert all(bool(margin.isnan().all()) for margin in self._margins)


def states(layer: Any, batch: int = B) -> Any:
    scans = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or H] + [H] * (len(layer.cell.states) - 1)
    made = tuple(torch.randn(scans, batch, width) for width in widths)
    return made if len(made) > 1 else made[0]


def flat(results: Any) -> list[Tensor]:
    if isinstance(results, Tensor):
        return [results]
    return [tensor for part in results if part is not None for tensor in flat(part)]


def clean(layer: Any, poisoned: Poisoned, call: Callable[[], Any]) -> bool:
    """Whether a call, forward or backward, was refused. If it was not, its results must be finite."""
    try:
        results = [result for result in flat(call()) if result.is_floating_point()]
        torch.autograd.backward([result.sum() for result in results if result.requires_grad])
        gradients = [p.grad for p in layer.parameters() if p.grad is not None and p.device.type == "cpu"]
        assert all(bool(tensor.isfinite().all()) for tensor in [*results, *gradients])
        return False
    except CLEAN:
        return True
    finally:
        poisoned.check()


def make(kind: str, poisoned: Poisoned) -> Any:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    for parameter in layer.parameters():
        parameter.data = poisoned.copy(parameter.data)
    return layer


def input_of(layer: Any) -> Tensor:
    return torch.randn(B, T, I) if layer.batch_first else torch.randn(T, B, I)


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 12, 18, 23, 24, 25, 48]), max_size=3).map(tuple)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_parameter_of_another_shape_is_refused(data: st.DataObject) -> None:
    poisoned = Poisoned()
    layer = make(data.draw(st.sampled_from(sorted(LAYERS))), poisoned)
    name = data.draw(st.sampled_from([name for name, _ in layer.named_parameters()]))
    right = getattr(layer, name)
    near = st.tuples(*(st.integers(max(0, size - 1), size + 1) for size in right.shape))
    shape = data.draw(SHAPES | near)
    wrong = poisoned.copy(torch.randn(shape))
    how = data.draw(st.sampled_from(["in place", "data", "functional"]))
    x = poisoned.copy(input_of(layer))
    hx = states(layer) if data.draw(st.booleans()) else None

    def call() -> Any:
        if how == "functional":
            return torch.func.functional_call(layer, {name: wrong.requires_grad_()}, (x, hx))
        if how == "data":
            right.data = wrong
        else:
            layer._parameters[name] = nn.Parameter(wrong)
        return layer(x, hx)

    unread = name.startswith("initial_") and hx is not None
    assert clean(layer, poisoned, call) == (shape != right.shape and not unread) or shape == right.shape


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_inputs_that_do_not_fit_are_refused(data: st.DataObject) -> None:
    poisoned = Poisoned()
    layer = make(data.draw(st.sampled_from(sorted(LAYERS))), poisoned)
    x = poisoned.copy(torch.randn(data.draw(SHAPES | st.just(tuple(input_of(layer).shape)))))
    given_states = [poisoned.copy(state) for state in flat(states(layer))]
    which = data.draw(st.integers(0, len(given_states) - 1))
    given_states[which] = poisoned.copy(
        torch.randn(data.draw(SHAPES | st.just(tuple(given_states[which].shape))))
    )
    hx = tuple(given_states) if len(given_states) > 1 else given_states[0]
    reset = None
    if data.draw(st.booleans()):
        reset = torch.rand(data.draw(SHAPES | st.just(tuple(x.shape[:2])))) < 0.3
    lengths = data.draw(st.none() | st.lists(st.integers(-1, T + 1), max_size=4))
    clean(layer, poisoned, lambda: layer(x, hx if data.draw(st.booleans()) else None, lengths, reset))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_attributes_that_were_changed_are_noticed(data: st.DataObject) -> None:
    poisoned = Poisoned()
    layer = make(data.draw(st.sampled_from(sorted(LAYERS))), poisoned)
    name = data.draw(st.sampled_from(["input_size", "hidden_size", "proj_size", "bias", "bidirectional"]))
    hx = states(layer) if data.draw(st.booleans()) else None
    x = poisoned.copy(input_of(layer))
    setattr(layer, name, data.draw(st.integers(0, 8)))
    with suppress(AttributeError):  # no parameter has this name
        clean(layer, poisoned, lambda: layer(x, hx))


BATCH_SIZES = st.lists(st.integers(-2, 6), max_size=6)
ORDERS = st.none() | st.lists(st.integers(-1, 5), max_size=5)


@given(
    st.sampled_from(["lstm", "lstm, projected", "every kind of parameter"]),
    BATCH_SIZES,
    ORDERS,
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_packed_sequences_whose_parts_do_not_fit_are_refused(
    kind: str, sizes: list[int], order: list[int] | None, given_states: bool
) -> None:
    poisoned = Poisoned()
    layer = make(kind, poisoned)
    data, batch_sizes = poisoned.copy(torch.randn(10, I)), torch.tensor(sizes, dtype=torch.int64)
    rows = None if order is None else torch.tensor(order, dtype=torch.int64)
    fits = sizes and sum(sizes) == 10 and min(sizes) > 0 and sizes == sorted(sizes, reverse=True)
    fits = fits and (order is None or sorted(order) == list(range(sizes[0])))
    hx = states(layer, max([1, *sizes[:1]])) if given_states else None

    def call() -> Any:
        inverse = None if rows is None or not fits else rows.argsort()
        return layer(PackedSequence(data, batch_sizes, rows, inverse), hx)

    assert clean(layer, poisoned, call) == (not fits)


@pytest.mark.parametrize(
    "batch_sizes", [torch.tensor([3.0, 2.0]), torch.tensor([[3, 2]]), torch.tensor([3, 2]).int()]
)
def test_batch_sizes_that_are_not_a_list_of_integers_are_refused(batch_sizes: Tensor) -> None:
    with pytest.raises(RuntimeError, match="batch_sizes of a PackedSequence must be int64"):
        gatewise.nn.GRU(I, H)(PackedSequence(torch.randn(5, I), batch_sizes))


def test_batch_sizes_that_change_before_backward() -> None:
    layer, x = gatewise.nn.GRU(I, H), torch.randn(T, B, I)

    def gradient(change: bool) -> Any:
        layer.zero_grad()
        packed = pack_padded_sequence(x, torch.tensor([5, 3, 1]))
        output, _ = layer(packed)
        if change:
            packed.batch_sizes.fill_(1000)
        output.data.sum().backward()
        return {name: p.grad for name, p in layer.named_parameters()}["weight_hh_l0"]

    assert torch.equal(gradient(True), gradient(False))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_storage_that_was_resized_is_refused(data: st.DataObject) -> None:
    # Where torch's own operators read a weight first, torch does not notice it either.
    layer = LAYERS[
        data.draw(st.sampled_from(sorted(LAYERS.keys() - {"dropped weights", "lstm, projected"})))
    ]()
    x, hx = input_of(layer).requires_grad_(), states(layer)
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    choices = {"x": x, "reset": reset, **dict(layer.named_parameters())}
    choices |= {f"hx {n}": state for n, state in enumerate(flat(hx))}
    name = data.draw(st.sampled_from(sorted(choices)))
    victim = choices[name]
    unread = name.startswith("initial_") or not victim.numel()
    size = data.draw(st.sampled_from([0, victim.nbytes // 2]))
    if data.draw(st.booleans()):
        victim.untyped_storage().resize_(size)
        refused = clean(layer, Poisoned(), lambda: layer(x, hx, reset=reset))
        assert refused or unread
    else:
        output, _ = layer(x, hx, reset=reset)
        victim.untyped_storage().resize_(size)
        clean(layer, Poisoned(), lambda: output)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("held", [0, 8])
def test_an_input_whose_storage_was_resized(batch_first: bool, held: int) -> None:
    layer, x = gatewise.nn.GRU(I, H, batch_first=batch_first), torch.randn(4, 4, I)
    x.untyped_storage().resize_(held)
    with pytest.raises(RuntimeError, match=f"Its storage holds {held}: it was resized"):
        layer(x)


def test_the_error_names_the_reason() -> None:
    layer = gatewise.nn.LSTM(I, H)
    layer.bias_hh_l0 = nn.Parameter(torch.randn(7))
    with pytest.raises(RuntimeError, match=r"lstm: bias_hh must have shape \(24,\) .* Got \(7,\)\."):
        layer(torch.randn(T, B, I))


def test_parts_of_complex_numbers_have_the_right_sign() -> None:
    """Torch stores the sign of a conjugate's imaginary part outside of its memory."""
    layer, z = gatewise.nn.RNN(1, 1), torch.randn(1, 1, 1, dtype=torch.complex64)
    x = z.conj().imag
    assert x.is_neg()
    assert torch.equal(layer(x)[0], layer(x.clone())[0])


def test_hooks_that_change_what_was_saved() -> None:
    layer, x = gatewise.nn.LSTM(I, H), torch.randn(T, B, I)
    layer(x)[0].sum().backward()
    expected = [weight.grad for weight in layer.parameters()]
    layer.zero_grad()
    for changed in (Tensor.double, lambda t: t.T.contiguous().T if t.dim() == 2 else t.flip(0)):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, changed):
            output, _ = layer(x)
        layer.zero_grad()
        output.sum().backward()
        if changed is Tensor.double:
            torch.testing.assert_close([weight.grad for weight in layer.parameters()], expected)
