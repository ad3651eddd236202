from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from gatewise import figures
from tests.insight.figures.reading import bars_of, heading, labels, lines_of, map_of, note, words_have_room

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_matches_are_drawn_one_below_another_each_with_a_frame(as_given) -> None:  # type: ignore[no-untyped-def]
    states = RANDOM.standard_normal((10, 2, 6))
    states[7:, 1] = np.nan
    places = [(0, 3, 5), (1, 1, 4), (0, 8, 9)]
    tokens = [[f"w{step}" for step in range(10)], [f"v{step}" for step in range(7)]]
    figure = figures.draw_match(
        as_given(states), torch.tensor([1, 4, 5]), places, threshold=0.2, around=4, tokens=tokens
    )
    axes = figure.axes[0]
    share = (states[:, :, [1, 4, 5]] >= 0.2).mean(2)
    share[7:, 1] = np.nan
    expected = np.full((3, 11), np.nan)
    for line, (row, start, _) in enumerate(places):
        for column in range(11):
            if 0 <= start - 4 + column < 10:
                expected[line, column] = share[start - 4 + column, row]
    assert np.array_equal(map_of(axes), expected, equal_nan=True)
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(f.get_x(), f.get_width()) for f in frames] == [(-0.5, 2), (-0.5, 3), (-0.5, 1)]
    written = {(text.get_position()): text.get_text() for text in axes.texts}
    assert written[(0, 1)] == "v1"
    assert (6, 1) not in written  # past the end of the row
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "row 0, step 3", "row 1, step 1", "row 0, step 8"
    ]  # fmt: skip
    assert (
        heading(figure) == "3 units that are on together in row 0, steps 3 to 4, are also in 2 other places"
    )
    words_have_room(figure)


def test_of_many_matches_the_first_are_shown_and_long_words_are_shortened() -> None:
    places = [(0, step, step + 1) for step in range(40)]
    tokens = [[f"incomprehensible{step}" for step in range(40)]]
    figure = figures.draw_match(np.ones((40, 1, 1)), [0], places, tokens=tokens)
    assert map_of(figure.axes[0]).shape == (12, 11)
    assert note(figure).endswith("The first 12 of 40 are shown.")
    assert figure.axes[0].texts[0].get_text().endswith("…")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_position()[1] == 0]
    assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize("place", [(1, 0, 1), (0, 2, 2), (0, 3, 5), (0, -1, 2)])
def test_places_and_units_must_exist(place: tuple[int, int, int]) -> None:
    with pytest.raises(
        ValueError, match=r"^draw_match: places must be rows of \(row, start, stop\) within 1 ro"
    ):
        figures.draw_match(np.zeros((4, 1, 2)), [0], [place])
    with pytest.raises(ValueError, match=r"^draw_match: units must be from 0 to 1\. Got \[2\]\.$"):
        figures.draw_match(np.zeros((4, 1, 2)), [2], [(0, 0, 1)])


def test_a_probe_shows_units_in_order_and_the_score_beside_its_controls() -> None:
    correlation = np.array([0.1, -0.8, 0.5])
    control = np.array([-0.55, 0.05, -np.inf, -7.0])
    figure = figures.draw_probe(correlation, 0.75, torch.from_numpy(control), signal="the tide")
    left, right = figure.axes
    assert bars_of(left, across=False).tolist() == [-0.8, 0.5, 0.1]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1", "2", "0"]
    bars = {round(bar.get_x(), 1): bar.get_height() for bar in right.patches if isinstance(bar, Rectangle)}
    assert {at: height for at, height in bars.items() if height} == {-1.0: 1, -0.6: 1, 0.0: 1}
    assert np.array_equal(right.get_lines()[0].get_xdata(), [0.75, 0.75])
    assert (
        heading(figure)
        == "Unit 1 follows the tide with correlation \N{MINUS SIGN}0.8; all together explain 75 % of it"
    )
    assert labels(right) == ("score on steps held out (R²)", "shifts")
    words_have_room(figure)


def test_many_units_one_unit_and_a_negative_score() -> None:
    for units in (1, 24, 25, 1000):
        figure = figures.draw_probe(RANDOM.uniform(-1, 1, units), -3.0, [-np.inf])
        assert "explain 0 % of it" in heading(figure)
        words_have_room(figure)


def test_a_ranking_orders_the_units_of_all_layers() -> None:
    scores = {"l0": np.array([3.0, 0.0, 1.0]), "l1": torch.tensor([2.0, 10.0])}
    figure = figures.draw_ranking(scores, by="activity")
    left, right = figure.axes
    assert bars_of(left).tolist() == [10, 3, 2, 1, 0]
    assert [tick.get_text() for tick in left.get_yticklabels()][:2] == ["l1 unit 1", "l0 unit 0"]
    assert left.patches[0].get_facecolor() == left.patches[2].get_facecolor()
    assert left.patches[0].get_facecolor() != left.patches[1].get_facecolor()
    assert lines_of(right)[0] == pytest.approx(100 / 16 * np.array([0, 10, 13, 15, 16, 16]))
    assert heading(figure) == "Unit 1 of l1 has 62 % of the sum over 5 units"
    words_have_room(figure)


@pytest.mark.parametrize("units", [1, 2, 700])
def test_rankings_of_any_size(units: int) -> None:
    figure = figures.draw_ranking({"layer": np.ones(units)})
    assert len(bars_of(figure.axes[0])) == min(units, 12)
    words_have_room(figure)
    words_have_room(figures.draw_ranking({"layer": np.zeros(units)}))


def test_wrong_scores_are_refused_in_one_sentence() -> None:
    for scores in ({}, {"l0": [-1.0]}):
        with pytest.raises(
            ValueError, match=r"^draw_ranking: scores must be of one layer at least, and not neg"
        ):
            figures.draw_ranking(scores)
    with pytest.raises(ValueError) as error:
        figures.draw_probe([[1.0]], 0.0, [0.0])
    assert str(error.value) == "draw_probe: correlation must have shape [H] with H at least 1. Got [1, 1]."
