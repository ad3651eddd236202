# mypy: allow-untyped-defs, allow-incomplete-defs
"""Streams compute the equations, with the same bits however a sequence is split."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import gatewise.runtime.stream
from gatewise import Cell, cells, dropout, sigmoid, tanh, zoneout
from gatewise import cell as cell_of
from gatewise.runtime import Stream
from tests.compiler.examples import Example, delay, everything, examples, peephole
from tests.compiler.problems import problem, stated
from tests.runtime.stacks import Array, sequence, stack


def sigma(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def lstm(weights: dict[str, Array], layer: int, x: Array) -> tuple[Array, Array, Array]:
    """One layer over ``x [T, B, I]``: its output, and the last h and c."""
    w_ih, w_hh, b_ih, b_hh = (
        weights[f"{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = np.zeros((x.shape[1], w_hh.shape[1]))
    outputs = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), h, c


def test_two_layers_are_the_equations() -> None:
    weights, x = stack(cells.lstm, 2, 5, 7), sequence(11, 3, 5)
    below, h_0, c_0 = lstm(weights, 0, x)
    above, h_1, c_1 = lstm(weights, 1, below)
    stream = Stream(cells.lstm, weights, batch=3)
    np.testing.assert_allclose(stream.run(x), above, rtol=1e-12, atol=1e-14)
    state = stream.state
    assert list(state) == ["h", "c"]
    np.testing.assert_allclose(state["h"], np.stack([h_0, h_1]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state["c"], np.stack([c_0, c_1]), rtol=1e-12, atol=1e-14)


@examples
def test_any_cell_step_by_step(example: Example) -> None:
    p = problem(example.cell, T=9, B=2, I=3, H=11)
    weights = {f"{name.replace('w_', 'weight_').replace('b_', 'bias_')}_l0": p.arrays[name]
               for name in p.arrays if name.startswith(("w_", "b_"))}  # fmt: skip
    weights |= {f"{v}_l0": p.arrays[f"vector_{v}"] for v in example.cell.vectors}
    stream = Stream(example.cell, weights, batch=2)
    stream.state = {s: p.arrays[f"init_{s}"][None] for s in example.cell.states}
    expected = stated(example, p)
    output = np.stack([stream.step(x_t) for x_t in p.arrays["x"]])
    np.testing.assert_allclose(output, expected[example.cell.states[0]], rtol=1e-11, atol=1e-13)
    for name, values in stream.state.items():
        np.testing.assert_allclose(values[0], expected[name][-1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("bias", [True, False], ids=["biased", "unbiased"])
@pytest.mark.parametrize(
    ("cell", "theirs", "more"),
    [
        (cells.lstm, torch.nn.LSTM, {}),
        (cells.gru, torch.nn.GRU, {}),
        (cells.rnn, torch.nn.RNN, {}),
        (cells.rnn_relu, torch.nn.RNN, {"nonlinearity": "relu"}),
    ],
    ids=["lstm", "gru", "rnn", "rnn_relu"],
)
def test_the_weights_of_torch(
    cell: Cell, theirs: Callable[..., torch.nn.RNNBase], more: dict[str, str], bias: bool
) -> None:
    torch.manual_seed(0)
    module = theirs(6, 10, num_layers=2, bias=bias, dtype=torch.float64, **more)
    x = sequence(13, 4, 6)
    with torch.no_grad():
        output, finals = module(torch.from_numpy(x))
    stream = Stream(cell, module.state_dict(), batch=4)
    np.testing.assert_allclose(stream.run(x), output.numpy(), rtol=1e-11, atol=1e-13)
    finals = finals if isinstance(finals, tuple) else (finals,)
    for mine, final in zip(stream.state.values(), finals, strict=True):
        np.testing.assert_allclose(mine, final.numpy(), rtol=1e-11, atol=1e-13)


def test_the_projected_lstm_of_torch() -> None:
    torch.manual_seed(0)
    module = torch.nn.LSTM(6, 10, num_layers=2, proj_size=3, dtype=torch.float64)
    x = sequence(13, 4, 6)
    with torch.no_grad():
        output, (h_n, c_n) = module(torch.from_numpy(x))
    stream = Stream(cells.lstm, module.state_dict(), batch=4)
    np.testing.assert_allclose(stream.run(x), output.numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(stream.state["h"], h_n.numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(stream.state["c"], c_n.numpy(), rtol=1e-11, atol=1e-13)


def test_a_stream_is_never_random() -> None:
    @cell_of
    def plain(h, *, a, b):
        h = 0.25 * h + (1 - 0.25) * sigmoid(a) * tanh(b)
        return h

    @cell_of
    def random(h, *, a, b):
        h = zoneout(h, dropout(sigmoid(a), 0.5) * tanh(b), 0.25)
        return h

    weights, x = stack(plain, 2, 5, 7), sequence(11, 3, 5)
    expected = Stream(plain, weights, batch=3).run(x)
    np.testing.assert_allclose(Stream(random, weights, batch=3).run(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "cell", [cells.lstm, cells.gru, peephole, delay, everything], ids=lambda cell: cell.name
)
@pytest.mark.parametrize(("L", "B", "I", "H"), [(1, 1, 3, 21), (3, 1, 4, 8), (2, 5, 9, 64)])
def test_steps_pieces_and_the_whole_have_the_same_bits(
    cell: Cell, dtype: str, L: int, B: int, I: int, H: int
) -> None:
    weights, x = stack(cell, L, I, H, dtype), sequence(120, B, I, dtype)  # more than a block
    stream = Stream(cell, weights, batch=B)
    whole, after = stream.run(x), stream.state
    assert whole.dtype == dtype
    for cut in ([1, 2, 9, 60], [59], range(1, 120)):
        stream.reset()
        pieces = np.concatenate([stream.run(piece) for piece in np.split(x, cut)])
        np.testing.assert_array_equal(pieces, whole)
        np.testing.assert_equal(stream.state, after)
    stream.reset()
    np.testing.assert_array_equal([stream.step(x_t) for x_t in x], whole)
    np.testing.assert_equal(stream.state, after)


def test_single_steps_and_blocks_alternate() -> None:
    weights, x = stack(cells.gru, 2, 4, 9), sequence(12, 2, 4)
    stream = Stream(cells.gru, weights, batch=2)
    whole = stream.run(x)
    stream.reset()
    parts = [
        stream.step(x[0])[None],
        stream.run(x[1:4]),
        stream.run(x[4:4]),
        stream.step(x[4])[None],
        stream.run(x[5:]),
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_row_has_the_same_bits_alone_and_in_a_batch() -> None:
    weights, x = stack(cells.lstm, 2, 5, 19, "float32"), sequence(8, 7, 5, "float32")
    together = Stream(cells.lstm, weights, batch=7).run(x)
    np.testing.assert_array_equal(Stream(cells.lstm, weights).run(x[:, 4:5]), together[:, 4:5])


def test_one_row_may_come_without_a_batch() -> None:
    weights, x = stack(cells.lstm, 2, 5, 6), sequence(7, 1, 5)
    stream = Stream(cells.lstm, weights)
    whole = stream.run(x)
    stream.reset()
    flat = stream.run(x[:4, 0])
    assert flat.shape == (4, 6)
    np.testing.assert_array_equal(flat, whole[:4, 0])
    h = stream.step(x[4, 0])
    assert h.shape == (6,)
    np.testing.assert_array_equal(h, whole[4, 0])
    np.testing.assert_array_equal(stream.step(x[5]), whole[5])


def test_an_output_is_a_new_array_or_the_one_given() -> None:
    weights, x = stack(cells.lstm, 1, 5, 6), sequence(4, 2, 5)
    stream = Stream(cells.lstm, weights, batch=2)
    whole = stream.run(x)
    stream.reset()
    first, second = stream.step(x[0]), stream.step(x[1])
    out = np.full((2, 12), np.nan)[:, ::2]
    assert stream.step(x[2], out) is out
    np.testing.assert_array_equal([first, second, out], whole[:3])
    out[...] = 0
    np.testing.assert_array_equal(stream.step(x[3]), whole[3])


def test_inputs_may_have_any_memory_layout() -> None:
    weights, x = stack(cells.lstm, 1, 5, 6, "float32"), sequence(9, 2, 5, "float32")
    stream = Stream(cells.lstm, weights, batch=2)
    whole = stream.run(x)
    reversed_axes = np.asfortranarray(x)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("float32").reshape(x.shape)
    assert not unaligned.flags.aligned
    assert not unaligned.flags.writeable
    for same in (reversed_axes, unaligned, x[::-1][::-1]):
        stream.reset()
        np.testing.assert_array_equal(stream.run(same), whole)
        stream.reset()
        np.testing.assert_array_equal([stream.step(x_t) for x_t in same], whole)


@pytest.mark.parametrize("cell", [cells.lstm, cells.gru, peephole], ids=lambda cell: cell.name)
def test_no_memory_is_read_before_it_is_written(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x = stack(cell, 2, 5, 19), sequence(9, 3, 5)
    expected = Stream(cell, weights, batch=3).run(x)
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    stream = Stream(cell, weights, batch=3)
    steps = [stream.step(x_t) for x_t in x[:4]]
    np.testing.assert_array_equal(np.concatenate([steps, stream.run(x[4:])]), expected)


def test_weights_are_copied() -> None:
    weights, x = stack(peephole, 1, 5, 6), sequence(4, 2, 5)
    kept, changed = Stream(peephole, weights, batch=2), Stream(peephole, weights, batch=2)
    for array in weights.values():
        array[...] = np.nan
    np.testing.assert_array_equal(changed.run(x), kept.run(x))
    assert not np.isnan(kept.step(x[0])).any()


def test_the_type_is_that_of_the_weights_or_the_one_asked_for() -> None:
    weights = stack(cells.lstm, 1, 5, 6)
    rounded = {name: array.astype("float32") for name, array in weights.items()}
    assert Stream(cells.lstm, weights).dtype == "float64"
    assert Stream(cells.lstm, rounded).dtype == "float32"
    assert Stream(cells.lstm, {n: a.astype(">f4") for n, a in weights.items()}).dtype == np.dtype("float32")
    x = sequence(4, 1, 5, "float32")
    np.testing.assert_array_equal(
        Stream(cells.lstm, weights, dtype="float32").run(x), Stream(cells.lstm, rounded).run(x)
    )


def test_streams_run_side_by_side_in_threads() -> None:
    weights, x = stack(cells.lstm, 2, 8, 32, "float32"), sequence(3000, 1, 8, "float32")
    first = Stream(cells.lstm, weights)
    streams = [first, first.fork(), Stream(cells.lstm, weights)]
    expected = [first.fork().run(x * factor) for factor in (1, 2, 3)]

    def steps(k: int) -> Array:
        return np.stack([streams[k].step(x_t) for x_t in x * np.float32(k + 1)])

    with ThreadPoolExecutor(3) as pool:
        np.testing.assert_array_equal(list(pool.map(steps, range(3))), expected)


def test_a_stream_needs_no_torch() -> None:
    code = """
import sys
import numpy as np
from gatewise import cells
from gatewise.runtime import Stream
weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
print(Stream(cells.lstm, weights).step(np.ones(3)).shape, "torch" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.split() == ["(2,)", "False"]


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the page saves a state
    page = Path(__file__).parents[2] / "docs" / "runtime.md"
    for failed, attempted in (
        doctest.testmod(gatewise.runtime.stream),
        doctest.testfile(str(page), module_relative=False),
    ):
        assert (failed, attempted > 0) == (0, True)
