"""Compares a layer of a random cell with the text of the cell: values, states, and every gradient."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from hypothesis import strategies as st
from torch import Tensor

import gatewise
from gatewise.nn import Recurrent
from gatewise.nn.walk import eager
from gatewise.nn.walk.obstacles import Obstacle
from gatewise.nn.walk.random import drawn as drawn_chance
from tests.random_cells.drawing import Drawn
from tests.random_cells.oracle import Call, derivatives, weighted

ROUNDING = {torch.float64: 2e-15, torch.float32: 1e-6}  # relative changes of intermediate values


@dataclass(frozen=True)
class Setting:
    """The arguments and options of a call of a layer."""

    T: int = 3
    B: int = 2
    I: int = 3
    H: int = 5
    seed: int = 0
    bias: bool = True
    bidirectional: bool = False
    batch_first: bool = False
    lengths: bool = False
    reset: bool = False
    given: bool = False
    training: bool = False
    checkpoint: int = 0
    watched: bool = False
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    threads: int = 1
    double: bool = True
    eager: bool = False

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.double else torch.float32

    def may_have_zeros(self, name: str) -> bool:
        """Whether a NaN in this result is allowed although the reference has a number.

        Where a value has no derivative, a layer may use a derivative of zero, and zero times NaN is NaN. This
        happens in two places: the gradient of a weight that multiplies values of the cell is one product over
        all steps; and the interpreter computes all rows of a step together, although some have ended.
        """
        multiplies = name.startswith(("by weight_hh", "by weight_linear", "by weight_hr"))
        return multiplies or (self.eager and self.lengths)


def drawn_settings() -> st.SearchStrategy[Setting]:
    """Calls of every kind, with sizes that fill less than one vector and that fill several."""
    flags = "bias bidirectional batch_first lengths reset given training watched".split()
    return st.builds(
        Setting, T=st.sampled_from([1, 2, 3, 7]), B=st.sampled_from([1, 2, 5]), I=st.integers(1, 4),
        H=st.sampled_from([1, 2, 3, 5, 8, 17]), seed=st.integers(0, 1000),
        checkpoint=st.sampled_from([0, 0, 1, 2]), zoneout=st.sampled_from([0.0] * 5 + [0.2]),
        recurrent_dropout=st.sampled_from([0.0] * 5 + [0.3]), threads=st.sampled_from([1, 1, 2]),
        double=st.sampled_from([True, True, False]),
        eager=st.sampled_from([False] * 4 + [True]), **{flag: st.booleans() for flag in flags},
    )  # fmt: skip


def differences(drawn: Drawn, setting: Setting) -> list[str]:
    """The differences between a layer and the text of its cell: a sentence for each result that differs."""
    if drawn.projects and setting.H == 1:
        setting = replace(setting, H=2)  # a projected output must have fewer than H units
    if drawn.projects or not any(kind in ("", "Split") for _, kind in drawn.kinds):
        setting = replace(setting, zoneout=0.0, recurrent_dropout=0.0)
    layer = layer_of(drawn, setting)
    call = _call(drawn, layer, setting)
    expected = call.results()
    # float32 overflows and underflows where float64 does not. Close to its limits results are not compared.
    largest = math.inf if setting.double else torch.finfo(torch.float32).max / 1e4
    moved = [call.results(ROUNDING[setting.dtype], largest=largest) for _ in range(2)]
    with _team(setting.threads), interpreted() if setting.eager else nullcontext():
        found = _results(layer, call, setting)
    wrong = _differing(found, expected, moved, setting)
    if wrong and setting.reset:
        # A state that a reset replaces has a derivative of 0 or none: of values that are NaN, NaN or nothing.
        noise = ROUNDING[setting.dtype]
        cut = call.results(cut=True)
        cut_moved = [call.results(noise, largest=largest, cut=True) for _ in range(2)]
        for name in wrong:
            number = expected[name].isnan() & found[name].isfinite()
            for old, new in zip([expected, *moved], [cut, *cut_moved], strict=True):
                old[name] = torch.where(number, new[name], old[name])
        wrong = _differing(found, expected, moved, setting)
    if any(map(setting.may_have_zeros, wrong)):
        zeros = call.results(zeros=True)
        for name in filter(setting.may_have_zeros, wrong):
            expected[name] = torch.where(zeros[name].isnan() & found[name].isnan(), torch.nan, expected[name])
        wrong = _differing(found, expected, moved, setting)
    return [f"{name}: {sentence}" for name, sentence in wrong.items()]


def _differing(
    found: dict[str, Tensor], expected: dict[str, Tensor], moved: list[dict[str, Tensor]], setting: Setting
) -> dict[str, str]:
    """A sentence for each result that differs, by name."""
    return {
        name: sentence
        for name, value in found.items()
        if (sentence := _difference(value, expected[name], [m[name] for m in moved], setting.dtype))
    }


def slope_differs(drawn: Drawn, setting: Setting) -> str | None:
    """Compare the gradients of a layer with a finite difference of its results in a random direction."""
    layer = layer_of(drawn, setting)
    call = _call(drawn, layer, setting)
    found = _results(layer, call, setting)
    torch.manual_seed(17)
    ways = {name: torch.randn_like(leaf) for name, leaf in call.leaves().items()}
    slope = sum(float((found[f"by {name}"] * way).sum()) for name, way in ways.items())
    for step in (1e-5, 1e-7):  # the smaller one for results that are not nearly linear over the larger
        moved = (_moved(drawn, setting, {n: s * way for n, way in ways.items()}) for s in (step, -step))
        ahead, behind = moved
        measured = (ahead - behind) / (2 * step)
        close = abs(slope - measured) <= 1e-5 * (1 + abs(measured) + abs(ahead))
        if close or not math.isfinite(measured):
            return None
    return f"{slope!r}, not {measured!r}"


def _moved(drawn: Drawn, setting: Setting, by: dict[str, Tensor]) -> float:
    """The sum whose gradient is taken, with every leaf moved."""
    layer = layer_of(drawn, setting)
    call = _call(drawn, layer, setting)
    with torch.no_grad():
        for name, leaf in call.leaves().items():
            leaf.add_(by[name])
        for name, parameter in layer.named_parameters():
            parameter.add_(by[f"{name.removesuffix('_l0')} 0"])
    return weighted(_results(layer, call, setting))


@contextmanager
def _team(threads: int) -> Iterator[None]:
    """Run with this many threads, and divide a problem of any size among them."""
    with (
        mock.patch("gatewise.compiler.run.program._THREAD_WORK", 1 if threads > 1 else 2e6),
        mock.patch("gatewise.compiler.run.program._STEP_WORK", 1 if threads > 1 else 5e4),
        mock.patch("torch.get_num_threads", return_value=threads),
    ):
        yield


@contextmanager
def interpreted() -> Iterator[None]:
    """Run the eager interpreter in place of the kernels."""
    asked = Obstacle("the test asks for the interpreter", "")
    interpreter = mock.patch("gatewise.nn.scan.eager.scan", wraps=eager.scan)
    with (
        mock.patch("gatewise.nn.scan.serves", return_value=False),
        mock.patch("gatewise.nn.checkpoint.serves", return_value=False),
        mock.patch("gatewise.nn.scan.obstacles", return_value=[asked]),
        interpreter as called,
    ):
        yield
    assert called.called


def layer_of(drawn: Drawn, s: Setting) -> Recurrent:
    torch.manual_seed(s.seed)
    layer = Recurrent(
        drawn.cell(), s.I, s.H, bias=s.bias, bidirectional=s.bidirectional, batch_first=s.batch_first,
        proj_size=max(1, s.H - 2) if drawn.projects else 0, checkpoint=s.checkpoint, dtype=s.dtype,
        zoneout=s.zoneout, recurrent_dropout=s.recurrent_dropout,
    )  # fmt: skip
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    return layer.train(s.training)


def _call(drawn: Drawn, layer: Recurrent, s: Setting) -> Call:
    rng = random.Random(s.seed)
    D = 1 + s.bidirectional
    widths = [layer.proj_size or s.H, *[s.H] * (len(drawn.states) - 1)]

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=s.dtype).double().requires_grad_()

    is_random = layer.cell.is_random or s.zoneout or s.recurrent_dropout
    lengths = [rng.randint(1, s.T) for _ in range(s.B)] if s.lengths else None
    parameters = []
    for d in range(D):
        suffix = "_l0_reverse" if d else "_l0"
        own = {n.removesuffix(suffix): p for n, p in layer.named_parameters() if n.endswith(suffix)}
        parameters.append({n: p.detach().double().clone().requires_grad_() for n, p in own.items()})
    return Call(
        drawn,
        leaf(s.T, s.B, s.I),
        parameters,
        [leaf(D, s.B, width) for width in widths] if s.given else None,
        lengths,
        torch.tensor([[rng.random() < 0.3 for _ in range(s.B)] for _ in range(s.T)]) if s.reset else None,
        _chances(D) if s.training and is_random else None,
        widths,
        s.zoneout,
        s.recurrent_dropout,
    )


def _chances(D: int) -> list[Any]:
    torch.manual_seed(11)
    return [drawn_chance() for _ in range(D)]


def _results(layer: Recurrent, call: Call, s: Setting) -> dict[str, Tensor]:
    """All results of the layer, with the names of `Call.results`."""

    def turned(x: Tensor | None) -> Tensor | None:
        return x.transpose(0, 1) if x is not None and s.batch_first else x

    x = call.x.detach().to(s.dtype).requires_grad_()
    states = [state.detach().to(s.dtype).requires_grad_() for state in call.states or ()]
    hx: Any = (tuple(states) if len(states) > 1 else states[0]) if states else None
    with torch.no_grad():  # this prepares the next call with these shapes
        layer(turned(x), hx, lengths=call.lengths, reset=turned(call.reset))
    torch.manual_seed(11)
    seen: Any = {}
    if s.watched:
        with gatewise.watch(layer) as seen:
            output, finals = layer(turned(x), hx, lengths=call.lengths, reset=turned(call.reset))
    else:
        output, finals = layer(turned(x), hx, lengths=call.lengths, reset=turned(call.reset))
    output = turned(output)
    finals = finals if isinstance(finals, tuple) else (finals,)
    found = {"output": output, **{f"final {k}": final for k, final in enumerate(finals)}}
    leaves = {"x": x}
    for d in range(len(call.parameters)):
        suffix = "_l0_reverse" if d else "_l0"
        named = ((n.removesuffix(suffix), p) for n, p in layer.named_parameters() if n.endswith(suffix))
        leaves |= {f"{name} {d}": parameter for name, parameter in named}
    leaves |= {f"initial {k}": state for k, state in enumerate(states)}
    found |= derivatives(found, leaves)
    names = [name for name in call.drawn.values if s.watched]
    for d in range(len(call.parameters)):
        values = seen["l0_reverse" if d else "l0"] if names else {}
        found |= {f"{name} {d}": values[name] for name in names}
    return {name: value.detach() for name, value in found.items()}


def _difference(value: Tensor, expected: Tensor, moved: list[Tensor], dtype: torch.dtype) -> str | None:
    value = value.double()
    if value.shape != expected.shape:
        return f"shape {tuple(value.shape)}, not {tuple(expected.shape)}"
    spread = torch.stack([(m - expected).abs() for m in moved]).amax(0)
    certain = torch.stack([torch.isfinite(m) == torch.isfinite(expected) for m in moved]).all(0)
    finite = expected.isfinite()
    size = expected[finite].abs().max() if finite.any() else expected.new_zeros(())
    small = 2000 * ROUNDING[dtype] * (1 + size)
    close = (value - expected).abs() <= small + 100 * spread
    same = torch.where(finite, close, (value.isnan() & expected.isnan()) | (value == expected))
    most = torch.finfo(dtype).max / 1e4  # for a sum over steps and rows
    huge = (expected.abs() > most) | (spread > most)
    wrong = ~same & certain & ~huge
    if not wrong.any():
        return None
    at = tuple(wrong.nonzero()[0].tolist())
    return f"{value[at].item()!r}, not {expected[at].item()!r} (+- {spread[at].item():.1e}) at {at}"
