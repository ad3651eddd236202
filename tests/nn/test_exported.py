"""Models with our layers as `torch.export` programs, saved and loaded, for any number of rows and steps."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch.export import Dim

import gatewise
from tests.nn.models import MODELS

pytestmark = pytest.mark.usefixtures("quickly")


def saved_and_loaded(program: torch.export.ExportedProgram) -> Any:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


@pytest.mark.parametrize("name", MODELS)
def test_a_program_gives_what_the_model_gives(name: str) -> None:
    made, x, others = MODELS[name]
    model = made().eval()
    free = dict.fromkeys(range(x.dim()), Dim.AUTO)
    program = torch.export.export(model, (x,), dynamic_shapes=(free,))
    loaded = saved_and_loaded(program)
    for given in (x, *(other for other in others if min(other.shape[:2]) > 1)):
        torch.testing.assert_close(loaded(given), model(given), rtol=0, atol=1e-6)


def test_layers_with_checkpoint_take_any_number_of_steps() -> None:
    layer, x = gatewise.nn.LSTM(3, 4, checkpoint=2), torch.randn(5, 2, 3)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: Dim("steps"), 1: Dim("rows")},))
    for given in (x, torch.randn(9, 4, 3)):
        torch.testing.assert_close(program.module()(given), layer(given))


def test_a_program_is_trained() -> None:
    made, x, _ = MODELS["classifier"]
    torch.manual_seed(0)
    model = made()
    loaded = saved_and_loaded(torch.export.export(model, (x,)))
    for each in (model, loaded):
        each(x).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(loaded.get_parameter(name).grad, parameter.grad)
