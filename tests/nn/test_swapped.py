"""A swapped module is the same module for all other code that looks at it."""

from __future__ import annotations

import copy
import io
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune, spectral_norm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gatewise
from gatewise import accelerate
from gatewise import nn as ours

pytestmark = pytest.mark.usefixtures("quickly")

I, H, T, B = 3, 4, 5, 2
LAYERS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
CELLS = {"LSTMCell": nn.LSTMCell, "GRUCell": nn.GRUCell}


class HandlesLengths(ABC, nn.RNNBase):
    """An abstract base class whose forward wraps that of the next class."""

    @abstractmethod
    def name(self) -> str: ...

    def forward(self, x: Any, hx: Any = None, lengths: Any = None) -> Any:
        packed = x if lengths is None else pack_padded_sequence(x, lengths, self.batch_first)
        return super().forward(packed, hx)


class AbstractLSTM(HandlesLengths, nn.LSTM):
    def name(self) -> str:
        return "LSTM"


class AbstractGRU(HandlesLengths, nn.GRU):
    def name(self) -> str:
        return "GRU"


class Plain(nn.RNN):
    """A subclass that changes nothing."""


class DropsWeights(nn.LSTM):
    """A subclass with a buffer, a child, and a weight that it replaces at each call."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("scale", torch.tensor(0.5))
        self.norm = nn.LayerNorm(self.input_size)
        self.raw = nn.Parameter(self.get_parameter("weight_hh_l0").detach())
        del self.weight_hh_l0

    def _scaled(self) -> Tensor:
        return self.raw * self.get_buffer("scale")

    def forward(self, input: Any, hx: Any = None) -> Any:
        self.weight_hh_l0 = self._scaled()
        if isinstance(input, PackedSequence):
            return super().forward(input, hx)
        return super().forward(self.norm(input), hx)


SUBCLASSES: dict[str, Callable[..., nn.RNNBase]] = {
    "abstract LSTM": AbstractLSTM, "abstract GRU": AbstractGRU, "plain": Plain, "drops": DropsWeights,
}  # fmt: skip


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_pre_hook(lambda _, given: (given[0] * 0.5, *given[1:]))
    layer.register_forward_hook(lambda _, __, found: (found[0] + 1, found[1]))
    layer.register_full_backward_hook(lambda *_: None)
    return layer


CHANGES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "nothing": lambda layer: layer,
    "hooks": hooked,
    "weight_norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "spectral_norm": lambda layer: spectral_norm(layer, "weight_ih_l0"),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight_ih_l0", 0.5),  # type: ignore[no-untyped-call]
    "frozen": lambda layer: layer.requires_grad_(False),
}


class Model(nn.Module):
    """A recurrent layer used twice, a cell in a loop, a head, and a layer that is not registered."""

    def __init__(self, layer: nn.Module, cell: nn.Module, aside: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(I, I)
        self.layers = nn.ModuleDict({"a": layer, "b": nn.ModuleList([layer])})
        self.cell = cell
        self.aside = {"rnn": [aside]}

    def forward(self, x: Tensor) -> Any:
        x = self.embed(x)
        output, state = self.layers["a"](x)
        again, _ = self.layers["b"][0](x + 1, state)  # type: ignore[index]
        h = None
        for step in x:
            h = self.cell(step, h)
        return output, again, state, h, self.aside["rnn"][0](x)


def flat(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [tensor for part in found for tensor in flat(part)]


def everything(model: nn.Module, state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """Results, and the gradients of a function of them."""
    model.load_state_dict(state)  # spectral_norm changes its own buffers
    x = x.clone().requires_grad_()
    torch.manual_seed(3)
    results = flat(model(x))
    leaves = [leaf for leaf in (x, *model.parameters()) if leaf.requires_grad]
    total = torch.stack([result.square().sum() for result in results]).sum()
    return [*results, *torch.autograd.grad(total, leaves)]


@st.composite
def models(draw: st.DrawFn) -> Model:
    options: dict[str, Any] = {"num_layers": draw(st.integers(1, 3))}
    options |= {name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    options |= {"dropout": 0.5} if options["num_layers"] > 1 and draw(st.booleans()) else {}
    kind = draw(st.sampled_from([*LAYERS, *SUBCLASSES]))
    if kind in ("LSTM", "abstract LSTM") and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, H - 1))
    if kind in ("RNN", "plain"):
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    layer: nn.Module = (LAYERS | SUBCLASSES)[kind](I, H, **options)
    changes = ["nothing", "hooks"] if kind == "drops" else list(CHANGES)
    layer = CHANGES[draw(st.sampled_from(changes))](layer)
    cell = CELLS[draw(st.sampled_from(list(CELLS)))](I, H, bias=draw(st.booleans()))
    aside = nn.GRU(I, H, bidirectional=draw(st.booleans()))
    model = Model(layer, cell, aside).double()
    aside.double()
    return model.train(draw(st.booleans()))


def is_copied(model: nn.Module) -> bool:
    """Whether torch can copy a model. It cannot if a weight is an attribute that was computed."""
    try:
        copy.deepcopy(model)
    except RuntimeError:
        return False
    return True


def all_modules(model: Model) -> list[nn.Module]:
    return [*model.modules(), model.aside["rnn"][0]]


@settings(max_examples=60, deadline=None)
@given(models())
@pytest.mark.filterwarnings("ignore:LSTM with projections", "ignore:.*deprecated")
def test_any_model_computes_the_same_and_is_restored(model: Model) -> None:
    x = torch.randn(T, B, I, dtype=torch.float64)
    saved = copy.deepcopy(model.state_dict())
    expected = everything(model, saved, x)
    before = [(module, type(module), module.training, list(vars(module))) for module in all_modules(model)]
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    parameters = {name: id(value) for name, value in model.named_parameters()}
    copied = is_copied(model)

    assert accelerate(model) is model
    assert [row.runs_in for row in accelerate.report(model).rows] == ["gatewise"] * 3
    for module, kind, training, _ in before:
        assert isinstance(module, kind) or type(module).__name__.startswith("Parametrized")
        assert module.training is training
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == names
    assert {name: id(value) for name, value in model.named_parameters()} == parameters
    assert list(model.state_dict()) == list(saved)
    for found, wanted in zip(everything(model, saved, x), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    if copied:
        for found, wanted in zip(everything(copy.deepcopy(model), saved, x), expected, strict=True):
            torch.testing.assert_close(found, wanted)

    assert accelerate.undo(model) is model
    for module, kind, _, names_in in before:
        assert type(module) is kind or type(module).__name__.startswith("Parametrized")
        assert list(vars(module)) == names_in
    assert all(map(torch.equal, everything(model, saved, x), expected))


def swapped(kind: str = "LSTM", **options: Any) -> Any:
    return accelerate((LAYERS | CELLS)[kind](I, H, **options))


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_it_is_an_instance_of_both_classes(kind: str) -> None:
    layer = swapped(kind)
    assert isinstance(layer, (LAYERS | CELLS)[kind])
    assert isinstance(layer, getattr(ours, kind))
    assert isinstance(layer, nn.RNNBase if kind in LAYERS else nn.RNNCellBase)
    assert (type(layer).__module__, type(layer).__qualname__) == ("torch.nn.modules.rnn", kind)


def test_it_has_the_attributes_of_torchs() -> None:
    torchs, layer = nn.LSTM(I, H, 2, bidirectional=True), swapped(num_layers=2, bidirectional=True)
    assert layer.mode == "LSTM"
    assert vars(layer).keys() == vars(torchs).keys()
    assert [id(weight) for weight in layer._flat_weights] == [id(weight) for weight in layer.parameters()]
    assert [list(map(id, some)) for some in layer.all_weights] == [
        list(map(id, layer.parameters()))[k : k + 4] for k in range(0, 16, 4)
    ]
    x = torch.randn(T, B, I)
    state = torch.zeros(layer.get_expected_hidden_size(x, None))
    layer.check_input(x, None)
    layer.check_forward_args(x, (state, state), None)
    layer.check_hidden_size(state, (4, B, H))
    with pytest.raises(RuntimeError, match="input must have 3 dimensions"):
        layer.check_input(x[0], None)
    assert torch.equal(layer.permute_hidden((x, x), torch.tensor([1, 0]))[0], x[:, [1, 0]])
    layer.flatten_parameters()
    assert layer.__constants__ == torchs.__constants__
    assert type(layer)(I, H, 3).num_layers == 3


def test_parameters_are_reset_as_in_torch() -> None:
    torchs, layer = nn.GRU(I, H), swapped("GRU")
    for module in (torchs, layer):
        torch.manual_seed(5)
        module.reset_parameters()
    assert all(map(torch.equal, torchs.parameters(), layer.parameters()))


def test_flat_weights_follow_the_parameters() -> None:
    layer = swapped().double()
    assert layer._flat_weights[0].dtype == torch.float64
    layer.weight_hh_l0 = nn.Parameter(torch.zeros(4 * H, H, dtype=torch.float64))
    assert layer._flat_weights[1] is layer.weight_hh_l0


MADE: dict[str, Callable[[], nn.Module]] = {
    **{kind: lambda kind=kind: (LAYERS | CELLS)[kind](I, H) for kind in [*LAYERS, *CELLS]},  # type: ignore[misc]
    "subclass": lambda: AbstractLSTM(I, H),
    "relu": lambda: nn.RNN(I, H, nonlinearity="relu"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_it_is_copied_and_pickled(make: Callable[[], nn.Module]) -> None:
    layer = accelerate(make())
    x = torch.randn(B, I) if isinstance(layer, nn.RNNCellBase) else torch.randn(T, B, I)
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(layer),
        copy.copy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(stream, weights_only=False),
    ):
        assert type(other) is type(layer)
        assert all(map(torch.equal, flat(other(x)), flat(layer(x))))
        assert type(accelerate.undo(other)) is type(make())


def test_weights_are_loaded_in_both_directions() -> None:
    layer, torchs = swapped(num_layers=2), nn.LSTM(I, H, 2)
    stream = io.BytesIO()
    torch.save(layer.state_dict(), stream)
    stream.seek(0)
    torchs.load_state_dict(torch.load(stream, weights_only=True), strict=True)
    layer.load_state_dict(torchs.state_dict(), strict=True)


def test_a_watched_layer_is_restored_completely() -> None:
    layer, x = swapped(), torch.randn(T, B, I)
    before = list(vars(layer))
    with gatewise.watch(layer) as seen:
        layer(x)
    assert seen["l0"].f.shape == (T, B, H)
    assert list(vars(accelerate.undo(layer))) == before


def test_undo_refuses_an_edited_layer() -> None:
    model = gatewise.edit(nn.Sequential(swapped(), swapped()), "1.l0", f=1.0)
    with pytest.raises(ValueError, match=r"accelerate\.undo: l0 is edited"):
        accelerate.undo(model)
    assert [row.runs_in for row in accelerate.report(model).rows] == ["gatewise"] * 2


def test_parametrizations_and_hooks_added_later_stay() -> None:
    torchs = nn.LSTM(I, H)
    layer, x = accelerate(torchs), torch.randn(T, B, I)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    expected = layer(x)[0]
    accelerate.undo(layer)
    assert not isinstance(layer, ours.LSTM)
    assert torch.nn.utils.parametrize.is_parametrized(layer)
    torch.testing.assert_close(layer(x)[0], expected)
    accelerate(layer)
    torch.testing.assert_close(layer(x)[0], expected)
    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight_hh_l0")
    assert type(accelerate.undo(layer)) is nn.LSTM


def test_lengths_and_resets_are_accepted() -> None:
    torchs, x = nn.GRU(I, H), torch.randn(T, B, I)
    layer = ours.GRU(I, H)
    layer.load_state_dict(torchs.state_dict())
    more = {"lengths": [2, 5], "reset": torch.eye(T, B, dtype=torch.bool)}
    assert all(map(torch.equal, accelerate(torchs)(x, **more), layer(x, **more)))


def test_other_weights_for_one_call() -> None:
    layer, x = swapped(), torch.randn(T, B, I)
    others = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    found = functional_call(layer, others, (x,))
    layer.load_state_dict(others)
    assert torch.equal(found[0], layer(x)[0])


class Whole(nn.Module):
    """A model for tracers."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(I, H)
        self.head = nn.Linear(H, 1)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x)
        found: Tensor = self.head(output)
        return found


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_torch_jit_script_compiles_torchs_module() -> None:
    model, x = accelerate(Whole()), torch.randn(T, B, I)
    rnn, expected = model.rnn, model(x)
    with pytest.warns(UserWarning, match=r"compiles torch's LSTM, and the model keeps this module"):
        script = torch.jit.script(model)
    torch.testing.assert_close(script(x), expected)
    assert model.rnn is rnn
    assert type(rnn) is nn.LSTM


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(
    "layer", [ours.GRU(I, H), ours.Recurrent(gatewise.cells.min_gru, I, H), ours.GRUCell(I, H)]
)
def test_a_layer_of_our_own_cannot_be_scripted(layer: nn.Module) -> None:
    with pytest.raises(
        RuntimeError, match=f"{type(layer).__name__}: torch.jit.script cannot compile gatewise"
    ):
        torch.jit.script(nn.Sequential(layer))


def test_it_is_a_leaf_of_torch_fx() -> None:
    model, x = accelerate(Whole()), torch.randn(T, B, I)
    graph = torch.fx.symbolic_trace(model)
    assert "rnn" in [node.target for node in graph.graph.nodes if node.op == "call_module"]
    assert torch.equal(graph(x), model(x))


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_quantization_warns_that_it_does_not_quantize() -> None:
    model, x = accelerate(Whole()), torch.randn(T, B, I)
    quantize: Any = torch.ao.quantization.quantize_dynamic
    with pytest.warns(
        UserWarning, match=r"does not quantize LSTM. To quantize it, call gatewise\.accelerate\.undo"
    ):
        quantize(model, {nn.LSTM})
    found = quantize(accelerate.undo(model), {nn.LSTM})
    torch.testing.assert_close(found(x), model(x), atol=0.02, rtol=0.02)


@pytest.fixture
def compiler() -> Iterator[Any]:
    """`torch.compile` with empty caches, and its configuration restored afterwards."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch():
        yield torch._dynamo.config
    torch._dynamo.reset()


def test_torch_compile_breaks_its_graph_as_for_torchs(compiler: Any) -> None:
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model, x = accelerate(Whole()), torch.randn(T, B, I)
    expected = model(x)
    assert torch.equal(torch.compile(model, backend=backend)(x), expected)
    assert "gatewise" not in str([node.target for graph in graphs for node in graph.graph.nodes])
    torch._dynamo.reset()
    graphs.clear()
    compiler.allow_rnn = True
    assert torch.equal(torch.compile(model, backend=backend, fullgraph=True)(x), expected)
    assert "gatewise.scan" in str([node.target for graph in graphs for node in graph.graph.nodes])
    assert torch.equal(torch.compile(model.rnn, backend=backend, fullgraph=True)(x)[0], model.rnn(x)[0])


def test_a_compiled_model_is_compiled_again_when_it_is_swapped(compiler: Any) -> None:
    compiled: Any = torch.compile(Whole(), backend="eager")
    x = torch.randn(T, B, I)
    expected = compiled(x)
    assert isinstance(accelerate(compiled)._orig_mod.rnn, ours.LSTM)
    torch.testing.assert_close(compiled(x), expected)
    assert torch.equal(accelerate.undo(compiled)(x), expected)


def test_models_inside_wrappers_are_swapped() -> None:
    model = Whole()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    replicas = nn.DataParallel(model)
    accelerate(averaged)
    accelerate(replicas)
    averaged.update_parameters(model)
    x = torch.randn(T, B, I)
    assert torch.equal(averaged(x), replicas(x))
    assert all(isinstance(part.module.rnn, ours.LSTM) for part in (averaged, replicas))


def test_a_weight_that_is_only_made_in_forward() -> None:
    layer, x = DropsWeights(I, H), torch.randn(T, B, I)
    with torch.no_grad():
        found = accelerate(copy.deepcopy(layer))(x)
        assert all(map(torch.allclose, flat(found), flat(layer(x))))


def test_a_bound_method_kept_from_before() -> None:
    layer, x = nn.LSTM(I, H), torch.randn(T, B, I)
    before = layer.forward
    kept = accelerate(layer).forward
    torch.testing.assert_close(kept(x)[0], before(x)[0])
    accelerate.undo(layer)
    assert torch.equal(kept(x)[0], layer(x)[0])


class Tagged(nn.GRU):
    """A class that must not be subclassed without an argument."""

    def __init_subclass__(cls, tag: str) -> None:
        pass


def test_a_class_that_refuses_to_be_subclassed() -> None:
    (row,) = accelerate.report(accelerate(Tagged(I, H))).rows
    assert row.runs_in == "torch"
    assert row.why.startswith("its class Tagged cannot be subclassed: ")
    assert "'tag'" in row.why


class Sums(nn.GRU):
    """A subclass that computes by itself."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return input.sum(-1), hx


class Halves(Sums):
    """A subclass of `Sums` that calls its forward."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input / 2, hx)


class Helped(nn.GRU):
    """A subclass whose forward calls another method, which calls torch's forward."""

    @torch.no_grad()
    def forward(self, input: Any, hx: Any = None) -> Any:
        return self.helper(input, hx)

    def helper(self, input: Any, hx: Any) -> Any:
        return super().forward(input, hx)


def test_whether_a_subclass_reaches_the_forward_of_torch() -> None:
    assert [row.runs_in for row in accelerate.report(accelerate(Helped(I, H))).rows] == ["gatewise"]
    (row,) = accelerate.report(accelerate(Halves(I, H))).rows
    assert (row.runs_in, row.why[:19]) == ("torch", "a subclass, Halves,")
