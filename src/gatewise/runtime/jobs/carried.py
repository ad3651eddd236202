"""The state that is carried from one forecast to the next: the last rows, which the next forecast reads.

A forecast reads a window of rows, as in training, so the rows of the window are all that the past can tell
it. A carried state is therefore the last rows themselves, and not the state of the network: a forecast from
a carried state has the bits of a forecast from all rows, and a model that was trained again continues from
the same state.

Shapes: ``R`` rows of a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.runtime.jobs.naive import Numbers


@dataclass(frozen=True)
class Carried:
    """The last rows of a series.

    Attributes:
        columns: ``[R]`` for each column that the model reads; NaN where missing.
        positions: ``[R]``, the positions of the rows on the clock.
    """

    columns: Mapping[str, Numbers]
    positions: Numbers

    @property
    def rows(self) -> int:
        """R, the number of rows."""
        return len(self.positions)

    @property
    def last(self) -> float:
        """The position of the last row."""
        return float(self.positions[-1])

    def extended(self, later: Carried, *, regular: bool = True) -> Carried:
        """The rows, followed by later ones. `regular`: there must be no step between them.

        Raises:
            ValueError: later rows repeat rows of the state, or there is a gap between them.
        """
        steps = float(later.positions[0]) - self.last
        if steps <= 0 and not regular:
            raise ValueError("the first row is not after the end of the state; give only new rows")
        if steps <= 0:
            back = _counted(1 - int(steps))
            raise ValueError(f"the state already has {back} from the first row on; give only new rows")
        if regular and steps > 1:
            gap = _counted(int(steps) - 1)
            raise ValueError(f"there is a gap of {gap} between the state and the first row")
        columns = {name: np.concatenate([old, later.columns[name]]) for name, old in self.columns.items()}
        return Carried(columns, np.concatenate([self.positions, later.positions]))

    def cut(self, rows: int) -> Carried:
        """The last `rows` rows, and those before them back to the last known value of every column."""
        first = max(self.rows - rows, 0)
        for values in self.columns.values():
            known = np.flatnonzero(~np.isnan(values[: first + 1]))
            first = min(first, int(known[-1]) if len(known) else 0)
        return Carried(
            {name: values[first:] for name, values in self.columns.items()}, self.positions[first:]
        )

    def array(self) -> Numbers:
        """The positions and the columns as one array, ``[R, 1 + columns]``."""
        return np.column_stack([self.positions, *self.columns.values()])

    @classmethod
    def of_array(cls, array: Any, names: tuple[str, ...]) -> Carried:
        """The reverse of `array`, for columns of these names.

        Raises:
            ValueError: the array is not that of a state.
        """
        if array.dtype != np.float64 or array.ndim != 2 or array.shape[1] != 1 + len(names) or not len(array):
            raise ValueError(f"rows must be float64 of {1 + len(names)} columns")
        positions = array[:, 0]
        if np.isinf(array).any() or not (np.diff(positions, prepend=positions[0] - 1) > 0).all():
            raise ValueError("rows must be finite, and their positions rise")
        return cls({name: array[:, place].copy() for place, name in enumerate(names, 1)}, positions.copy())


def _counted(steps: int) -> str:
    return f"{steps:,} step{'' if steps == 1 else 's'}"
