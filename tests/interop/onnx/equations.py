"""RNN, GRU and LSTM by the equations of the ONNX standard, in NumPy and float64, row by row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = dict[str, Any]
Function = Callable[[Array], Array]

# By lower-case name: the function of x, alpha and beta, how many of the two it takes, and their defaults.
FUNCTIONS: dict[str, tuple[Callable[[Array, float, float], Array], tuple[float, ...]]] = {
    "affine": (lambda x, a, b: a * x + b, (np.nan, np.nan)),
    "elu": (lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))), (1.0,)),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), (0.2, 0.5)),
    "leakyrelu": (lambda x, a, b: np.where(x >= 0, x, a * x), (0.01,)),
    "relu": (lambda x, a, b: np.maximum(x, 0), ()),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), (np.nan, np.nan)),
    "sigmoid": (lambda x, a, b: 0.5 + 0.5 * np.tanh(x / 2), ()),
    "softplus": (lambda x, a, b: np.logaddexp(0, x), ()),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), ()),
    "tanh": (lambda x, a, b: np.tanh(x), ()),
    "thresholdedrelu": (lambda x, a, b: np.where(x >= a, x, 0), (1.0,)),
}
STANDARD = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def functions(operator: str, D: int, attributes: Attributes) -> list[Function]:
    """The functions of all directions, one direction after another."""
    alphas, betas = (list(attributes.get(f"activation_{n}", [])) for n in ("alpha", "beta"))
    found: list[Function] = []
    for name in attributes.get("activations", STANDARD[operator] * D):
        function, defaults = FUNCTIONS[name.lower()]
        numbers = [
            (left.pop(0) if left else default)
            for left, default in zip((alphas, betas), defaults, strict=False)
        ]
        alpha, beta = (*numbers, 0.0, 0.0)[:2]
        found.append(partial(_called, function, alpha, beta))
    return found


def _called(function: Callable[..., Array], alpha: float, beta: float, x: Array) -> Array:
    return function(x, alpha, beta)


def run(operator: str, attributes: Attributes, given: dict[str, Array | None]) -> list[Array]:
    """Y and the final states, time first. The inputs have the names of the standard."""
    X, W, R = (np.asarray(given[name], np.float64) for name in ("X", "W", "R"))
    T, B, _ = X.shape
    D, _, H = R.shape
    G = GATES[operator]
    biases = given.get("B")
    biases = np.zeros((D, 2 * G * H)) if biases is None else biases
    peepholes = given.get("P")
    peepholes = np.zeros((D, 3 * H)) if peepholes is None else peepholes
    lengths = given.get("sequence_lens")
    lengths = np.full(B, T) if lengths is None else lengths
    names = ["initial_h", "initial_c"][: 2 if operator == "LSTM" else 1]
    states = [given.get(name) for name in names]
    initial = [np.zeros((D, B, H)) if state is None else np.asarray(state, np.float64) for state in states]
    each = functions(operator, D, attributes)
    backwards = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[
        attributes.get("direction", "forward")
    ]
    Y, finals = np.zeros((T, D, B, H)), [np.zeros((D, B, H)) for _ in names]
    for d, back in enumerate(backwards):
        mine = each[d * len(STANDARD[operator]) : (d + 1) * len(STANDARD[operator])]
        for b in range(B):
            state = [s[d, b] for s in initial]
            steps = range(lengths[b])
            for t in reversed(steps) if back else steps:
                x = W[d] @ X[t, b], R[d], *np.split(np.asarray(biases[d], np.float64), 2)
                state = STEPS[operator](mine, attributes, x, np.asarray(peepholes[d], np.float64), *state)
                Y[t, d, b] = state[0]
            for final, value in zip(finals, state, strict=True):
                final[d, b] = value if lengths[b] else 0
    return [Y, *finals]


def _clip(attributes: Attributes) -> Function:
    bound = attributes.get("clip", np.inf)
    return lambda x: np.clip(x, -bound, bound)


def _rnn(f: list[Function], attributes: Attributes, fed: Any, P: Array, h: Array) -> list[Array]:
    x, R, Wb, Rb = fed
    return [f[0](_clip(attributes)(x + R @ h + Wb + Rb))]


def _gru(f: list[Function], attributes: Attributes, fed: Any, P: Array, h: Array) -> list[Array]:
    x, R, Wb, Rb = fed
    clip = _clip(attributes)
    xz, xr, xh = np.split(x + Wb, 3)
    Rz, Rr, Rh = np.split(R, 3)
    bz, br, bh = np.split(Rb, 3)
    z = f[0](clip(xz + Rz @ h + bz))
    r = f[0](clip(xr + Rr @ h + br))
    after = r * (Rh @ h + bh) if attributes.get("linear_before_reset", 0) else Rh @ (r * h) + bh
    return [(1 - z) * f[1](clip(xh + after)) + z * h]


def _lstm(f: list[Function], attributes: Attributes, fed: Any, P: Array, h: Array, c: Array) -> list[Array]:
    x, R, Wb, Rb = fed
    clip = _clip(attributes)
    i, o, forget, g = np.split(x + R @ h + Wb + Rb, 4)
    pi, po, pf = np.split(P, 3)
    i = f[0](clip(i + pi * c))
    forget = 1 - i if attributes.get("input_forget", 0) else f[0](clip(forget + pf * c))
    c = forget * c + i * f[1](clip(g))
    o = f[0](clip(o + po * c))
    return [o * f[2](c), c]


STEPS: dict[str, Callable[..., list[Array]]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
