"""`gatewise look` of a job's model, run on a file of what it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.runtime.model_file import read_model, write_model
from gatewise.tasks import Classifier, Tagger, Writer
from tests.insight.page.pages import data_of

WORDS = [["the", "cat", "sat"], ["a", "dog", "ran", "off"]]


pytestmark = pytest.mark.usefixtures("quickly")


def look(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["look", *map(str, arguments)])


@pytest.mark.parametrize("look_ahead", [None, 1])
def test_a_tagger_is_shown_on_sentences(tmp_path: Path, look_ahead: int | None) -> None:
    from gatewise.tasks.tagging.look import shown

    tags = [["DET", "NOUN", "VERB"], ["DET", "NOUN", "VERB", "ADV"]]
    tagger = Tagger(hidden_size=6, num_layers=1, max_epochs=1, look_ahead=look_ahead).fit(WORDS * 4, tags * 4)
    found = shown(tagger, [[], *WORDS])
    with torch.no_grad():
        scores = found["model"](found["x"], lengths=found["lengths"])
    ours = tagger.model_.scores(WORDS)
    for row, words in enumerate(WORDS):
        theirs = scores[look_ahead or 0 :, row][: len(words)].numpy()
        np.testing.assert_allclose(theirs, ours[row][0], atol=1e-5)
    tagger.save(tmp_path / "model.safetensors")
    (tmp_path / "text.txt").write_text("the cat sat\na dog ran off\n", encoding="utf-8")
    done = look(tmp_path, "--on", tmp_path / "text.txt")
    assert done.exit_code == 0, done.output
    data = data_of(tmp_path / "model.html")
    assert data["tokens"][1][:4] == WORDS[1]
    assert data["running"]["names"] == list(tagger.columns_[0].tags)


def test_a_writer_is_shown_on_a_text(tmp_path: Path) -> None:
    from gatewise.tasks.writing.look import shown

    text = "to be or not to be, that is the question. " * 12
    writer = Writer(hidden_size=6, num_layers=1, max_epochs=1).fit([text])
    found = shown(writer, ["", text[:30]])
    with torch.no_grad():
        scores = found["model"](found["x"], lengths=found["lengths"])
        last = found["output"](scores)
    assert last.numpy() == pytest.approx(writer.score_texts([text[:30]])[0].log_probabilities[-1:], abs=1e-5)
    writer.save(tmp_path / "model.safetensors")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    done = look(tmp_path, "--on", tmp_path / "text.txt")
    assert done.exit_code == 0, done.output
    data = data_of(tmp_path / "model.html")
    assert data["tokens"][0][:4] == ["(start)", "t", "o", " "]
    assert data["running"]["probabilities"]


@pytest.mark.parametrize("kind", ["measurements", "texts"])
def test_a_classifier_is_shown_on_sequences(tmp_path: Path, kind: str) -> None:
    from gatewise.tasks.classification.look import shown

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(n, 2)) for n in (5, 7, 4, 6) * 4]
    arrays[0][2, 1] = np.nan
    texts = ["good day to you", "bad night", "good good", "so bad a day"] * 4
    X, table = (
        (arrays, long_format(arrays)) if kind == "measurements" else (texts, pd.DataFrame({"text": texts}))
    )
    classifier = Classifier(hidden_size=6, max_epochs=1, unit="words").fit(X, ["up", "down"] * 8)
    found = shown(classifier, X)
    with torch.no_grad():
        logits = found["call"](found["x"])
    np.testing.assert_allclose(logits.numpy(), classifier.model_.logits(X[:4]), atol=1e-5)
    classifier.save(tmp_path / "model.safetensors")
    table.to_csv(tmp_path / "on.csv", index=False)
    done = look(tmp_path, "--on", tmp_path / "on.csv")
    assert done.exit_code == 0, done.output
    data = data_of(tmp_path / "model.html")
    assert data["rows"] == 4
    if kind == "texts":
        assert data["tokens"][1] == ["bad", "night"]


def long_format(arrays: list[np.ndarray]) -> pd.DataFrame:
    """Sequences as a table with a row for each step."""
    ids = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
    steps = np.concatenate(arrays)
    return pd.DataFrame({"id": ids, "channel 0": steps[:, 0], "channel 1": steps[:, 1]})


def test_a_model_of_a_sample_is_shown_on_the_sample(tmp_path: Path) -> None:
    Tagger(hidden_size=4, num_layers=1, max_epochs=1).fit(WORDS, [["A"] * 3, ["B"] * 4]).save(
        tmp_path / "model.safetensors"
    )
    file = read_model(tmp_path / "model.safetensors", "tag")
    header = {**file.header, "metrics": {"data": {"training": {"file": "python_tokens"}}}}
    write_model(file.path, "tag", header, file.tensors)
    done = look(tmp_path)
    assert done.exit_code == 0, done.output
    assert data_of(tmp_path / "model.html")["rows"] == 4


def test_what_a_job_reads_is_asked_for(tmp_path: Path) -> None:
    Tagger(hidden_size=4, num_layers=1, max_epochs=1).fit(WORDS, [["A"] * 3, ["B"] * 4]).save(
        tmp_path / "model.safetensors"
    )
    done = look(tmp_path)
    assert done.exit_code == 2
    assert "--on must name what it reads" in done.stderr
    (tmp_path / "x.txt").write_text("a b c")
    done = look(tmp_path, "--on", tmp_path / "x.txt", "--zone", "UTC")
    assert "--zone is for forecasters" in done.stderr
