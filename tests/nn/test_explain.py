"""What `explain` says of each layer: the path it took, why, how it was divided, what would be faster."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import gatewise
from gatewise.compiler.host import host
from gatewise.compiler.vector import FLOAT32, FLOAT64
from gatewise.nn import explain as explain_module
from gatewise.nn.notes import INTERPRETER, KERNEL

T, B, I, H = 7, 5, 3, 16


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """As many as the tests speak of, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def sequence(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (T, B, I)), dtype=dtype)


def layer(**options: Any) -> gatewise.nn.LSTM:
    return gatewise.nn.LSTM(I, H, **options)


class Model(nn.Module):
    """A layer that is used, one that steps, one that is not used, and one of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = layer(num_layers=2, bidirectional=True)
        self.stepper = gatewise.nn.GRUCell(2 * H, 4)
        self.idle = gatewise.nn.GRU(I, H)
        self.theirs = nn.LSTM(I, 4)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        steps = self.encoder(scale * x)[0]
        state = None
        for step in steps:
            state = self.stepper(step, state)
        assert isinstance(state, Tensor)
        return state


def test_layers_are_called_as_in_watch() -> None:
    model = Model()
    with gatewise.watch(model) as seen:
        model(sequence())
    explanation = gatewise.explain(model, sequence())
    assert {one.name for one in explanation.layers if one.calls} == set(seen)
    assert {one.name: one.runs_in for one in explanation.layers if not one.calls} == {
        "idle.l0": "not called",
        "theirs": "torch",
    }


def test_a_compiled_layer_in_figures() -> None:
    (one,) = gatewise.explain(layer(), sequence()).layers
    assert (one.name, one.what, one.runs_in, one.calls) == ("l0", "lstm", KERNEL, 1)
    assert (one.dtype, one.input_shape, one.hidden_size, one.obstacles) == ("float32", (T, B, I), H, ())
    assert one.kernel is not None
    assert one.kernel.width == host().width(FLOAT32)
    assert one.kernel.registers == host().registers
    assert 1 <= one.kernel.chunk <= T
    # i, f, g, o at each step, and the cell state; the hidden state is the output.
    assert one.kernel.kept_gates == 4 * T * B * H * 4
    assert one.kernel.kept_states == T * B * H * 4


@pytest.mark.parametrize("call", [torch.no_grad, torch.inference_mode])
def test_nothing_is_kept_without_gradients(call: Callable[[], Any]) -> None:
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


ADVICE: dict[str, tuple[Callable[[], gatewise.nn.Recurrent], Callable[[], Tensor], str]] = {
    "input": (layer, lambda: sequence(I, B, T).transpose(0, 2), "make the input contiguous: it is copied"),
    "ragged": (lambda: gatewise.nn.LSTM(I, 33), sequence, r"use \d+ units: they cost what 33 do"),
    "rows": (layer, sequence, r"use a batch of \d+ rows: 5 are too little work for 2 threads"),
    "training": (layer, sequence, r"use torch.no_grad\(\) if no gradient is wanted"),
}


@pytest.mark.parametrize(("make", "x", "expected"), ADVICE.values(), ids=ADVICE)
def test_advice(make: Callable[[], gatewise.nn.Recurrent], x: Callable[[], Tensor], expected: str) -> None:
    one = gatewise.explain(make(), x())["l0"]
    assert one.runs_in == KERNEL
    assert any(re.match(expected, sentence) for sentence in one.faster)


def test_advice_that_is_followed_is_not_repeated() -> None:
    """On each point the opposite of what `ADVICE` meets."""
    with torch.no_grad():
        one = gatewise.explain(gatewise.nn.LSTM(64, 128), sequence(20, 64, 64))["l0"]
    assert one.faster == ()


def test_the_batch_that_is_advised_is_divided() -> None:
    (advised,) = (s for s in gatewise.explain(layer(), sequence())["l0"].faster if "rows" in s)
    rows = int(advised.split("batch of ")[1].split()[0])
    kernel = gatewise.explain(layer(), sequence(T, rows, I))["l0"].kernel
    assert kernel is not None
    assert kernel.threads == 2


def test_one_thread_in_force_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.nn.advice._cores", lambda: 2)
    torch.set_num_threads(1)
    one = gatewise.explain(gatewise.nn.LSTM(64, 128), sequence(20, 64, 64))["l0"]
    assert "use torch.set_num_threads(2): torch is held to one thread" in one.faster
    small = gatewise.explain(layer(), sequence())["l0"]
    assert not any("threads" in sentence for sentence in small.faster)


def test_a_weight_and_a_state_that_are_copied_are_named() -> None:
    one = layer()
    one.weight_hh_l0 = nn.Parameter(sequence(H, 4 * H).t())
    states = (sequence(1, H, B).transpose(1, 2), torch.zeros(1, B, H))
    faster = gatewise.explain(one, sequence(), states)["l0"].faster
    assert [sentence.split(":")[0] for sentence in faster[:2]] == [
        "make the weight contiguous",
        "make the initial state contiguous",
    ]


def test_a_layer_that_is_watched() -> None:
    one = layer()
    with gatewise.watch(one):
        found = gatewise.explain(one, sequence())["l0"]
    assert any("gatewise.watch" in sentence for sentence in found.faster)


def in_bfloat16() -> gatewise.nn.Recurrent:
    return layer().bfloat16()


OBSTACLES: dict[str, tuple[Callable[[], gatewise.nn.Recurrent], Callable[[], Tensor], list[str]]] = {
    "type": (in_bfloat16, lambda: sequence().bfloat16(), ["its tensors are torch.bfloat16"]),
    "device": (lambda: layer(device="meta"), lambda: sequence().to("meta"), ["its tensors lie on meta"]),
    "several": (
        lambda: layer(device="meta").bfloat16(),
        lambda: sequence().to("meta").bfloat16(),
        ["its tensors lie on meta", "its tensors are torch.bfloat16"],
    ),
}


@pytest.mark.parametrize(("make", "x", "expected"), OBSTACLES.values(), ids=OBSTACLES)
def test_obstacles(
    make: Callable[[], gatewise.nn.Recurrent], x: Callable[[], Tensor], expected: list[str]
) -> None:
    explanation = gatewise.explain(make(), x())
    one = explanation["l0"]
    assert (one.runs_in, one.kernel) == (INTERPRETER, None)
    assert [obstacle.reason for obstacle in one.obstacles] == expected
    assert one.faster == tuple(obstacle.remedy for obstacle in one.obstacles)
    assert f"l0: not compiled, since {expected[0]}" in str(explanation)


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
    assert seen[0]["l0"].obstacles[0].reason == "a transform of torch.func is around it (vmap)"
    with torch.autograd.forward_ad.dual_level():
        (found,) = gatewise.explain(one, sequence()).layers
    assert found.obstacles[0].reason == "forward-mode differentiation is around it"


def test_steps_one_by_one_are_counted() -> None:
    one = gatewise.explain(Model(), sequence())["stepper.l0"]
    assert one.calls == T
    assert one.input_shape == (1, B, 2 * H)
    assert one.faster[0] == f"use a layer over the sequence: {T} single steps were taken"


def test_packed_sequences_and_lengths() -> None:
    rows = [sequence(steps, I) for steps in (7, 4, 1)]
    packed = gatewise.explain(layer(), pack_sequence(rows))["l0"]
    assert (packed.runs_in, packed.input_shape) == (KERNEL, (12, I))
    padded = nn.utils.rnn.pad_sequence(rows)
    assert gatewise.explain(layer(), padded, lengths=[7, 4, 1])["l0"].input_shape == (12, I)


def test_with_checkpoints_no_gates_are_kept() -> None:
    one = gatewise.explain(layer(checkpoint=3), sequence())["l0"]
    assert (one.runs_in, one.calls) == (KERNEL, 1)
    assert one.kernel is not None
    assert one.kernel.kept_gates == 0


@pytest.mark.parametrize("batch_first", [False, True])
def test_the_call_gets_all_its_arguments(batch_first: bool) -> None:
    states = (torch.zeros(1, B, H), torch.zeros(1, B, H))
    shape = (B, T, I) if batch_first else (T, B, I)
    found = gatewise.explain(layer(batch_first=batch_first), sequence(*shape), states)
    assert found["l0"].input_shape == shape
    assert gatewise.explain(Model(), sequence(), scale=0.5)["encoder.l0"].calls == 1


def test_weights_that_are_shared_or_computed() -> None:
    one = gatewise.nn.GRU(H, H, bidirectional=True)
    one.weight_ih_l0_reverse = one.weight_ih_l0
    nn.utils.parametrizations.weight_norm(one, "weight_hh_l0")
    found = gatewise.explain(one, sequence(T, B, H))
    assert [(each.name, each.calls, each.runs_in) for each in found.layers] == [
        ("l0", 1, KERNEL),
        ("l0_reverse", 1, KERNEL),
    ]


def test_the_modules_of_torch_are_named_with_what_to_do() -> None:
    found = gatewise.explain(Model(), sequence())
    assert found["theirs"].faster == ("left to torch: not swapped yet: gatewise.accelerate(model)",)
    model = gatewise.accelerate(Model())
    assert {one.runs_in for one in gatewise.explain(model, sequence()).layers} == {KERNEL, "not called"}


def test_it_prints_as_a_table() -> None:
    with torch.no_grad():
        text = str(gatewise.explain(gatewise.nn.LSTM(64, 128), sequence(20, 64, 64)))
    head, row = text.splitlines()
    for title, cell in {"layer": "l0", "runs in": KERNEL, "input": "20 x 64 x 64", "kept": "nothing"}.items():
        assert row[head.index(title) :].startswith(cell)
    assert row[head.index("threads") :].startswith("2 by rows")


def test_a_sentence_about_many_layers_is_printed_once() -> None:
    text = str(gatewise.explain(layer(num_layers=4), sequence()))
    assert "l0 and 3 others: use torch.no_grad() if no gradient is wanted" in text


def test_a_model_without_recurrent_layers() -> None:
    assert str(gatewise.explain(nn.Linear(I, 2), sequence())) == "The model has no recurrent layers."


def test_what_was_explained_is_no_longer_listened_to() -> None:
    found = gatewise.explain(one := layer(), sequence())
    one(sequence())
    assert found["l0"].calls == 1


def test_an_error_of_the_model_comes_through_and_ends_the_listening() -> None:
    one = layer()
    with pytest.raises(RuntimeError, match="input_size"):
        gatewise.explain(one, sequence(T, B, I + 1))
    assert gatewise.explain(one, sequence())["l0"].calls == 1


def test_the_wrong_thing_is_refused() -> None:
    with pytest.raises(TypeError, match=r"explain: expected a torch.nn.Module, got function"):
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


def test_directions_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is too little work for two threads, and both together are not."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with torch.no_grad():
        found = gatewise.explain(gatewise.nn.LSTM(32, 64, bidirectional=True), sequence(100, 2, 32))
    kernels = [one.kernel for one in found.layers]
    assert [kernel and (kernel.threads, kernel.side_by_side) for kernel in kernels] == [(1, 2), (1, 2)]
    assert "2 by directions" in str(found)
    assert not any("rows" in sentence for one in found.layers for sentence in one.faster)
