"""Scans of an edited cell: what says where the edits hold comes in as further columns of the input.

An edit is a `where` in the equations (`gatewise.language.rewrites.edited`), whose mask is a gate that the
input alone feeds. Of a mask the input has one column, which is 1 at the steps and rows that are edited; its
weights are 1 for the units that are. Values that are given come the same way. So where and what is edited is
data, and one kernel serves all of it.
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
    """One value of a cell, edited at some steps, in some rows, for some units.

    ``units [H]`` is 1 for those, else 0; None stands for all `steps` and all `rows`. `given` are the values
    that are put in, ``[H]`` or ``[T, B, H]``, of which NaN is none; None where the equations say it all.
    """

    name: str
    units: Tensor
    steps: Which | None = None
    rows: Which | None = None
    given: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """How many rows its gates have in the input weights, and how many columns the input has for them."""
        H = len(self.units)
        if self.given is None:
            return H, 1
        return 2 * H, 1 + H * (self.given.dim() == 3)

    def columns(self, layer: str, T: int, B: int) -> Tensor:
        """The further input ``[T, B, .]``.

        Raises:
            ValueError: there is no such step or row, or values were given for another number of them.
        """
        who = f"the edit of {self.name!r} in {layer!r}"
        mask = chosen(self.steps, T, f"{who}: steps")[:, None] * chosen(self.rows, B, f"{who}: rows")
        if self.given is None or self.given.dim() == 1:
            return mask[..., None]
        if self.given.shape[:2] != (T, B):
            raise ValueError(
                f"{who}: the values are of (steps, rows) = {tuple(self.given.shape[:2])}. Got {(T, B)}."
            )
        there = ~self.given.isnan().any(-1).cpu()
        return torch.cat([(mask * there)[..., None].to(self.given), self.given.nan_to_num()], -1)

    def weights(self) -> Tensor:
        """The weights ``[.*H, .]`` of its gates by its columns."""
        units = self.units[:, None]
        if self.given is None:
            return units
        if self.given.dim() == 1:
            return torch.cat([units, self.given[:, None].to(units).nan_to_num()])
        return _diagonal(units, torch.eye(len(units), device="cpu"))


class Edited(NamedTuple):
    """An edited cell, its edits in the order of their gates, which come after all others, and how it calls
    values that bear another name than before."""

    cell: Cell
    edits: tuple[Edit, ...] = ()
    called: Mapping[str, str] = {}

    def walk(self, layer: str, walk: Walk, packing: Packing | None) -> Walk:
        """The walk of the edited cell, in place of that of the cell that it was made of."""
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
        """What a value of the cell that was edited is called in this one."""
        return self.called.get(value, value)

    def own(self, name: str, by_weight: Tensor) -> Tensor:
        """Of what belongs to each element of a weight ``[..., *]``, the part of those that the layer has."""
        rows, columns = map(sum, zip(*(edit.size for edit in self.edits), strict=True))
        if name == "weight_ih":
            return by_weight[..., :-rows, :-columns]
        return by_weight[..., :-rows] if name == "bias_ih" else by_weight


def _diagonal(*blocks: Tensor) -> Tensor:
    """Matrices, one below and to the right of another, among zeros."""
    found: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found


def chosen(which: Which | None, size: int, what: str) -> Tensor:
    """``[size]``: 1 for what is chosen, else 0; None chooses all.

    Raises:
        ValueError: there is not all that is chosen.
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
