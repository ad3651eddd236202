"""Drawing the next token from its scores: temperature, top-k and top-p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from gatewise.runtime.arrays import Array


@final
@dataclass(frozen=True)
class Choice:
    """How the next token is drawn. Tokens of a row do not depend on the batch that it is in.

    Attributes:
        temperature: the scores are divided by it. 1 draws from the model's own distribution, less makes
            likely tokens more likely, 0 always takes the most likely one.
        top_k: draws among the k most likely tokens; None for all.
        top_p: draws among the fewest tokens whose probabilities sum to p (Holtzman et al. 2020, nucleus
            sampling); None for all. With `top_k`, the sum is over the tokens that it leaves.

    Raises:
        ValueError: a number is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number of at least 0. Got {self.temperature!r}.")
        if self.top_k is not None and (type(self.top_k) is not int or self.top_k < 1):
            raise ValueError(f"top_k must be a positive integer. Got {self.top_k!r}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1. Got {self.top_p!r}.")

    def draw(self, scores: Array, uniform: Array) -> Array:
        """The tokens ``[B]`` for ``scores [B, V]`` in float64 and random numbers ``uniform [B]`` in [0, 1).

        The scores are overwritten. A score of minus infinity is never drawn; each row has a finite one.
        """
        if self.temperature == 0:
            likeliest: Array = scores.argmax(axis=1)
            return likeliest
        scores -= scores.max(axis=1, keepdims=True)
        if self.temperature != 1:
            # A difference divided by a tiny temperature may overflow to minus infinity, whose weight is 0.
            with np.errstate(over="ignore"):
                scores /= self.temperature
        weights = np.exp(scores, out=scores)
        if self.top_k is not None or self.top_p is not None:
            weights = self._kept(weights)
        reached = np.add.accumulate(weights, axis=1)
        total = reached[:, -1]
        # Rounding must not reach the total, or the token would be one past the end.
        threshold = np.minimum(uniform * total, np.nextafter(total, 0))
        drawn: Array = (reached <= threshold[:, None]).sum(axis=1)
        return drawn

    def _kept(self, weights: Array) -> Array:
        """The weights ``[B, V]`` with zeros for all tokens that `top_k` and `top_p` leave out."""
        order = np.argsort(-weights, axis=1, kind="stable")
        falling = np.take_along_axis(weights, order, axis=1)
        if self.top_k is not None:
            falling[:, self.top_k :] = 0
        if self.top_p is not None:
            reached = np.add.accumulate(falling, axis=1)
            before = reached - falling
            falling[before >= self.top_p * reached[:, -1:]] = 0
        kept = np.zeros_like(weights)
        np.put_along_axis(kept, order, falling, axis=1)
        return kept
