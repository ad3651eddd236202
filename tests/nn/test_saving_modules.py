"""Files of whole modules: they are restored, or fill a model with the same structure."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import gatewise
from gatewise import cell, cells, sigmoid, tanh
from gatewise.nn.modules import kinds
from gatewise.runtime import ModelFileError, Stream
from gatewise.runtime.layers_file import MODULE
from gatewise.runtime.model_file import read_model, write_model

pytestmark = pytest.mark.usefixtures("quickly")


@cell
def light(h, *, f, g):  # type: ignore[no-untyped-def]
    """A user's cell."""
    f = sigmoid(f)
    h = f * h + (1 - f) * tanh(g)
    return h


def reloaded(model: nn.Module, folder: Path) -> Any:
    gatewise.save(model, folder / "model.safetensors")
    return gatewise.load(folder / "model.safetensors")


def assert_same(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    for name, tensor in mine.items():
        assert (tensor.dtype, tensor.shape) == (theirs[name].dtype, theirs[name].shape), name
        assert torch.equal(tensor, theirs[name]), name
    assert [m.training for m in one.modules()] == [m.training for m in other.modules()]
    assert [p.requires_grad for p in one.parameters()] == [p.requires_grad for p in other.parameters()]


# One module of each kind, with arguments that are not the defaults.
EACH: list[nn.Module] = [
    nn.Identity(),
    nn.Linear(3, 4, bias=False),
    nn.Bilinear(2, 3, 4),
    nn.Embedding(5, 3, padding_idx=1, max_norm=2.0),
    *(
        make(0.25)
        for make in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
    ),
    nn.LayerNorm((2, 3), eps=1e-3, bias=False),
    nn.LayerNorm(3, elementwise_affine=False),
    nn.RMSNorm(4),
    nn.GroupNorm(2, 4, affine=False),
    nn.BatchNorm1d(3, momentum=None),
    nn.BatchNorm2d(3, track_running_stats=False),
    nn.InstanceNorm1d(3, affine=True),
    nn.InstanceNorm2d(3),
    nn.Conv1d(4, 6, 3, stride=2, padding="valid", groups=2, padding_mode="circular"),
    nn.Conv2d(3, 4, (3, 5), padding=(1, 2), bias=False),
    nn.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1),
    nn.ConvTranspose2d(3, 4, 3),
    nn.MaxPool1d(2, ceil_mode=True),
    nn.MaxPool2d((2, 3), stride=1),
    nn.AvgPool1d(3, count_include_pad=False),
    nn.AdaptiveAvgPool1d(1),
    nn.AdaptiveAvgPool2d((None, 2)),
    nn.AdaptiveMaxPool1d(2, return_indices=True),
    nn.AdaptiveMaxPool2d(2),
    *(make() for make in (nn.Sigmoid, nn.Tanh, nn.Softsign, nn.Tanhshrink, nn.LogSigmoid, nn.Mish, nn.SELU)),
    *(make() for make in (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardsigmoid, nn.Hardswish)),
    nn.LeakyReLU(0.2, inplace=True),
    nn.ELU(0.5),
    nn.CELU(0.5),
    nn.GELU("tanh"),
    nn.GLU(1),
    nn.PReLU(3),
    nn.Softplus(2.0, 10.0),
    nn.Hardtanh(-2.0, float("inf")),
    nn.Softmax(-1),
    nn.LogSoftmax(1),
    nn.Flatten(0, -2),
    gatewise.nn.GRUCell(3, 4, bias=False),
    gatewise.nn.Step(light, 3, 4),
    gatewise.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2, zoneout=(0.0, 0.1)),
    gatewise.nn.Recurrent(light, 3, 4, batch_first=True, learn_initial_state=True),
]


def test_one_module_of_each_kind_is_restored(tmp_path: Path) -> None:
    whole = nn.ModuleDict({"each": nn.ModuleList(EACH), "chain": nn.Sequential(nn.Linear(2, 2), nn.Tanh())})
    loaded = reloaded(whole.eval(), tmp_path)
    assert repr(loaded) == repr(whole)
    assert_same(loaded, whole)
    assert {type(module).__name__ for module in EACH} >= kinds.TORCH.keys()


def test_recurrent_modules_of_torch_are_restored_as_ours(tmp_path: Path) -> None:
    theirs = nn.ModuleList(
        [nn.LSTM(3, 4, 2, dropout=0.5), nn.RNN(3, 4, nonlinearity="relu"), nn.GRUCell(3, 4)]
    )
    loaded, x = reloaded(theirs.eval(), tmp_path), torch.randn(5, 2, 3)
    assert [type(module) for module in loaded] == [gatewise.nn.LSTM, gatewise.nn.RNN, gatewise.nn.GRUCell]
    torch.testing.assert_close(loaded[0](x)[0], theirs[0](x)[0])
    assert_same(loaded, theirs)
    assert_same(reloaded(gatewise.accelerate(copy.deepcopy(theirs)), tmp_path), theirs)


def test_modes_types_and_shared_tensors_are_restored(tmp_path: Path) -> None:
    shared, model = nn.Linear(3, 3), nn.ModuleDict({"embedding": nn.Embedding(7, 3), "head": nn.Linear(3, 7)})
    model["head"].weight = model["embedding"].weight
    model["twice"] = nn.Sequential(shared, nn.Dropout(0.1), shared)
    model["wide"] = gatewise.nn.GRU(3, 4, dtype=torch.float64).eval()
    shared.requires_grad_(False)
    loaded = reloaded(model, tmp_path)
    assert_same(loaded, model)
    assert loaded["twice"][0] is loaded["twice"][2]
    assert loaded["head"].weight is loaded["embedding"].weight


class Tagger(nn.Module):
    """A model of a user's class with a tied weight and its own tensors."""

    def __init__(self, kind: gatewise.Cell = cells.gru, dropout: float = 0.1, tied: bool = True) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(7, 4), gatewise.nn.Recurrent(kind, 4, 4)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(4, 7)
        self.norm = weight_norm(nn.Linear(4, 4))
        self.scale = nn.Parameter(torch.rand(2))
        self.register_buffer("seen", torch.tensor(3))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.rnn(self.drop(self.embedding(ids)))[0]))
        return logits * self.scale[0]


def test_a_users_model_is_filled(tmp_path: Path) -> None:
    path, model, ids = tmp_path / "tagger.safetensors", Tagger().eval(), torch.randint(7, (5, 2))
    gatewise.save(model, path)
    other = Tagger(dropout=0.5)
    assert gatewise.load(path, into=other) is other
    assert other.training
    assert torch.equal(other.eval()(ids), model(ids))


def test_a_file_of_layers_fills_a_layer(tmp_path: Path) -> None:
    path, layer, x = tmp_path / "layer.safetensors", gatewise.nn.LSTM(3, 4), torch.randn(5, 2, 3)
    gatewise.save(layer, path)
    theirs = gatewise.load(path, into=nn.LSTM(3, 4))
    torch.testing.assert_close(theirs(x)[0], layer(x)[0])
    with pytest.raises(ModelFileError, match="the whole: the file has a Recurrent, the model a Linear"):
        gatewise.load(path, into=nn.Linear(3, 4))


DIFFERENT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "equations": (
        lambda: Tagger(light),
        r"rnn: Recurrent has other equations: the file has those of 'gru', the",
    ),
    "type": (lambda: Tagger().double(), r"embedding\.weight must be torch\.float64\. Got torch\.float32"),
    "tied": (lambda: Tagger(tied=False), ""),
    "another": (lambda: nn.Linear(3, 4), "the whole: the file has a Tagger, the model a Linear"),
    "parts": (lambda: nn.Module(), "the whole: the file has the parts embedding, rnn, .* the model none"),
    "edited": (
        lambda: _with(Tagger(), "rnn", gatewise.edit(gatewise.nn.GRU(4, 4), "l0", z=1.0)),
        "l0 is edited",
    ),
    "wider": (
        lambda: _with(Tagger(), "head", nn.Linear(4, 8)),
        "head: Linear has out_features 7 in the file, 8",
    ),
    "more": (
        lambda: _with(Tagger(), "scale", nn.Parameter(torch.rand(3))),
        r"scale must have shape \(3,\)\. Got",
    ),
    "own": (lambda: _with(Tagger(), "offset", nn.Parameter(torch.rand(3))), "offset: the tensor is missing"),
}


def _with(model: nn.Module, name: str, value: Any) -> nn.Module:
    setattr(model, name, value)
    return model


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_model_with_another_structure_is_not_filled(name: str, tmp_path: Path) -> None:
    path, (make, message) = tmp_path / "tagger.safetensors", DIFFERENT[name]
    gatewise.save(Tagger(), path)
    other = make()
    if not message:  # one tensor of the file for two of the model: both get its numbers
        assert torch.equal(gatewise.load(path, into=other).get_parameter("head.weight"), _weight(other))
        return
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ModelFileError, match=message):
        gatewise.load(path, into=other)
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[key])


def _weight(model: nn.Module) -> Tensor:
    return model.get_parameter("embedding.weight")


def test_two_tensors_do_not_fill_a_tied_weight(tmp_path: Path) -> None:
    gatewise.save(Tagger(tied=False), tmp_path / "tagger.safetensors")
    with pytest.raises(ModelFileError, match=r"head\.weight is the same tensor as embedding\.weight"):
        gatewise.load(tmp_path / "tagger.safetensors", into=Tagger())


def test_the_error_names_what_a_file_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    gatewise.save(nn.ModuleDict({"encoder": nn.Sequential(nn.Tanh(), Tagger())}), path)
    with pytest.raises(ModelFileError, match=r"encoder\.1: Tagger is not among the modules .* into=model"):
        gatewise.load(path)
    with pytest.raises(ModelFileError, match="the file holds a whole torch module"):
        Stream.load(path)
    path.unlink()
    with pytest.raises(TypeError, match=r"0\.weight must be of a type .* Got torch\.bfloat16"):
        gatewise.save(nn.Sequential(nn.Linear(2, 2).bfloat16()), path)
    with pytest.raises(ValueError, match="l0 is edited"):
        gatewise.save(nn.Sequential(gatewise.edit(gatewise.nn.GRU(3, 4), "l0", z=1.0)), path)
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module\. Got dict\."):
        gatewise.save({}, path)  # type: ignore[arg-type]
    circle = nn.Sequential()
    circle.add_module("self", nn.Sequential(circle))
    with pytest.raises(ValueError, match="the Sequential contains itself"):
        gatewise.save(circle, path)
    for model in (
        nn.Sequential(nn.LazyLinear(3)),
        nn.Linear(2, 2, device="meta"),
        gatewise.nn.GRU(2, 2, device="meta"),
    ):
        with pytest.raises(ValueError, match=r"save: .*weight\S* has no numbers yet"):
            gatewise.save(model, path)
    assert not path.exists()


def test_a_common_module_with_added_children_is_filled(tmp_path: Path) -> None:
    def model() -> nn.Module:
        outer = nn.Linear(2, 2)
        outer.inner = nn.Linear(2, 3)
        return nn.Sequential(outer)

    one, other = model(), model()
    gatewise.save(one, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"0: Linear is not among the modules .* into=model"):
        gatewise.load(tmp_path / "model.safetensors")
    assert_same(gatewise.load(tmp_path / "model.safetensors", into=other), one)


def test_a_model_on_the_meta_device_is_not_filled(tmp_path: Path) -> None:
    gatewise.save(nn.Linear(2, 2), tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="on the meta device"):
        gatewise.load(tmp_path / "model.safetensors", into=nn.Linear(2, 2, device="meta"))


def test_a_name_in_a_file_is_never_looked_up(tmp_path: Path) -> None:
    """The class name in a file must be in the table. Any other name is refused, even if torch has it."""
    path = tmp_path / "model.safetensors"
    for kind in ("Transformer", "__init__", "modules", "Module", "os.system", "Tensor", ""):
        write_model(path, MODULE, header([part(kind)]), {})
        with pytest.raises(ModelFileError):
            gatewise.load(path)


def part(kind: str, *children: tuple[str, int], **arguments: Any) -> dict[str, Any]:
    found = {"kind": kind, "class": kind or "Own", "arguments": arguments, "training": False}
    return found | {"children": [list(child) for child in children]}


def header(parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"modules": parts, "shared": {}, "frozen": []} | more


HOSTILE: dict[str, dict[str, Any]] = {
    "a module in itself": header([part("Sequential", ("0", 0))]),
    "a module twice in each of forty": header(
        [part("Sequential", ("0", k + 1), ("1", k + 1)) for k in range(40)] + [part("Tanh")]
    ),
    "a deep chain without end": header([part("Sequential", ("0", k + 1)) for k in range(5000)]),
    "long names, deep": header(
        [part("Sequential", ("n" * 128, k + 1)) for k in range(9000)] + [part("Tanh")]
    ),
    "a name with dots": header([part("Sequential", ("a.b", 1)), part("Tanh")]),
    "a name that a module has": header([part("Sequential", ("forward", 1)), part("Tanh")]),
    "two children of one name": header([part("Sequential", ("0", 1), ("0", 2)), part("Tanh"), part("Tanh")]),
    "children of a Linear": header(
        [part("Linear", ("0", 1), in_features=1, out_features=1, bias=False), part("Tanh")]
    ),
    "huge layers": header([part("Linear", in_features=2**31 - 1, out_features=2**31 - 1, bias=True)]),
    "groups that do not divide": header(
        [part("GroupNorm", num_groups=2, num_channels=3, eps=0.1, affine=True)]
    ),
    "an argument that is a module": header([part("Softmax", dim={"kind": "Tanh"})]),
    "a part of none": header([part("Tanh"), part("Tanh")]),
    "a tensor that is another": header([part("Tanh")], shared={"a": "b"}),
    "what is frozen is no tensor": header([part("Tanh")], frozen=["a"]),
    "no parts": header([]),
    "no list": {"modules": {}, "shared": {}, "frozen": []},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_structure_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, MODULE, HOSTILE[name], {})
    with pytest.raises(ModelFileError):
        gatewise.load(path)
    with pytest.raises(ModelFileError):
        gatewise.load(path, into=nn.Linear(2, 2))


def _a_file() -> tuple[dict[str, Any], dict[str, Any]]:
    model = nn.Sequential(
        nn.Linear(2, 2), gatewise.nn.GRU(2, 2), nn.ModuleList([nn.BatchNorm1d(2)]), nn.Conv1d(2, 2, 1)
    )
    from gatewise.nn.modules import structure

    found, tensors = structure.of(model)
    return structure.header_of(found), {name: tensor.detach().numpy() for name, tensor in tensors.items()}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_header_is_refused_or_valid(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found, tensors = _a_file()
    spot: Any = found
    while True:
        keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(spot[key], dict | list) or data.draw(st.integers(0, 2)) == 0:
            spot[key] = data.draw(JSON)
            break
        spot = spot[key]
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    write_model(path, MODULE, json.loads(json.dumps(found)), tensors)
    try:
        loaded = gatewise.load(path)
    except ModelFileError:
        return
    assert isinstance(loaded, nn.Module)
    assert pickle.loads(pickle.dumps(loaded.state_dict())).keys() == loaded.state_dict().keys()


def test_damaged_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    found, tensors = _a_file()
    for changed in (
        {k: v for k, v in tensors.items() if k != "0.weight"},
        tensors | {"more": np.zeros(2, np.float32)},
        tensors | {"0.weight": np.zeros((2, 3), np.float32)},
        tensors | {"0.weight": np.zeros((2, 2), np.int64)},
        tensors | {"2.0.num_batches_tracked": np.zeros((), np.float32)},
    ):
        write_model(path, MODULE, found, changed)
        with pytest.raises(ModelFileError):
            gatewise.load(path)
    write_model(path, MODULE, found | {"shared": {"more": "0.weight"}}, tensors)
    with pytest.raises(ModelFileError, match="more: the file has this tensor"):
        gatewise.load(path)
    write_model(path, MODULE, found, tensors)
    assert read_model(path, MODULE).tensors["2.0.num_batches_tracked"].shape == ()


@st.composite
def trees(draw: st.DrawFn, pool: list[nn.Module] | None = None, deep: int = 0) -> nn.Module:
    """Nested containers around modules, some of which occur several times."""
    pool = [copy.deepcopy(module) for module in EACH] if pool is None else pool
    if deep == 3 or draw(st.booleans()):
        return draw(st.sampled_from(pool))
    parts = [draw(trees(pool, deep + 1)) for _ in range(draw(st.integers(0, 3)))]
    kind = draw(st.sampled_from((nn.Sequential, nn.ModuleList, nn.ModuleDict)))
    container: nn.Module
    if kind is nn.Sequential:
        container = nn.Sequential(*parts)
    else:
        named = {f"{chr(97 + k)}_part": part for k, part in enumerate(parts)}
        container = nn.ModuleList(parts) if kind is nn.ModuleList else nn.ModuleDict(named)
    pool.append(container.train(draw(st.booleans())))
    return container


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(model=trees())
def test_random_trees_are_restored(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole, folder = (
        nn.ModuleList([model]),
        tmp_path_factory.mktemp("tree"),
    )  # a single layer is another kind of file
    loaded = reloaded(whole, folder)
    assert repr(loaded) == repr(whole)
    assert_same(loaded, whole)
    places = [[list(m.modules()).index(child) for child in m.modules()] for m in (whole, loaded)]
    assert places[0] == places[1]
    assert gatewise.load(folder / "model.safetensors", into=copy.deepcopy(whole)) is not None
