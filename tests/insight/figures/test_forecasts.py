from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from gatewise.insight.figures import Example, Panel, draw_forecasts, draw_gates, save_figure, short

TIMES = pd.date_range("2024-01-01", periods=30, freq="h")
WAVE = np.sin(np.arange(30.0))


def example(title: str = "one") -> Example:
    return Example(
        title, TIMES[:20], WAVE[:20], TIMES[20:], WAVE[20:] + 0.1, WAVE[20:], {"naive": WAVE[10:20]}
    )


def panel(signed: bool) -> Panel:
    values = np.linspace(-1.0 if signed else 0.0, 1.0, 30 * 7).reshape(30, 7)
    return Panel("gate", values, "shut", "open", signed)


def errors_axes(model: float, naive: float) -> Axes:
    curves = {"forecast": np.full(10, model), "naive": np.full(10, naive)}
    ahead = [f"{k} h" for k in range(1, 11)]
    return draw_forecasts("head", "note", "°C", example(), [example()], "errors", ahead, curves).axes[1]


def test_truth_goes_on_from_the_history_and_the_forecast_stands_apart() -> None:
    axes = errors_axes(1.0, 2.0).figure.axes[0]
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert any(np.array_equal(line, WAVE[:20]) for line in drawn)
    assert any(np.array_equal(line, WAVE[19:]) for line in drawn)
    assert any(np.array_equal(line, WAVE[20:] + 0.1) for line in drawn)


def test_errors_far_apart_go_on_a_logarithmic_axis() -> None:
    assert errors_axes(1.0, 4.0).get_yscale() == "linear"
    assert errors_axes(1.0, 4.0).get_ylim()[0] == 0
    assert errors_axes(1.0, 6.0).get_yscale() == "log"


def test_errors_of_zero_do_not_stretch_a_logarithmic_axis() -> None:
    low, high = errors_axes(0.0, 6.0).get_ylim()
    assert high / low <= 1001


def test_steps_ahead_are_named_at_round_numbers() -> None:
    axes = errors_axes(1.0, 2.0)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4", "6", "8", "10"]
    assert axes.get_xlabel() == "h ahead"


def test_steps_ahead_in_different_units_keep_their_units() -> None:
    curves = {"forecast": np.ones(3), "naive": np.ones(3)}
    ahead = ["30 min", "1 h", "1.5 h"]
    axes = draw_forecasts("head", "note", "°C", example(), [example()], "errors", ahead, curves).axes[1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ahead
    assert axes.get_xlabel() == ""


def test_gates_are_drawn_from_shut_to_open_and_states_around_zero() -> None:
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


def test_nothing_global_changes_and_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("one.png", "two.png"):
        figure = draw_gates("head", "note", "y", TIMES, WAVE, [panel(False)])
        save_figure(figure, tmp_path / name)
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_no_words_overlap_or_leave_the_picture() -> None:
    past = [example(f"No {n}: off by 1,234 kWh") for n in range(3)]
    ahead = [f"{k} h" for k in range(1, 11)]
    errors = {"forecast": WAVE[:10] ** 2, "naive": WAVE[10:20] ** 2}
    figure = draw_forecasts("A heading", "A note", "kWh", example(), past, "Mean error", ahead, errors)
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox())]
    assert len(boxes) == 5
    for number, box in enumerate(boxes):
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (9.99, "10"), (-0.034, "-0.034"), (1e6, "1.0 M"), (999999.0, "999,999"), (2e-9, "2.0 n")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
