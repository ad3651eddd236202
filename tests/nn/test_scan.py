"""Scans by kernels agree with the eager interpreter; packed rows, resets and threads change no bit."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gatewise import Cell, Split, Vector, cell, cells, sigmoid, tanh
from gatewise.nn.walk.walk import Scanned, Weights
from tests.nn.scanning import interpreted, scan


@cell
def three_states(h, c, n, *, i, f, g: Split, p: Vector):  # type: ignore[no-untyped-def]
    """States that mix, a gate in two parts, a vector."""
    f = sigmoid(f + p * c)
    c = f * c + sigmoid(i) * tanh(g.x + f * g.h)
    n = n * f + c
    h = tanh(n) * f
    return h, c, n


CELLS = [cells.lstm, cells.gru, cells.rnn, three_states]
SHAPES = [(1, 3, 2, 5), (7, 6, 5, 19), (9, 4, 3, 70), (12, 30, 4, 33)]  # T, B, I, H


@dataclass
class Walk:
    """The arguments of a scan."""

    cell: Cell
    x: Tensor
    weights: Weights
    states: tuple[Tensor, ...] | None
    reset: Tensor | None
    batch_sizes: Tensor | None
    reverse: bool

    def leaves(self) -> list[Tensor]:
        parts = (self.x, *self.weights[:4], *self.weights.vectors, *(self.states or ()))
        return [part for part in parts if isinstance(part, Tensor)]

    def results(self, run=scan) -> list[Tensor]:  # type: ignore[no-untyped-def]
        """All results of a scan, and its gradients for all leaves."""
        scanned: Scanned = run(
            self.cell, self.x, self.weights, self.states, reverse=self.reverse,
            record=list(self.cell.values), reset=self.reset, batch_sizes=self.batch_sizes,
        )  # fmt: skip
        found = [scanned.output, *scanned.states]
        generator = torch.Generator().manual_seed(1)
        by = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in found]
        gradients = torch.autograd.grad(found, self.leaves(), by)
        return [*found, *(scanned.recorded[name] for name in self.cell.values), *gradients]


def walk(
    cell: Cell, T: int, B: int, I: int, H: int, *, packed: bool, resets: bool, given: bool, reverse: bool
) -> Walk:
    """Random arguments in float64, with weights small enough to keep the state bounded."""
    generator = torch.Generator().manual_seed(T + 10 * B + 100 * H + packed + 2 * resets)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        made = torch.randn(shape, dtype=torch.float64, generator=generator) * scale
        return made.requires_grad_()

    rows_x, rows_h = len(cell.input_gates) * H, len(cell.state_gates) * H
    weights = Weights(
        draw(rows_x, I), draw(rows_h, H, scale=0.4 / H**0.5), draw(rows_x), draw(rows_h),
        tuple(draw(H) for _ in cell.vectors),
    )  # fmt: skip
    sizes = None
    if packed:
        lengths = torch.randint(1, T + 1, (B,), generator=generator)
        lengths[0] = T
        sizes = (torch.arange(T)[:, None] < lengths).sum(1)
    shape = (T, B) if sizes is None else (int(sizes.sum()),)
    states = tuple(draw(B, H) for _ in cell.states) if given else None
    reset = torch.rand(shape, generator=generator) < 0.3 if resets else None
    return Walk(cell, draw(*shape, I), weights, states, reset, sizes, reverse)


@pytest.mark.parametrize("reverse", [False, True], ids=["on", "back"])
@pytest.mark.parametrize("given", [False, True], ids=["from zero", "from states"])
@pytest.mark.parametrize(("packed", "resets"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_kernels_compute_what_the_equations_say(
    cell: Cell, packed: bool, resets: bool, given: bool, reverse: bool
) -> None:
    for T, B, I, H in SHAPES:
        it = walk(cell, T, B, I, H, packed=packed, resets=resets, given=given, reverse=reverse)
        for found, expected in zip(it.results(), it.results(interpreted), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def two_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads, for problems of any size."""
    from gatewise.compiler.run import program

    monkeypatch.setattr(program, "_THREAD_WORK", 1)
    monkeypatch.setattr(program, "_STEP_WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.mark.parametrize("reverse", [False, True], ids=["on", "back"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_a_packed_row_has_the_bits_that_it_has_alone(cell: Cell, reverse: bool, two_threads: None) -> None:
    it = walk(cell, 9, 6, 5, 37, packed=True, resets=False, given=True, reverse=reverse)
    assert it.batch_sizes is not None
    assert it.states is not None
    together = scan(cell, it.x, it.weights, it.states, reverse=reverse, batch_sizes=it.batch_sizes)
    starts = it.batch_sizes.cumsum(0) - it.batch_sizes
    for row in range(6):
        own = starts[it.batch_sizes > row] + row
        states = tuple(state[row : row + 1] for state in it.states)
        alone = scan(cell, it.x[own].unsqueeze(1), it.weights, states, reverse=reverse)
        assert torch.equal(together.output[own], alone.output[:, 0])
        for whole, one in zip(together.states, alone.states, strict=True):
            assert torch.equal(whole[row], one[0])


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_a_reset_row_has_the_bits_of_its_segments(cell: Cell, two_threads: None) -> None:
    it = walk(cell, 12, 5, 5, 37, packed=False, resets=True, given=True, reverse=False)
    assert it.reset is not None
    assert it.states is not None
    whole = scan(cell, it.x, it.weights, it.states, reset=it.reset)
    for row in range(5):
        states = tuple(state[row : row + 1] for state in it.states)
        cuts = [0, *(t for t in range(1, 12) if it.reset[t, row]), 12]
        for start, stop in pairwise(cuts):
            segment = scan(cell, it.x[start:stop, row : row + 1], it.weights, states)
            assert torch.equal(whole.output[start:stop, row], segment.output[:, 0])
        for last, end in zip(whole.states, segment.states, strict=True):
            assert torch.equal(last[row], end[0])


@pytest.mark.parametrize("reverse", [False, True], ids=["on", "back"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_number_of_threads_changes_no_bit(
    packed: bool, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatewise.compiler.run import program

    it = walk(cells.lstm, 9, 7, 5, 70, packed=packed, resets=True, given=True, reverse=reverse)
    expected = it.results()
    monkeypatch.setattr(program, "_THREAD_WORK", 1)
    monkeypatch.setattr(program, "_STEP_WORK", 1)
    for threads, few_rows in ((2, 8), (3, 8), (2, 0)):
        monkeypatch.setattr(program, "_FEW_ROWS", few_rows)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        for found, value in zip(it.results(), expected, strict=True):
            assert torch.equal(found, value)


def test_inference_gives_the_final_states_of_rows_that_end_early() -> None:
    """In inference only the last step of the other states is stored. Rows that have ended keep theirs."""
    it = walk(cells.lstm, 8, 5, 3, 20, packed=True, resets=False, given=False, reverse=False)
    with torch.no_grad():
        short = scan(cells.lstm, it.x, it.weights, batch_sizes=it.batch_sizes)
    long = scan(cells.lstm, it.x, it.weights, batch_sizes=it.batch_sizes)
    for a, b in zip((short.output, *short.states), (long.output, *long.states), strict=True):
        assert torch.equal(a, b)
