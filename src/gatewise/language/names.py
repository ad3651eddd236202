"""The names that the package itself gives to what is learned and computed: all of them stand here."""

from __future__ import annotations

import re

# Of one layer in one direction; what else is learned in it are the vectors of its cell.
WEIGHTS = (
    "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_linear", "bias_linear", "weight_hr",
)  # fmt: skip
_NORM = re.compile(r"norm_(gain|bias)_\d+")


def norm(number: int) -> tuple[str, str]:
    """What one vector of a `layer_norm` learns: its gain and its bias."""
    return f"norm_gain_{number}", f"norm_bias_{number}"


def is_of_norm(name: str) -> bool:
    """Whether a `layer_norm` may give this name, in one cell or another."""
    return _NORM.fullmatch(name) is not None


def bar(gate: str, part: str = "") -> str:
    """The pre-activation of a gate, or of the part ``x`` or ``h`` of one in two parts."""
    return f"{gate}_bar_{part}" if part else f"{gate}_bar"


def initial(state: str) -> str:
    """The learned beginning of a state."""
    return f"initial_{state}"
