from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gatewise.insight.figures import Panel, draw_gates
from tests.insight.figures.reading import map_of, words_have_room

TIMES = pd.date_range("2024-01-01", periods=30, freq="h")
WAVE = np.sin(np.arange(30.0))


def panel(signed: bool) -> Panel:
    values = np.linspace(-1.0 if signed else 0.0, 1.0, 30 * 7).reshape(30, 7)
    return Panel("gate", values, "shut", "open", signed)


def test_gates_are_drawn_from_closed_to_open_and_states_around_zero() -> None:
    figure = draw_gates(
        "head", "note", "y", TIMES, WAVE, [panel(False), panel(True)], [(0, "1 h"), (6, "9 h")]
    )
    gate, state = (axes.get_images()[0] for axes in figure.axes if axes.get_images())
    assert gate.get_clim() == (0.0, 1.0)
    low, high = state.get_clim()
    assert low is not None
    assert high is not None
    assert low == -high
    assert np.array_equal(np.asarray(gate.get_array()), panel(False).values.T)


def test_a_state_that_is_zero_everywhere_is_drawn() -> None:
    flat = Panel("state", np.zeros((30, 4)), "", "", signed=True)
    figure = draw_gates("head", "note", "y", TIMES, WAVE, [flat])
    assert figure.axes[1].get_images()[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize(
    "steps", [range(30), np.arange(30.0), torch.arange(30)], ids=["range", "numpy", "torch"]
)
def test_steps_are_an_axis_as_well_as_dates(steps) -> None:  # type: ignore[no-untyped-def]
    values = np.linspace(0, 1, 60).reshape(30, 2)
    values[20:] = np.nan
    gate = Panel("gate", torch.from_numpy(values), "shut", "open", signed=False)
    figure = draw_gates("head", "note", "y", steps, torch.from_numpy(WAVE), [gate])
    series, map_ = figure.axes[:2]
    assert np.array_equal(map_of(map_), values.T, equal_nan=True)
    assert list(map_.get_images()[0].get_extent()) == [-0.5, 29.5, 0, 2]
    assert np.array_equal(series.get_lines()[0].get_ydata(), WAVE)
    assert map_.get_xlabel() == "step"
    assert not series.get_xlabel()
    words_have_room(figure)


def test_one_step_of_one_unit() -> None:
    for times in (TIMES[:1], [0]):
        gate = Panel("gate", [[0.5]], "shut", "open", signed=False)
        figure = draw_gates("head", "note", "y", times, [1.0], [gate])
        assert map_of(figure.axes[1]).tolist() == [[0.5]]
        words_have_room(figure)


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError) as error:
        draw_gates("head", "note", "y", TIMES, WAVE, [Panel("gate", np.ones((29, 2)), "", "", signed=False)])
    wanted = "panels[0].values must have shape [T, H] = [30, H] with H at least 1"
    assert str(error.value) == f"draw_gates: {wanted}. Got [29, 2]."
