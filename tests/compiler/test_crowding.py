"""Teams on cores that are busy with other work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gatewise
from gatewise.compiler.run import crowding as module
from gatewise.compiler.run import program
from gatewise.compiler.run.crowding import Crowding


class Clocks:
    """Clocks whose time is set by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = self.used = 100.0
        monkeypatch.setattr(module, "perf_counter", lambda: self.passed)
        monkeypatch.setattr(module, "process_time", lambda: self.used)

    def call(self, crowding: Crowding, seconds: float, used: float, threads: int = 2) -> None:
        """Simulate a team call with this duration and this much processor time."""
        clocks = crowding.start()
        self.passed += seconds
        self.used += used
        crowding.end(threads, clocks)


def test_a_team_that_gets_its_cores_stays_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks, crowding = Clocks(monkeypatch), Crowding()
    for _ in range(100):
        clocks.call(crowding, 0.004, 0.0075)
        assert not crowding


def test_a_team_that_waits_for_its_cores_is_one_thread_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks, crowding = Clocks(monkeypatch), Crowding()
    clocks.call(crowding, 0.015, 0.01)
    assert not crowding  # one call is too short to decide
    clocks.call(crowding, 0.015, 0.01)
    assert crowding
    clocks.passed += 0.3
    assert not crowding  # after a while a team is tried again
    clocks.call(crowding, 0.03, 0.06)
    assert not crowding


def test_results_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bits are the same with a team, on one thread, and for layers of a stack that overlap."""
    monkeypatch.setattr(program, "_THREAD_WORK", 1)
    monkeypatch.setattr(program, "_STEP_WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    x = torch.randn(9, 6, 5)
    for layers in (1, 3):
        layer = gatewise.nn.LSTM(5, 33, layers)

        def results(layer: torch.nn.Module = layer) -> list[torch.Tensor]:
            layer.zero_grad()
            output, _ = layer(x)
            output.square().sum().backward()
            return [output, *(weight.grad for weight in layer.parameters())]

        monkeypatch.setattr(program, "crowding", Crowding())
        together = [results() for _ in range(2)]
        alone = Crowding()
        alone._until = np.inf
        monkeypatch.setattr(program, "crowding", alone)
        for found in (*together[1:], *(results() for _ in range(2))):
            assert all(map(torch.equal, found, together[0]))
