from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from gatewise import figures
from tests.insight.figures.reading import (
    bars_of,
    heading,
    labels,
    lines_of,
    map_of,
    note,
    steps_of,
    words_have_room,
)

RANDOM = np.random.default_rng(2)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_an_attribution_is_a_map_under_its_sums(as_given) -> None:  # type: ignore[no-untyped-def]
    values = RANDOM.standard_normal((9, 2, 3))
    values[6:, 1] = np.nan
    figure = figures.draw_attribution(as_given(values), row=1, features=["rain", "heat", "wind"])
    bars, map_ = figure.axes[:2]
    assert np.array_equal(map_of(map_), values[:, 1].T, equal_nan=True)
    assert steps_of(bars) == pytest.approx(values[:, 1].sum(1), nan_ok=True)
    assert [tick.get_text() for tick in map_.get_yticklabels()] == ["rain", "heat", "wind"]
    most = int(np.nanargmax(np.abs(values[:, 1]).sum(1)))
    assert heading(figure).startswith(f"Step {most} of row 1 matters most")
    assert note(figure).endswith("Grey: no step.")
    words_have_room(figure)


@pytest.mark.parametrize(("steps", "features"), [(1, 1), (5000, 300), (30, 8)])
def test_long_words_many_steps_and_many_features_do_not_overlap(steps: int, features: int) -> None:
    values = RANDOM.standard_normal((steps, 1, features))
    words = [f"a very long word {step}" for step in range(steps)]
    figure = figures.draw_attribution(values, features=[f"feature {n}" for n in range(features)], words=words)
    assert max(len(tick.get_text()) for tick in figure.axes[1].get_xticklabels()) <= 16
    words_have_room(figure)
    words_have_room(figures.draw_attribution(values))
    assert len(figure.axes[1].get_yticks()) <= 26


def test_words_are_coloured_by_their_scores_and_set_in_lines() -> None:
    words = [f"word{n}" for n in range(60)]
    scores = RANDOM.standard_normal(60)
    scores[7] = np.nan
    figure = figures.draw_words(words, scores)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == words
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(boxes) == 59
    most = float(np.nanquantile(np.abs(scores), 0.99))
    for box, score in zip(boxes, np.delete(scores, 7), strict=True):
        assert box.get_facecolor() == to_rgba(colormaps["PuOr"]((score + most) / (2 * most)))
    figure.draw_without_rendering()
    for text, box in zip([*axes.texts[:7], *axes.texts[8:]], boxes, strict=True):
        inner, outer = text.get_window_extent(), box.get_window_extent()
        assert outer.x0 - 0.5 <= inner.x0 < inner.x1 <= outer.x1 + 0.5
    frames = [box.get_window_extent() for box in boxes]
    assert not any(one.overlaps(other) for n, one in enumerate(frames) for other in frames[:n])
    assert len({round(frame.y0) for frame in frames}) > 1
    assert max(frame.x1 for frame in frames) <= figure.bbox.x1


def test_characters_stand_side_by_side_and_breaks_are_shown() -> None:
    figure = figures.draw_words("ab\nc", [0.0, 1.0, 0.0, -2.0])
    assert [text.get_text() for text in figure.axes[0].texts] == ["a", "b", "↵", "c"]
    assert heading(figure) == "Of the 4 characters “c” has the strongest score: \N{MINUS SIGN}2"
    first, second = (patch for patch in figure.axes[0].patches[:2] if isinstance(patch, Rectangle))
    assert second.get_x() == pytest.approx(first.get_x() + first.get_width())


def test_words_without_a_score_and_dollar_signs() -> None:
    figure = figures.draw_words(["$a$", "$"], [np.nan, np.nan])
    assert [text.get_text() for text in figure.axes[0].texts] == ["$a$", "$"]
    assert not figure.axes[0].patches
    assert heading(figure) == "None of the 2 words has a score"
    words_have_room(figures.draw_attribution(np.ones((2, 1, 1)), words=["$\\alpha$", "_"], features=["$x^"]))


def test_a_decomposition_shows_both_parts_and_their_sum() -> None:
    beta, gamma = torch.randn(2, 3, 4).double()
    figure = figures.draw_decomposition(beta, gamma, row=2, outputs=list("abcd"), phrase="not bad")
    axes = figure.axes[0]
    assert bars_of(axes) == pytest.approx(torch.cat([beta[2], gamma[2]]).numpy())
    assert np.asarray(axes.get_lines()[0].get_xdata()) == pytest.approx((beta + gamma)[2].numpy())
    most = int(beta[2].abs().argmax())
    assert heading(figure).startswith(f"Not bad contributes most to {'abcd'[most]}: ")
    assert labels(axes) == ("part of the output", "")
    words_have_room(figure)


def test_of_many_outputs_those_with_the_largest_part_of_the_phrase_are_shown() -> None:
    beta = np.arange(100.0)[None] * (-1) ** np.arange(100)
    figure = figures.draw_decomposition(beta, 0 * beta)
    assert bars_of(figure.axes[0])[:12] == pytest.approx(beta[0, 88:])
    assert note(figure).endswith("The 12 of 100 outputs to which it contributes most.")
    assert len(lines_of(figure.axes[0])[0]) == 12
    words_have_room(figure)


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError) as error:
        figures.draw_words(["a", "b"], [1.0])
    assert str(error.value) == "draw_words: words must be 1, one for each of T. Got 2."
    with pytest.raises(ValueError) as error:
        figures.draw_decomposition(np.ones((1, 2)), np.ones((1, 3)))
    assert str(error.value) == "draw_decomposition: gamma must have shape [B, O] = [1, 2]. Got [1, 3]."
    with pytest.raises(ValueError) as error:
        figures.draw_attribution(np.ones((4, 1, 2)), features=["one"])
    assert str(error.value) == "draw_attribution: features must be 2, one for each of I. Got 1."
