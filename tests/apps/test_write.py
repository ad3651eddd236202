"""``gatewise write``: from a text to a folder, and what a trained model writes and scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatewise.apps.commands import app
from gatewise.tasks import Writer
from gatewise.tasks.writing.run_folder import FILES
from tests.random_cells.quickly import compiling_quickly

TEXT = "".join(f'{n}. She said "to be (or not to be)", and {n * n} more.\n' for n in range(60))
SMALL = ["--hidden-size", "8", "--epochs", "1", "--length", "50", "--count", "2"]


def run(*arguments: object, status: int = 0) -> str:
    """The output of a call."""
    done = CliRunner().invoke(app, ["write", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    place = tmp_path_factory.mktemp("write")
    (place / "text.txt").write_text(TEXT)
    with compiling_quickly():
        told = run(place / "text.txt", *SMALL, "--out", place / "run", "--prompt", "She")
    assert "bits per character" in told
    assert told.count("The longest run copied from the training text has") == 2
    return place / "run"


def test_a_run_has_all_files(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == FILES.keys()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["bits"] > metrics["test"]["floors"][metrics["test"]["best_n"] - 1] > 0
    assert [len(sample["text"]) for sample in metrics["samples"]] == [50, 50]
    assert len((folder / "surprises.csv").read_text().splitlines()) > 300
    writer = Writer.load(folder / "model.safetensors")
    assert writer.metrics_ == metrics
    again = writer.write(50, prompt="She", temperature=0.8, count=2)
    assert again == [sample["text"] for sample in metrics["samples"]]


def test_a_trained_model_writes_the_same_again(folder: Path) -> None:
    found = json.loads(run(folder, "--prompt", "She", "--length", 50, "--count", 2, "--json"))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [s["text"] for s in found["samples"]] == [s["text"] for s in metrics["samples"]]
    assert found["samples"][0]["copied"] is None
    told = run(folder / "model.safetensors", "--length", 50, "--text", folder.parent / "text.txt")
    assert "The longest run copied" in told


def test_a_trained_model_scores_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("She said no.\n")
    told = run(folder, "--score", tmp_path / "other.txt", "--out", tmp_path / "scores")
    assert "bits per character" in told
    assert {file.name for file in (tmp_path / "scores").iterdir()} == {"surprises.html", "surprises.csv"}
    found = json.loads(run(folder, "--score", tmp_path / "other.txt", "--json"))
    scored = Writer.load(folder / "model.safetensors").score_texts("She said no.\n")[0]
    assert found["log_probability"] == scored.total
    assert found["characters"] == 13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.txt"], "missing.txt: the file cannot be read"),
        (["--score", "a.txt"], "a.txt: the file cannot be read"),
        (["--score", __file__], "--score: FILE must be a trained model. Got none."),
        (["--unit", "letters"], "--unit must be one of characters, bytes, words. Got 'letters'."),
        (["--top-p", "2"], "--top-p must be a number above 0 and at most 1. Got '2'."),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run(*arguments, status=2)
    assert message in " ".join(told.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_runs_is_not_a_text(folder: Path, tmp_path: Path) -> None:
    assert f"name one of them, such as {folder}." in " ".join(run(folder.parent, status=2).split())
    (tmp_path / "run.training").mkdir()
    assert "began it continues with --resume" in " ".join(run(tmp_path / "run.training", status=2).split())


def test_a_text_that_is_too_short_is_refused_before_anything_is_printed(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Hello there.")
    told = run(tmp_path / "short.txt", status=2)
    assert told.startswith(f"Error: {tmp_path}/short.txt: without what is held out for the test, texts must ")


def test_a_run_of_bytes_shows_characters(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT.replace("She", "Zoë"), encoding="utf-8")
    run(tmp_path / "text.txt", *SMALL, "--unit", "bytes", "--out", tmp_path / "run")
    assert {file.name for file in (tmp_path / "run").iterdir()} == FILES.keys()
    page = (tmp_path / "run/surprises.html").read_text(encoding="utf-8")
    assert ">ë</span>" in page
    assert "Ã</span>" not in page
    assert "Zoë said" in run(tmp_path / "run", "--score", tmp_path / "text.txt")
