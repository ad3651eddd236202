"""`Tagger`: what it learns, its interface, and its bits."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_checks

from gatewise.runtime.jobs.spans import follows_scheme
from gatewise.runtime.model_file import ModelFileError, read_model, write_model
from gatewise.tasks.shared.training import Epoch
from gatewise.tasks.tagging.network import UNTAGGED, Encoded, TaggingNetwork
from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.conftest import small
from tests.tasks.tagging.sentences import corpus

X, Y = corpus(1, 40)


def bits(values: Any) -> list[bytes]:
    return [array.tobytes() for each in values for array in (each if isinstance(each, tuple) else (each,))]


def test_it_learns_both_columns_also_of_words_that_it_never_saw(both: Tagger) -> None:
    seen = set(both.spelling_.words.entries)
    made: Any = both.predict(X)
    right = [a == b for tags, others in zip(made, Y, strict=True) for a, b in zip(tags, others, strict=True)]
    new = [word not in seen for words in X for word in words]
    assert sum(new) > 20
    assert np.mean(right) > 0.97
    assert np.mean(np.array(right)[new]) > 0.97
    assert both.score(X, Y) > 0.97
    assert both.validation_error_ < 0.05
    assert [column.name for column in both.columns_] == ["pos", "span"]
    assert [column.scheme for column in both.columns_] == [None, "iob2"]


def test_the_tags_have_the_form_of_y(both: Tagger, ahead: Tagger) -> None:
    assert isinstance(both.predict(X)[0][0], tuple)
    assert isinstance(ahead.predict(X)[0][0], str)
    several, single = both.predict_proba(X)[0], ahead.predict_proba(X)[0]
    assert [each.shape for each in several] == [(len(X[0]), len(column.tags)) for column in both.columns_]
    assert isinstance(single, np.ndarray)
    np.testing.assert_allclose(single.sum(axis=1), 1)


def test_probabilities_have_the_same_bits_alone_and_in_any_batch(both: Tagger, ahead: Tagger) -> None:
    for tagger in (both, ahead):
        together = tagger.predict_proba(X)
        alone = [tagger.predict_proba([words])[0] for words in X]
        backwards = tagger.predict_proba([*X[::-1], ["a"] * 300])[-2::-1]
        assert bits(together) == bits(alone) == bits(backwards)


def test_the_torch_network_and_the_model_without_torch_agree(both: Tagger, ahead: Tagger) -> None:
    for tagger in (both, ahead):
        d = tagger.look_ahead or 0
        tags = [np.full((len(words), len(tagger.columns_)), UNTAGGED) for words in X]
        batch = Encoded.of(tagger.spelling_, X, tags, d, {}).batch(range(len(X)))
        network = tagger.network_
        assert isinstance(network, TaggingNetwork)
        with torch.no_grad():
            scores = network(batch)
        for row, each in enumerate(tagger.model_.scores(X)):
            for k, values in enumerate(each):
                wanted = scores[k][d : d + len(X[row]), row].numpy()
                np.testing.assert_allclose(values, wanted, rtol=1e-5, atol=1e-5)


def test_the_recurrent_part_has_the_bits_of_the_torch_layers(both: Tagger) -> None:
    network: Any = both.network_
    lengths = np.array([len(words) for words in X])
    x = both.model_._inputs(X, lengths)
    with torch.no_grad():
        output = network.recurrent(torch.from_numpy(x), lengths=torch.from_numpy(lengths))[0].numpy()
    mine = both.model_._layers(x, lengths).output
    for row, length in enumerate(lengths):
        assert output[:length, row].tobytes() == mine[:length, row].tobytes()


def test_the_words_that_are_remembered_do_not_change_the_bits(both: Tagger, monkeypatch: Any) -> None:
    before = bits(both.predict_proba(X))
    monkeypatch.setattr("gatewise.runtime.jobs.tagger._MOST_REMEMBERED", 3)
    assert bits(both.predict_proba([words])[0] for words in X) == before


def test_threads_may_tag_with_few_words_remembered(both: Tagger, monkeypatch: Any) -> None:
    monkeypatch.setattr("gatewise.runtime.jobs.tagger._MOST_REMEMBERED", 1)
    sentences = [[f"w{k}", f"w{k + 1}", "cat"] for k in range(40)]
    expected = both.predict(sentences)

    def tag(k: int) -> list[Any]:
        return both.predict(sentences[k : k + 1])

    with ThreadPoolExecutor(4) as pool:
        assert [tags for (tags,) in pool.map(tag, list(range(40)) * 5)] == expected * 5


def test_empty_sentences_have_no_tags(both: Tagger) -> None:
    assert both.predict([[], X[0], []])[0::2] == [[], []]
    assert both.predict([]) == []
    assert both.predict_proba([[]])[0][0].shape == (0, len(both.columns_[0].tags))


def test_a_stream_with_look_ahead_gives_the_tags_of_the_whole_sentence(ahead: Tagger) -> None:
    stream = ahead.stream()
    for words, whole in zip(X[:10], ahead.model_.scores(X[:10]), strict=True):
        made = []
        for place, word in enumerate(words):
            now = stream.push(word)
            assert [each.word for each in now] == words[place - 1 : place] if place else not now
            made += now
        made += stream.end()
        assert [each.word for each in made] == words
        chances = ahead.predict_proba([words])[0]
        tags = ahead.columns_[0].tags
        for each, chance in zip(made, chances, strict=True):
            assert each.probabilities[0] == chance[tags.index(each.tags[0])]  # the same bits
        assert follows_scheme([each.tags[0] for each in made], "iob2")
        assert len(whole[0]) == len(words)


@pytest.mark.parametrize("wait", [0, 2])
def test_a_stream_of_a_tagger_that_reads_both_ways_reads_the_beginning_again(both: Tagger, wait: int) -> None:
    stream = both.stream(wait)
    words = X[0]
    made = [each for word in words for each in stream.push(word)]
    assert len(made) == len(words) - wait
    made += stream.end()
    for place, each in enumerate(made):
        known = words[: place + wait + 1]
        chances = both.predict_proba([known])[0][0][place]
        assert each.probabilities[0] == chances[both.columns_[0].tags.index(each.tags[0])]
    assert stream.end() == []


def test_streams_that_cannot_be(both: Tagger, ahead: Tagger) -> None:
    with pytest.raises(ValueError, match="look_ahead must be given"):
        both.stream()
    with pytest.raises(ValueError, match=r"look_ahead must be 1, as in training\. Got 2"):
        ahead.stream(2)
    with pytest.raises(ValueError, match="look_ahead must be from 0 to 16. Got -1".replace(".", r"\.")):
        both.stream(-1)
    with pytest.raises(TypeError, match="a word must be a text"):
        ahead.stream().push("")


def test_tags_of_spans_are_well_formed_even_if_nothing_was_learned() -> None:
    X, y = corpus(0, 30)
    tagger = small(max_epochs=1, learning_rate=1e-6).fit(X, [[span for _, span in tags] for tags in y])
    noise = np.random.default_rng(0).permutation([word for words in X for word in words]).tolist()
    chances: Any = tagger.predict_proba([noise])[0]
    best = [tagger.columns_[0].tags[k] for k in chances.argmax(axis=1)]
    made = tagger.predict([noise])[0]
    assert follows_scheme(made, "iob2")  # type: ignore[arg-type]
    assert not follows_scheme(best, "iob2")


def test_spans_of_another_scheme_are_tagged_without_rules() -> None:
    X, y = corpus(0, 10)
    loose = [[span.replace("B-", "I-") if k else span for k, (_, span) in enumerate(tags)] for tags in y]
    assert small(max_epochs=1).fit(X, loose).columns_[0].scheme is None


def test_uncertain_tags_are_replaced(ahead: Tagger) -> None:
    chances = np.concatenate(ahead.predict_proba(X))
    likely = np.array([each.probabilities[0] for words in ahead.tagged(X) for each in words])
    assert len(likely) == len(chances)
    least = float(np.unique(likely)[5])
    made = [tag for tags in ahead.predict(X, least=least, otherwise="?") for tag in tags]
    assert made.count("?") == int((likely < least).sum()) > 0


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        small(max_epochs=2).fit(X, Y).save(tmp_path / name)
    small(max_epochs=2, seed=1).fit(X, Y).save(tmp_path / "c")
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_training_goes_on_from_a_checkpoint_to_the_same_weights(tmp_path: Path) -> None:
    def stop(epoch: Epoch) -> None:
        raise RuntimeError("killed")

    checkpoint = tmp_path / "checkpoint"
    whole = small(max_epochs=3).fit(X, Y)
    with pytest.raises(RuntimeError, match="killed"):
        small(max_epochs=3).fit(X, Y, on_epoch=stop, checkpoint=checkpoint)
    resumed = small(max_epochs=3).fit(X, Y, checkpoint=checkpoint)
    assert bits(whole.file_.tensors.values()) == bits(resumed.file_.tensors.values())


def test_a_file_gives_the_same_tagger(both: Tagger, ahead: Tagger, tmp_path: Path) -> None:
    for tagger in (both, ahead):
        tagger.save(tmp_path / "a.safetensors")
        loaded = Tagger.load(tmp_path / "a.safetensors")
        assert loaded.get_params() == tagger.get_params()
        assert bits(loaded.predict_proba(X)) == bits(tagger.predict_proba(X))
        assert loaded.predict(X) == tagger.predict(X)
        assert loaded.columns_ == tagger.columns_
        loaded.save(tmp_path / "b.safetensors")
        assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


def test_a_file_without_names_of_columns_is_read(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "a.safetensors")
    file = read_model(tmp_path / "a.safetensors", None)
    del file.header["preparation"]["table"]
    header = {name: value for name, value in file.header.items() if name not in ("format", "version", "task")}
    write_model(tmp_path / "b.safetensors", "tag", header, file.tensors)
    assert Tagger.load(tmp_path / "b.safetensors").predict(X[:2]) == both.predict(X[:2])


def set_to(*path: Any, value: Any) -> Callable[[Any, Any], None]:
    def change(preparation: Any, tensors: Any) -> None:
        place = preparation
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def cut(name: str) -> Callable[[Any, Any], None]:
    def change(preparation: Any, tensors: Any) -> None:
        tensors[name] = tensors[name][:-1]

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_to("look_ahead", value=1),
        set_to("look_ahead", value="x"),
        set_to("several", value=False),
        set_to("columns", value=[]),
        set_to("columns", 0, "temperature", value=0.0),
        set_to("columns", 0, "temperature", value=1),
        set_to("columns", 0, "scheme", value="iob2"),
        set_to("columns", 1, "scheme", value="iob3"),
        set_to("columns", 0, "tags", value=["A"]),
        set_to("columns", 0, "tags", value=["A", "A"]),
        set_to("columns", 0, "name", value=""),
        set_to("spelling", "words", "entries", value=["a"]),
        set_to("spelling", "affixes", value=[]),
        cut("words.weight"),
        cut("characters.weight"),
        cut("affixes.3.weight"),
        cut("convolution.bias"),
        cut("heads.1.weight"),
        lambda preparation, tensors: tensors.pop("heads.0.bias"),
        lambda preparation, tensors: preparation.pop("several"),
        set_to("table", value={"word": "a"}),
        set_to("table", "sentence", value=1),
        set_to("table", "word", value="\ud800"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(both: Tagger, tmp_path: Path, change: Any) -> None:
    both.save(tmp_path / "good.safetensors")
    file = read_model(tmp_path / "good.safetensors", None)
    change(file.header["preparation"], file.tensors)
    header = {name: value for name, value in file.header.items() if name not in ("format", "version", "task")}
    write_model(tmp_path / "bad.safetensors", "tag", header, file.tensors)
    with pytest.raises(ModelFileError, match="does not describe"):
        Tagger.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("words", "tags", "error", "message"),
    [
        ("ab", ["A"], TypeError, "X must hold sentences, each a list of words. Got a text"),
        (["ab"], [["A"]], TypeError, "X must hold sentences, each a list of words. Got the text 'ab'"),
        ([["a", 1]], [["A", "B"]], TypeError, "a word must be a text with a character. Got 1"),
        ([["a", ""]], [["A", "B"]], TypeError, "a word must be a text with a character. Got ''"),
        ([["a"]], [], ValueError, "y must have 1 sentences, as X. Got 0"),
        ([["a"]], [["A", "B"]], ValueError, "Sentence 0 has 1 words and 2 tags"),
        ([["a"]], [[1]], TypeError, "a tag must be a text, or a tuple of texts. Got 1"),
        ([["a", "b"]], [["A", 1]], TypeError, "a tag must be a text, as the first one. Got 1 in sentence 0"),
        ([["a", "b"]], [[("A", "B"), "A"]], TypeError, "a tag must be a tuple of texts, as the first one"),
        ([["a", "b"]], [[("A", "B"), ("A",)]], ValueError, "a tag must have 2 texts, as the first one"),
        ([[]], [[]], ValueError, "X must have a sentence with a word"),
    ],
)
def test_bad_sentences_are_refused(words: Any, tags: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        small().fit(words, tags)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"look_ahead": -1}, "look_ahead must be None, or from 0 to 16. Got -1"),
        ({"look_ahead": True}, "look_ahead must be None, or from 0 to 16. Got True"),
        ({"smoothing": 1.0}, "smoothing must be"),
        ({"word_dropout": -0.1}, "word_dropout must be"),
        ({"validation": 1.0}, "validation must be"),
        ({"columns": ("a",)}, "columns must be 2 different names, as y has columns. Got ['a']"),
        ({"columns": ("a", "a")}, "columns must be 2 different names"),
    ],
)
def test_bad_parameters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        small(**options).fit(X, Y)
    assert message in str(raised.value)


# The checks of scikit-learn that are not about a matrix of numbers; X holds sentences.
CHECKS = """
check_estimator_cloneable check_estimator_tags_renamed check_valid_tag_types check_estimator_repr
check_no_attributes_set_in_init check_mixin_order check_do_not_raise_errors_in_init_or_set_params
check_parameters_default_constructible check_get_params_invariance check_set_params
""".split()


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learn(name: str) -> None:
    getattr(estimator_checks, name)("Tagger", small())


def test_a_search_in_a_pipeline() -> None:
    pipeline = Pipeline([("tagger", small(max_epochs=1))])
    search = GridSearchCV(pipeline, {"tagger__dropout": [0.0, 0.3]}, cv=2).fit(X, Y)
    assert search.best_params_["tagger__dropout"] in (0.0, 0.3)
    assert len(search.predict(X)) == len(X)


def test_a_tagger_can_be_pickled(both: Tagger) -> None:
    again = pickle.loads(pickle.dumps(both))
    assert bits(again.predict_proba(X)) == bits(both.predict_proba(X))


def test_it_is_an_estimator_of_scikit_learn() -> None:
    tagger = small(max_epochs=1)
    assert clone(tagger).get_params() == tagger.get_params()
    with pytest.raises(NotFittedError):
        tagger.predict(X)
    scores = cross_val_score(tagger, X, Y, cv=2)
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores <= 1)).all()


@pytest.mark.parametrize("longest", [None, 3])
def test_predictions_of_a_cross_validation(longest: int | None) -> None:
    words, tags = [w[:longest] for w in X], [[tag for tag, _ in each[:longest]] for each in Y]
    made = cross_val_predict(small(max_epochs=1), words, tags, cv=2)
    assert made.shape == (len(X),)
    half = len(X) // 2
    second = small(max_epochs=1).fit(words[:half], tags[:half])
    assert made[half:].tolist() == second.predict(words[half:])


def test_one_sentence_is_enough() -> None:
    assert small(max_epochs=1).fit([["a", "b"], []], [["A", "B"], []]).predict([["b"]])[0][0] in ("A", "B")


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_other_cells(cell: str, tmp_path: Path) -> None:
    tagger = small(cell=cell, max_epochs=1).fit(X, Y)
    tagger.save(tmp_path / "a.safetensors")
    assert Tagger.load(tmp_path / "a.safetensors").predict(X) == tagger.predict(X)


def test_frames_of_any_library() -> None:
    flat = [
        (row, word, tag)
        for row, (words, tags) in enumerate(zip(X, Y, strict=True))
        for word, tag in zip(words, tags, strict=True)
    ]
    words = {"id": [f"s{row}" for row, *_ in flat], "token": [word for _, word, _ in flat]}
    pos, span = ([tag[k] for *_, tag in flat] for k in (0, 1))
    lists = small(max_epochs=1).fit(X, Y)
    single = small(max_epochs=1).fit(X, [[tag for tag, _ in tags] for tags in Y])
    for library in (pd.DataFrame, pl.DataFrame, pa.table):
        frame, tags = library(words), library({"a": pos, "b": span})
        assert bits(small(max_epochs=1).fit(frame, tags).predict_proba(frame)) == bits(lists.predict_proba(X))
    frame = pd.DataFrame(words)
    again = small(max_epochs=1).fit(frame, pd.Series(pos))
    assert again.predict(frame) == single.predict(X)
    assert again.score(frame, pos) == single.score(X, [[tag for tag, _ in tags] for tags in Y])
    with pytest.raises(ValueError, match="y must have a tag for each of the"):
        small().fit(frame, pos[:-1])
    with pytest.raises(ValueError, match="no column is named 'sentence'"):
        small().fit(frame.drop(columns="id"), pos)
