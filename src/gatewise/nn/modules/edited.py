"""Scans of an edited cell. Additional columns of the input say what is edited, and where.

An edit is a `where` in the equations (`gatewise.language.rewrites.edited`). Its mask is an additional gate
that sees only the input. The input gets a column for this gate, which is 1 at the edited steps and rows. The
weights of the gate for this column are 1 for the edited units. New values that are tensors are passed in the
same way. So all edits of the same values run in the same kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.language import Cell
from gatewise.nn.walk.packing import Packing
from gatewise.nn.walk.walk import Walk

Which: TypeAlias = slice | Sequence[int] | Tensor


class Edit(NamedTuple):
    """The edit of one value of a cell, at some steps, in some rows, for some units.

    Attributes:
        name: the name of the value.
        units: ``[H]``, 1 for edited units, else 0.
        steps: the edited steps; None for all.
        rows: the edited rows; None for all.
        given: new values ``[H]`` or ``[T, B, H]``, where NaN means not edited. None if the equations contain
            the new value (a number or a function).
    """

    name: str
    units: Tensor
    steps: Which | None = None
    rows: Which | None = None
    given: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The number of rows of its gates in the input weights, and of its columns in the input."""
        H = len(self.units)
        if self.given is None:
            return H, 1
        return 2 * H, 1 + H * (self.given.dim() == 3)

    def columns(self, layer: str, T: int, B: int) -> Tensor:
        """The additional columns ``[T, B, .]`` of the input.

        Raises:
            ValueError: a step or row does not exist, or `given` has another number of steps or rows.
        """
        who = f"the edit of {self.name!r} in {layer!r}"
        mask = chosen(self.steps, T, f"{who}: steps")[:, None] * chosen(self.rows, B, f"{who}: rows")
        if self.given is None or self.given.dim() == 1:
            return mask[..., None]
        if self.given.shape[:2] != (T, B):
            raise ValueError(
                f"{who}: the input must have (steps, rows) = {tuple(self.given.shape[:2])}, as the new "
                f"values. Got {(T, B)}."
            )
        there = ~self.given.isnan().any(-1).cpu()
        return torch.cat([(mask * there)[..., None].to(self.given), self.given.nan_to_num()], -1)

    def weights(self) -> Tensor:
        """The weights ``[.*H, .]`` of its gates for its columns."""
        units = self.units[:, None]
        if self.given is None:
            return units
        if self.given.dim() == 1:
            return torch.cat([units, self.given[:, None].to(units).nan_to_num()])
        return _diagonal(units, torch.eye(len(units), device="cpu"))


class Edited(NamedTuple):
    """An edited cell.

    Attributes:
        cell: the edited equations. The gates of the edits come after all others.
        edits: the edits, in the order of their gates.
        called: the names of values in `cell` that differ from those before the edit.
    """

    cell: Cell
    edits: tuple[Edit, ...] = ()
    called: Mapping[str, str] = {}

    def walk(self, layer: str, walk: Walk, packing: Packing | None) -> Walk:
        """The walk of the edited cell, from the walk of the original cell."""
        B, T = (packing.B, packing.T) if packing else walk.x.shape[:2][:: 1 if walk.batch_first else -1]
        columns = [edit.columns(layer, T, B).to(walk.x) for edit in self.edits]
        if packing and walk.padding is None:
            columns = [packing.pack(column, False) for column in columns]
        elif walk.batch_first:
            columns = [column.transpose(0, 1) for column in columns]
        w = walk.weights
        blocks = [edit.weights().to(w.weight_ih) for edit in self.edits]
        rows = sum(len(block) for block in blocks)
        bias_ih = None if w.bias_ih is None else F.pad(w.bias_ih, (0, rows))
        weights = w._replace(weight_ih=_diagonal(w.weight_ih, *blocks), bias_ih=bias_ih)
        x, record = torch.cat([walk.x, *columns], -1), [self.name_of(value) for value in walk.record]
        return walk._replace(cell=self.cell, x=x, weights=weights, record=record)

    def name_of(self, value: str) -> str:
        """The name, in the edited cell, of a value of the original cell."""
        return self.called.get(value, value)

    def own(self, name: str, by_weight: Tensor) -> Tensor:
        """From values for all elements of a weight ``[..., *]``, those for the layer's own elements."""
        rows, columns = map(sum, zip(*(edit.size for edit in self.edits), strict=True))
        if name == "weight_ih":
            return by_weight[..., :-rows, :-columns]
        return by_weight[..., :-rows] if name == "bias_ih" else by_weight


def _diagonal(*blocks: Tensor) -> Tensor:
    """A block-diagonal matrix."""
    found: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found


def chosen(which: Which | None, size: int, what: str) -> Tensor:
    """A mask ``[size]``, 1 for chosen indices, else 0. None chooses all.

    Raises:
        ValueError: an index does not exist.
    """
    if which is None:
        return torch.ones(size, device="cpu")
    mask = torch.zeros(size, device="cpu")
    try:
        mask[which if isinstance(which, (slice, Tensor)) else list(which)] = 1
    except (IndexError, TypeError) as error:
        raise ValueError(
            f"{what} must be a slice or indices from {-size} to {size - 1}. Got {which!r}."
        ) from error
    return mask
