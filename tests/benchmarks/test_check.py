"""The check before the timing finds every wrong result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import gatewise
from benchmarks.check import WrongResultError, agree, check, results
from benchmarks.layers import KINDS, Shape, pair
from benchmarks.onnx_layer import _ORDER

SHAPE = Shape(2, 3, 4, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_our_layers_pass(kind: str) -> None:
    check(kind)


def test_all_results_of_a_layer_are_compared() -> None:
    ours, _, x = pair("lstm", SHAPE)
    parameters = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert list(results(ours, x)) == [
        "output", "output without gradients", "final state 0", "final state 1",
        "gradient of the input", *(f"gradient of {name}" for name in parameters),
    ]  # fmt: skip


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, by: torch.Tensor) -> torch.Tensor:
        return by * 1.01


def wrong_state(output: torch.Tensor, finals: Any) -> Any:
    return output, (finals[0], finals[1] + 0.01)


def wrong_gradient(output: torch.Tensor, finals: Any) -> Any:
    return _WrongGradient.apply(output), finals  # type: ignore[no-untyped-call]


def wrong_without_gradients(output: torch.Tensor, finals: Any) -> Any:
    return output if torch.is_grad_enabled() else output + 0.01, finals


def not_a_number(output: torch.Tensor, finals: Any) -> Any:
    return output * torch.where(torch.arange(len(output)) == 1, torch.nan, 1.0)[:, None, None], finals


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (wrong_state, "final state 1"),
        (wrong_gradient, "gradient of the input"),
        (wrong_without_gradients, "output without gradients"),
        (not_a_number, "output"),
    ],
)
def test_a_fault_is_named(
    fault: Callable[[torch.Tensor, Any], Any], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Any = gatewise.nn.LSTM.forward
    monkeypatch.setattr(gatewise.nn.LSTM, "forward", lambda self, x: fault(*right(self, x)))
    with pytest.raises(WrongResultError, match=rf"^Nothing was timed: our LSTM .*: the {what} must be"):
        check("lstm", [SHAPE])


def test_a_peer_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_ORDER, "lstm", [0, 1, 2, 3])
    with pytest.raises(WrongResultError, match="ONNX Runtime's LSTM B2 T3 I4 H5: the output"):
        check("lstm", [SHAPE])


def test_values_as_close_as_float32_allows_pass() -> None:
    value = torch.randn(5)
    agree("a layer", {"output": value * (1 + 1e-6)}, {"output": value})
