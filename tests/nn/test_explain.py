"""`explain`: the path of each layer, the reasons, the division of the work, and the advice."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import gatewise
from gatewise.compiler.emit.number import FLOAT32, FLOAT64
from gatewise.compiler.run.host import host
from gatewise.nn.explain import explain as explain_module
from gatewise.nn.explain.found import IDLE
from gatewise.nn.modules.accelerate import accelerate
from gatewise.nn.walk.listening import INTERPRETER, KERNEL, TORCH

T, B, I, H = 7, 5, 3, 16


pytestmark = pytest.mark.usefixtures("two_threads")


def sequence(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (T, B, I)), dtype=dtype)


def layer(**options: Any) -> gatewise.nn.LSTM:
    return gatewise.nn.LSTM(I, H, **options)


class Model(nn.Module):
    """A layer that is called, one that is a single step, two that are not called, and two of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = layer(num_layers=2, bidirectional=True)
        self.stepper = gatewise.nn.GRUCell(2 * H, 4)
        self.idle = gatewise.nn.GRU(I, H)
        self.theirs, self.their_cell = nn.LSTM(2 * H, 2 * H), nn.LSTMCell(I, 4)
        self.their_idle = nn.LSTM(I, 4)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        steps = self.theirs(self.encoder(scale * x)[0])[0]
        for step in x:
            self.their_cell(input=step)
        state = None
        for step in steps:
            state = self.stepper(step, state)
        assert isinstance(state, Tensor)
        return state


def test_layers_have_the_names_of_watch() -> None:
    model = Model()
    with gatewise.watch(model) as seen:
        model(sequence())
    explanation = gatewise.explain(model, sequence())
    ours = {one.name for one in explanation.layers if one.runs_in in (KERNEL, INTERPRETER)}
    assert ours == set(seen)
    others = {one.name: (one.runs_in, one.calls) for one in explanation.layers if one.name not in ours}
    assert others == {
        "idle.l0": (IDLE, 0),
        "theirs": (TORCH, 1),
        "their_cell": (TORCH, T),
        "their_idle": (IDLE, 0),
    }


def test_the_numbers_of_a_compiled_layer() -> None:
    (one,) = gatewise.explain(layer(), sequence()).layers
    assert (one.name, one.what, one.runs_in, one.calls) == ("l0", "lstm", KERNEL, 1)
    assert (one.dtype, one.input_shape, one.hidden_size, one.obstacles) == ("float32", (T, B, I), H, ())
    assert one.kernel is not None
    assert one.kernel.width == host().width(FLOAT32)
    assert one.kernel.registers == host().registers
    assert 1 <= one.kernel.chunk <= T
    # i, f, g, o at each step, and both states
    assert one.kernel.kept_gates == 4 * T * B * H * 4
    assert one.kernel.kept_states == 2 * T * B * H * 4


@pytest.mark.parametrize("call", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_saved(call: Callable[[], Any]) -> None:
    with call():
        (one,) = gatewise.explain(layer(), sequence()).layers
    assert one.kernel is not None
    assert (one.kernel.kept_gates, one.kernel.kept_states) == (0, 0)
    assert not any("no_grad" in sentence for sentence in one.faster)


def test_float64_has_half_the_lanes() -> None:
    one = gatewise.explain(layer().double(), sequence(dtype=torch.float64))["l0"]
    assert one.kernel is not None
    assert one.kernel.width == host().width(FLOAT64)
    assert one.faster[0].startswith("use float32")


def test_much_work_is_divided_by_rows_and_few_rows_by_units() -> None:
    wide, deep = gatewise.nn.LSTM(64, 128), gatewise.nn.LSTM(256, 256)
    by_rows = gatewise.explain(wide, sequence(20, 64, 64))["l0"].kernel
    by_units = gatewise.explain(deep, sequence(20, 1, 256))["l0"].kernel
    assert by_rows is not None
    assert by_units is not None
    assert (by_rows.threads, by_rows.by_units) == (2, False)
    assert (by_units.threads, by_units.by_units) == (2, True)


def test_layers_that_overlap() -> None:
    stack = gatewise.explain(gatewise.nn.LSTM(32, 64, num_layers=3), sequence(200, 1, 32))
    kernels = [one.kernel for one in stack.layers]
    assert [kernel and (kernel.side_by_side, kernel.threads, kernel.chunk) for kernel in kernels] == [
        (3, 1, 16)
    ] * 3
    assert [one.input_shape for one in stack.layers] == [(200, 1, 32), (200, 1, 64), (200, 1, 64)]
    assert [one.faster for one in stack.layers] == [()] * 3
    assert "3 side by side" in str(stack)
    alone = gatewise.explain(gatewise.nn.LSTM(32, 64), sequence(200, 1, 32))["l0"].kernel
    assert alone is not None
    assert (alone.side_by_side, alone.chunk) == (1, 200)


def in_bfloat16() -> gatewise.nn.Recurrent:
    return layer().bfloat16()


OBSTACLES: dict[str, tuple[Callable[[], gatewise.nn.Recurrent], Callable[[], Tensor], list[str]]] = {
    "type": (in_bfloat16, lambda: sequence().bfloat16(), ["its tensors are torch.bfloat16"]),
    "device": (lambda: layer(device="meta"), lambda: sequence().to("meta"), ["its tensors are on meta"]),
    "several": (
        lambda: layer(device="meta").bfloat16(),
        lambda: sequence().to("meta").bfloat16(),
        ["its tensors are on meta", "its tensors are torch.bfloat16"],
    ),
}


@pytest.mark.parametrize(("make", "x", "expected"), OBSTACLES.values(), ids=OBSTACLES)
def test_obstacles_are_reported(
    make: Callable[[], gatewise.nn.Recurrent], x: Callable[[], Tensor], expected: list[str]
) -> None:
    explanation = gatewise.explain(make(), x())
    one = explanation["l0"]
    by_torch = all(obstacle.torch_serves for obstacle in one.obstacles)
    assert (one.runs_in, one.kernel) == (TORCH if by_torch else INTERPRETER, None)
    assert [obstacle.reason for obstacle in one.obstacles] == expected
    assert one.faster == tuple(obstacle.remedy for obstacle in one.obstacles)
    printed = str(explanation).splitlines()[3:]
    assert printed == [f"l0: not compiled, since {why}: {remedy}" for why, remedy, _ in one.obstacles]


class Tagged(Tensor):
    """A tensor subclass."""


def test_a_tensor_subclass_and_a_transform() -> None:
    one = layer()
    tagged = sequence().as_subclass(Tagged)
    assert gatewise.explain(one, tagged)["l0"].obstacles[0].reason == "its tensors are of a subclass (Tagged)"
    seen: list[explain_module.Explanation] = []

    def call(x: Tensor) -> Tensor:
        seen.append(gatewise.explain(one, x))
        return x

    torch.func.vmap(call)(sequence(2, T, B, I))
    (found,) = seen[0]["l0"].obstacles
    assert found.reason == "it runs under a transform of torch.func (vmap)"
    assert found.remedy == "call the layer outside of it, on one batch"
    torch.func.grad(lambda x: call(x).sum())(sequence())
    (found,) = seen[1]["l0"].obstacles
    assert (found.reason[-6:], found.remedy) == ("(grad)", "use torch.autograd.grad")
    with torch.autograd.forward_ad.dual_level():
        (found,) = gatewise.explain(one, sequence())["l0"].obstacles
    assert found.reason == "it runs under forward-mode differentiation"


def test_single_steps_are_counted() -> None:
    one = gatewise.explain(Model(), sequence())["stepper.l0"]
    assert (one.calls, one.input_shape) == (T, (1, B, 2 * H))


def test_packed_sequences_and_lengths() -> None:
    rows = [sequence(steps, I) for steps in (7, 4, 1)]
    packed = gatewise.explain(layer(), pack_sequence(rows))["l0"]
    assert (packed.runs_in, packed.input_shape) == (KERNEL, (12, I))
    padded = nn.utils.rnn.pad_sequence(rows)
    assert gatewise.explain(layer(), padded, lengths=[7, 4, 1])["l0"].input_shape == (7, 3, I)


KEEPS: dict[str, tuple[Callable[[], gatewise.nn.Recurrent], list[int] | None]] = {
    "lstm": (layer, None),
    "gru": (lambda: gatewise.nn.GRU(I, H), None),
    "rnn": (lambda: gatewise.nn.RNN(I, H), None),
    "layer norm": (lambda: gatewise.nn.Recurrent(gatewise.cells.lstm_layer_norm, I, H), None),
    "checkpoint": (lambda: layer(checkpoint=3), None),
    "checkpoint beyond the end": (lambda: layer(checkpoint=T), None),
    "projected": (lambda: layer(proj_size=4), None),
    "lengths": (layer, [7, 1, 2, 3, 4]),
}


@pytest.mark.parametrize(("make", "lengths"), KEEPS.values(), ids=KEEPS)
def test_the_reported_memory_is_what_autograd_saves(
    make: Callable[[], gatewise.nn.Recurrent], lengths: list[int] | None
) -> None:
    one, x, saved = make(), sequence(), dict[int, Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t):
        output, _ = one(x, lengths=lengths)
    for known in (x, output, *one.parameters()):
        saved.pop(known.data_ptr(), None)
    kernel = gatewise.explain(one, x, lengths=lengths)["l0"].kernel
    assert kernel is not None
    floats = (t for t in saved.values() if t.is_floating_point())
    assert kernel.kept_gates + kernel.kept_states == sum(t.nbytes for t in floats)
    assert (kernel.kept_gates > 0) == (not one.checkpoint and one.cell.name != "rnn")


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_call_gets_all_its_arguments(batch_first: bool) -> None:
    states = (torch.zeros(1, B, H), torch.zeros(1, B, H))
    shape = (B, T, I) if batch_first else (T, B, I)
    found = gatewise.explain(layer(batch_first=batch_first), sequence(*shape), states)
    assert found["l0"].input_shape == shape
    assert gatewise.explain(Model(), sequence(), scale=0.5)["encoder.l0"].calls == 1


def test_shared_and_computed_weights() -> None:
    one = gatewise.nn.GRU(H, H, bidirectional=True)
    one.weight_ih_l0_reverse = one.weight_ih_l0
    nn.utils.parametrizations.weight_norm(one, "weight_hh_l0")
    found = gatewise.explain(one, sequence(T, B, H))
    assert [(each.name, each.calls, each.runs_in) for each in found.layers] == [
        ("l0", 1, KERNEL),
        ("l0_reverse", 1, KERNEL),
    ]


def test_modules_of_torch_are_reported_with_advice() -> None:
    found = gatewise.explain(Model(), sequence())
    theirs = found["theirs"]
    assert (theirs.what, theirs.dtype, theirs.input_shape, theirs.hidden_size) == (
        f"LSTM({2 * H}, {2 * H})",
        "float32",
        (T, B, 2 * H),
        2 * H,
    )
    assert theirs.faster == ("left to torch: not swapped yet: gatewise.accelerate(model)",)
    # To swap a cell does not make single steps faster.
    steps = f"use a layer over the sequence, where it is known: {T} single steps were taken"
    assert (found["their_cell"].input_shape, found["their_cell"].faster) == ((B, I), (steps,))
    model = gatewise.accelerate(Model())
    assert {one.runs_in for one in gatewise.explain(model, sequence()).layers} == {KERNEL, IDLE}


def test_a_module_of_torch_alone_and_packed() -> None:
    (one,) = gatewise.explain(nn.GRU(I, 4), pack_sequence([sequence(4, I), sequence(1, I)])).layers
    assert (one.name, one.runs_in, one.input_shape) == ("(the model)", TORCH, (5, I))


def test_modules_of_torch_keep_no_hooks() -> None:
    model = nn.ModuleList([nn.GRU(I, 4)])
    with pytest.raises(NotImplementedError):
        gatewise.explain(model, sequence())
    assert accelerate.report(model).rows[0].why == "not swapped yet: gatewise.accelerate(model)"


AUTOCAST = "autocast to bfloat16 is on: "


@pytest.mark.parametrize("make", [layer, lambda: gatewise.nn.LSTMCell(I, H)], ids=["layer", "cell"])
def test_autocast_is_reported(make: Callable[[], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(I, I), make())
    x = sequence(B, I)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after, first = gatewise.explain(model, x)["1.l0"], gatewise.explain(model[1], x)["l0"]
    own = "float32, the type of its weights"
    assert after.remarks == (f"{AUTOCAST}tensors of bfloat16 were converted to {own}",)
    assert first.remarks == (f"{AUTOCAST}it computes in {own}",)
    assert (after.runs_in, after.dtype, after.faster) == (KERNEL, "float32", ())
    assert gatewise.explain(model, x)["1.l0"].remarks == ()


def test_autocast_around_some_layers() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.outside = layer(num_layers=2), gatewise.nn.GRU(H, H)

        def forward(self, x: Tensor) -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y, _ = self.inside(x.bfloat16())
            self.outside(y)

    explanation = gatewise.explain(Mixed(), sequence())
    assert [len(one.remarks) for one in explanation.layers] == [1, 1, 0]
    assert f"inside.l0, inside.l1: {AUTOCAST}tensors of bfloat16" in str(explanation)


def test_an_edited_layer() -> None:
    edited = gatewise.edit(layer(num_layers=2), "l1", f=1.0, i=torch.rand(T, B, H))
    found = gatewise.explain(edited, sequence())
    (remark,) = found["l1"].remarks
    assert (found["l0"].remarks, found["l0"].input_shape) == ((), (T, B, I))
    assert remark == f"it is edited: its input has {2 + H} more columns, which say what is edited where"
    assert found["l1"].input_shape == (T, B, H + 2 + H)


def test_it_prints_as_a_table() -> None:
    with torch.no_grad():
        text = str(gatewise.explain(gatewise.nn.LSTM(64, 128), sequence(20, 64, 64)))
    head, row = text.splitlines()
    for title, cell in {"layer": "l0", "runs in": KERNEL, "input": "20 x 64 x 64", "kept": "nothing"}.items():
        assert row[head.index(title) :].startswith(cell)
    assert row[head.index("threads") :].startswith("2 by rows")


def test_a_sentence_about_many_layers_is_printed_once() -> None:
    text = str(gatewise.explain(layer(num_layers=4).eval(), sequence()))
    assert text.splitlines()[5:] == [
        "",
        "l0 and 3 others: use torch.no_grad() if no gradient is needed: eval() does not turn gradients off",
    ]


def test_a_model_without_recurrent_layers() -> None:
    assert str(gatewise.explain(nn.Linear(I, 2), sequence())) == "The model has no recurrent layers."


def test_after_the_call_nothing_is_recorded() -> None:
    found = gatewise.explain(one := layer(), sequence())
    one(sequence())
    assert found["l0"].calls == 1


def test_an_error_of_the_model_is_raised_and_recording_ends() -> None:
    one = layer()
    with pytest.raises(RuntimeError, match="input_size"):
        gatewise.explain(one, sequence(T, B, I + 1))
    assert gatewise.explain(one, sequence())["l0"].calls == 1


def test_something_else_than_a_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"explain: model must be a torch.nn.Module. Got function"):
        gatewise.explain(lambda x: x, sequence())  # type: ignore[arg-type]
    with pytest.raises(KeyError, match=r"no layer 'l1' was explained. Explained: l0"):
        gatewise.explain(layer(), sequence())["l1"]


def test_docstrings() -> None:
    failed, attempted = doctest.testmod(explain_module)
    assert (failed, attempted > 0) == (0, True)


def test_the_page() -> None:
    page = Path(__file__).parents[2] / "docs" / "explain.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert (failed, attempted > 0) == (0, True)


class TwoInputs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = gatewise.nn.GRU(3, 4)

    def forward(self, x: Any, y: Any, *, module: Any, x_scale: float = 1.0) -> Any:
        return self.rnn(x * x_scale + y + module["z"])


def test_a_model_of_several_inputs() -> None:
    x = torch.randn(5, 2, 3)
    found = gatewise.explain(TwoInputs(), x, x, module={"z": x}, x_scale=2.0)
    assert (found["rnn.l0"].calls, found["rnn.l0"].input_shape) == (1, (5, 2, 3))
    layer = gatewise.nn.LSTM(3, 4)
    state = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    for explained in (
        gatewise.explain(layer, x, state),
        gatewise.explain(layer, x, hx=state, lengths=[5, 2]),
        gatewise.explain(layer, input=x),
    ):
        assert explained["l0"].runs_in == "compiled kernel"
