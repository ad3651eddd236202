"""The parts of predictions: the numbers of torch, and the same bits in any batch."""

from __future__ import annotations

import doctest
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

import gatewise.runtime.jobs.affine
import gatewise.runtime.jobs.scaling
import gatewise.runtime.jobs.vocabulary
from gatewise import Cell, cells
from gatewise.nn import Recurrent
from gatewise.nn.modules.files import options_of, weights_of
from gatewise.runtime.jobs.affine import Affine, Convolution
from gatewise.runtime.jobs.arithmetic import embedding, log_softmax, pooled, sigmoid, softmax
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.layers_file import StoredLayers
from tests.compiler.examples import everything

Array = NDArray[Any]


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.mark.parametrize(
    "module",
    [gatewise.runtime.jobs.affine, gatewise.runtime.jobs.scaling, gatewise.runtime.jobs.vocabulary],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_examples_in_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def bits(x: Array) -> Array:
    return x.view(f"u{x.itemsize}")


def same_bits(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool((bits(a) == bits(b)).all())


def normal(seed: int, *shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("biased", [True, False])
def test_an_affine_map_is_that_of_torch(dtype: str, biased: bool) -> None:
    w, b = normal(1, 37, 50, dtype=dtype), normal(2, 37, dtype=dtype) if biased else None
    x = normal(3, 4, 5, 50, dtype=dtype)
    expected = x.astype("f8") @ w.T.astype("f8") + (0 if b is None else b)
    tolerance = 50 * np.finfo(dtype).eps * 50
    np.testing.assert_allclose(Affine(w, b)(x), expected, rtol=0, atol=float(tolerance))


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 70),
    st.integers(0, 3),
    st.sampled_from(["f4", "f8"]),
)
def test_a_row_of_an_affine_map_has_the_same_bits_in_any_batch(
    I: int, O: int, N: int, shift: int, dtype: str
) -> None:
    affine = Affine(normal(1, O, I, dtype=dtype), normal(2, O, dtype=dtype))
    room = np.zeros(N * I + shift, dtype)
    x = room[shift:].reshape(N, I)
    x[:] = normal(3, N, I, dtype=dtype)
    whole = affine(x)
    prepared = affine.prepared(1)
    for n in range(N):
        assert same_bits(affine(x[n].copy()), whole[n])
        prepared.x[0] = x[n]
        prepared.step()
        assert same_bits(prepared.out[0], whole[n])


def test_a_large_affine_map_goes_by_blocks() -> None:
    affine = Affine(normal(1, 700, 3))
    x = normal(2, 1000, 3)
    assert same_bits(affine(x)[990:], affine(x[990:]))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "weight must be of float32", lambda: Affine(np.zeros((2, 3), "f2"))),
        (ValueError, r"weight must be a matrix \[O, I\]", lambda: Affine(np.zeros(3, "f4"))),
        (ValueError, r"bias must be float64 of shape \(2,\)", lambda: Affine(np.zeros((2, 3)), np.zeros(3))),
        (TypeError, "x must be an array of float64", lambda: Affine(np.zeros((2, 3)))(np.zeros(3, "f4"))),
        (ValueError, r"x must have shape \[..., 3\]", lambda: Affine(np.zeros((2, 3)))(np.zeros(2))),
        (ValueError, r"weight must have shape \[O, I, W\]", lambda: Convolution(np.zeros((2, 3)))),
    ],
)
def test_wrong_arrays_are_refused(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_a_convolution_is_that_of_torch_on_each_row_alone(width: int) -> None:
    lengths, (T, B, I, O) = np.array([9, 0, 1, 4]), (9, 4, 3, 6)
    torch.manual_seed(width)
    theirs = nn.Conv1d(I, O, width, padding="same")
    ours = Convolution(*(theirs.state_dict()[name].numpy() for name in ("weight", "bias")))
    x = normal(1, T, B, I)
    x[np.arange(T)[:, None] >= lengths] = np.nan
    found = ours(x, lengths)
    for b, length in enumerate(lengths):
        assert not found[length:, b].any()
        if length:
            with torch.no_grad():
                alone = theirs(torch.from_numpy(x[:length, b].T.copy())[None])[0].numpy().T
            np.testing.assert_allclose(found[:length, b], alone, rtol=1e-5, atol=1e-5)
            assert same_bits(ours(x[:length, b : b + 1], lengths[b : b + 1])[:, 0], found[:length, b])


def layers_of(network: Recurrent) -> Layers:
    return Layers(StoredLayers(network.cell, options_of(network), weights_of(network)))


def agrees(network: Recurrent, x: Array, lengths: Array | None) -> None:
    """The layers without torch give the bits of the network in output, states and last output."""
    with torch.no_grad():
        given = None if lengths is None else torch.from_numpy(lengths)
        output, finals = network(torch.from_numpy(x), lengths=given)
    found = layers_of(network)(x, lengths)
    assert same_bits(found.output, output.numpy())
    for ours, theirs in zip(
        found.states.values(), finals if isinstance(finals, tuple) else [finals], strict=True
    ):
        assert same_bits(ours, theirs.numpy())
    D = 1 + network.bidirectional
    assert same_bits(found.last, np.concatenate(list(next(iter(found.states.values()))[-D:]), axis=1))


OPTIONS: list[tuple[Cell, dict[str, Any]]] = [
    (cells.lstm, {"num_layers": 2}),
    (cells.lstm, {"bidirectional": True, "learn_initial_state": True}),
    (cells.lstm, {"num_layers": 2, "bidirectional": True, "proj_size": 3}),
    (cells.gru, {"num_layers": 3, "bidirectional": True, "zoneout": 0.2, "bias": False}),
    (cells.rnn, {"zoneout": 0.1, "recurrent_dropout": 0.5, "dropout": 0.5, "num_layers": 2}),
    (everything, {"bidirectional": True, "learn_initial_state": True, "proj_size": 3}),
]


@pytest.mark.parametrize(("cell", "options"), OPTIONS, ids=lambda value: getattr(value, "name", ""))
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_layers_give_the_bits_of_the_network(cell: Cell, options: dict[str, Any], data: Any) -> None:
    I, H = data.draw(st.sampled_from([(1, 4), (3, 8), (17, 5)]))
    T, B = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 20))
    torch.manual_seed(I)
    network = Recurrent(cell, I, H, **options).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    x = normal(5, T, B, I)
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    agrees(network, x, None)
    agrees(network, x, lengths)


def test_a_row_has_the_same_bits_alone_and_whatever_lies_past_its_end() -> None:
    torch.manual_seed(0)
    layers = layers_of(Recurrent(cells.gru, 3, 8, 2, bidirectional=True).eval())
    x, lengths = normal(1, 12, 6, 3), np.array([12, 3, 0, 7, 7, 1])
    x[np.arange(12)[:, None] >= lengths] = np.nan
    found = layers(x, lengths)
    for b, length in enumerate(lengths):
        alone = layers(x[:length, b : b + 1])
        assert same_bits(alone.output[:, 0], found.output[:length, b])
        assert not found.output[length:, b].any()
        assert same_bits(alone.last[0], found.last[b])


def test_threads_may_use_the_same_layers() -> None:
    torch.manual_seed(0)
    layers = layers_of(Recurrent(cells.lstm, 3, 16, 2, bidirectional=True).eval())
    affine = Affine(normal(3, 5, 32))
    batches = [normal(n, 40, 1 + n % 7, 3) for n in range(24)]

    def scores(x: Array) -> Array:
        return affine(layers(x).output)

    expected = list(map(scores, batches))
    with ThreadPoolExecutor(4) as pool:
        assert all(map(same_bits, pool.map(scores, batches), expected))


def test_float64_layers() -> None:
    torch.manual_seed(0)
    agrees(Recurrent(cells.lstm, 3, 8, dtype=torch.float64).eval(), normal(1, 5, 2, 3, dtype="float64"), None)


def test_a_stream_of_layers_gives_their_bits() -> None:
    torch.manual_seed(0)
    layers = layers_of(Recurrent(cells.lstm, 3, 8, 2, learn_initial_state=True).eval())
    x = normal(1, 7, 2, 3)
    one, other = layers.stream(2), layers.stream(2)
    assert same_bits(np.stack([one.step(x_t) for x_t in x]), layers(x).output)
    assert same_bits(other.run(x), layers(x).output)


def test_bidirectional_layers_do_not_stream() -> None:
    layers = layers_of(Recurrent(cells.rnn, 3, 8, bidirectional=True))
    with pytest.raises(ValueError, match="cannot stream"):
        layers.stream()


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        (np.zeros((4, 2, 3)), None, "x must be an array of float32. Got float64."),
        (np.zeros((4, 2, 2), "f4"), None, r"x must have shape \[T, B, 3\]"),
        (np.zeros((4, 2, 3), "f4"), np.array([1]), "lengths must be 2 whole numbers"),
        (np.zeros((4, 2, 3), "f4"), np.array([1.0, 2.0]), "lengths must be 2 whole numbers"),
        (np.zeros((4, 2, 3), "f4"), np.array([1, 5]), "lengths must be from 0 to 4. Got 1 to 5."),
    ],
)
def test_layers_refuse_wrong_arrays(x: Array, lengths: Array | None, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        layers_of(Recurrent(cells.rnn, 3, 8))(x, lengths)


def test_embedding_looks_up_rows() -> None:
    weight = normal(1, 5, 2)
    assert same_bits(embedding(weight, np.array([[4, 0], [1, 1]])), weight[[[4, 0], [1, 1]]])
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match="ids must be from 0 to 4"):
            embedding(weight, np.array([wrong]))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 5), st.data())
def test_pooling_and_softmax_do_not_depend_on_the_batch(T: int, B: int, C: int, data: Any) -> None:
    x = normal(1, T, B, C)
    lengths = np.array(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    x[np.arange(T)[:, None] >= lengths] = np.nan
    for how in ("last", "mean", "max"):
        whole = pooled(x, lengths, how)
        for b, length in enumerate(lengths):
            own = x[:length, b].astype("f8")
            steps = (
                {"last": own[-1:], "mean": own.mean(0, keepdims=True), "max": own.max(0, keepdims=True)}
                if length
                else {}
            )
            np.testing.assert_allclose(whole[b], steps[how][0] if length else 0, rtol=1e-5, atol=1e-6)
            alone = pooled(np.ascontiguousarray(x[:length, b : b + 1]), lengths[b : b + 1], how)
            assert same_bits(alone[0], whole[b])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 50), st.integers(1, 70), st.floats(0.1, 100))
def test_probabilities(N: int, C: int, size: float) -> None:
    scores = normal(1, N, C) * np.float32(size)
    theirs = torch.from_numpy(scores).double()
    for ours, expected in (
        (softmax, torch.softmax(theirs, -1)), (log_softmax, torch.log_softmax(theirs, -1)),
        (sigmoid, torch.sigmoid(theirs)),
    ):  # fmt: skip
        whole = ours(scores)
        # A logarithm of a probability near 1 has the rounding error of that probability.
        least = 1e-14 if ours is log_softmax else 0
        np.testing.assert_allclose(whole, expected.numpy(), rtol=1e-13, atol=least)
        apart = np.asfortranarray(scores)
        for n in range(N):
            assert same_bits(ours(scores[n].copy()), whole[n])
            assert same_bits(ours(apart[n]), whole[n])
