"""The advice of `explain`: each sentence where it applies, and none for a healthy call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import gatewise
from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.run.host import host
from gatewise.nn.explain.found import Explained

T, B, I, H = 7, 5, 3, 16


pytestmark = pytest.mark.usefixtures("two_threads")


def sequence(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (T, B, I)), dtype=dtype)


def layer(**options: Any) -> gatewise.nn.LSTM:
    return gatewise.nn.LSTM(I, H, **options)


def told(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[str, ...]:
    """The advice for the last layer."""
    return explained(module, *args, **kwargs).faster


def explained(module: nn.Module, *args: Any, **kwargs: Any) -> Explained:
    return gatewise.explain(module, *args, **kwargs).layers[-1]


class Steps(nn.Module):
    """A module that is called once for each step of its input."""

    def __init__(self, stepper: nn.Module) -> None:
        super().__init__()
        self.stepper = stepper

    def forward(self, x: Tensor) -> None:
        for step in x:
            self.stepper(step)


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any]]] = {
    "small": (layer, sequence, {}),
    "large": (lambda: gatewise.nn.LSTM(64, 128), lambda: sequence(20, 64, 64), {}),
    "deep": (lambda: layer(num_layers=3, bidirectional=True, dropout=0.2), sequence, {}),
    "rows first": (lambda: layer(batch_first=True), lambda: sequence(T, B, I).transpose(0, 1), {}),
    "batch first": (layer, lambda: sequence(B, T, I).transpose(0, 1), {}),
    "part of a wider input": (layer, lambda: sequence(T, B, 2 * I)[..., I:], {}),
    "reversed by reset": (layer, sequence, {"reset": torch.zeros(T, B, dtype=torch.bool)}),
    "lengths": (layer, sequence, {"lengths": [7, 3, 0, 1, 2]}),
    "packed": (layer, lambda: pack_sequence([sequence(4, I), sequence(2, I)]), {}),
    "one row": (layer, lambda: sequence(T, I), {}),
    "learned states": (lambda: layer(learn_initial_state=True), sequence, {}),
    "one state for all": (layer, sequence, {"hx": tuple(torch.zeros(2, 1, 1, H).expand(2, 1, B, H))}),
    "one step": (layer, lambda: sequence(1, B, I), {}),
    "one step of a cell": (lambda: gatewise.nn.GRUCell(I, 33), lambda: sequence(B, I), {}),
    "frozen": (lambda: layer().eval().requires_grad_(False), sequence, {}),
    "chance": (lambda: layer(zoneout=0.1, recurrent_dropout=0.1, weight_drop=0.1), sequence, {}),
}


@pytest.mark.parametrize(("make", "x", "others"), HEALTHY.values(), ids=HEALTHY)
def test_there_is_no_advice_for_a_healthy_call(
    make: Callable[[], nn.Module], x: Callable[[], Any], others: dict[str, Any]
) -> None:
    explanation = gatewise.explain(make(), x(), **others)
    assert [one.faster for one in explanation.layers] == [()] * len(explanation.layers)
    with gatewise.strict():
        make()(x(), **others)


def spread(module: nn.Module, name: str) -> nn.Module:
    """The module with a parameter whose memory is not contiguous."""
    between = torch.stack([module.get_parameter(name).data] * 2, -1)
    module.register_parameter(name, nn.Parameter(between[..., 0]))
    return module


def indrnn() -> gatewise.nn.Recurrent:
    return gatewise.nn.Recurrent(gatewise.cells.indrnn, I, H)


COPIED: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Any, ...]]]] = {
    "the input": (layer, lambda: (sequence(I, B, T).transpose(0, 2),)),
    "weight_hh": (lambda: spread(layer(), "weight_hh_l0"), lambda: (sequence(),)),
    "bias_ih": (lambda: spread(layer(), "bias_ih_l0"), lambda: (sequence(),)),
    "weight_hr": (lambda: spread(layer(proj_size=2), "weight_hr_l0"), lambda: (sequence(),)),
    "u": (lambda: spread(indrnn(), "u_l0"), lambda: (sequence(),)),
    "the initial state": (layer, lambda: (sequence(), (sequence(1, H, B).mT, sequence(1, B, H)))),
}


@pytest.mark.parametrize(("name", "make", "args"), [(n, *case) for n, case in COPIED.items()], ids=COPIED)
def test_a_copied_argument_is_named(
    name: str, make: Callable[[], nn.Module], args: Callable[[], tuple[Any, ...]]
) -> None:
    assert told(make(), *args()) == (f"make {name} contiguous: it is copied at every call",)
    with gatewise.strict(), pytest.raises(RuntimeError, match=rf"would copy {name}: make it contiguous"):
        make()(*args())


def test_float64_is_advised_to_be_float32() -> None:
    one = gatewise.nn.LSTM(64, 128)
    (sentence,) = told(one.double(), sequence(20, 64, 64, dtype=torch.float64))
    assert sentence == "use float32 (model.float()): a vector holds twice as many numbers"
    assert told(one.float(), sequence(20, 64, 64)) == ()


@pytest.mark.parametrize("whole", [1, 2, 3])
def test_idle_lanes_are_counted(whole: int) -> None:
    lanes = host().width(FLOAT32)
    units = (whole - 1) * lanes + 1
    better = f"{units - 1} or {whole * lanes}" if whole > 1 else f"{lanes}"
    rest = f"{units} leave {lanes - 1} of {whole * lanes} lanes idle, in vectors of {lanes}"
    assert told(gatewise.nn.GRU(I, units), sequence()) == (f"use {better} units: {rest}",)
    assert told(gatewise.nn.GRU(I, whole * lanes), sequence()) == ()


def test_a_forced_width_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = host().width(FLOAT32)
    monkeypatch.setattr("gatewise.compiler.run.host.forced", lambda: 1)
    assert told(layer(), sequence()) == (f"unset GATEWISE_WIDTH: vectors have 1 of {lanes} lanes",)
    monkeypatch.setattr("gatewise.compiler.run.host.forced", lambda: lanes)
    assert told(layer(), sequence()) == ()


def test_the_advised_batch_is_divided_among_threads() -> None:
    one, steps = gatewise.nn.LSTM(32, 64), 20
    (advised,) = told(one, sequence(steps, 4, 32))
    assert re.fullmatch(r"use a batch of \d+ rows: 4 are too little work for 2 threads", advised)
    rows = int(advised.split("batch of ")[1].split()[0])
    kernels = [explained(one, sequence(steps, n, 32)).kernel for n in (rows, rows // 2)]
    assert [kernel and kernel.threads for kernel in kernels] == [2, 1]


def test_a_much_larger_batch_is_not_advised() -> None:
    one = gatewise.nn.LSTM(32, 64)
    assert told(one, sequence(20, 1, 32)) == ()


def test_more_threads_are_advised_where_torch_is_limited_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.nn.explain.advice._cores", lambda: 2)
    one, x = gatewise.nn.LSTM(64, 128), sequence(20, 64, 64)
    torch.set_num_threads(1)
    assert told(one, x) == ("use torch.set_num_threads(2): torch is limited to one thread",)
    assert told(one, x[:1]) == ()


def test_directions_side_by_side_use_both_threads() -> None:
    """Each direction is too little work for two threads, but both together are not."""
    both, one = (gatewise.nn.LSTM(32, 64, bidirectional=way) for way in (True, False))
    x = sequence(60, 2, 32)
    explanation = gatewise.explain(both, x)
    kernels = [direction.kernel for direction in explanation.layers]
    assert [kernel and (kernel.threads, kernel.side_by_side) for kernel in kernels] == [(1, 2), (1, 2)]
    assert "2 side by side" in str(explanation)
    assert [direction.faster for direction in explanation.layers] == [(), ()]
    assert [sentence[:14] for sentence in told(one, x)] == ["use a batch of"]


STREAM = "use gatewise.runtime.Stream if steps arrive one by one: it packs the weights once"


@pytest.mark.parametrize("make", [gatewise.nn.LSTMCell, gatewise.nn.LSTM], ids=["cell", "layer"])
def test_single_steps(make: Callable[..., gatewise.nn.LSTM | gatewise.nn.LSTMCell]) -> None:
    one, steps = make(I, H), sequence(T, B, I) if make is gatewise.nn.LSTMCell else sequence(T, 1, B, I)
    over = f"use a layer over the sequence, where it is known: {T} single steps were taken"
    assert told(Steps(one), steps) == (over,)
    with torch.no_grad():
        assert told(Steps(one), steps) == (over, STREAM)
        assert told(Steps(one), steps[:1]) == (STREAM,)
        assert told(Steps(one), steps[:1].repeat_interleave(20, -2)) == ()


def test_layers_that_cannot_be_a_stream() -> None:
    step = sequence(1, B, I)
    with torch.no_grad():
        assert told(layer(), step) == (STREAM,)
        assert told(layer(bidirectional=True), step) == ()
        assert told(gatewise.edit(layer(), "l0", f=1.0), step) == ()


def test_the_cost_of_a_checkpoint() -> None:
    (sentence,) = told(layer(checkpoint=3), sequence())
    kernel = explained(layer(), sequence()).kernel
    assert kernel is not None
    room = f"{(kernel.kept_gates + kernel.kept_states) / 1e3:.1f} kB"
    assert sentence == f"leave checkpoint=3 out if {room} of memory are free: each step is computed twice"
    with torch.no_grad():
        assert told(layer(checkpoint=3), sequence()) == ()
    assert len(told(layer(checkpoint=1), sequence())) == 1  # no advice about single steps


def test_a_watched_layer() -> None:
    one = layer()
    with gatewise.watch(one):
        assert told(one, sequence()) == ("close gatewise.watch: it writes 10 values at each step",)
    with gatewise.watch(one, names=["f", "c"]):
        assert told(one, sequence()) == ("close gatewise.watch: it writes 2 values at each step",)


def test_eval_does_not_turn_gradients_off() -> None:
    one = layer().eval()
    assert told(one, sequence()) == (
        "use torch.no_grad() if no gradient is needed: eval() does not turn gradients off",
    )
    with torch.no_grad():
        assert told(one, sequence()) == ()
    with torch.inference_mode():
        assert told(one, sequence()) == ()
