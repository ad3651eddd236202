from __future__ import annotations

import numpy as np
import pytest
import torch

from gatewise import figures
from tests.insight.figures.reading import heading, labels, lines_of, map_of, words_have_room

RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_a_flow_shows_the_median_of_rows_at_each_step(as_given) -> None:  # type: ignore[no-untyped-def]
    c, h = RANDOM.lognormal(size=(2, 9, 4))
    c[6:, 2] = np.nan
    c[8] = np.nan
    h[3] = 0.0  # without a logarithm
    figure = figures.draw_flow({"c": as_given(c), "h": as_given(h)})
    (axes,) = figure.axes
    by_c, by_h = lines_of(axes)
    assert by_c[:8] == pytest.approx(np.nanmedian(c[:8], 1))
    assert np.isnan(by_c[8])
    assert by_h[[0, 8]] == pytest.approx(np.median(h, 1)[[0, 8]])
    assert np.isnan(by_h[3])
    assert labels(axes) == ("step", "norm of the gradient")
    assert axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["by c", "by h"]  # type: ignore[union-attr]
    words_have_room(figure)


@pytest.mark.parametrize(("decay", "words"), [(0.5, "shrinks 8-fold"), (2.0, "grows 8-fold")])
def test_the_heading_says_how_much_is_left(decay: float, words: str) -> None:
    figure = figures.draw_flow({"c": decay ** np.arange(4.0)[::-1, None]})
    assert heading(figure) == f"Back from the last step to the first, the gradient by c {words}"


def test_one_step_of_one_row_and_no_gradient_at_all() -> None:
    for values in (np.ones((1, 1)), np.zeros((5, 2)), np.full((5, 2), np.nan)):
        figure = figures.draw_flow({"c": values})
        assert heading(figure) == "The gradient by c at each step"
        words_have_room(figure)
    words_have_room(figures.draw_jacobians(np.zeros((3, 1))))
    words_have_room(figures.draw_connectivity(np.ones((1, 1, 1))))


def test_flows_have_a_colour_for_each_network_and_dashes_for_each_state() -> None:
    lstm, gru = {("lstm", "h"): np.ones(5), ("lstm", "c"): np.full(5, 2.0)}, {("gru", "h"): np.arange(5.0)}
    panels = [[figures.FlowPanel("before", lstm | gru), figures.FlowPanel("after", gru)]] * 2
    figure = figures.draw_flows(panels, "Heading", "Note.")
    before, after = figure.axes[:2]
    h, c, other = before.get_lines()
    assert (h.get_color(), h.get_linestyle()) == (c.get_color(), "-")
    assert c.get_linestyle() == "--"
    assert other.get_color() != h.get_color() == figure.legends[0].get_lines()[0].get_color()
    (line,) = after.get_lines()
    assert line.get_color() == other.get_color()
    assert np.array_equal(line.get_xdata(), [1, 2, 3, 4])  # zero has no logarithm
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", *2 * ["steps back from the end"]]
    words_have_room(figure)


def test_rows_of_panels_must_be_equally_long() -> None:
    panel = figures.FlowPanel("one", {})
    with pytest.raises(
        ValueError, match=r"^draw_flows: panels must be rows of equally many\. Got \[1, 2\]\."
    ):
        figures.draw_flows([[panel], [panel, panel]], "", "")


def test_jacobians_show_rows_and_their_median() -> None:
    stretches = RANDOM.uniform(0.5, 2, (8, 3))
    stretches[0] = 0.0  # at the starts of rows
    stretches[6:, 1] = np.nan
    figure = figures.draw_jacobians(stretches)
    *rows, median, one = lines_of(figure.axes[0])
    assert np.array_equal(np.array(rows).T[1:], stretches[1:], equal_nan=True)
    assert np.isnan(np.array(rows)[:, 0]).all()
    assert median[1:] == pytest.approx(np.nanmedian(stretches[1:], 1))
    assert one.tolist() == [1, 1]
    share = np.nanmean((stretches > 1)[1:][~np.isnan(stretches[1:])])
    assert f"At {100 * share:.0f} % of steps" in heading(figure)


def test_connectivity_is_a_map_of_outputs_by_inputs() -> None:
    norms = np.tril(RANDOM.lognormal(size=(6, 6)))[[2, 5]][..., None] * np.array([1.0, 0.0])
    norms[0, 3:, 0] = np.nan
    figure = figures.draw_connectivity(norms, [2, 5])
    axes = figure.axes[0]
    drawn = map_of(axes)
    assert drawn[1] == pytest.approx(norms[1, :, 0])
    assert np.array_equal(np.isnan(drawn[0]), [False] * 3 + [True] * 3)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["2", "5"]
    assert labels(axes) == ("input at step", "output at step")
    assert heading(figure).endswith(f"depends most on the input at step {norms[1, :, 0].argmax()}")
    words_have_room(figure)


def test_wrong_shapes_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError) as error:
        figures.draw_flow({"c": np.zeros((4, 2)), "h": np.zeros((4, 3))})
    assert str(error.value) == "draw_flow: norms['h'] must have shape [T, B] = [4, 2]. Got [4, 3]."
    with pytest.raises(ValueError, match=r"^draw_flow: norms must have a state at least\. Got none\.$"):
        figures.draw_flow({})
    with pytest.raises(ValueError) as error:
        figures.draw_jacobians(np.zeros(4))
    assert (
        str(error.value) == "draw_jacobians: stretches must have shape [T, B] with T, B at least 1. Got [4]."
    )
    with pytest.raises(
        ValueError, match=r"^draw_connectivity: steps must have shape \[K\] = \[2\]\. Got \[3\]"
    ):
        figures.draw_connectivity(np.zeros((2, 4, 1)), [1, 2, 3])
