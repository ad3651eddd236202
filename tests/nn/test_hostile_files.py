"""Manipulated model files: they load, or they are refused with the documented error."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gatewise
from gatewise import cells, nn
from gatewise.nn.modules import files
from gatewise.nn.modules.files import TASK, module_of, options_of, weights_of
from gatewise.runtime import Stream, stream
from gatewise.runtime.layers_file import described, stored_layers
from gatewise.runtime.model_file import FORMAT, ModelFile, ModelFileError, read_model
from tests.hostile import damaged, mutated, mutated_tensors, strange

pytestmark = pytest.mark.usefixtures("quickly")

LAYERS = {
    "lstm": nn.LSTM(2, 3, num_layers=2, bidirectional=True),
    "projected": nn.Recurrent(cells.lstm_projected, 2, 3, proj_size=2),
    "layer norm": nn.Recurrent(
        cells.lstm_layer_norm, 2, 3, zoneout=(0.1, 0.2), learn_initial_state=True, bias=False
    ),
    "linear": nn.Recurrent(cells.gru_reset_before, 2, 3, recurrent_dropout=0.1),
    "vectors": nn.Recurrent(cells.gru_d, 2, 3, batch_first=True),
}
quickly = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def header_of(layers: nn.Recurrent) -> Any:
    """The header of a file of layers."""
    return json.loads(json.dumps(described(layers.cell, options_of(layers))))


def load(header: Any, tensors: Any) -> nn.Recurrent | None:
    """The layers that a file describes, or None if it is refused with the documented error."""
    file = ModelFile(Path("m"), FORMAT, TASK, header if isinstance(header, dict) else {}, tensors)
    with suppress(ModelFileError):
        return module_of(stored_layers(file), "m")
    return None


@pytest.mark.parametrize("name", LAYERS)
def test_the_file_before_manipulation_is_valid(name: str) -> None:
    assert load(header_of(LAYERS[name]), weights_of(LAYERS[name])) is not None


@pytest.mark.parametrize("name", LAYERS)
@quickly
@given(data=st.data())
def test_a_manipulated_header_is_refused_or_describes_layers(name: str, data: st.DataObject) -> None:
    layers = LAYERS[name]
    header = data.draw(mutated(header_of(layers)))
    tensors = data.draw(mutated_tensors(weights_of(layers)))
    found = load(header, tensors)
    if found is not None:
        assert str(found.cell)
        assert weights_of(found).keys() <= tensors.keys()


@pytest.mark.parametrize("name", LAYERS)
@quickly
@given(data=st.data())
def test_accepted_options_can_be_run(name: str, data: st.DataObject) -> None:
    """The equations are unchanged, so nothing new is compiled."""
    layers = LAYERS[name]
    header = header_of(layers)
    options = header[gatewise.runtime.layers_file.KEY]
    options[data.draw(st.sampled_from([*options_of(layers)]))] = data.draw(strange | st.floats(0, 1))
    found = load(header, weights_of(layers))
    if found is not None:
        x = torch.zeros(*((1, 2) if found.batch_first else (2, 1)), found.input_size)
        assert found(x)[0].shape[-1] == (1 + found.bidirectional) * (found.proj_size or found.hidden_size)


@pytest.mark.parametrize("name", LAYERS)
@quickly
@given(data=st.data())
def test_damaged_bytes_are_refused_or_load(tmp_path: Path, name: str, data: st.DataObject) -> None:
    gatewise.save(LAYERS[name], tmp_path / "whole")
    (tmp_path / "m").write_bytes(data.draw(damaged((tmp_path / "whole").read_bytes())))
    with suppress(ModelFileError):
        assert isinstance(gatewise.load(tmp_path / "m"), nn.Recurrent)


class Tagger(torch.nn.Module):
    """A user's class, which is filled from a file."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 4), torch.nn.Linear(4, 2)


MODULES = {
    "plain": torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(4)),
    "layers inside": torch.nn.ModuleDict({"e": torch.nn.Embedding(5, 3), "r": nn.LSTM(3, 4, num_layers=2)}),
    "own": Tagger(),
}


@pytest.mark.parametrize("name", MODULES)
@quickly
@given(data=st.data())
def test_a_manipulated_file_of_a_whole_module_is_refused_or_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: st.DataObject
) -> None:
    gatewise.save(MODULES[name], tmp_path / "m")
    whole = read_model(tmp_path / "m", None)
    header = data.draw(mutated(whole.header))
    tensors = data.draw(st.just(whole.tensors) | mutated_tensors(whole.tensors))
    file = replace(whole, header=header if isinstance(header, dict) else {}, tensors=tensors)
    monkeypatch.setattr(files, "read_model", lambda *_: file)
    with suppress(ModelFileError):
        found = gatewise.load("m", into=Tagger()) if name == "own" else gatewise.load("m")
        assert isinstance(found, torch.nn.Module)


@quickly
@given(data=st.data())
def test_a_manipulated_state_of_a_stream_is_refused_or_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    weights = {name: weight.detach().numpy() for name, weight in nn.LSTM(2, 3).state_dict().items()}
    running = Stream(cells.lstm, weights)
    running.save_state(tmp_path / "state")
    whole = read_model(tmp_path / "state", None)
    header = data.draw(mutated(whole.header))
    file = replace(
        whole,
        header=header if isinstance(header, dict) else {},
        tensors=data.draw(mutated_tensors(whole.tensors)),
    )
    monkeypatch.setattr(stream, "read_model", lambda *_: file)
    with suppress(ModelFileError):
        running.load_state("state")
    assert running.step(np.zeros(2, np.float32)).shape == (3,)
