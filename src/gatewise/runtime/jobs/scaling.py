"""Scaling: the channels of measurements, as numbers around 0, with masks for missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from gatewise.language.form_reading import FormError, fields, items, real, shown
from gatewise.runtime.arrays import Array

FAR = 1e12  # most scales that a value may lie from the mean
_MOST = 1 << 20  # channels
_SMALLEST, _LARGEST = 1e-300, 1e300  # limits of numbers that are safe to divide by


@final
@dataclass(frozen=True)
class Scaling:
    """Means and scales of channels. A missing value (NaN) is 0, the mean, after scaling.

    Attributes:
        mean, scale: of each of the C channels; scales are above 0.
        masked: whether a channel comes with a second one that is 1 where its value is known and else 0. The
            masks follow all channels.

    Example:
        >>> import numpy as np
        >>> scaling = Scaling.fit([np.array([[1.0], [3.0]]), np.array([[2.0], [np.nan]])])
        >>> scaling(np.array([[2.0], [np.nan]]))
        array([[0., 1.],
               [0., 0.]], dtype=float32)
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    masked: tuple[bool, ...]

    @classmethod
    def fit(cls, sequences: Sequence[Array]) -> Scaling:
        """Mean and standard deviation of each channel over all known values of sequences ``[T, C]``.

        A channel that never changes has scale 1. Channels with a missing value get a mask.
        """
        count, mean, square = (np.zeros(sequences[0].shape[1]) for _ in range(3))
        masked = np.zeros(len(mean), bool)
        for sequence in sequences:  # Chan et al. 1979: the moments of two parts give those of both
            known = np.isfinite(sequence)
            masked |= ~known.all(axis=0)
            n = known.sum(axis=0)
            own = np.where(known, sequence, 0).sum(axis=0, dtype=np.float64) / np.maximum(n, 1)
            off = np.where(known, sequence - own, 0)
            total = np.maximum(count + n, 1)
            square += (off * off).sum(axis=0) + (own - mean) ** 2 * count * n / total
            mean += (own - mean) * n / total
            count += n
        deviation = np.sqrt(square / np.maximum(count, 1))
        scale = np.where(deviation > 1e-12 * np.maximum(abs(mean), 1e-12), deviation, 1)
        return cls(tuple(mean.tolist()), tuple(scale.tolist()), tuple(masked.tolist()))

    @property
    def inputs(self) -> int:
        """The number C of channels."""
        return len(self.mean)

    @property
    def outputs(self) -> int:
        """The number of channels after scaling, with masks."""
        return len(self.mean) + sum(self.masked)

    def __call__(self, x: Array) -> Array:
        """Scale ``x [..., C]`` to ``[..., outputs]`` of float32.

        Raises:
            ValueError: `x` has another number of channels, or values that are infinite or too far away.
        """
        values = np.asarray(x, np.float64)
        if values.ndim == 0 or values.shape[-1] != self.inputs:
            raise ValueError(f"x must have {self.inputs} channels. Got shape {values.shape}.")
        missing = np.isnan(values)
        scaled = np.where(missing, 0, (values - np.array(self.mean)) / np.array(self.scale))
        wrong = np.abs(scaled) > FAR
        if wrong.any():
            channel = int(np.nonzero(wrong.reshape(-1, self.inputs).any(axis=0))[0][0])
            raise ValueError(f"x has values in channel {channel} more than {FAR:g} scales from their mean.")
        masks = ~missing[..., list(self.masked)]
        return np.concatenate([scaled, masks], axis=-1, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The scaling as JSON."""
        return {"mean": list(self.mean), "scale": list(self.scale), "masked": list(self.masked)}

    @classmethod
    def from_dict(cls, value: Any, what: str = "scaling") -> Scaling:
        """The scaling that `to_dict` described; `what` is its name in error messages.

        Raises:
            FormError: `value` does not describe a scaling.
        """
        found = fields(value, what, ("mean", "scale", "masked"))
        mean = [
            _number(entry, f"{what}: mean", 0) for entry in items(found["mean"], f"{what}: mean", 1, _MOST)
        ]
        C = len(mean)
        scale = [
            _number(entry, f"{what}: scale", _SMALLEST)
            for entry in items(found["scale"], f"{what}: scale", C, C)
        ]
        masked = items(found["masked"], f"{what}: masked", C, C)
        for entry in masked:
            if not isinstance(entry, bool):
                raise FormError(f"{what}: masked must be true or false. Got {shown(entry)}")
        return cls(tuple(mean), tuple(scale), tuple(masked))


def _number(value: Any, what: str, least: float) -> float:
    number = real(value, what)
    if not abs(number) <= _LARGEST or (least and number < least):
        raise FormError(f"{what} must be {'above 0' if least else 'finite'}. Got {shown(value)}")
    return number
