from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gatewise.insight.figures import Example, draw_forecasts
from gatewise.insight.figures.times import time_axis

TIMES = pd.date_range("2024-01-01", periods=30, freq="h")
WAVE = np.sin(np.arange(30.0))


def example(title: str = "one") -> Example:
    return Example(
        title, TIMES[:20], WAVE[:20], TIMES[20:], WAVE[20:] + 0.1, WAVE[20:], {"naive": WAVE[10:20]}
    )


def errors_axes(model: float, naive: float) -> Axes:
    curves = {"forecast": np.full(10, model), "naive": np.full(10, naive)}
    ahead = [f"{k} h" for k in range(1, 11)]
    return draw_forecasts("head", "note", "°C", example(), [example()], "errors", ahead, curves).axes[1]


def test_the_truth_continues_the_history_and_the_forecast_is_separate() -> None:
    axes = errors_axes(1.0, 2.0).figure.axes[0]
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert any(np.array_equal(line, WAVE[:20]) for line in drawn)
    assert any(np.array_equal(line, WAVE[19:]) for line in drawn)
    assert any(np.array_equal(line, WAVE[20:] + 0.1) for line in drawn)


def test_errors_of_very_different_size_have_a_logarithmic_axis() -> None:
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


def test_no_words_overlap_or_exceed_the_picture() -> None:
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


@pytest.mark.parametrize("as_times", [np.asarray, range, torch.arange], ids=["dates", "range", "torch"])
def test_times_are_dates_or_numbers_and_values_of_torch(as_times) -> None:  # type: ignore[no-untyped-def]
    times = as_times(TIMES) if as_times is np.asarray else as_times(30)
    wave = torch.from_numpy(WAVE)
    one = Example("one", times[:20], wave[:20], times[20:], wave[20:], rivals={"naive": wave[10:20]})
    figure = draw_forecasts("head", "note", "°C", one, [], "errors", ["1 h"], {"model": torch.ones(1)})
    axes = figure.axes[0]
    figure.draw_without_rendering()
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert [np.array_equal(line, values) for line, values in zip(drawn, (WAVE[:20], WAVE[20:]), strict=False)]
    assert (axes.get_xlabel() == "step") is (as_times is not np.asarray)


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    short = Example("one", TIMES[:20], WAVE[:19], TIMES[20:], WAVE[20:])
    with pytest.raises(ValueError) as error:
        draw_forecasts("head", "note", "°C", short, [], "errors", ["1 h"], {"model": np.ones(1)})
    assert str(error.value) == "Example: past_times must have shape [T] = [19]. Got [20]."
    with pytest.raises(ValueError) as error:
        draw_forecasts("head", "note", "°C", example(), [], "errors", ["1 h"], {"model": np.ones(2)})
    assert str(error.value) == "draw_forecasts: errors['model'] must have shape [K] = [1]. Got [2]."


def test_bands_are_drawn_from_the_widest_to_the_narrowest_and_labelled() -> None:
    wide = (WAVE[20:] - 2, WAVE[20:] + 3)
    narrow = (WAVE[20:] - 1, WAVE[20:] + 1)
    one = Example("one", TIMES[:20], WAVE[:20], TIMES[20:], WAVE[20:], bands={"95%": wide, "50%": narrow})
    figure = draw_forecasts("head", "note", "°C", one, [one], "errors", ["1 h"], {"forecast": np.ones(1)})
    for axes in (figure.axes[0], figure.axes[2]):
        assert [band.get_label() for band in axes.collections] == ["95% interval", "50% interval"]
        for band, (low, high) in zip(axes.collections, (wide, narrow), strict=True):
            corners = np.asarray(band.get_paths()[0].vertices)[:, 1]
            assert (corners.min(), corners.max()) == (low.min(), high.max())
        tints = [float(np.asarray(band.get_facecolor()).mean()) for band in axes.collections]
        assert tints[0] > tints[1]  # the outer one is lighter
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["measured", "95% interval", "50% interval", "forecast"]


def test_the_band_of_a_single_step_has_a_width() -> None:
    one = Example("one", TIMES[:20], WAVE[:20], TIMES[20:21], WAVE[20:21], bands={"95%": ([-1.0], [1.0])})
    figure = draw_forecasts("head", "note", "°C", one, [], "errors", ["1 h"], {"forecast": np.ones(1)})
    places = np.asarray(figure.axes[0].collections[0].get_paths()[0].vertices)[:, 0]
    assert places.max() - places.min() == pytest.approx(1 / 24)


def test_a_band_of_another_length_is_refused() -> None:
    bands = {"95%": (WAVE[:9], WAVE[:10])}
    one = Example("one", TIMES[:20], WAVE[:20], TIMES[20:], WAVE[20:], bands=bands)
    with pytest.raises(
        ValueError, match=r"Example: bands\['95%'\] must have shape \[K\] = \[10\]. Got \[9\]"
    ):
        draw_forecasts("head", "note", "°C", one, [], "errors", ["1 h"], {"forecast": np.ones(1)})


@pytest.mark.parametrize(
    ("first", "step", "offset", "tick"),
    [
        ("2024-01-01", "h", "2024", "02 Jan"),
        ("2024-01-01 06:00", "min", "01 Jan 2024", "06:15"),
        ("2024-01-03", "D", "Jan 2024", "15"),
    ],
)
def test_days_are_named_once(first: str, step: str, offset: str, tick: str) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    times = pd.date_range(first, periods=28, freq=step)
    axes.plot(times, WAVE[:28])
    time_axis(axes, times)
    figure.draw_without_rendering()
    assert tick in [label.get_text() for label in axes.get_xticklabels()]
    assert axes.xaxis.get_offset_text().get_text() == offset
