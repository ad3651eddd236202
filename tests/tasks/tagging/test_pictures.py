"""The evaluation, the pictures and the run folder."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gatewise.tasks.tagging.corpus import Corpus
from gatewise.tasks.tagging.evaluation import by_frequency, calibration_error, evaluate, most_frequent
from gatewise.tasks.tagging.pictures import Shown, frequency_picture, sentence_picture
from gatewise.tasks.tagging.reading import TaggedFile, divided
from gatewise.tasks.tagging.run_folder import files_of, write_run
from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.sentences import corpus


def file_of(seed: int, count: int) -> TaggedFile:
    X, y = corpus(seed, count)
    tags = {name: [[tag[k] for tag in tags] for tags in y] for k, name in enumerate(("pos", "span"))}
    return TaggedFile("columns", Corpus(X, tags, f"{seed}.tsv"))


def test_the_figures_of_an_evaluation(both: Tagger) -> None:
    training, test = file_of(0, 120), file_of(1, 40)
    tagged = both.tagged(test.corpus.words)
    pos, span = evaluate(test.corpus, tagged, ["pos", "span"], training.corpus)
    truth = [tag for tags in test.corpus.tags["pos"] for tag in tags]
    made = [each.tags[0] for words in tagged for each in words]
    assert pos.accuracy == np.mean([a == b for a, b in zip(truth, made, strict=True)])
    metrics = pos.metrics()
    new = metrics["unseen_words"] / metrics["words"]
    parts = metrics["accuracy_unseen_words"] * new + metrics["accuracy_known_words"] * (1 - new)
    assert parts == pytest.approx(metrics["accuracy"])
    wrong = [a for a, b in zip(truth, made, strict=True) if a != b]
    assert sum(int(each["words"]) for each in pos.confusions()) == len(wrong)
    assert metrics["tags"]["VERB"]["words"] == truth.count("VERB")
    assert "spans" not in metrics
    assert span.metrics()["spans"]["spans"] == sum(
        tag[0] == "B" for t in test.corpus.tags["span"] for tag in t
    )
    tags = np.array([each["tagged"] for each in pos.abstaining()])
    assert (np.diff(tags) <= 0).all()


def test_the_most_frequent_tag_of_a_word() -> None:
    words, tags = [["a", "b", "a"], ["a", "c"]], [["X", "Y", "Z"], ["X", "X"]]
    assert most_frequent(words, tags, ["a", "b", "new"]) == ["X", "Y", "X"]


def test_calibration() -> None:
    likely = np.repeat([0.95, 0.6], 100)
    right = np.concatenate([np.arange(100) < 95, np.arange(100) < 60])
    assert calibration_error(likely, right) == pytest.approx(0)
    assert calibration_error(likely, ~right) == pytest.approx((0.9 + 0.2) / 2)


def test_a_tenth_or_whole_groups_are_for_the_test() -> None:
    file = file_of(0, 25)
    training, test = divided(file)
    assert test.corpus.words == [file.corpus.words[9], file.corpus.words[19]]
    assert len(training.corpus) == 23
    groups = [f"{row % 5}" for row in range(25)]
    training, test = divided(file, groups)
    assert test.corpus.words == file.corpus.words[3::5]
    assert len(divided(file_of(0, 2))[1].corpus) == 1
    with pytest.raises(ValueError, match="a tagger needs at least two sentences. Got 1".replace(".", r"\.")):
        divided(file_of(0, 1))


def test_a_run_folder(both: Tagger, tmp_path: Path) -> None:
    training, test = file_of(0, 120), file_of(1, 40)
    tagged = both.tagged(test.corpus.words)
    results = evaluate(test.corpus, tagged, ["pos", "span"], training.corpus)
    metrics = write_run(tmp_path, both, training, test, tagged, results)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files_of(test))
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert metrics["data"]["test"] == {"file": "1.tsv", "sentences": 40, "words": test.corpus.tokens}
    first = (tmp_path / "tagged.tsv").read_text().split("\n")[0].split("\t")
    assert first == [test.corpus.words[0][0], *tagged[0][0].tags]
    assert Tagger.load(tmp_path / "model.safetensors").metrics_["test"]["pos"] == results[0].accuracy
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_run(tmp_path, both, training, test, tagged, results)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_picture_of_a_sentence_shows_every_tag_that_was_made_or_true() -> None:
    chances = np.array([[0.9, 0.1, 0.0, 0.0], [0.995, 0.005, 0.0, 0.0]])
    shown = Shown(["a", "b"], ["C", "A"], ["A", "A"], ["A", "B", "C", "D"], chances)
    assert [shown.tags[k] for k in shown.rows()] == ["A", "B", "C"]
    figure = sentence_picture(
        "tag", [("One", shown), ("Long", Shown("a" * 40, None, "A" * 40, ["A"], np.ones((40, 1))))]
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["One", "Long (its beginning)"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["A", "B", "C"]


def test_a_picture_of_frequencies_has_a_point_for_each_group(both: Tagger) -> None:
    training, test = file_of(0, 120), file_of(1, 40)
    tagged = both.tagged(test.corpus.words)
    result = evaluate(test.corpus, tagged, ["pos", "span"], training.corpus)[0]
    counts = Counter(word for words in training.corpus.words for word in words)
    figure = frequency_picture(result, counts)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0] == f"never\n{int((~result.known).sum())} words"
    lines, points = figure.axes[0].collections
    shares = np.array([share for _, _, share in by_frequency(result, counts)])
    np.testing.assert_array_equal(points.get_offsets(), np.c_[range(len(labels)), shares])
    for line, share in zip(lines.get_segments(), shares, strict=True):  # type: ignore[attr-defined]
        assert line[0, 1] <= share <= line[1, 1]
