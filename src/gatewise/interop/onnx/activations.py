# mypy: allow-untyped-defs, allow-incomplete-defs
"""The activations that ONNX has for recurrent nodes, as functions of symbols.

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
from gatewise.language.symbols import Trace


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


class Written(NamedTuple):
    """A way to write an activation: a graph with a leaf ``argument``, and a leaf ``number`` for each number.

    `numbers` are those that the activation takes, each with the value that it has where it is not written.
    """

    name: str
    root: Node
    numbers: tuple[tuple[str, float], ...]


# Each of them as cells may write it; numbers that change nothing are left out, those of _NEUTRAL.
_WAYS: tuple[tuple[str, Callable[[Any, Any, Any], Any]], ...] = (
    *((name, form.compute) for name, form in _FORMS.items()),
    ("Elu", lambda x, alpha, beta: where(x > 0, x, alpha * (exp(x) - 1))),
    ("Elu", lambda x, alpha, beta: where(x >= 0, x, alpha * (exp(x) - 1))),
    ("LeakyRelu", lambda x, alpha, beta: where(x > 0, x, alpha * x)),
)
_NEUTRAL = {"Affine": (1.0, 0.0), "Elu": (1.0,), "HardSigmoid": (1.0, 0.0), "ScaledTanh": (1.0, 1.0)}


@cache
def ways_to_write() -> tuple[Written, ...]:
    """Every activation in every way that is known: those without numbers first, and last what is no more
    than a number or two, or nothing.
    """
    found: dict[str, Written] = {}
    for name, compute in sorted(_WAYS, key=lambda way: (way[0] == "Affine", len(_FORMS[way[0]].defaults))):
        places = ("alpha", "beta")[: len(_FORMS[name].defaults)]
        neutral = _NEUTRAL.get(name, (0.0,) * len(places))
        numbers = tuple(zip(places, neutral, strict=True))
        for absent in product(*((False, name in _NEUTRAL) for _ in places)):
            trace = Trace(name, compute.__code__)
            given: list[Any] = [trace.symbol("number", name=place, value=1) for place in ("alpha", "beta")]
            for k, left_out in enumerate(absent):
                given[k] = neutral[k] if left_out else given[k]
            root = compute(trace.symbol("argument"), *given)._node
            found.setdefault(text([root]), Written(name, root, numbers))
    return tuple(found.values())


def function(activation: Activation) -> Callable[[Any], Any]:
    """What computes an activation on symbols."""
    form = _FORMS[activation.name]
    return lambda x: form.compute(x, activation.alpha, activation.beta)


def numbers_of(activations: Sequence[Activation]) -> dict[str, list[float]]:
    """The numbers that these take, as the attributes of a node list them: alphas and betas."""
    counts = [len(_FORMS[activation.name].defaults) for activation in activations]
    pairs = list(zip(activations, counts, strict=True))
    return {
        "alpha": [activation.alpha for activation, count in pairs if count > 0],
        "beta": [activation.beta for activation, count in pairs if count > 1],
    }


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
