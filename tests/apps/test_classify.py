"""`gatewise classify` as users call it, and predictions of what it trained."""

from __future__ import annotations

import csv
import json
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks.loading import load
from tests.tasks.classification.conftest import OPINIONS, TEXTS, make_walks

SMALL = ["--cell", "rnn", "--hidden-size", "4", "--epochs", "2"]


pytestmark = pytest.mark.usefixtures("quickly")


def gatewise(*arguments: str, cwd: Path) -> Result:
    with chdir(cwd):
        return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "100"})


def walks_file(path: Path) -> Path:
    """Walks in long format, with a column of classes and gaps."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["walk", "x", "y", "goes"])
        for n, (walk, label) in enumerate(zip(*make_walks(40), strict=True)):
            for x, y in walk:
                writer.writerow([f"w{n}", f"{x:.4f}", "" if np.isnan(y) else f"{y:.4f}", label])
    return path


def test_a_run_on_measurements_and_its_predictions(tmp_path: Path) -> None:
    file = walks_file(tmp_path / "walks.csv")
    run = gatewise(
        "classify", str(file), "--label", "goes", "--id", "walk", *SMALL, "--out", "run", cwd=tmp_path
    )
    assert run.exit_code == 0, run.output
    for words in (
        "2 channels",
        "values missing",
        "RNN with 4 units",
        "Deciding early",
        "most frequent class",
    ):
        assert words in " ".join(run.output.split())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    pictures = {"confusion.png", "running.png", "steps.png"}
    assert names == {"model.safetensors", "metrics.json", "predictions.csv", *pictures}
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    counts = np.array(metrics["test"]["confusion"])
    assert counts.sum() == metrics["test"]["overall"]["sequences"] == 8
    loaded = load(tmp_path / "run" / "model.safetensors")
    assert loaded.metrics_ == metrics
    made = gatewise("predict", "run", "walks.csv", "--out", "made.csv", cwd=tmp_path)
    assert made.exit_code == 0, made.output
    with (tmp_path / "made.csv").open() as rows:
        found = {row["id"]: row for row in csv.DictReader(rows)}
    assert len(found) == 40
    with (tmp_path / "run" / "predictions.csv").open() as rows:
        for row in csv.DictReader(rows):
            assert found[row["id"]]["class"] == row["predicted"]
            assert found[row["id"]]["steps"] == row["after steps"]


def test_characters_that_no_font_has_are_named_once(tmp_path: Path) -> None:
    nobodys = "\U0010fffd"  # a character that is not assigned
    rows = "".join(f"{word} {nobodys},{word}\n" for word in ("good", "bad") * 10)
    (tmp_path / "texts.csv").write_text("text,label\n" + rows, encoding="utf-8")
    run = gatewise("classify", "texts.csv", *SMALL, "--out", "run", cwd=tmp_path)
    assert run.exit_code == 0, run.output
    assert " ".join(run.output.split()).count("boxes stand for them in the pictures") == 1


def test_texts_with_several_labels_as_json(tmp_path: Path) -> None:
    labels = {"praise": "film; good", "blame": "film"}
    with (tmp_path / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, map(labels.get, OPINIONS), strict=True)])
    run = gatewise(
        "classify", "texts.csv", "--separator", ";", "--json", *SMALL, "--out", "run", cwd=tmp_path
    )
    assert run.exit_code == 0, run.output
    metrics = json.loads(run.stdout)["metrics"]
    assert [row["class"] for row in metrics["test"]["by_class"]] == ["film", "good"]
    assert not (tmp_path / "run" / "running.png").exists()
    made = gatewise("predict", "run", "texts.csv", "--json", cwd=tmp_path)
    assert made.exit_code == 0, made.output
    assert set(json.loads(made.stdout.splitlines()[0])) == {"id", "labels", "p(film)", "p(good)"}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1,2\n3,4\n", [], "data.csv: --label must name the column of classes, of 'a', 'b'."),
        ("a,label\n1,x\n2,x\n3,x\n4,x\n5,x\n", [], "data.csv: all sequences have the label 'x'."),
        ("a,label\n1,0.5\n2,1.5\n3,1\n4,2\n5,3\n", [], "the labels are not classes"),
        ("a,label\n1,x\n2,y\n", [], "at least 5 sequences are needed"),
        ("a,label\n1,x\n2,y\n", ["--sample", "digits"], "--sample takes the place of FILE"),
        ("a,label\n1,x\n2,y\n3,x\n4,y\n5,x\n", ["--unit", "verses"], "unit must be one of"),
    ],
    ids=["no label", "one class", "fractions", "few", "both", "unit"],
)
def test_bad_input_is_one_sentence(content: str, options: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(content)
    run = gatewise("classify", "data.csv", *SMALL, *options, cwd=tmp_path)
    assert run.exit_code == 2, run.output
    assert message in " ".join(run.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
