# mypy: allow-untyped-defs, allow-incomplete-defs
"""The activations that ONNX has for recurrent nodes, as functions of symbols.

Source: the text of RNN, GRU and LSTM at https://onnx.ai/onnx/operators/; the defaults of alpha and beta are
those of the operators of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gatewise.interop.onnx import OnnxError
from gatewise.language import exp, maximum, minimum, relu, sigmoid, softplus, tanh, where


class Activation(NamedTuple):
    """A function by its name in the standard, with its numbers where it has some."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


class _Form(NamedTuple):
    """How a function is computed; the defaults of the numbers that it takes, None where it has no default."""

    compute: Callable[[Any, float, float], Any]
    defaults: tuple[float | None, ...] = ()


_FORMS: dict[str, _Form] = {
    "Affine": _Form(lambda x, alpha, beta: alpha * x + beta, (None, None)),
    "Elu": _Form(lambda x, alpha, beta: where(x >= 0, x, alpha * (exp(minimum(x, 0)) - 1)), (1.0,)),
    "HardSigmoid": _Form(lambda x, alpha, beta: minimum(maximum(alpha * x + beta, 0), 1), (0.2, 0.5)),
    "LeakyRelu": _Form(lambda x, alpha, beta: where(x >= 0, x, alpha * x), (0.01,)),
    "Relu": _Form(lambda x, alpha, beta: relu(x)),
    "ScaledTanh": _Form(lambda x, alpha, beta: alpha * tanh(beta * x), (None, None)),
    "Sigmoid": _Form(lambda x, alpha, beta: sigmoid(x)),
    "Softplus": _Form(lambda x, alpha, beta: softplus(x)),
    "Softsign": _Form(lambda x, alpha, beta: x / (1 + abs(x))),
    "Tanh": _Form(lambda x, alpha, beta: tanh(x)),
    "ThresholdedRelu": _Form(lambda x, alpha, beta: where(x >= alpha, x, 0), (1.0,)),
}
_NAMES = {name.lower(): name for name in _FORMS}


def function(activation: Activation) -> Callable[[Any], Any]:
    """What computes an activation on symbols."""
    form = _FORMS[activation.name]
    return lambda x: form.compute(x, activation.alpha, activation.beta)


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> tuple[Activation, ...]:
    """The activations of a node, from its attributes: each takes from the numbers as many as it has.

    Raises:
        OnnxError: a name that the standard does not have, a number that is missing or left over.
    """
    left = iter(alphas), iter(betas)
    found = tuple(_activation(name, *left) for name in names)
    if any(True for numbers in left for _ in numbers):
        raise OnnxError(
            f"activation_alpha and activation_beta have more numbers than {', '.join(names)} take"
        )
    return found


def _activation(name: str, *left: Iterator[float]) -> Activation:
    if name.lower() not in _NAMES:
        raise OnnxError(f"activations has {name!r}; the standard has {', '.join(_FORMS)}")
    name = _NAMES[name.lower()]
    numbers = []
    for numbered, default in zip(left, _FORMS[name].defaults, strict=False):
        number = next(numbered, default)
        if number is None:
            raise OnnxError(f"activation {name} needs its alpha and beta, for which there are no defaults")
        numbers.append(float(number))
    return Activation(name, *numbers)
