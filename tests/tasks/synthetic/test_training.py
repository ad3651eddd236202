from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gatewise import cell, cells, exp
from gatewise.language import Cell
from gatewise.tasks.synthetic import TASKS, Sequences
from gatewise.tasks.synthetic.network import Network
from gatewise.tasks.synthetic.training import LEARNED, Check, Run, Settings, train
from tests.selection import with_rest

SMALL = Settings(hidden_size=8, most=1500, batch=16, learning_rate=0.01)


def trained(
    name: str = "adding",
    chosen: Cell = cells.gru,
    length: int = 12,
    seed: int = 0,
    settings: Settings = SMALL,
) -> tuple[Run, list[Check]]:
    checks: list[Check] = []
    return train(TASKS[name], chosen, length, seed, settings, checks.append), checks


def test_a_short_task_is_learned_and_training_ends() -> None:
    run, checks = trained("parity", length=2, settings=replace(SMALL, most=50_000, hidden_size=16))
    assert run.learned
    assert LEARNED <= run.right <= 1
    assert checks[-1].sequences == run.sequences < 50_000
    assert checks[-1].right >= LEARNED
    assert run.seconds > 0
    assert run.parameters == 3 * 16 * (1 + 16 + 2) + 2 * 16 + 2


def test_a_long_task_is_not_learned_within_the_budget() -> None:
    run, checks = trained(length=40)
    assert (run.learned, run.diverged) == (False, False)
    assert [check.sequences for check in checks] == [1008, 1504]  # whole batches past 1,000 and past 1,500
    assert run.sequences == 1504
    assert 0 < run.right < 0.5  # the accuracy of a constant answer
    assert len(run.start.whole) == len(run.end.whole) >= 40


def test_the_same_seed_repeats_a_run_and_another_does_not() -> None:
    (one, checks), (same, again), (other, _) = trained(), trained(), trained(seed=1)
    assert checks == again
    assert (one.sequences, one.right) == (same.sequences, same.right)
    for flow in ("start", "end"):
        assert np.array_equal(getattr(one, flow).whole, getattr(same, flow).whole)
        assert not np.array_equal(getattr(one, flow).whole, getattr(other, flow).whole)


def test_training_does_not_change_the_generator_of_torch() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(torch.get_rng_state(), before)


@cell
def exploding(h, *, a):  # type: ignore[no-untyped-def]
    h = exp(a + h)
    return h


def test_a_diverged_run_is_marked_and_ends() -> None:
    run, checks = trained(chosen=exploding)
    assert (run.diverged, run.learned, run.right) == (True, False, 0.0)
    assert len(checks) == 1
    assert math.isnan(run.end.kept)


def test_a_length_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="length: adding needs at least 11"):
        trained(length=5)


SHIPPED = [value for value in vars(cells).values() if isinstance(value, Cell) and not value.projects]


@pytest.mark.parametrize(
    ("name", "chosen"),
    with_rest(
        [*((name, cells.gru) for name in TASKS), *(("reber", chosen) for chosen in SHIPPED)],
        lambda name, chosen: chosen in (cells.gru, cells.lstm, cells.lstm_layer_norm),
    ),
    ids=lambda value: value.name if isinstance(value, Cell) else value,
)
def test_every_task_and_every_cell_can_be_trained(name: str, chosen: Cell) -> None:
    settings = replace(SMALL, most=32)
    run, _ = trained(name, chosen, length=max(20, TASKS[name].shortest), settings=settings)
    assert run.cell == chosen.name
    assert set(run.start.states) == set(chosen.states)
    assert run.sequences == 32


def one_row(rows: Sequences, b: int) -> Sequences:
    n = int(rows.lengths[b])
    return Sequences(
        rows.input[:n, b : b + 1],
        rows.lengths[b : b + 1],
        rows.target[:n, b : b + 1],
        rows.asked[:n, b : b + 1],
    )


@pytest.mark.parametrize("name", ["adding", "temporal-order", "reber"])
def test_the_loss_of_ragged_rows_is_that_of_each_row_alone(name: str) -> None:
    task = TASKS[name]
    rows = task.sequences(np.random.default_rng(0), 6, 30)
    assert len(set(rows.lengths)) > 1
    torch.manual_seed(0)
    network = Network(cells.lstm, rows.input.shape[-1], 8, rows.target.shape[-1], {})
    whole = float(network.loss(task, rows).detach())
    alone = [float(network.loss(task, one_row(rows, b)).detach()) for b in range(6)]
    assert whole == pytest.approx(np.average(alone, weights=rows.asked.sum(axis=0)), rel=1e-5)
    rows.input[np.arange(len(rows.input))[:, None] >= rows.lengths] = np.nan  # is never read
    assert float(network.loss(task, rows).detach()) == whole


def test_rows_are_judged_the_same_alone_and_together() -> None:
    task = TASKS["parity"]
    rows = task.sequences(np.random.default_rng(0), 300, 10)
    torch.manual_seed(0)
    network = Network(cells.rnn, 1, 8, 2, {})
    alone = [network.right(task, one_row(rows, b)) for b in range(300)]
    assert network.right(task, rows) == pytest.approx(np.mean(alone), abs=1e-12)
    assert 0.4 < network.right(task, rows) < 0.6


def test_a_bias_is_added_to_the_gates_of_that_name_only() -> None:
    torch.manual_seed(0)
    plain = Network(cells.lstm, 2, 4, 1, {})
    torch.manual_seed(0)
    biased = Network(cells.lstm, 2, 4, 1, {"f": 3.0, "z": 5.0})
    difference = biased.layer.get_parameter("bias_ih_l0") - plain.layer.get_parameter("bias_ih_l0")
    assert torch.allclose(difference, torch.tensor([0.0, 3.0, 0.0, 0.0]).repeat_interleave(4), atol=1e-6)
    others = [name for name, _ in plain.named_parameters() if name != "layer.bias_ih_l0"]
    assert all(torch.equal(plain.get_parameter(name), biased.get_parameter(name)) for name in others)
