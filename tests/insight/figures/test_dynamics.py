from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.patches import Circle

from gatewise import figures
from tests.insight.figures.reading import heading, labels, lines_of, words_have_room

RANDOM = np.random.default_rng(4)


def visited() -> np.ndarray:
    """States ``[30, 3, 4]`` that vary most along a known direction, and second most along another one."""
    states = RANDOM.standard_normal((30, 3, 4)) * np.array([0.1, 10.0, 0.2, 3.0]) + 5
    states[20:, 1] = np.nan
    return np.asarray(states)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_fixed_points_are_drawn_in_the_plane_of_two_components(as_given) -> None:  # type: ignore[no-untyped-def]
    states = visited()
    points = states[[3, 7, 9], 0]
    figure = figures.draw_fixed_points(as_given(points), [True, False, True], as_given(states))
    axes = figure.axes[0]
    *ways, stable, unstable = axes.get_lines()
    known = states[np.isfinite(states).all(2)]
    values, vectors = np.linalg.eigh(np.cov(known.T))
    plane = vectors[:, [-1, -2]]
    plane = plane * np.sign(np.take_along_axis(plane, np.abs(plane).argmax(0)[None], 0))
    projected = (states - known.mean(0)) @ plane
    for row, way in enumerate(ways):
        assert np.asarray(way.get_xydata()) == pytest.approx(projected[:, row], abs=1e-9, nan_ok=True)
    assert np.asarray(stable.get_xydata()) == pytest.approx(projected[[3, 9], 0], abs=1e-9)
    assert np.asarray(unstable.get_xydata()) == pytest.approx(projected[[7], 0], abs=1e-9)
    assert unstable.get_markerfacecolor() == "white"
    shares = 100 * values[::-1] / values.sum()
    assert labels(axes) == (
        f"first principal component ({shares[0]:.0f} % of the variance)",
        f"second principal component ({shares[1]:.2g} % of the variance)",
    )
    assert heading(figure) == "2 of 3 fixed points are stable: nearby states approach them"
    words_have_room(figure)


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 2, 1), (5, 1, 2), (2000, 60, 3)])
def test_few_numbers_and_many_rows(shape: tuple[int, int, int]) -> None:
    states = RANDOM.standard_normal(shape)
    figure = figures.draw_fixed_points(states[0], np.ones(shape[1]), states)
    assert len(figure.axes[0].get_lines()) <= 51
    words_have_room(figure)


def test_no_fixed_point_and_states_that_never_move() -> None:
    states = np.ones((4, 2, 3))
    figure = figures.draw_fixed_points(np.zeros((0, 3)), np.zeros(0), states)
    assert heading(figure) == "No fixed point was found among the states"
    assert len(figure.axes[0].get_lines()) == 2
    words_have_room(figure)
    with pytest.raises(
        ValueError, match=r"^draw_fixed_points: states must hold two states at least\. Got 1\.$"
    ):
        figures.draw_fixed_points(np.zeros((0, 3)), np.zeros(0), states[:1, :1])


def test_eigenvalues_are_drawn_with_the_unit_circle() -> None:
    values = RANDOM.standard_normal((2, 6)) + 1j * RANDOM.standard_normal((2, 6))
    figure = figures.draw_eigenvalues(torch.from_numpy(values))
    axes = figure.axes[0]
    (circle,) = (patch for patch in axes.patches if isinstance(patch, Circle))
    assert circle.get_radius() == 1
    drawn = np.concatenate([np.asarray(line.get_xydata()) for line in axes.get_lines()[2:]])
    assert np.sort_complex(drawn @ [1, 1j]) == pytest.approx(np.sort_complex(values.ravel()))
    outside = np.asarray(axes.get_lines()[3].get_xydata()) @ [1, 1j]
    assert (np.abs(outside) >= 1).all()
    assert heading(figure) == f"States grow along {len(outside)} of 12 directions, at 2 fixed points"
    assert axes.get_aspect() == 1
    words_have_room(figure)
    words_have_room(figures.draw_eigenvalues([[0.5]]))


def test_a_spectrum_has_a_line_for_each_row_and_for_their_mean() -> None:
    exponents = np.sort(RANDOM.standard_normal((3, 5)) - 2)[:, ::-1].copy()
    exponents[1] = np.nan
    exponents[2, 4] = -np.inf
    figure = figures.draw_lyapunov(exponents)
    first, last, mean, zero = lines_of(figure.axes[0])
    assert first == pytest.approx(exponents[0])
    assert last[:4] == pytest.approx(exponents[2, :4])
    assert np.isnan(last[4])
    assert mean[:4] == pytest.approx(exponents[[0, 2], :4].mean(0))
    assert zero.tolist() == [0, 0]
    assert heading(figure).startswith(
        "Nearby states approach each other: the largest exponent is \N{MINUS SIGN}"
    )
    words_have_room(figure)
    words_have_room(figures.draw_lyapunov([[0.0]]))


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError) as error:
        figures.draw_fixed_points(np.zeros((2, 5)), [True, True], np.zeros((9, 2, 4)))
    assert str(error.value) == "draw_fixed_points: points must have shape [K, N] = [K, 4]. Got [2, 5]."
    with pytest.raises(
        ValueError, match=r"^draw_lyapunov: exponents must have a row of numbers\. Got NaN in al"
    ):
        figures.draw_lyapunov([[np.nan]])
