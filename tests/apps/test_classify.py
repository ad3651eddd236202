"""`gatewise classify` as users call it, and predictions of what it trained."""

from __future__ import annotations

import csv
import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.loading import load
from tests.tasks.classification.conftest import OPINIONS, TEXTS, make_walks

SMALL = ["--cell", "rnn", "--hidden-size", "4", "--epochs", "2"]
TINY: dict[str, Any] = {"cell": "rnn", "hidden_size": 2, "max_epochs": 1, "refit": False}


pytestmark = pytest.mark.usefixtures("quickly")


def gatewise(*arguments: str, cwd: Path, piped: bytes = b"") -> Result:
    with chdir(cwd):
        return CliRunner().invoke(app, [*arguments], piped, env={"COLUMNS": "100"})


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
        "classify", str(file), "--label", "goes", "--id", "walk", "--channels", "3", *SMALL,
        "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    for words in (
        "2 channels",
        "values missing",
        "RNN with 4 units",
        "Deciding early",
        "The threshold is from 6 validation sequences",
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
    assert loaded.get_params()["convolution"] == 3
    made = gatewise("predict", "run", "walks.csv", "--out", "made.csv", cwd=tmp_path)
    assert made.exit_code == 0, made.output
    with (tmp_path / "made.csv").open() as rows:
        found = {row["id"]: row for row in csv.DictReader(rows)}
    assert len(found) == 40
    with (tmp_path / "run" / "predictions.csv").open() as rows:
        for row in csv.DictReader(rows):
            assert found[row["id"]]["class"] == row["predicted"]
            assert found[row["id"]]["steps"] == row["after steps"]


def test_standard_input_is_read(tmp_path: Path) -> None:
    file = walks_file(tmp_path / "walks.csv")
    options = ["--label", "goes", "--id", "walk", *SMALL, "--no-convolution"]
    for source, piped, out in ((str(file), b"", "a"), ("-", file.read_bytes(), "b")):
        done = gatewise("classify", source, *options, "--out", out, cwd=tmp_path, piped=piped)
        assert done.exit_code == 0, done.output
    assert (tmp_path / "a/predictions.csv").read_bytes() == (tmp_path / "b/predictions.csv").read_bytes()
    assert json.loads((tmp_path / "b/metrics.json").read_text())["data"]["file"] == "standard_input.csv"
    ts = b"#\n@problemName x\n@data\n1,2:a\n2,oops:b\n"
    failed = gatewise("classify", "-", cwd=tmp_path, piped=ts)
    assert failed.exit_code == 2
    assert failed.stderr.startswith("Error: standard input, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "goes"], "--label says how FILE is read: give both."),
        (["--sample", "digits", "--decimal", ","], "--decimal says how FILE is read: give both."),
        (["a.ts", "--id", "x"], "--id is for tables: a .ts file says itself what is in it."),
        (
            ["--bidirectional", "--accuracy", "0.9"],
            "--accuracy is for early decisions: there are none if the network reads both ways.",
        ),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.ts").write_text("@data\n1,2:a\n2,3:b\n")
    done = gatewise("classify", *arguments, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")


def test_sequences_without_a_label_can_be_skipped(tmp_path: Path) -> None:
    rows = walks_file(tmp_path / "walks.csv").read_text(encoding="utf-8").splitlines()
    gaps = [row.rpartition(",")[0] + "," if row.startswith(("w3,", "w5,")) else row for row in rows]
    (tmp_path / "walks.csv").write_text("\n".join(gaps), encoding="utf-8")
    options = ["classify", "walks.csv", "--label", "goes", "--id", "walk", *SMALL, "--out"]
    told = " ".join(gatewise(*options, "run", cwd=tmp_path).output.split())
    place = next(n for n, row in enumerate(rows) if row.startswith("w3,"))
    assert f"row {place}: the label is missing; --skip-unlabelled leaves such sequences out." in told
    run = gatewise(*options, "run", "--skip-unlabelled", cwd=tmp_path)
    assert run.exit_code == 0, run.output
    left_out = sum(row.startswith(("w3,", "w5,")) for row in rows)
    assert f"{left_out} rows without a label left out" in " ".join(run.output.split())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["data"]["sequences"] + metrics["test"]["overall"]["sequences"] == 38
    gaps[-1] = gaps[-1].rpartition(",")[0] + ","  # of a sequence that has a label in other rows
    (tmp_path / "walks.csv").write_text("\n".join(gaps), encoding="utf-8")
    bad = gatewise(*options, "again", "--skip-unlabelled", cwd=tmp_path)
    assert f"column 'goes', row {len(gaps) - 1}: the value is missing." in " ".join(bad.output.split())


def test_columns_of_lists_are_channels(tmp_path: Path) -> None:
    rows = [{"x": [n, 2, 3], "y": [1, n, 0], "label": "ab"[n % 2]} for n in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = gatewise("classify", "a.jsonl", *SMALL, "--no-convolution", "--out", "run", cwd=tmp_path)
    assert "of 3 steps and 2 channels" in done.output
    (tmp_path / "b.jsonl").write_text(json.dumps({"y": [1, 2], "x": [0, 2]}))
    (tmp_path / "c.jsonl").write_text(json.dumps({"v": [1, 2]}))
    assert gatewise("predict", "run", "b.jsonl", cwd=tmp_path).exit_code == 0
    done = gatewise("predict", "run", "c.jsonl", cwd=tmp_path)
    assert done.stderr == "Error: c.jsonl: the model reads 2 channels, but the sequences have 1.\n"


def test_a_model_is_told_of_files_of_the_other_kind(tmp_path: Path) -> None:
    sensors, texts = Classifier(**TINY).fit(*make_walks(20)), Classifier(**TINY).fit(TEXTS, OPINIONS)
    texts.note_columns({"id": None, "time": None, "text": "text"})
    sensors.save(tmp_path / "sensors.safetensors")
    texts.save(tmp_path / "texts.safetensors")
    (tmp_path / "texts.csv").write_text("text,label\na film,good\n")
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "both.csv").write_text("name,place,a\nx,y,2\n")
    for model, file, message in (
        ("sensors", "texts.csv", "reads measurements ('channel 0', 'channel 1'), but the table has texts"),
        ("texts", "numbers.csv", "the model reads texts, but there are none in 'a', 'b'"),
        ("texts", "both.csv", "reads texts in the column 'text', but the table has 'name', 'place'"),
    ):
        run = gatewise("predict", f"{model}.safetensors", file, cwd=tmp_path)
        assert run.exit_code == 2
        assert f"{file}: " in run.output
        assert message in " ".join(run.output.split())


def test_characters_that_no_font_has_are_named_once(tmp_path: Path) -> None:
    nobodys = "\U0010fffd"  # a character that is not assigned
    rows = "".join(f"{word} {nobodys},{word}\n" for word in ("good", "bad") * 10)
    (tmp_path / "texts.csv").write_text("text,label\n" + rows, encoding="utf-8")
    run = gatewise("classify", "texts.csv", *SMALL, "--out", "run", cwd=tmp_path)
    assert run.exit_code == 0, run.output
    assert " ".join(run.output.split()).count("boxes stand for them in the pictures") == 1


def test_texts_with_several_labels_as_json(tmp_path: Path) -> None:
    labels = {"praise": "film; good", "blame": ""}  # a row may have none of the labels
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
        ("a,label\n1,x\n2,y\n", ["--no-convolution", "--channels", "3"], "--channels goes with convolutions"),
    ],
    ids=["no label", "one class", "fractions", "few", "both", "unit", "channels"],
)
def test_bad_input_is_one_sentence(content: str, options: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(content)
    run = gatewise("classify", "data.csv", *SMALL, *options, cwd=tmp_path)
    assert run.exit_code == 2, run.output
    assert message in " ".join(run.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
