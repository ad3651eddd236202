"""The gradients by weights and biases of plain calls: prepared sums over all steps and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.plan.plan import Plan
from gatewise.compiler.run.program import CompiledCell, worth
from gatewise.nn.kernels.layout import Key
from gatewise.nn.kernels.prepared import Prepared


class _Run(NamedTuple):
    """The sums of slots whose rows are adjacent in both weight matrices.

    Attributes:
        prepared: the prepared kernel call.
        at: the offset of its derivatives and of its sums within those of all slots, in bytes.
        rows: the offsets of its rows in the gradients of both matrices, in bytes. None: it has no rows there.
    """

    prepared: Prepared
    at: int
    rows: tuple[int | None, int | None]


@final
class WeightSums:
    """The gradients by weights and biases, for a cell without vectors, `linear` and `project`."""

    def __init__(self, kernels: CompiledCell, key: Key, zeros: Tensor) -> None:
        self._kernels, self._key, self._zeros = kernels, key, zeros
        self._runs: dict[tuple[bool, bool, bool], list[_Run]] = {}

    def __call__(
        self,
        x: Tensor,
        weights: Sequence[Tensor],
        initial: Tensor | None,
        derivatives: int,
        outputs: int,
        needed: Sequence[bool],
        in_place: bool,
    ) -> list[Tensor | None]:
        """Compute the gradients by ``weight_ih``, ``weight_hh`` and both biases, if there are any.

        Args:
            x: the input.
            weights: ``weight_ih`` and ``weight_hh``.
            initial: the initial output, or None for zeros.
            derivatives: the address of the derivatives by the slots, at every step.
            outputs: the address of the outputs.
            needed: whether each weight needs a gradient.
            in_place: whether the derivatives have overwritten the gates.
        """
        by_ih, by_hh = (torch.zeros_like(w) if n else None for w, n in zip(weights, needed, strict=True))
        plan, key = self._kernels.plan, self._key
        _, B, _, H, P = key.sizes
        sums = x.new_zeros(plan.derivatives * H if key.biased else 0)
        step = (P if key.batch_first else B * P) * x.itemsize  # from one step's output to the next
        for prepared, at, (row_ih, row_hh) in self._runs_for(in_place, *needed):
            array, _ = prepared.array(x)
            place = prepared.place
            array[place["a"]] = derivatives + at
            if key.biased:
                array[place["sum"]] = sums.data_ptr() + at
            if by_ih is not None and row_ih is not None:
                array[place["met_ih"]] = x.data_ptr()
                array[place["c_ih"]] = by_ih.data_ptr() + row_ih
            if by_hh is not None and row_hh is not None:
                array[place["met_hh"]] = outputs - step
                array[place["first_hh"]] = (self._zeros if initial is None else initial).data_ptr()
                array[place["c_hh"]] = by_hh.data_ptr() + row_hh
            prepared.run(array)
        return [by_ih, by_hh, *bias_gradients(plan, sums, H, key.biased)]

    def _runs_for(self, in_place: bool, by_ih: bool, by_hh: bool) -> list[_Run]:
        kind = in_place, by_ih, by_hh
        if kind not in self._runs:
            self._runs[kind] = list(self._prepare(*kind))
        return self._runs[kind]

    def _prepare(self, in_place: bool, by_ih: bool, by_hh: bool) -> Iterator[_Run]:
        plan, key, itemsize = self._kernels.plan, self._key, self._kernels.number.bytes
        T, B, I, H, P = key.sizes
        way = key.way((plan.gates if in_place else plan.derivatives) * H)
        x, outputs = key.way_of_x(), key.way(P)
        common = {"T": T, "B": B, "chunk": weight_gradients.chunk(B), "a.t": way.t, "a.b": way.b}
        common |= {"met.t_ih": x.t, "met.b_ih": x.b, "met.t_hh": outputs.t, "met.b_hh": outputs.b}
        common |= {"first.b_hh": P if key.given else 0}
        for first, run in plan.runs:
            row_ih = run[0].row_ih if by_ih else None
            row_hh = run[0].row_hh if by_hh else None
            columns = (0 if row_ih is None else I) + (0 if row_hh is None else P)
            if not columns and not key.biased:
                continue
            N = len(run) * H
            fields = {**common, "N": N}
            fields |= {} if row_ih is None else {"M_ih": I}
            fields |= {} if row_hh is None else {"M_hh": P}
            threads = worth(key.threads, N, T * B * N * columns)
            rows = tuple(
                None if row is None else row * H * M * itemsize for row, M in ((row_ih, I), (row_hh, P))
            )
            yield _Run(
                Prepared(self._kernels.outer, fields, {}, 0, threads),
                first * H * itemsize,
                (rows[0], rows[1]),
            )


def bias_gradients(plan: Plan, sums: Tensor, H: int, biased: bool) -> list[Tensor]:
    """The gradients by both biases, from the summed derivatives of all slots; empty without biases."""
    if not biased:
        return []
    by_ih = _by_bias(plan.rows_ih, 0, sums, H)
    by_hh = _by_bias(plan.rows_hh, len(plan.slots) - len(plan.rows_hh), sums, H)
    return [by_ih, by_hh.clone() if by_hh is by_ih else by_hh]


def _by_bias(rows: Sequence[int], first: int, sums: Tensor, H: int) -> Tensor:
    """The sums of some consecutive slots, in the order of the rows of the bias."""
    ordered = list(range(len(rows)))
    if rows == ordered and len(rows) * H == len(sums):
        return sums
    own = sums[first * H : (first + len(rows)) * H]
    if rows == ordered:
        return own.clone()  # a copy, because torch may add to it in place
    blocks = own.view(-1, H)
    return torch.cat([blocks[rows.index(row)] for row in ordered])
