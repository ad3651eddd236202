"""Matching spans and probing units, on states made up so that the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import gatewise
from gatewise import cells
from tests.insight.networks import LENGTHS, layer_of, seen_by, sequence


def states() -> Tensor:
    """Units 1 and 3 are on together at four places, twice with another unit. Row 1 ends after 12 steps."""
    h = torch.zeros(20, 2, 5)
    h[3:6, 0, [1, 3]] = 0.9  # the span
    h[10:12, 0, [1, 3]] = 0.9  # the two alone
    h[15:19, 0, [1, 2, 3]] = 0.9  # the two and another one
    h[2:5, 1, [1, 3]] = 0.9  # the two alone, longer
    h[7:11, 1, [1]] = 0.9  # only one of the two
    h[12:, 1] = torch.nan
    return h


def test_units_of_a_span_and_similar_spans_are_found() -> None:
    found = gatewise.match(states(), (3, 6))
    assert found.units.tolist() == [1, 3]
    places = [(p.row, p.start, p.stop) for p in found.places]
    assert places == [(1, 2, 5), (0, 10, 12), (0, 15, 19)]
    assert [p.jaccard for p in found.places] == [1, 1, pytest.approx(2 / 3)]


def test_fewer_units_can_be_required() -> None:
    found = gatewise.match(states(), (3, 6), at_least=1)
    assert (found.places[-1].row, found.places[-1].start, found.places[-1].shared) == (1, 7, 1)


def test_units_that_are_on_outside_the_span_can_be_excluded() -> None:
    h = states()
    h[2, 0, 1] = 0.9
    h[6, 0, 3] = 0.9
    assert gatewise.match(h, (3, 6), off_before=True).units.tolist() == [3]
    assert gatewise.match(h, (3, 6), off_after=True).units.tolist() == [1]
    assert gatewise.match(h, (3, 6), off_before=True, off_after=True).units.tolist() == []


def test_matches_have_their_words_and_another_corpus_can_be_searched() -> None:
    corpus = torch.zeros(6, 1, 5)
    corpus[2:4, 0, [1, 3]] = 1.0
    found = gatewise.match(states(), (3, 6), corpus=corpus, tokens=[["the", "cat", "is", "on", "the", "mat"]])
    (place,) = found.places
    assert str(place) == "row 0, steps 2 to 3: is on (2 shared, Jaccard 1.00)"
    assert str(found).splitlines()[0] == (
        "2 units are above 0.3 in row 0, steps 3 to 5 (2 shared, Jaccard 1.00); "
        "they are together in 1 other places:"
    )


def test_a_span_without_units_matches_nothing() -> None:
    found = gatewise.match(states(), (0, 2))
    assert (found.places, len(found.units)) == ((), 0)
    assert str(found).startswith("No unit is above 0.3")


@pytest.mark.parametrize("span", [(3, 3), (-1, 2), (15, 21)])
def test_spans_outside_of_a_row(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="within the 20 steps of row 0"):
        gatewise.match(states(), span)
    with pytest.raises(ValueError, match="row 1"):
        gatewise.match(states(), (11, 13), row=1)


def test_a_ridge_probe_is_the_one_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((40, 6, 4)), rng.standard_normal((40, 6))
    y = x @ np.array([1.0, -2.0, 0.0, 0.5]) + 3 + 0.3 * noise
    found = gatewise.probe(torch.from_numpy(x), torch.from_numpy(y), ridge=2.0)
    flat_x, flat_y = x.transpose(1, 0, 2).reshape(-1, 4), y.T.reshape(-1)
    n = len(flat_y) - len(flat_y) // 4
    mean, scale = flat_x[:n].mean(0), flat_x[:n].std(0, ddof=1)
    z, centre = (flat_x - mean) / scale, flat_y[:n].mean()
    w = np.linalg.solve(z[:n].T @ z[:n] + 2 * np.eye(4), z[:n].T @ (flat_y[:n] - centre))
    predicted, truth = z[n:] @ w + centre, flat_y[n:]
    score = 1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert found.score == pytest.approx(score)
    np.testing.assert_allclose(flat_x[n:] @ found.weights[:-1].numpy() + float(found.weights[-1]), predicted)
    expected = [np.corrcoef(flat_x[:, k], flat_y)[0, 1] for k in range(4)]
    np.testing.assert_allclose(found.correlation, expected)
    assert found.unit == 1


def test_a_smooth_signal_that_no_unit_follows_scores_no_better_than_its_shifts() -> None:
    torch.manual_seed(0)
    values = torch.randn(200, 3, 6).cumsum(0)
    signal = torch.randn(200, 3).cumsum(0)
    found = gatewise.probe(values, signal)
    assert (found.control >= found.score).any()
    followed = gatewise.probe(values, 2 * values[..., 2] - 1)
    assert followed.score > followed.control.max()
    assert followed.unit == 2
    assert "0 of 20 shifts do as well" in str(followed)


def test_steps_after_the_end_do_not_count() -> None:
    values = seen_by(layer_of(cells.lstm), sequence(), lengths=LENGTHS)["l0"]
    found = gatewise.probe(values.c, values.c[..., 0], shifts=3)
    assert found.unit == 0
    assert float(found.correlation[0]) == pytest.approx(1)


def test_boolean_signals_can_be_probed() -> None:
    values = torch.randn(100, 2, 3)
    assert gatewise.probe(values, values[..., 1] > 0).unit == 1


def test_what_probe_refuses() -> None:
    with pytest.raises(ValueError, match=r"signal must be \[T, B\] .* Got \[4\] for \[4, 2, 3\]\."):
        gatewise.probe(torch.zeros(4, 2, 3), torch.zeros(4))
    with pytest.raises(ValueError, match="signal must vary"):
        gatewise.probe(torch.randn(4, 2, 3), torch.zeros(4, 2))
    late = torch.randn(8, 1)
    late[-2:] = 1.0
    with pytest.raises(ValueError, match="over those held out"):
        gatewise.probe(torch.randn(8, 1, 3), late)
