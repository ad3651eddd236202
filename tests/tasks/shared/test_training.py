"""Training: continued runs, several processes, averages, schedules, and what a job can get wrong."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.tasks.shared import training
from gatewise.tasks.shared.training import Epoch, Outcome
from tests.tasks.shared.regression import job, trained

RECIPES: list[dict[str, Any]] = [
    {},
    {"average": 0.8, "schedule": "cosine"},
    {"schedule": "constant", "patience": 1, "learning_rate": 0.5},  # stops early
]


class Killed(BaseException):
    """The end of a process, as far as the files can tell."""


class Death:
    """Raises `Killed` at a given call."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


@pytest.fixture(scope="module")
def whole() -> list[tuple[dict[str, torch.Tensor], Outcome]]:
    return [trained(job(), **recipe) for recipe in RECIPES]


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_killed_run_continues_to_the_same_weights(
    whole: list[tuple[dict[str, torch.Tensor], Outcome]],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    """Killed once or several times: in a batch, while a checkpoint is written, or after an epoch."""
    recipe = data.draw(st.integers(0, len(RECIPES) - 1))
    checkpoint = tmp_path_factory.mktemp("run") / "checkpoint"
    options = {**RECIPES[recipe], "checkpoint": checkpoint}
    for place in data.draw(st.lists(st.sampled_from(["batch", "file", "epoch"]), min_size=1, max_size=3)):
        death = Death(data.draw(st.integers(1, {"batch": 12, "file": 3, "epoch": 3}[place])))
        replaced = os.replace
        with pytest.MonkeyPatch.context() as patch:
            if place == "file":
                patch.setattr(os, "replace", lambda a, b, d=death: (d(), replaced(a, b)))
            made = death if place == "batch" else lambda: None
            with contextlib.suppress(Killed):
                trained(job(made=made), *([death] if place == "epoch" else []), **options)
    weights, outcome = trained(job(), **options)
    expected, reached = whole[recipe]
    assert outcome == reached
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


@pytest.mark.parametrize(
    ("other", "options"),
    [
        ({"dropout": 0.3, "batch_size": 5}, {}),
        ({"scale": 2.0}, {}),
        ({}, {"learning_rate": 0.01}),
        ({}, {"seed": 2}),
    ],
)
def test_a_checkpoint_of_other_training_is_refused(
    tmp_path: Path, other: dict[str, Any], options: dict[str, Any]
) -> None:
    checkpoint = tmp_path / "checkpoint"
    weights, _ = trained(job(), max_epochs=2, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="other data or other arguments"):
        trained(job(**other), **{"max_epochs": 2, "checkpoint": checkpoint, **options})
    again, _ = trained(job(), max_epochs=2, checkpoint=checkpoint)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """Bytes are changed, left out or added; or the file is an archive of something else."""
    checkpoint = tmp_path / "checkpoint"
    trained(job(), max_epochs=1, checkpoint=checkpoint)
    whole, random = checkpoint.read_bytes(), np.random.default_rng(0)
    damaged = [b"", b"nonsense", whole[: len(whole) // 2], whole[:-1], whole[1:]]
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("some", "text")
    torch.save({"epoch": 1}, tmp_path / "other")
    torch.save([1], tmp_path / "list")
    others = [(tmp_path / name).read_bytes() for name in ("archive", "other", "list")]
    with zipfile.ZipFile(checkpoint) as archive:
        parts = [info for info in archive.infolist() if info.file_size]
    for part in random.choice(np.array(parts, object), 6):  # a bit of what it holds
        at = part.header_offset
        at += 30 + sum(struct.unpack("<HH", whole[at + 26 : at + 30])) + int(random.integers(part.file_size))
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in (*damaged, *others):
        checkpoint.write_bytes(content)
        with pytest.raises(ValueError, match=f"checkpoint: .*; remove {checkpoint} to begin training again"):
            trained(job(), max_epochs=1, checkpoint=checkpoint)
        assert checkpoint.read_bytes() == content


def test_a_checkpoint_is_loaded_without_running_code(tmp_path: Path) -> None:
    """It is read as tensors and plain data alone."""
    trained(job(), max_epochs=1, checkpoint=tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} == {"c"}
    torch.load(tmp_path / "c", weights_only=True)


def test_two_processes_reach_the_weights_of_one_with_the_doubled_batch(tmp_path: Path) -> None:
    """Also where rows that count, or validation batches, are not shared out equally."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    code = [str(Path(__file__).with_name("regression.py")), str(tmp_path / "reached")]
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, *code], check=False, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    weights, outcome = trained(job(4, dropout=0), average=0.5)
    for rank in (0, 1):
        reached = json.loads((tmp_path / f"reached.{rank}").read_text(encoding="utf-8"))
        assert reached["error"] == pytest.approx(outcome.best_error, rel=1e-5)
        for name, values in reached["weights"].items():
            torch.testing.assert_close(torch.tensor(values), weights[name], rtol=1e-4, atol=1e-5)


def test_the_loss_and_the_error_of_an_epoch_weigh_every_item_the_same() -> None:
    """With a learning rate of almost zero, both are those of the untrained network."""
    epochs: list[Epoch] = []
    trained(job(dropout=0), epochs.append, max_epochs=1, learning_rate=1e-12)
    epochs_of_one: list[Epoch] = []
    trained(job(batch_size=100, dropout=0), epochs_of_one.append, max_epochs=1, learning_rate=1e-12)
    assert epochs[0].loss == pytest.approx(epochs_of_one[0].loss, rel=1e-5)
    assert epochs[0].loss == pytest.approx(epochs[0].error, rel=1e-5)


@pytest.mark.parametrize(
    ("rate", "averaged"),
    [(1.0, True), (0.02, False)],
    ids=["the average is better", "the weights are better"],
)
def test_the_weights_or_their_average_are_kept_whichever_is_better(rate: float, averaged: bool) -> None:
    """A moving average in float64, from the weights after each batch, beside the one that training kept."""
    seen: list[dict[str, torch.Tensor]] = []
    given = training._Training.on_train_batch_end

    def recorded(self: Any, *arguments: Any) -> None:
        seen.append({name: value.double().clone() for name, value in self.network.state_dict().items()})
        given(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training._Training, "on_train_batch_end", recorded)
        recipe: dict[str, Any] = {"learning_rate": rate, "schedule": "constant", "max_epochs": 1}
        weights, outcome = trained(job(), average=0.9, **recipe)
    average = seen[0]
    for updates, now in enumerate(seen[1:], 1):
        decay = min(0.9, (1 + updates) / (10 + updates))
        average = {name: decay * value + (1 - decay) * now[name] for name, value in average.items()}
    average["calls"] = seen[-1]["calls"]  # buffers are not averaged
    errors = {True: validated(average), False: validated(seen[-1])}
    assert min(errors, key=errors.__getitem__) is averaged
    assert outcome.best_error == pytest.approx(errors[averaged], rel=1e-5)
    for name, value in (average if averaged else seen[-1]).items():
        torch.testing.assert_close(weights[name].double(), value, rtol=1e-5, atol=1e-6)


def validated(weights: dict[str, torch.Tensor]) -> float:
    """The validation error of weights."""
    given = job()
    network = given.build().eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        found = [given.error(network, batch) for batch in given.check()]
    return sum(float(total) for total, _ in found) / sum(items for _, items in found)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_training_that_diverges_keeps_what_was_reached_before(keep: str) -> None:
    errors = iter([3.0, 2.0, float("nan")])

    def error(network: Any, batch: Any) -> tuple[torch.Tensor, int]:
        return torch.tensor(next(errors)), 1

    given = job()
    diverging = replace(given, check=lambda: list(given.check())[:1], error=error)
    _, outcome = trained(diverging, keep=keep)
    assert (outcome.best_epoch, outcome.best_error) == (2, 2.0)
    assert [epoch.best for epoch in outcome.history] == [3.0, 2.0, 2.0]


def test_training_stops_at_a_loss_that_is_no_number_and_says_where() -> None:
    seen: list[float] = []

    def loss(network: Any, batch: Any) -> tuple[torch.Tensor, int]:
        total, items = given.loss(network, batch)
        seen.append(total.item())
        return total * (torch.nan if len(seen) > good else 1.0), items

    given = job()
    count = given.batches.count(1)
    broken = replace(given, loss=loss, where=lambda network, batch: "there.")
    good = 2 * count + 1
    with pytest.warns(RuntimeWarning, match="diverged in epoch 3: there. The weights of epoch . are kept"):
        weights, outcome = trained(broken)
    assert len(seen) == good + 1
    assert len(outcome.history) == 2
    assert all(value.isfinite().all() for value in weights.values())
    seen.clear()
    good = 0
    with pytest.raises(FloatingPointError, match="diverged in its first epoch: there"):
        trained(broken)
    assert len(seen) == 1


def test_training_without_checks_reaches_the_last_weights() -> None:
    """As if validation had been done, and for as many epochs as are asked for."""

    def never(network: Any, batch: Any) -> tuple[torch.Tensor, int]:
        raise AssertionError

    expected, _ = trained(job(), keep="last", max_epochs=3, patience=3)
    weights, outcome = trained(replace(job(), error=never), checks=False, max_epochs=3, patience=1)
    assert outcome.best_epoch == len(outcome.history) == 3
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    with pytest.raises(FloatingPointError, match="training diverged in its first epoch"):
        trained(job(), checks=False, learning_rate=float("inf"), max_epochs=1)


@pytest.mark.parametrize("option", ["max_epochs", "gradient_clip_val"])
def test_options_of_the_trainer_that_the_estimator_has_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"trainer must leave {option} out"):
        trained(job(), trainer={option: 1})


def test_options_of_the_trainer_are_passed_on() -> None:
    _, outcome = trained(job(), trainer={"limit_train_batches": 1, "precision": "bf16-mixed"}, max_epochs=2)
    assert len(outcome.history) == 2
