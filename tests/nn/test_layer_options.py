"""The options of a layer are stated once: constructors, layers, files and pages follow that statement."""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from torch.nn.utils import skip_init

import gatewise
from gatewise import cells, nn
from gatewise.nn.modules import kinds
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.runtime.layer_options import (
    ALWAYS,
    DEFAULTS,
    IN_TRAINING,
    OWN,
    LayerOptions,
    StepOptions,
    checks,
)

DOCS = Path(__file__).parents[2] / "docs"
LAYERS: list[Any] = [nn.Recurrent, nn.LSTM, nn.GRU, nn.RNN]
STEPS: list[Any] = [nn.Step, nn.LSTMCell, nn.GRUCell, nn.RNNCell]
NAMES = [option.name for option in fields(LayerOptions)]

# Another value than the default of every option, as a layer has it.
OTHERS: dict[str, Any] = {
    "num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True,
    "proj_size": 2, "checkpoint": 3, "zoneout": (0.0, 0.5), "recurrent_dropout": 0.125, "weight_drop": 0.5,
    "init": "orthogonal", "forget_bias": 1.5, "max_steps": 9, "learn_initial_state": True,
}  # fmt: skip
# What an option needs beside it, and what it has of its own.
BESIDE: dict[str, dict[str, Any]] = {"dropout": {"num_layers": 2}, "max_steps": {"init": "chrono"}}


def parameters(kind: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def own(kind: Any) -> list[str]:
    """The first arguments, and those that only this class has."""
    first = ["cell"] if kind in (nn.Recurrent, nn.Step) else []
    return first + (["nonlinearity"] if kind in (nn.RNN, nn.RNNCell) else [])


@pytest.mark.parametrize("kind", LAYERS)
def test_the_arguments_of_layers(kind: Any) -> None:
    found = parameters(kind)
    assert {name for name in found if name not in own(kind)} == {*NAMES, "device", "dtype"}
    assert {name: found[name].default for name in DEFAULTS} == DEFAULTS
    assert [name for name in found if found[name].kind is inspect.Parameter.KEYWORD_ONLY] == OWN
    hints = get_type_hints(LayerOptions)
    assert all(found[name].annotation == hints[name] for name in NAMES)


@pytest.mark.parametrize("kind", STEPS)
def test_the_arguments_of_steps(kind: Any) -> None:
    options = [option.name for option in fields(StepOptions)]
    assert sorted(parameters(kind)) == sorted([*own(kind), *options, "device", "dtype"])


def test_the_order_of_arguments_is_that_of_torch() -> None:
    arguments = (3, 4, 2, "relu", False, True, 0.25, True, 0, "meta", torch.float64)
    layer = nn.RNN(*arguments)
    assert repr(layer) == repr(torch.nn.RNN(*arguments))
    assert (layer.weight_ih_l0.dtype, layer.weight_ih_l0.is_meta) == (torch.float64, True)
    step = nn.RNNCell(3, 4, False, "relu", "meta", torch.float64)
    assert repr(step) == repr(torch.nn.RNNCell(3, 4, False, "relu"))
    assert (step.weight_ih.dtype, step.weight_ih.is_meta) == (torch.float64, True)


@pytest.mark.parametrize("kind", [*LAYERS, *STEPS])
def test_tools_see_the_arguments(kind: Any) -> None:
    assert get_type_hints(kind.__init__)["device"] == (torch.device | str | None)
    arguments = [cells.gru, 3, 4] if "cell" in own(kind) else [3, 4]
    made: Any = skip_init
    assert repr(made(kind, *arguments)) == repr(kind(*arguments))  # asks for an argument "device"
    with pytest.raises(TypeError, match=rf"^{kind.__name__}.__init__\(\) got an unexpected .* 'zonout'$"):
        kind(*arguments, zonout=0.1)
    with pytest.raises(TypeError, match=rf"^{kind.__name__}.__init__\(\) missing .* 'hidden_size'$"):
        kind(*arguments[:-1])


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_has_and_shows_what_it_was_given(name: str) -> None:
    layer = nn.LSTM(3, 4, **{name: OTHERS[name]}, **BESIDE.get(name, {}))
    assert getattr(layer, name) == OTHERS[name]
    assert f"{name}={OTHERS[name]}" in repr(layer)
    again = nn.LSTM(3, 4, **{option: getattr(layer, option) for option in DEFAULTS})
    assert repr(again) == repr(layer)


def test_no_option_is_left_out() -> None:
    assert OTHERS.keys() == DEFAULTS.keys() == set(NAMES) - {"input_size", "hidden_size"}
    assert all(OTHERS[name] != default for name, default in DEFAULTS.items())


@pytest.mark.parametrize("name", OWN)
def test_a_pickle_that_is_older_than_an_option(name: str) -> None:
    layer = nn.LSTM(3, 4)
    state = layer.__getstate__()
    state.pop(name)
    older: Any = nn.LSTM.__new__(nn.LSTM)
    older.__setstate__(state)
    assert getattr(pickle.loads(pickle.dumps(older)), name) == DEFAULTS[name]
    assert repr(older) == "LSTM(3, 4)"


def test_a_file_holds_all_but_the_initialisation(tmp_path: Path) -> None:
    saved = {
        name: value for name, value in OTHERS.items() if name not in ("init", "forget_bias", "max_steps")
    }
    layer = nn.LSTM(3, 4, **saved)
    gatewise.save(layer, tmp_path / "layer")
    read = gatewise.load(tmp_path / "layer")
    assert list(checks(LayerOptions)) == ["input_size", "hidden_size", *saved]
    assert kinds.options_of(read) == {"input_size": 3, "hidden_size": 4, **saved}


def rows(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a title, without its head."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n## {title}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in lines[0].splitlines()[2:]]


def test_the_page_on_layers_names_every_option_with_its_default() -> None:
    table = {name.strip("`"): default.strip("`") for name, default, _ in rows("layers.md", "Options")}
    assert table == {name: repr(value).replace("'", '"') for name, value in DEFAULTS.items()}


def test_the_page_on_the_format_names_every_option_in_a_file() -> None:
    keys = [name for key, *_ in rows("format.md", "Layers") for name in re.findall(r"`(\w+)`", key)]
    assert set(keys) == {"cell", "prefix", *checks(LayerOptions)}
    assert set(keys[-4:]) == checks(LayerOptions).keys() - set(ALWAYS)  # "the last four MAY be missing"


def test_the_docstring_explains_every_option() -> None:
    assert Recurrent.__doc__
    arguments = Recurrent.__doc__.split("Args:")[1].split("What is random")[0]
    assert re.findall(r"^        (\w+): ", arguments, re.MULTILINE) == list(parameters(nn.Recurrent))


def test_options_that_matter_in_training_alone_change_nothing_else() -> None:
    torch.manual_seed(0)
    plain, x = nn.LSTM(3, 4, num_layers=2).eval(), torch.randn(5, 2, 3)
    other = nn.LSTM(3, 4, num_layers=2, **{name: OTHERS[name] for name in IN_TRAINING}).eval()
    other.load_state_dict(plain.state_dict())
    assert torch.equal(other(x)[0], plain(x)[0])
