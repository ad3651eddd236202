"""Compiled cells: equal bits, sizes of scratch memory, chunks and threads, calls from many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from gatewise import Cell, cell, cells, tanh
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.run import host, machine, program
from gatewise.compiler.run.program import compiled, room, split, worth
from tests.compiler.examples import (
    BY_CHANCE,
    EXAMPLES,
    IN_PHASES,
    Example,
    examples,
    peephole,
    typed_examples,
)
from tests.compiler.problems import problem
from tests.compiler.running import Call, Results, assert_same_bits, run
from tests.selection import with_rest

SHAPE = (7, 13, 5, 40)  # T, B, I, H
BY_ROWS = ("output", "gradient x", "gradient init", "final", "watch")


@typed_examples
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(example: Example, dtype: str) -> None:
    p = problem(example.cell, *SHAPE)
    whole = run(p, dtype, watch=list(example.cell.values))
    for rows in (slice(0, 1), slice(12, 13), slice(3, 8)):
        part = run(p.rows(rows), dtype, watch=list(example.cell.values))
        expected = {
            name: value[rows] if name.startswith(("final", "gradient init")) else value[:, rows]
            for name, value in whole.items()
            if name.startswith(BY_ROWS)
        }
        assert_same_bits(part, expected)


@examples
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_no_chunk_changes_a_bit(example: Example, chunk: int) -> None:
    p = problem(example.cell, *SHAPE)
    for train in (False, True):
        assert_same_bits(run(p, chunk=chunk, train=train), run(p, train=train))


JOINING = [example for example in EXAMPLES if plan(example.cell).joins]
# The kernels for other widths than the machine's are compiled only for this test.
OF_WIDTHS = with_rest(
    [(example, width) for width in (1, 4, None) for example in JOINING],
    lambda example, width: width is None or example.cell is cells.lstm,
)


@pytest.mark.parametrize(
    ("example", "width"), OF_WIDTHS, ids=lambda value: value.cell.name if isinstance(value, Example) else None
)
@pytest.mark.parametrize("shape", [SHAPE, (3, 20, 33, 16), (4, 2, 1, 1), (5, 9, 16, 35)], ids=str)
def test_one_product_for_input_and_state_has_the_bits_of_two(
    example: Example, width: int | None, shape: tuple[int, int, int, int]
) -> None:
    p = problem(example.cell, *shape)
    for dtype in ("float32", "float64"):
        expected = run(p, dtype, width=width, watch=list(example.cell.values))
        for chunk, threads in ((None, 1), (2, 2)):
            found = run(
                p, dtype, width=width, watch=list(p.cell.values), chunk=chunk, threads=threads, joined=True
            )
            assert_same_bits(found, expected)
        assert_same_bits(run(p, dtype, width=width, train=False, joined=True), expected)


def test_which_cells_have_one_product() -> None:
    assert plan(cells.lstm).joins
    assert plan(cells.rnn).joins
    assert not plan(cells.gru).joins


@examples
def test_a_sequence_in_pieces_has_the_bits_of_the_whole(example: Example) -> None:
    p, states = problem(example.cell, *SHAPE), example.cell.states
    whole, outputs = run(p, train=False), []
    for piece in (slice(0, 1), slice(1, 4), slice(4, 7)):
        cut = p.but(x=p.arrays["x"][piece], dout=p.arrays["dout"][piece])
        results = run(cut, train=False)
        outputs.append(results["output"])
        p = p.but(**{f"init_{s}": results[f"final {s}"] for s in states})
    assert_same_bits(results | {"output": np.concatenate(outputs)}, whole)


@pytest.mark.parametrize(
    ("cell_", "dtype", "widths"),
    [
        (cells.lstm, "float32", (1, 4, 8, 16)),
        (peephole, "float64", (1, 2, 4, 8)),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_no_width_changes_a_bit(cell_: Cell, dtype: str, widths: tuple[int, ...]) -> None:
    p = problem(cell_, *SHAPE)
    expected = run(p, dtype, width=widths[0])
    for width in widths[1:]:
        assert_same_bits(run(p, dtype, width=width), expected)


@pytest.mark.parametrize(
    ("example", "dtype", "widths"),
    with_rest(
        [
            (example, *widths)
            for widths in (("float32", (1, 4, 8, 16)), ("float64", (1, 2, 4, 8)))
            for example in (*IN_PHASES, *BY_CHANCE)
        ],
        lambda example, dtype, _: (
            (example.cell.name, dtype) in (("everything", "float32"), ("random", "float64"))
        ),
    ),
    ids=lambda value: value.cell.name if isinstance(value, Example) else None,
)
def test_no_width_changes_a_bit_of_products_means_and_masks(
    example: Example, dtype: str, widths: tuple[int, ...]
) -> None:
    p = problem(example.cell, 4, 7, 5, 43)
    expected = run(p, dtype, width=widths[0])
    for width in widths[1:]:
        assert_same_bits(run(p, dtype, width=width), expected)
    assert_same_bits(run(p, dtype, threads=2), expected)


def test_no_number_of_registers_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    p, ours = problem(cells.gru, *SHAPE), host.host()
    expected = run(p)
    other = replace(ours, registers=16 if ours.registers == 32 else 32)
    monkeypatch.setattr(program, "host", lambda lanes=0: replace(other, lanes=lanes))
    program._compiled.cache_clear()
    assert_same_bits(run(p), expected)
    program._compiled.cache_clear()


@typed_examples
@pytest.mark.parametrize("threads", [2, 3, 20])
def test_no_number_of_threads_changes_a_bit(example: Example, threads: int, dtype: str) -> None:
    p = problem(example.cell, *SHAPE)
    assert_same_bits(run(p, dtype, threads=threads), run(p, dtype))
    if plan(example.cell).divides_units:
        assert_same_bits(run(p, dtype, threads=threads, by_units=True), run(p, dtype))


def test_python_threads_compile_a_cell_at_the_same_time_and_each_kernel_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[str] = []

    def compile_object(text: str) -> bytes:
        texts.append(text)
        return ours(text)

    ours = machine.compile_object
    monkeypatch.setattr(machine, "compile_object", compile_object)
    monkeypatch.setenv("GATEWISE_CACHE", "off")

    @cell
    def unheard_of(h, *, a):  # type: ignore[no-untyped-def]
        h = tanh(a) - 0.12345 * h
        return h

    p, all_ready = problem(unheard_of, *SHAPE), threading.Barrier(4)

    def with_the_others() -> Results:
        all_ready.wait(timeout=60)
        return run(p, threads=2)

    with ThreadPoolExecutor(4) as pool:
        first, *others = [future.result() for future in [pool.submit(with_the_others) for _ in range(4)]]
    for other in others:
        assert_same_bits(other, first)
    assert texts
    assert len(texts) == len(set(texts))


def test_other_python_threads_run_while_a_kernel_runs() -> None:
    """A kernel is known to run while the first step of its output is written and the last one is not."""
    p = problem(cells.lstm, 4000, 8, 64, 64)
    seen = False
    for _ in range(10):
        call = Call(p, compiled(cells.lstm, "float64"))
        thread = threading.Thread(target=call.forward, args=(False, ()))
        thread.start()
        while thread.is_alive():
            output = call.states.get("h")
            seen |= output is not None and np.isfinite(output[0, 0, 0]) and np.isnan(output[-1, -1, -1])
        thread.join()
        if seen:
            break
    assert seen


def test_a_cell_is_compiled_once_for_each_type_and_width() -> None:
    kernels = compiled(cells.lstm, "float64")
    assert compiled(cells.lstm, "float64") is kernels
    assert kernels.forward is kernels.forward
    assert kernels.forward is not compiled(cells.lstm, "float32").forward


@pytest.mark.parametrize("width", host.WIDTHS)
def test_units_are_rounded_up_to_whole_vectors(width: int) -> None:
    kernels = compiled(cells.rnn, "float32", width)
    assert [kernels.padded(units) for units in (1, width, width + 1)] == [width, width, 2 * width]


def test_pieces_of_scratch_memory_are_aligned_to_cache_lines_and_do_not_overlap() -> None:
    sizes = {"a": 3, "b": 0, "c": 17, "d": 1}
    start = 1000 * 8 + 4
    at = split(start, sizes, 8)
    assert list(at) == list(sizes)
    assert all(address % 64 == 0 for address in at.values())
    ends = [address + 8 * sizes[name] for name, address in at.items()]
    assert all(end <= address for end, address in zip(ends, [*at.values()][1:], strict=False))
    assert start <= at["a"]
    assert ends[-1] <= start + 8 * room(sizes, 8)


def test_a_chunk_is_a_whole_number_of_steps_and_at_least_one() -> None:
    kernels = compiled(cells.lstm, "float32")
    assert kernels.chunk(B=1, H=100_000_000, threads=1) == 1
    assert kernels.chunk(B=64, H=128, threads=2) >= kernels.chunk(B=64, H=128, threads=1)
    double = compiled(cells.lstm, "float64")
    assert double.chunk(B=16, H=64, threads=1) * 2 == kernels.chunk(B=16, H=64, threads=1)


def test_no_thread_is_idle_and_little_work_has_one_thread() -> None:
    assert worth(2, parts=64, work=1e12) == 2
    assert worth(8, parts=3, work=1e12) == 3
    assert worth(8, parts=8, work=10) == 1
    assert worth(8, parts=0, work=0) == 1
