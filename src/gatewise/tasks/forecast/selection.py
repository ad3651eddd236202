"""What the validation part shows: how much, and whether one network forecasts it better than another.

Shapes: ``S`` forecasts of the validation part, in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gatewise.tasks.forecast.naive import Numbers, Whole
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.windows import OrderedBatches

BLOCKS = 10  # most blocks of neighbouring forecasts


@dataclass(frozen=True)
class Missed:
    """The errors of a network in the validation part.

    Attributes:
        total: ``[S]``, the sum of the absolute errors of each forecast, at its known steps.
        known: ``[S]``, the number of its known steps.
    """

    total: Numbers
    known: Whole

    @classmethod
    def of(cls, network: ForecastNetwork, batches: OrderedBatches) -> Missed:
        """The errors of the forecasts that `batches` ask for."""
        total, known = [], []
        with torch.no_grad():
            for batch in batches:
                errors = (network(batch)[-1] - batch.truth[-1]).abs()
                total.append(errors.nansum(-1).numpy())
                known.append((~errors.isnan()).sum(-1).numpy())
        return cls(np.concatenate(total).astype(np.float64), np.concatenate(known))

    @property
    def mean(self) -> float:
        """The mean absolute error."""
        return float(self.total.sum() / max(self.known.sum(), 1))

    def blocks(self, origins: Whole, horizon: int) -> Numbers:
        """The mean errors in blocks of neighbouring forecasts, which hardly share steps."""
        count = min(blocks_of(origins, horizon), BLOCKS)
        of = np.arange(len(origins)) * count // len(origins)
        totals, known = np.bincount(of, self.total), np.bincount(of, self.known)
        found: Numbers = (totals / np.maximum(known, 1))[known > 0]
        return found


def blocks_of(origins: Whole, horizon: int) -> int:
    """The number of forecasts without common steps among those at some origins.

    >>> blocks_of(np.array([0, 1, 2, 6, 7]), horizon=3)
    2
    """
    return len(np.unique(origins // horizon))


def clearly_better(gains: Numbers) -> bool:
    """Whether the mean of gains in blocks is above 0 by more than its standard error.

    This is the rule of one standard error (Breiman et al. 1984, "Classification and regression trees"). Of a
    single block the gain itself decides.

    >>> clearly_better(np.array([0.1, 0.2, 0.1])), clearly_better(np.array([0.9, -0.5, -0.2]))
    (True, False)
    """
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return bool(len(gains) > 0 and gains.mean() > error)
