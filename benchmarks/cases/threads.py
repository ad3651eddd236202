"""Two threads compared with one, and with the gain of a large torch product from the second core."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.layers import MODES, SHAPES, pair, prepared
from benchmarks.measure import Run, interleaved, ratio

_ENOUGH, _WITH_ONE_ROW = 1.7, 1.5
_SHARE = 0.95  # of the gain of torch.mm does too, where the second core has more to do


def findings(settings: Settings) -> Iterator[Finding]:
    """Idle, and right after a torch operation whose threads may still be spinning."""
    worth = [shape for shape in SHAPES if shape.B >= 16 or shape.H >= 256]
    a = torch.randn(2 * (16 if settings.tiny else 1024,))
    b = torch.randn(2 * (16 if settings.tiny else 512,))
    situations = {"": None, ", right after torch.mm": on(2, lambda: torch.mm(b, b))}
    for shape in dict.fromkeys(map(settings.shape, worth)):
        ours, _, x = pair("lstm", shape)
        for mode in MODES:
            run = prepared(mode, ours, x)
            contenders = {f"{name} {n}": on(n, call) for name, call in _calls(run, a).items() for n in (1, 2)}
            for situation, before in situations.items():
                times = interleaved(contenders, settings.rounds, settings.seconds, before)
                gain = ratio(times, "mm 2", "mm 1")
                enough = _ENOUGH if shape.B > 1 else _WITH_ONE_ROW
                yield Finding(
                    f"LSTM {mode} {shape}, 2 threads beside 1{situation}",
                    ratio(times, "ours 2", "ours 1"),
                    "x",
                    Target(min(enough, _SHARE * gain), at_least=True),
                    {"torch.mm": gain},
                )


def _calls(run: Run, a: torch.Tensor) -> dict[str, Run]:
    return {"ours": run, "mm": lambda: torch.mm(a, a)}


def on(threads: int, run: Run) -> Run:
    """The same call on so many of torch's threads."""

    def call() -> object:
        torch.set_num_threads(threads)
        return run()

    return call
