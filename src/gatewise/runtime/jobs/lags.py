"""What the linear part of a forecaster reads: values of the past, as differences to the last one.

Shapes: ``N`` steps, ``I`` inputs, ``L`` numbers that are read at an origin, the last step that a forecast
knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.naive import Numbers, Whole

MOST_LAG = 2**31  # steps
MOST_AHEAD = 512  # values of inputs whose future is known


@dataclass(frozen=True)
class Reads:
    """The numbers that are read at an origin.

    Attributes:
        lags: steps before the origin, rising. The value there is read as its difference to the last value;
            lag 0 is the last value itself.
        inputs: whether the inputs of the origin are read, but for the first one, the value itself.
        ahead: how many values of inputs whose future is known are read: all, of all steps ahead, or 0.

    Example:
        >>> held, inputs = np.array([1.0, 2.0, 4.0, 8.0]), np.zeros((4, 1), np.float32)
        >>> Reads((0, 1, 3)).at(np.array([3]), held, inputs, np.zeros((1, 2, 0), np.float32))
        array([[ 8., -4., -7.]], dtype=float32)
    """

    lags: tuple[int, ...] = ()
    inputs: bool = False
    ahead: int = 0

    @property
    def reach(self) -> int:
        """The furthest step that is read before an origin."""
        return max(self.lags, default=0)

    def size(self, input_size: int) -> int:
        """L, where a step has `input_size` inputs."""
        return len(self.lags) + (input_size - 1 if self.inputs else 0) + self.ahead

    def at(self, origins: Whole, held: Numbers, inputs: Array, ahead: Array, first: Whole | int = 0) -> Array:
        """What is read at ``origins [...]``, float32 ``[..., L]``.

        Args:
            origins: the last known steps.
            held: ``[N]``, the scaled target without gaps.
            inputs: ``[N, I]``.
            ahead: ``[..., K, F]``, the inputs whose future is known at the steps that are forecast.
            first: the first step of the series of each origin; steps before it have its value.
        """
        lags = np.array(self.lags, np.int64)
        steps = np.maximum(origins[..., None] - lags, np.asarray(first)[..., None])
        level = held[origins][..., None]
        read = (held[steps] - np.where(lags > 0, level, 0.0)).astype(np.float32)
        parts = [read, inputs[origins][..., 1:]] if self.inputs else [read]
        if self.ahead:
            parts.append(ahead.reshape(*origins.shape, -1))
        return np.concatenate(parts, axis=-1) if len(parts) > 1 else read

    @classmethod
    def from_dict(cls, data: Any) -> Reads:
        """What a file describes.

        Raises:
            ValueError, KeyError, TypeError: it is not that.
        """
        lags, inputs = data["lags"], data["inputs"]
        if not isinstance(lags, list) or not all(type(lag) is int and 0 <= lag < MOST_LAG for lag in lags):
            raise ValueError(f"lags must be whole numbers of at least 0. Got {lags!r:.60}")
        if lags != sorted(set(lags)):
            raise ValueError(f"lags must rise. Got {lags!r:.60}")
        if type(inputs) is not bool:
            raise ValueError(f"inputs must be true or false. Got {inputs!r:.60}")
        ahead = data.get("ahead", 0)
        if type(ahead) is not int or not 0 <= ahead <= MOST_AHEAD:
            raise ValueError(f"ahead must be a whole number up to {MOST_AHEAD}. Got {ahead!r:.60}")
        return cls(tuple(lags), inputs, ahead)


NOTHING = Reads()
