"""Comparing two recordings, gate by gate."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import gatewise
from gatewise import cells
from tests.insight.networks import LENGTHS, layer_of, seen_by, sequence


def test_a_network_does_not_differ_from_itself() -> None:
    layer, x = layer_of(cells.lstm), sequence()
    found = gatewise.contrast(seen_by(layer, x), seen_by(copy.deepcopy(layer), x))
    assert [difference.mean for difference in found.differences] == [0.0] * 10
    assert all(float(d.correlation.min()) == pytest.approx(1) for d in found.differences)
    assert found.missing == ()


def test_differences_are_means_over_existing_steps() -> None:
    before, x = layer_of(cells.gru, num_layers=2), sequence()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.bias_ih_l1[0] += 3.0  # the first unit of the reset gate in the second layer
    a, b = seen_by(before, x, lengths=LENGTHS), seen_by(after, x, lengths=LENGTHS)
    found = gatewise.contrast(a, b)
    by_name = {(d.layer, d.value): d for d in found.differences}
    assert all(d.mean == 0 for (layer, _), d in by_name.items() if layer == "l0")
    assert found.differences[0].value == "r_bar"
    difference = by_name["l1", "r"]
    r, s = (seen["l1"].r.double().numpy() for seen in (a, b))
    assert difference.mean == pytest.approx(np.nanmean(np.abs(r - s)))
    np.testing.assert_allclose(difference.by_step, np.nanmean(np.abs(r - s), (1, 2)))
    known = ~np.isnan(r[..., 1])
    expected = np.corrcoef(r[..., 1][known], s[..., 1][known])[0, 1]
    assert float(difference.correlation[1]) == pytest.approx(expected)
    assert int(difference.by_unit.argmax()) == 0
    assert str(found).splitlines()[0].startswith("l1 r_bar: differs by ")


def test_layers_of_only_one_recording_are_named() -> None:
    x = sequence()
    one, two = seen_by(layer_of(cells.gru), x), seen_by(layer_of(cells.gru, num_layers=2), x)
    found = gatewise.contrast(one, two)
    assert "l1 z" in found.missing
    assert "l1 z: only in one of them" in str(found)
    with pytest.raises(ValueError, match="no layer and value of the same shape in common"):
        gatewise.contrast({}, two)
