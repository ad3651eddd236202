"""`python -m benchmarks`: its tables, its files, and when it refuses to run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread

import gatewise
from benchmarks.__main__ import main
from benchmarks.layers import Shape

QUICK = ["--shapes", "0", "--rounds", "1", "--seconds", "0"]  # one short shape


def run(out: Path, *more: str) -> Any:
    """The output of a quick run."""
    main([*QUICK, *more, "--out", str(out)])
    return json.loads((out / "results.json").read_text())


def test_the_file_has_the_place_the_method_and_the_measurements(tmp_path: Path) -> None:
    written = run(tmp_path / "new" / "folder", "--cells", "rnn")
    assert (written["rounds"], written["seconds_a_round"], written["left_out"]) == (1, 0, None)
    assert written["machine"]["cores"] > 0
    assert written["machine"]["versions"]["torch"] == torch.__version__
    assert written["machine"]["versions"]["gatewise"] == gatewise.__version__
    assert [(r["mode"], r["threads"]) for r in written["results"]] == [
        ("inference", 1), ("training", 1), ("inference", 2), ("training", 2),
    ]  # fmt: skip


def test_the_numbers_of_a_result_are_consistent(tmp_path: Path) -> None:
    (result,) = run(tmp_path, "--cells", "lstm", "--modes", "training", "--threads", "2")["results"]
    shape = Shape(**result["shape"])
    ours, theirs = result["seconds"]["gatewise"], result["seconds"]["torch"]
    assert result["operations"] == 3 * 2 * 4 * shape.H * (shape.H + shape.I) * shape.B * shape.T
    # With one round, medians and ratios are the same numbers.
    assert result["rate"] == pytest.approx(result["operations"] / ours)
    assert result["floor"] == pytest.approx(result["operations"] / (2 * result["peak"]))
    assert result["of_peak"] == pytest.approx(result["floor"] / ours)
    assert result["times_as_fast_as"] == pytest.approx({"torch": theirs / ours})


def test_a_stream_is_a_contender_in_inference_on_one_thread(tmp_path: Path) -> None:
    first, *others = run(tmp_path, "--cells", "gru")["results"]
    seconds = first["seconds"]
    assert first["stream"] == pytest.approx(seconds["ONNX Runtime"] / seconds["gatewise.runtime"])
    assert [other["stream"] for other in others] == [None, None, None]


def test_the_picture_is_written_and_not_blank(tmp_path: Path) -> None:
    run(tmp_path, "--cells", "gru", "rnn", "--threads", "1")
    picture = imread(tmp_path / "results.png")
    assert min(picture.shape[:2]) > 300
    assert picture[..., :3].std() > 0.01


def test_a_table_names_the_machine_the_versions_and_the_threads(capsys: pytest.CaptureFixture[str]) -> None:
    main([*QUICK, "--cells", "rnn", "--modes", "inference", "--threads", "1"])
    said = " ".join(capsys.readouterr().out.split())
    for part in ("RNN inference, 1 thread", f"torch {torch.__version__}", "Peak of one core", "% of peak"):
        assert part in said
    assert "x ONNX" in said


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_peer_that_is_not_installed_has_no_column(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it was not installed
    written = run(tmp_path, "--cells", "rnn", "--modes", "inference", "--threads", "1")
    assert written["left_out"] == f"Without ONNX Runtime: {package} not installed."
    assert list(written["results"][0]["seconds"]) == ["gatewise", "torch"]
    said = capsys.readouterr().out
    assert written["left_out"] in said
    assert "x ONNX" not in said


def test_a_wrong_layer_is_refused_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right: Any = gatewise.nn.GRU.forward

    def wrong(self: Any, *arguments: Any, **named: Any) -> Any:
        output, finals = right(self, *arguments, **named)
        return output * 1.001, finals

    monkeypatch.setattr(gatewise.nn.GRU, "forward", wrong)
    with pytest.raises(SystemExit) as refused:
        main([*QUICK, "--cells", "rnn", "gru"])
    sentence = str(refused.value.code)  # Python prints an uncaught error on stderr, with exit status 1
    assert sentence.startswith("Nothing was timed: our GRU B5 T9 I7 H37: the output must be torch's within ")
    assert sentence.count("\n") == 0
    assert capsys.readouterr().out == ""
