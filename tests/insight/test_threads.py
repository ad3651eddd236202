"""Watching, editing and explaining affect one thread only; calls in other threads stay the same."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gatewise
from gatewise import nn as ours

T, B, I, H = 5, 3, 2, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """Calls a function in another thread and returns its result."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *args: pool.submit(function, *args).result()


LAYERS = {
    "layer": lambda: ours.LSTM(I, H, 2, bidirectional=True),
    "stack": lambda: ours.GRU(I, H, 3),
    "step": lambda: ours.GRUCell(I, H),
}


def given(layer: nn.Module) -> Tensor:
    return torch.randn(B, I) if isinstance(layer, ours.Step) else torch.randn(T, B, I)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_calls_of_another_thread_are_not_recorded(make: Any, elsewhere: Any) -> None:
    layer = make()
    x = given(layer)
    with gatewise.watch(layer) as seen:
        elsewhere(layer, x)
        assert list(seen) == []
        layer(x)
        before = {name: values.h.clone() for name, values in seen.items()}
        elsewhere(layer, 2 * x)
    assert before
    assert all(torch.equal(values.h, before[name]) for name, values in seen.items())


def test_a_watch_of_another_thread_does_not_record_this_one(elsewhere: Any) -> None:
    layer, x = ours.LSTM(I, H), torch.randn(T, B, I)
    opened = gatewise.watch(layer)
    seen = elsewhere(opened.__enter__)
    layer(x)
    assert list(seen) == []
    elsewhere(layer, x)
    assert list(seen) == ["l0"]
    elsewhere(opened.__exit__, None, None, None)


@pytest.mark.parametrize("fails", [False, True])
def test_many_threads_watch_one_layer_at_the_same_time(fails: bool) -> None:
    layer, threads = ours.LSTM(I, H), 6
    start = Barrier(threads)

    def watched(seed: int) -> None:
        inputs = [torch.full((T, B, I), seed + k / 10) for k in range(10)]
        start.wait(30)
        for x in inputs:
            try:
                with gatewise.watch(layer) as seen:
                    output, _ = layer(x)
                    if fails and seed % 2:
                        raise KeyError(seed)
            except KeyError:
                pass
            assert torch.equal(seen["l0"].h, output.detach())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(watched, range(threads)))
    with gatewise.watch(layer) as seen:
        pass
    layer(torch.zeros(T, B, I))
    assert list(seen) == []


def test_a_watch_in_a_generator_ends_with_it() -> None:
    layer = ours.GRU(I, H)

    def outputs() -> Generator[Tensor]:
        with gatewise.watch(layer) as seen:
            while True:
                layer(torch.randn(T, B, I))
                yield seen["l0"].h

    steps = outputs()
    first, second = next(steps), next(steps)
    assert not torch.equal(first, second)
    steps.close()
    assert not layer._is_recorded


def test_a_replica_in_another_thread_is_not_recorded(elsewhere: Any) -> None:
    layer, x = ours.GRU(I, H), torch.randn(T, B, I)
    with gatewise.watch(layer) as seen:
        replica = layer._replicate_for_data_parallel()  # type: ignore[no-untyped-call]  # of DataParallel
        replica._parameters = dict(layer._parameters)
        elsewhere(replica, x)
    assert list(seen) == []


def test_units_are_silenced_in_this_thread_only(elsewhere: Any) -> None:
    layer, x = ours.LSTM(I, H), torch.randn(T, B, I)
    expected = layer(x)[0].detach()

    def loss() -> Tensor:
        assert torch.equal(elsewhere(layer, x)[0], expected)
        found: Tensor = layer(x)[0].square().sum()
        return found

    ranking = gatewise.rank_units(layer, loss, by="silenced")
    assert all(ranking.scores["l0"] > 0)


def test_gradient_flow_records_this_thread_only(elsewhere: Any) -> None:
    layer, x = ours.GRU(I, H), torch.randn(T, B, I)

    def loss() -> Tensor:
        found: Tensor = layer(x)[0].sum()
        elsewhere(layer, x)
        return found

    assert list(gatewise.gradient_flow(layer, loss)) == ["l0"]


def test_explain_reports_this_thread_only(elsewhere: Any) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ours, self.theirs = ours.GRU(I, H), nn.GRU(I, H)

        def forward(self, x: Tensor) -> None:
            elsewhere(self.ours, x), elsewhere(self.theirs, x)

    layers = gatewise.explain(Model(), torch.randn(T, B, I)).layers
    assert [layer.runs_in for layer in layers] == ["not called", "not called"]


def test_strict_refuses_in_this_thread_only(elsewhere: Any) -> None:
    slow, x = ours.Recurrent(gatewise.cells.min_gru, I, H).bfloat16(), torch.randn(T, B, I).bfloat16()
    with gatewise.strict():
        elsewhere(slow, x)
        with pytest.raises(RuntimeError, match="strict"):
            slow(x)
