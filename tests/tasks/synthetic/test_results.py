from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.flow import Flow
from gatewise.tasks.synthetic.picture import draw_flow
from gatewise.tasks.synthetic.results import FILES, results, summaries, write_results
from gatewise.tasks.synthetic.training import Run, Settings

SETTINGS, TASK = Settings(most=10_000, biases={"f": 3.0}), TASKS["adding"]


def flow(kept: float, states: str = "h", steps: int = 20) -> Flow:
    norms = np.power(kept, np.arange(steps), dtype=np.float64)
    return Flow(dict.fromkeys(states, norms), norms)


def run(
    cell: str = "rnn",
    length: int = 50,
    seed: int = 0,
    sequences: int = 10_000,
    right: float = 0.5,
    kept: float = 0.9,
) -> Run:
    states = "hc" if cell == "lstm" else "h"
    start, end = flow(0.5, states), flow(kept, states, 20 + seed)
    return Run(
        cell, length, seed, 99, right >= 0.99, sequences, right, math.isnan(kept), 2.0 + seed, start, end
    )


RUNS = [
    run(seed=0), run(seed=1, right=0.7), run(seed=2, kept=math.nan),
    run("lstm", seed=0, sequences=3000, right=0.99), run("lstm", seed=1, sequences=5000, right=1.0),
    run("lstm", seed=2, right=0.2), run("rnn", 100),
]  # fmt: skip


def test_runs_are_summarised_by_cell_and_length() -> None:
    rnn, lstm, longer = summaries(RUNS)
    assert (rnn.cell, rnn.length, rnn.runs, rnn.learned, rnn.diverged) == ("rnn", 50, 3, 0, 1)
    assert (rnn.sequences, rnn.right, rnn.seconds) == (None, 0.5, 3.0)
    assert rnn.kept_before == pytest.approx(0.5)
    assert rnn.kept_after == pytest.approx(0.9)  # the median of the two that are defined
    assert (lstm.cell, lstm.learned, lstm.sequences, lstm.right) == ("lstm", 2, 4000, 0.99)
    assert (longer.cell, longer.length, longer.runs) == ("rnn", 100, 1)


def test_results_are_plain_data_with_none_for_nan() -> None:
    written = results(TASK, SETTINGS, RUNS, interrupted=True)
    again = json.loads(json.dumps(written, allow_nan=False))
    assert again == written
    assert written["interrupted"] is True
    assert written["settings"]["biases"] == {"f": 3.0}
    assert (written["task"]["name"], written["tested"], written["learned_from"]) == ("adding", 2560, 0.99)
    assert written["runs"][2]["kept_after"] is None
    assert written["summaries"][0]["sequences"] is None
    assert written["runs"][3] == {
        "cell": "lstm", "length": 50, "seed": 0, "parameters": 99, "learned": True, "sequences": 3000,
        "right": 0.99, "diverged": False, "seconds": 2.0,
        "kept_before": pytest.approx(0.5), "kept_after": pytest.approx(0.9),
    }  # fmt: skip


def test_a_comparison_writes_all_its_files(tmp_path: Path) -> None:
    write_results(tmp_path, TASK, SETTINGS, RUNS, interrupted=False)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert (tmp_path / "gradient_flow.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "gradient_flow.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_lstm = [row for row in rows if (row["cell"], row["seed"], row["training"]) == ("lstm", "1", "after")]
    assert [row["state"] for row in of_lstm] == ["h"] * 21 + ["c"] * 21
    assert [float(row["norm"]) for row in of_lstm[:21]] == pytest.approx(0.9 ** np.arange(21), rel=1e-5)


def test_the_picture_has_a_row_for_each_length_and_a_line_for_each_state() -> None:
    figure = draw_flow("Gradient flow", RUNS)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"T = {T}, {when} training" for T in (50, 100) for when in ("before", "after")]
    before, after = figure.axes[0], figure.axes[2]
    assert len(before.lines) == 3  # rnn by h; lstm by h and by c
    assert len(after.lines) == 1
    assert drawn(before, 0) == pytest.approx(0.5 ** np.arange(20))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["rnn", "lstm", "by h", "by c"]


def test_a_diverged_run_is_missing_in_the_picture() -> None:
    figure = draw_flow("Gradient flow", RUNS[:3])
    assert drawn(figure.axes[1], 0) == pytest.approx(0.9 ** np.arange(20))
    assert len(draw_flow("Gradient flow", RUNS[2:3]).axes[1].lines) == 0


def test_a_gradient_of_zero_is_not_drawn() -> None:
    dead = Flow({"h": np.array([1.0, 0.5, 0.0, 0.0])}, np.array([1.0, 0.5, 0.0, 0.0]))
    only = Run("rnn_relu", 50, 0, 9, False, 1, 0.0, False, 1.0, dead, dead)
    figure = draw_flow("Gradient flow", [only])
    assert drawn(figure.axes[0], 0) == [1.0, 0.5]


def drawn(axes: Axes, line: int) -> list[float]:
    return [float(norm) for norm in np.asarray(axes.lines[line].get_ydata())]
