"""``gatewise write``: from a text to a folder, and what a trained model writes and scores."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gatewise.apps.commands import app
from gatewise.apps.write import MODEL
from gatewise.tasks import Writer
from gatewise.tasks.writing.run_folder import FILES
from tests.random_cells.quickly import compiling_quickly

TEXT = "".join(f'{n}. She said "to be (or not to be)", and {n * n} more.\n' for n in range(60))
SMALL = ["--hidden-size", "8", "--epochs", "1", "--length", "50", "--count", "2"]


def run(*arguments: object, status: int = 0, piped: str = "") -> str:
    """The output of a call."""
    done = CliRunner().invoke(app, ["write", *map(str, arguments)], piped)
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
        (["--epochs", "5"], "--epochs is for training, and RUN is trained already."),
        (["--hidden-size", "256"], "--hidden-size is for training, and RUN is trained already."),
        (["--unit", "characters"], "--unit is for training, and RUN is trained already."),
        (["--resume"], "--resume is for training, and RUN is trained already."),
        (["--config", "run.toml"], "--layers is for training, and RUN is trained already."),
        (["--out", "there"], "--out goes with --score: samples are printed."),
        (["--encoding", "cp1252"], "--encoding says how --score or --text is read: give both."),
        (["--score", __file__, "--count", "3"], "--count is for writing: leave it out with --score."),
    ],
)
def test_options_that_a_trained_model_would_ignore_are_refused(
    arguments: list[str], message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text("layers = 1\n")
    assert run(folder, *arguments, status=2) == f"Error: {message.replace('RUN', str(folder))}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["run.toml"]


def test_that_is_said_before_torch_is_imported(folder: Path) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom gatewise.apps.commands import app\n"
        f"done = CliRunner().invoke(app, ['write', {str(folder)!r}, '--epochs', '5'])\n"
        "assert done.exit_code == 2, done.output\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_standard_input_is_read(folder: Path, tmp_path: Path) -> None:
    run("-", *SMALL, "--out", tmp_path / "run", "--prompt", "She", piped=TEXT)
    made, expected = (Writer.load(place / MODEL) for place in (tmp_path / "run", folder))
    assert all((made.file_.tensors[name] == array).all() for name, array in expected.file_.tensors.items())
    found = json.loads(run(folder, "--score", "-", "--json", piped="She said no.\n"))
    scored = Writer.load(folder / MODEL).score_texts("She said no.\n")[0]
    assert found["log_probability"] == scored.total
    assert "standard input: the file is empty." in run("-", *SMALL, status=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lines"], "--lines says how FILE is read: give both."),
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
    assert "Ã" not in page
    assert "&#x27;ë&#x27;: " in page
    with (tmp_path / "run/surprises.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    place = next(n for n, row in enumerate(rows) if row["token"] == "ë")
    first, last, after = rows[place - 1 : place + 2]
    assert (first["token"], after["token"]) == ("\\xc3", " ")
    assert int(first["column"]) == int(last["column"]) == int(after["column"]) - 1
    assert all(row["expected"].isascii() or len(row["expected"]) == 1 for row in rows)
    assert "Zoë said" in run(tmp_path / "run", "--score", tmp_path / "text.txt")
