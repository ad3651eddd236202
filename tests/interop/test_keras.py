"""Weights of Keras layers, against Keras itself."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

os.environ["KERAS_BACKEND"] = "torch"

import keras

from gatewise import cells, nn
from gatewise.interop.keras import from_keras, to_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

T, B, I, H = 7, 3, 4, 5
RNG = np.random.default_rng(0)


def theirs(kind: str, bidirectional: bool, **options: Any) -> Any:
    """A layer of Keras with random weights and biases."""
    layer = getattr(keras.layers, kind)(H, return_sequences=True, **options)
    layer = keras.layers.Bidirectional(layer) if bidirectional else layer
    layer.build((B, T, I))
    layer.set_weights([RNG.normal(scale=0.5, size=w.shape) for w in layer.get_weights()])
    return layer


def given() -> Any:
    return RNG.normal(size=(B, T, I)).astype("float32")


def output_of(layer: Any, x: Any) -> Any:
    return layer(x).detach().cpu().numpy()


KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "SimpleRNN": nn.RNN}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_computes_as_in_keras_and_is_converted_back(
    kind: str, bias: bool, bidirectional: bool
) -> None:
    layer, x = theirs(kind, bidirectional, use_bias=bias), given()
    mine = KINDS[kind](I, H, bias=bias, bidirectional=bidirectional, batch_first=True)
    mine.load_state_dict(from_keras(kind, layer.get_weights()))
    expected = output_of(layer, x)
    np.testing.assert_allclose(mine(torch.from_numpy(x))[0].detach(), expected, rtol=1e-5, atol=1e-5)
    other = theirs(kind, bidirectional, use_bias=bias)
    other.set_weights(to_keras(kind, mine.state_dict()))
    np.testing.assert_allclose(output_of(other, x), expected, rtol=1e-6, atol=1e-6)


def test_two_layers_with_two_biases_each() -> None:
    mine, x = nn.LSTM(I, H, 2, batch_first=True), given()
    stack = [keras.layers.LSTM(H, return_sequences=True) for _ in range(2)]
    for k, layer in enumerate(stack):
        layer.build((B, T, H if k else I))
        layer.set_weights(to_keras("LSTM", mine.state_dict(), layer=k))
    expected = mine(torch.from_numpy(x))[0].detach()
    np.testing.assert_allclose(output_of(stack[1], stack[0](x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_a_gru_that_resets_before_the_product(bias: bool) -> None:
    layer, x = theirs("GRU", False, use_bias=bias, reset_after=False), given()
    state = from_keras("GRU", layer.get_weights(), reset_after=False)
    mine = nn.Recurrent(cells.gru_reset_before, I, H, bias=bias, batch_first=True)
    mine.load_state_dict(state)
    output = mine(torch.from_numpy(x))[0].detach()
    np.testing.assert_allclose(output, output_of(layer, x), rtol=1e-5, atol=1e-5)
    for array, original in zip(to_keras("GRU", state), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(array, original)


def test_the_shape_of_biases_says_which_gru_it_is() -> None:
    after, before = (theirs("GRU", True, reset_after=after).get_weights() for after in (True, False))
    assert "weight_linear_l0_reverse" in from_keras("GRU", before)
    assert "weight_linear_l0_reverse" not in from_keras("GRU", after, reset_after=False)


def test_errors_name_what_is_wrong() -> None:
    kernel, recurrent, bias = np.zeros((I, 4 * H)), np.zeros((H, 4 * H)), np.zeros(4 * H)
    with pytest.raises(
        ValueError, match=r"from_keras: kind must be one of SimpleRNN, GRU, LSTM\. Got 'lstm'"
    ):
        from_keras("lstm", [kernel, recurrent, bias])
    with pytest.raises(ValueError, match=r"2 or 3 arrays, or twice as many\. Got 1"):
        from_keras("LSTM", [kernel])
    with pytest.raises(ValueError, match=r"recurrent kernel of a LSTM of 4 units must have shape \(4, 16\)"):
        from_keras("LSTM", [np.zeros((I, 16)), recurrent[:4], bias])
    with pytest.raises(
        ValueError, match=r"the bias of a LSTM of 5 units must have shape \(20,\)\. Got \(2, 20\)"
    ):
        from_keras("LSTM", [kernel, recurrent, np.zeros((2, 4 * H))])
    with pytest.raises(ValueError, match=r"to_keras: kind must be one of"):
        to_keras("RNN", {})
    with pytest.raises(ValueError, match=r"state must have a layer 1\. It has weight_ih_l0, weight_hh_l0\."):
        to_keras("LSTM", nn.LSTM(I, H, bias=False).state_dict(), layer=1)
