from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection

from gatewise import figures
from tests.insight.figures.reading import bars_of, heading, lines_of, map_of, note, steps_of, words_have_room

RANDOM = np.random.default_rng(0)


def ragged() -> np.ndarray:
    """A recording ``[12, 3, 5]`` in which row 1 has 7 steps, and row 2 none."""
    written = RANDOM.standard_normal((12, 3, 5))
    written[7:, 1] = np.nan
    written[:, 2] = np.nan
    return written


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_ledger_shows_the_written_values_and_their_sum(as_given) -> None:  # type: ignore[no-untyped-def]
    written = ragged()
    total = np.nansum(written, 0)
    figure = figures.draw_ledger(as_given(written), as_given(total), row=1, state="c")
    bars, map_, end = figure.axes[:3]
    assert np.array_equal(map_of(map_), written[:, 1].T, equal_nan=True)
    sizes = np.abs(written[:, 1]).sum(1)
    assert steps_of(bars) == pytest.approx(100 * sizes / np.nansum(sizes), nan_ok=True)
    assert bars_of(end) == pytest.approx(total[1])
    assert end.get_xlabel() == "final c"
    assert f"comes from step {int(np.nanargmax(sizes))}" in heading(figure)
    assert note(figure).endswith("Grey: no step.")
    words_have_room(figure)


def test_the_initial_state_comes_before_the_first_step() -> None:
    written, initial = np.zeros((4, 1, 2)), np.array([[3.0, -1.0]])
    written[0] = 1.0
    figure = figures.draw_ledger(written, initial + 1, initial, state="c", words=list("abcd"))
    assert np.array_equal(map_of(figure.axes[1])[:, :2], [[3, 1], [-1, 1]])
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["c₀", *"abcd"]
    assert "67 %, comes from the initial state" in heading(figure)
    assert list(figure.axes[1].get_images()[0].get_extent()) == [-1.5, 3.5, -0.5, 1.5]


def test_a_row_without_steps_or_that_is_not_there_is_refused() -> None:
    written = ragged()
    total = np.nansum(written, 0)
    with pytest.raises(ValueError, match=r"^draw_ledger: row must have a step\. Got 2, which is NaN through"):
        figures.draw_ledger(written, total, row=2)
    with pytest.raises(ValueError, match=r"^draw_ledger: row must be from 0 to 2\. Got 3\.$"):
        figures.draw_ledger(written, total, row=3)


def test_one_step_of_one_unit() -> None:
    one = np.ones((1, 1, 1))
    figure = figures.draw_ledger(one, one[0])
    assert map_of(figure.axes[1]).tolist() == [[1.0]]
    words_have_room(figure)
    words_have_room(figures.draw_half_life(one[0, 0], one[0, 0], one[0]))
    words_have_room(figures.draw_saturation(one[0], 0 * one[0], ["f"]))


def test_half_lives_show_the_kept_share_and_when_half_is_lost() -> None:
    kept = np.array([0.9, 0.5, 1.0])
    retention = kept ** np.arange(8)[:, None]
    lives = np.array([np.log(0.5) / np.log(0.9), 1.0, np.inf])
    figure = figures.draw_half_life(lives * 2, torch.from_numpy(lives), retention)
    left, right = figure.axes
    (curves,) = (each for each in left.collections if isinstance(each, LineCollection))
    drawn = np.array([segment[:, 1] for segment in curves.get_segments()])
    assert drawn == pytest.approx(retention.T[[1, 0, 2]])  # units that forget first come first
    meant, real = lines_of(right)[:2]
    assert meant[:2] == pytest.approx(2 * lives[[1, 0]])
    assert real[:2] == pytest.approx(lives[[1, 0]])
    assert [text.get_text() for text in right.texts] == ["never"]
    assert real[2] == meant[2] > 10
    assert heading(figure) == "Half of the units forget half of their memory within 6.6 steps"
    words_have_room(figure)


def test_no_half_life_within_the_data() -> None:
    never = np.full(4, np.inf)
    figure = figures.draw_half_life(never, never, np.ones((3, 4)))
    assert heading(figure) == "4 of 4 units keep more than half of their memory throughout"


def test_saturation_has_a_panel_for_each_gate_and_a_dot_for_each_unit() -> None:
    left, right = RANDOM.dirichlet(np.ones(3), (5, 7))[..., :2].transpose(2, 0, 1)
    figure = figures.draw_saturation(left, right, list("ifogu"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"Gate {name}" for name in "ifogu"]
    for axes, shut, open_ in zip(figure.axes, left, right, strict=True):
        dots = axes.get_lines()[1]
        assert np.array_equal(dots.get_xdata(), shut)
        assert np.array_equal(dots.get_ydata(), open_)
    assert heading(figure).startswith("Gates are nearly closed or nearly open at ")
    words_have_room(figure)


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError) as error:
        figures.draw_ledger(np.zeros((4, 2, 3)), np.zeros((2, 4)))
    assert str(error.value) == "draw_ledger: total must have shape [B, H] = [2, 3]. Got [2, 4]."
    with pytest.raises(ValueError) as error:
        figures.draw_saturation(np.zeros((2, 3)), np.zeros((2, 3)), ["f"])
    assert str(error.value) == "draw_saturation: gates must be 2, one for each of G. Got 1."
    with pytest.raises(ValueError) as error:
        figures.draw_half_life([], [], [])
    assert str(error.value) == "draw_half_life: expected must have shape [H] with H at least 1. Got [0]."
    with pytest.raises(ValueError) as error:
        figures.draw_half_life(["a"], [1.0], [[1.0]])
    assert str(error.value) == "draw_half_life: expected must be numbers. Got <U1."
