"""The shown parts of arrays, as the page reads them."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from torch import Tensor

from gatewise.insight.page.sample import Sample


@final
@dataclass(frozen=True)
class Cut:
    """Selects the shown part of arrays."""

    sample: Sample
    units: list[int]

    def steps(self, values: Tensor) -> Tensor:
        """The shown part of ``[T, B, ...]``."""
        return values[self.sample.first : self.sample.stop, : self.sample.rows]

    def array(self, values: Tensor) -> Tensor:
        """The shown part of ``[T, B, H]``."""
        return self.of_units(self.steps(values))

    def rows(self, values: Tensor) -> Tensor:
        """The shown part of ``[B, H]``."""
        return self.of_units(values[: self.sample.rows])

    def of_units(self, values: Tensor) -> Tensor:
        """The shown part of ``[..., H]``; for a projected output ``[..., P]``, the first units."""
        chosen = [unit for unit in self.units if unit < values.size(-1)]
        return values[..., chosen]


def packed(values: Tensor) -> dict[str, Any]:
    """An array as float32 in base64, little-endian, the last axis fastest."""
    array = np.ascontiguousarray(values.detach().cpu().float().numpy(), dtype="<f4")
    return {"shape": list(array.shape), "data": b64encode(array.tobytes()).decode("ascii")}
