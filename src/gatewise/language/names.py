"""The names that the package gives to weights and values, in one place."""

from __future__ import annotations

import re

# The weights of one layer in one direction. The vectors of the cell come in addition.
WEIGHTS = (
    "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_linear", "bias_linear", "weight_hr",
)  # fmt: skip
_NORM = re.compile(r"norm_(gain|bias)_\d+")


def norm(number: int) -> tuple[str, str]:
    """The names of the gain and the bias of vector `number` of the layer norms in a cell."""
    return f"norm_gain_{number}", f"norm_bias_{number}"


def is_of_norm(name: str) -> bool:
    """Whether `layer_norm` reserves this name."""
    return _NORM.fullmatch(name) is not None


def bar(gate: str, part: str = "") -> str:
    """The name of the pre-activation of a gate, or of the part ``x`` or ``h`` of a split gate."""
    return f"{gate}_bar_{part}" if part else f"{gate}_bar"


def initial(state: str) -> str:
    """The name of the learned initial value of a state."""
    return f"initial_{state}"
