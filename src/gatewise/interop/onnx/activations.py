# mypy: allow-untyped-defs, allow-incomplete-defs
"""The activations of ONNX's recurrent operators, as functions of symbols.

Source: the text of RNN, GRU and LSTM at https://onnx.ai/onnx/operators/; the defaults of alpha and beta are
those of the operators of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from gatewise.interop.onnx import OnnxError
from gatewise.language import exp, maximum, minimum, relu, sigmoid, softplus, tanh, where
from gatewise.language.graph import Node, text
from gatewise.language.symbols import Code, Trace


class Activation(NamedTuple):
    """An activation: its name in the standard, and its alpha and beta if it has them."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


class _Form(NamedTuple):
    """How an activation is computed, and the defaults of its numbers (None: no default)."""

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


class Written(NamedTuple):
    """One way to write an activation: a graph with a leaf ``argument`` and a leaf ``number`` for each number.

    `numbers` holds the numbers that the activation takes, with their values if the graph does not have them.
    """

    name: str
    root: Node
    numbers: tuple[tuple[str, float], ...]


# The ways in which cells may write each activation. Numbers with the values in _NEUTRAL may be left out.
_WAYS: tuple[tuple[str, Callable[[Any, Any, Any], Any]], ...] = (
    *((name, form.compute) for name, form in _FORMS.items()),
    ("Elu", lambda x, alpha, beta: where(x > 0, x, alpha * (exp(x) - 1))),
    ("Elu", lambda x, alpha, beta: where(x >= 0, x, alpha * (exp(x) - 1))),
    ("LeakyRelu", lambda x, alpha, beta: where(x > 0, x, alpha * x)),
)
_NEUTRAL = {"Affine": (1.0, 0.0), "Elu": (1.0,), "HardSigmoid": (1.0, 0.0), "ScaledTanh": (1.0, 1.0)}


@cache
def ways_to_write() -> tuple[Written, ...]:
    """All known ways to write all activations: those without numbers first, catch-alls last."""
    found: dict[str, Written] = {}
    for name, compute in sorted(_WAYS, key=lambda way: (way[0] == "Affine", len(_FORMS[way[0]].defaults))):
        places = ("alpha", "beta")[: len(_FORMS[name].defaults)]
        neutral = _NEUTRAL.get(name, (0.0,) * len(places))
        numbers = tuple(zip(places, neutral, strict=True))
        for absent in product(*((False, name in _NEUTRAL) for _ in places)):
            trace = Trace(name, Code(compute.__code__))
            given: list[Any] = [trace.symbol("number", name=place, value=1) for place in ("alpha", "beta")]
            for k, left_out in enumerate(absent):
                given[k] = neutral[k] if left_out else given[k]
            root = compute(trace.symbol("argument"), *given)._node
            found.setdefault(text([root]), Written(name, root, numbers))
    return tuple(found.values())


def function(activation: Activation) -> Callable[[Any], Any]:
    """The function on symbols that computes an activation."""
    form = _FORMS[activation.name]
    return lambda x: form.compute(x, activation.alpha, activation.beta)


def numbers_of(activations: Sequence[Activation]) -> dict[str, list[float]]:
    """The alphas and betas of these activations, as the attributes of a node."""
    counts = [len(_FORMS[activation.name].defaults) for activation in activations]
    pairs = list(zip(activations, counts, strict=True))
    return {
        "alpha": [activation.alpha for activation, count in pairs if count > 0],
        "beta": [activation.beta for activation, count in pairs if count > 1],
    }


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]
) -> tuple[Activation, ...]:
    """The activations of a node, from its attributes. Each takes its numbers from the front of the lists.

    Raises:
        OnnxError: a name is not in the standard, or there are too few or too many numbers.
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
