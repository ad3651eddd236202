# mypy: allow-untyped-defs, allow-incomplete-defs
"""Files of layers: a loaded layer computes the same bits, from the equations in the file."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.utils.parametrizations import weight_norm

import gatewise
from gatewise import Cell, Input, cell, cells, layer_norm, linear, nn, project, sigmoid, tanh
from gatewise.nn.modules.files import options_of
from gatewise.runtime.layers_file import described, stored_layers
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.runtime.weights import shapes
from tests.nn.layers import KINDS, H, I, mixed

pytestmark = pytest.mark.usefixtures("quickly")


def local_cell() -> Cell:
    """A cell whose function cannot be found again by name."""

    @cell
    def gone(h, m, *, f, g):
        f = sigmoid(f)
        m = f * m + (1 - f) * tanh(g)
        h = tanh(m)
        return h, m

    return gone


def reloaded(module: nn.Recurrent, folder: Path) -> nn.Recurrent:
    gatewise.save(module, folder / "layers.safetensors")
    loaded: nn.Recurrent = gatewise.load(folder / "layers.safetensors")
    return loaded


@cell
def weighted(h, m, *, a, b: Input):
    """Operations with their own weights."""
    a, b = layer_norm(a, b)
    m = sigmoid(linear(a)) * m + tanh(b)
    h = project(tanh(linear(m)))
    return h, m


def outputs(module: nn.Recurrent) -> list[torch.Tensor]:
    torch.manual_seed(5)
    x = torch.randn(7, 4, I, dtype=module.all_weights[0][0].dtype)
    output, states = module(x, lengths=[7, 0, 3, 5])
    return [output, *(states if isinstance(states, tuple) else (states,))]


def assert_equal(one: nn.Recurrent, other: nn.Recurrent) -> None:
    for mine, theirs in zip(outputs(one), outputs(other), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_classic_layer_is_loaded_as_the_same_class(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    name, options = KINDS[kind]
    module = getattr(nn, name)(I, H, num_layers=2, dropout=0.5, dtype=dtype, **options).eval()
    loaded = reloaded(module, tmp_path)
    assert type(loaded) is type(module)
    assert repr(loaded) == repr(module)
    assert_equal(loaded, module)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classic_layer_is_loaded_with_every_option(tmp_path: Path, kind: str) -> None:
    name, options = KINDS[kind]
    options = {**options, "weight_drop": 0.25, "recurrent_dropout": 0.125, "learn_initial_state": True}
    module = getattr(nn, name)(I, H, init="orthogonal", checkpoint=3, **options).eval()
    loaded = reloaded(module, tmp_path)
    assert type(loaded) is type(module)
    assert repr(loaded).replace(", init=orthogonal", "") == repr(module).replace(", init=orthogonal", "")
    assert_equal(loaded, module)


@pytest.mark.parametrize("kind", [cells.rnn, cells.rnn_relu], ids=["tanh", "relu"])
def test_a_projection_that_torch_does_not_have_is_loaded(tmp_path: Path, kind: Cell) -> None:
    module = nn.Recurrent(kind, I, H, proj_size=2).eval()
    loaded = reloaded(module, tmp_path)
    assert repr(loaded) == repr(module)
    assert_equal(loaded, module)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 3, "bidirectional": True, "dropout": 0.25, "bias": False},
        {"batch_first": True, "checkpoint": 4},
        {"zoneout": (0.25, 0.5), "recurrent_dropout": 0.125, "weight_drop": 0.5},
        {"learn_initial_state": True, "bidirectional": True},
    ],
)
@pytest.mark.parametrize("made", [mixed, local_cell()], ids=lambda made: made.name)
def test_layers_of_any_cell_are_loaded(tmp_path: Path, made: Cell, options: dict[str, Any]) -> None:
    module = nn.Recurrent(made, I, H, dtype=torch.float64, **options).eval()
    loaded = reloaded(module, tmp_path)
    assert repr(loaded) == repr(module)
    assert loaded.cell.signature() == made.signature()
    assert not loaded.training
    if not options.get("batch_first"):
        assert_equal(loaded, module)


def test_loaded_layers_train_and_are_copied_and_pickled(tmp_path: Path) -> None:
    loaded = reloaded(nn.Recurrent(local_cell(), I, H), tmp_path)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    torch.autograd.backward([result.sum() for result in outputs(loaded.train())])
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    loaded.zero_grad()
    assert_equal(copy.deepcopy(loaded), loaded)
    assert_equal(pickle.loads(pickle.dumps(loaded)), loaded)
    with gatewise.watch(loaded) as seen:
        outputs(loaded)
    assert seen["l0"].names == ("f_bar", "g_bar", "f", "h", "m")


def test_a_file_loads_where_the_function_of_the_cell_does_not_exist(tmp_path: Path) -> None:
    module = nn.Recurrent(local_cell(), I, H)
    reloaded(module, tmp_path)
    x = np.random.default_rng(0).standard_normal((7, 2, I)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import gatewise, numpy, torch; layers = gatewise.load('layers.safetensors'); "
        "numpy.save('y.npy', layers(torch.from_numpy(numpy.load('x.npy')))[0].detach().numpy())"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert np.array_equal(np.load(tmp_path / "y.npy"), module(torch.from_numpy(x))[0].detach().numpy())


def test_a_cell_with_a_name_that_is_taken_keeps_its_own_equations(tmp_path: Path) -> None:
    named = local_cell()
    named.name = "lstm"
    loaded = reloaded(nn.Recurrent(named, I, H), tmp_path)
    assert type(loaded) is nn.Recurrent
    assert loaded.cell.signature() == local_cell().signature()


def test_a_parametrized_weight_is_saved_as_its_value(tmp_path: Path) -> None:
    module = weight_norm(nn.GRU(I, H), "weight_hh_l0")
    loaded = reloaded(module, tmp_path)
    assert_equal(loaded, module)
    assert list(loaded.state_dict()) == list(nn.GRU(I, H).state_dict())


def test_loading_draws_no_random_numbers_and_gives_no_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        module = nn.GRU(I, H, dropout=0.5)
    gatewise.save(module, tmp_path / "m")
    before = torch.get_rng_state()
    assert gatewise.load(tmp_path / "m").dropout == 0.5
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_layers_give_the_same_bytes(tmp_path: Path) -> None:
    module = nn.Recurrent(mixed, I, H, num_layers=2)
    gatewise.save(module, tmp_path / "a")
    gatewise.save(gatewise.load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (torch.nn.LSTM(I, H).to(torch.bfloat16), r"weight_ih_l0 must be of a type that a file can hold"),
        (nn.GRU(I, H).to(torch.bfloat16), "weight_ih_l0 must be of float16, float32, float64 to be saved"),
    ],
)
def test_a_failed_save_leaves_no_file(tmp_path: Path, module: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        gatewise.save(module, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_half_precision_is_kept(tmp_path: Path) -> None:
    loaded = reloaded(nn.GRU(I, H).half(), tmp_path)
    assert loaded.weight_hh_l0.dtype == torch.float16


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("made", "P"), [(cells.lstm, 2), (cells.lstm, 0), (cells.gru, 0), (mixed, 0), (weighted, 2)]
)
def test_the_torch_free_reader_expects_the_shapes_of_layers(made: Cell, P: int, bias: bool) -> None:
    module = nn.Recurrent(made, I, H, bias=bias, proj_size=P)
    held = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert held == {f"{name}_l0": shape for name, shape in shapes(made, I, H, bias, P).items()}


def test_every_weight_is_restored(tmp_path: Path) -> None:
    module = nn.Recurrent(weighted, I, H, num_layers=2, bidirectional=True, proj_size=2)
    loaded = reloaded(module, tmp_path).state_dict()
    assert loaded.keys() == module.state_dict().keys()
    assert all(torch.equal(loaded[name], weight) for name, weight in module.state_dict().items())


def test_a_cell_that_projects_needs_a_width(tmp_path: Path) -> None:
    weights = {f"{name}_l0": np.zeros(shape, "f4") for name, shape in shapes(weighted, I, H).items()}
    write_model(tmp_path / "m", "layers", described(weighted, OPTIONS), weights)
    assert "proj_size must be the width of the output" in refused(tmp_path / "m")


def test_the_examples_in_the_docstrings() -> None:
    failed, attempted = doctest.testmod(sys.modules[gatewise.save.__module__])
    assert (failed, attempted > 0) == (0, True)


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        gatewise.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 400
    return str(caught.value)


def tampered(folder: Path, **options: Any) -> Path:
    entry = described(cells.lstm, {**OPTIONS, **options})
    weights = {f"{name}_l0": np.zeros(shape, "f4") for name, shape in shapes(cells.lstm, I, H).items()}
    write_model(folder / "m", "layers", entry, weights)
    return folder / "m"


OPTIONS: dict[str, Any] = {
    "input_size": I, "hidden_size": H, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
    "bidirectional": False, "proj_size": 0, "checkpoint": 0,
}  # fmt: skip


def test_the_file_that_the_bad_ones_are_made_from_is_valid(tmp_path: Path) -> None:
    assert repr(gatewise.load(tampered(tmp_path))) == f"LSTM({I}, {H})"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("input_size", 0, "input_size must be a whole number from 1 to"),
        ("input_size", 3.0, "input_size must be a whole number"),
        ("hidden_size", 10**12, "hidden_size must be a whole number from 1 to 2147483647"),
        ("hidden_size", 2**31 - 1, "weights: weight_ih_l0 must have shape"),
        ("num_layers", 10**9, "num_layers: 1000000000 layers but 4 weights"),
        ("num_layers", 2, "weights: "),
        ("num_layers", True, "num_layers must be a whole number"),
        ("bias", False, "is unexpected"),
        ("bias", 1, "bias must be true or false. Got 1"),
        ("bidirectional", True, "is missing"),
        ("batch_first", None, "batch_first must be true or false. Got None"),
        ("dropout", 2, "dropout must be a number from 0 to 1. Got 2"),
        ("dropout", "Infinity", "dropout must be a number from 0 to 1"),
        ("proj_size", 2, "weights: "),
        ("checkpoint", -1, "checkpoint must be a whole number"),
        ("zoneout", [0.5], "zoneout must have a rate for each state. Got 1"),
        ("zoneout", [0.5, 1], "zoneout must be a number below 1. Got 1"),
        ("zoneout", 0.5, "zoneout must be a list. Got 0.5"),
        ("weight_drop", 1, "weight_drop must be a number below 1"),
        ("recurrent_dropout", -0.5, "recurrent_dropout must be a number from 0 to 1"),
        ("learn_initial_state", True, "'initial_c_l0' is missing"),
        ("extra", 1, "has 'extra'"),
        ("cell", None, "form must be an object. Got None"),
        ("prefix", 1, "prefix must be a text. Got 1"),
        ("prefix", "other.", "num_layers: 1 layers but 0 weights"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, option: str, value: Any, message: str) -> None:
    entry = described(cells.lstm, OPTIONS)
    entry["layers"][option] = value
    good = read_model(tampered(tmp_path), "layers")
    write_model(tmp_path / "m", "layers", entry, good.tensors)
    assert message in refused(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("bias_hh_l0"), "weights: 'bias_hh_l0' is missing"),
        (lambda tensors: tensors.update(more=np.zeros(1, "f4")), "weights: 'more' is unexpected"),
        (
            lambda tensors: tensors.update(weight_ih_l0=np.zeros((4 * H, I + 1), "f4")),
            "must have shape (20, 3)",
        ),
        (lambda tensors: tensors.update(bias_ih_l0=np.zeros(4 * H)), "have one type of"),
        (lambda tensors: tensors.update({n: t.astype("i4") for n, t in tensors.items()}), "Got int32"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    file = read_model(tampered(tmp_path), "layers")
    change(file.tensors)
    write_model(tmp_path / "m", "layers", file.header, file.tensors)
    assert message in refused(tmp_path / "m")


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (
            cells.gru,
            {"proj_size": 2},
            "proj_size must be 0, as the cell uses its output. Got 2",
        ),
        (
            cells.lstm,
            {"proj_size": 2, "zoneout": [0.5, 0]},
            "zoneout must be 0 for the projected state",
        ),
        (cells.lstm, {"proj_size": H}, "proj_size has to be smaller than hidden_size"),
    ],
)
def test_wrong_projections_are_refused(
    tmp_path: Path, made: Cell, options: dict[str, Any], message: str
) -> None:
    shaped = shapes(made, I, H, P=options["proj_size"])
    weights = {f"{name}_l0": np.zeros(shape, "f4") for name, shape in shaped.items()}
    write_model(tmp_path / "m", "layers", described(made, OPTIONS | options), weights)
    assert message in refused(tmp_path / "m")


def test_other_files_are_refused_and_the_message_says_what_is_missing(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "state", {"cell": "lstm"}, {})
    assert "does not describe recurrent layers (layers must be an object. Got None)" in refused(
        tmp_path / "m"
    )
    with pytest.raises(FileNotFoundError):
        gatewise.load(tmp_path / "none")


anything = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything |= st.sampled_from(["", "lstm", "x.", [], {}, [1], {"form": 1}, 2**63, -1, 3, 5, 20])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from([*OPTIONS, "prefix", "cell"]), anything, min_size=1, max_size=3))
def test_a_mutated_header_is_layers_or_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = read_model(tampered(tmp_path), "layers")
    file.header["layers"] |= changes
    write_model(tmp_path / "m", "layers", file.header, file.tensors)
    try:
        loaded = gatewise.load(tmp_path / "m")
    except ModelFileError:
        return
    stored = stored_layers(read_model(tmp_path / "m", None))
    assert options_of(loaded) == stored.options
