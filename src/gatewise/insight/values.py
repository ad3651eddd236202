"""The recorded values of one layer, by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gatewise.insight.passage import Passage
from gatewise.language import Cell


class Values:
    """The values of one layer in its last call: each name of its cell is an attribute, ``[T, B, H]``.

    Pre-activations have names like ``i_bar``, gates like ``i``, states like ``h``; `names` lists all. Values
    are NaN past the end of a row. ``values["h"]`` works for every name, even one that this class uses itself
    (a state named ``names``).
    """

    def __init__(
        self, layer: str, cell: Cell, values: Mapping[str, Tensor], passage: Passage | None = None
    ) -> None:
        self._layer = layer
        self._cell = cell
        self._values = dict(values)
        self._passage = passage

    @property
    def layer(self) -> str:
        """The name of the layer."""
        return self._layer

    @property
    def cell(self) -> Cell:
        """The equations of the layer."""
        return self._cell

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(self._values)

    @property
    def passage(self) -> Passage:
        """The recorded run, with its input, weights and states.

        Raises:
            ValueError: a single step was recorded.
        """
        if self._passage is None:
            raise ValueError(f"{self._layer!r} is a single step; this needs a layer over a sequence.")
        return self._passage

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            known = ", ".join(self._values)
            raise KeyError(f"{self._layer!r} ({self._cell.name}) has no value {name!r}. It has {known}.")
        return self._values[name]

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__"):  # copy and pickle ask for these before any values exist
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._values]

    def __repr__(self) -> str:
        shapes = {tuple(value.shape) for value in self._values.values()}
        return f"<{self._layer} ({self._cell.name}): {', '.join(self._values)}; {sorted(shapes)}>"
