from __future__ import annotations

import numpy as np
import pytest
import torch

from gatewise import figures
from tests.insight.figures.reading import heading, map_of, note, words_have_room

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("gate", [True, False])
def test_two_recordings_stand_above_their_difference(as_given, gate: bool) -> None:  # type: ignore[no-untyped-def]
    first, second = RANDOM.uniform(0 if gate else -1, 1, (2, 12, 3, 5))
    first[9:, 1] = second[9:, 1] = np.nan
    figure = figures.draw_contrast(as_given(first), as_given(second), row=1, value="f", names=("old", "new"))
    maps = figure.axes[:3]
    assert [axes.get_title(loc="left") for axes in maps] == ["f, old", "f, new", "new less old"]
    for axes, values in zip(maps, (first, second, second - first), strict=True):
        assert np.array_equal(map_of(axes), values[:, 1].T, equal_nan=True)
    low, high = maps[0].get_images()[0].get_clim()
    assert (low, high) == maps[1].get_images()[0].get_clim()
    assert (low, high) == ((0, 1) if gate else (-float(high or 0), high))
    apart = np.abs(second - first)[:9, 1]
    step, unit = np.unravel_index(apart.argmax(), apart.shape)
    assert heading(figure).startswith(f"f of row 1 differs most in unit {unit} at step {step}: ")
    assert note(figure).endswith("Grey: no step.")
    words_have_room(figure)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3000, 1, 700)])
def test_one_number_and_many(shape: tuple[int, int, int]) -> None:
    values = RANDOM.standard_normal(shape)
    figure = figures.draw_contrast(values, values, words=["word"] * shape[0])
    assert map_of(figure.axes[2]).any() == np.False_
    words_have_room(figure)


def test_recordings_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        figures.draw_contrast(np.zeros((4, 1, 2)), np.zeros((4, 1, 3)))
    assert str(error.value) == "draw_contrast: second must have shape [T, B, H] = [4, 1, 2]. Got [4, 1, 3]."
