"""Interleaved timing, with a clock that the test sets."""

from __future__ import annotations

import time

import pytest

from benchmarks.measure import interleaved, medians, ratio


class Clock:
    """A clock that only calls advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def run(self, name: str, seconds: float) -> None:
        self.calls.append(name)
        self.now += seconds


def test_contenders_alternate_and_each_fills_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    contenders = {"a": lambda: clock.run("a", 0.25), "b": lambda: clock.run("b", 0.5)}
    times = interleaved(contenders, rounds=2, seconds=1.0)
    assert times == {"a": pytest.approx([0.25] * 2), "b": pytest.approx([0.5] * 2)}
    first_look, one_round = ["a"] * 2 + ["b"] * 2, ["a"] * 4 + ["b"] * 3  # one call of each as a warm-up
    assert "".join(clock.calls).startswith("".join(first_look))
    assert len(clock.calls) == pytest.approx(len(first_look) + 2 * len(one_round), abs=4)


def test_the_preparation_of_a_call_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    times = interleaved({"a": lambda: clock.run("a", 0.25)}, 1, 0.5, before=lambda: clock.run("-", 100.0))
    assert times == {"a": pytest.approx([0.25])}
    assert "-a" in "".join(clock.calls)


def test_ratios_are_taken_in_each_round() -> None:
    times = {"ours": [1.0, 10.0, 2.0], "peer": [2.0, 20.0, 8.0]}  # the machine was slow in the second round
    assert ratio(times, "ours", "peer") == 2.0
    assert medians(times) == {"ours": 2.0, "peer": 8.0}
