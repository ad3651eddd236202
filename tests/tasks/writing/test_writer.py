"""`Writer`: fitting, scoring, writing, the file, and scikit-learn's interface."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from gatewise import cell, read_cell, tanh, tasks
from gatewise.runtime import load
from gatewise.runtime.jobs import writer
from gatewise.runtime.model_file import ModelFileError
from gatewise.tasks.writing.network import Window, WritingNetwork, error, loss
from gatewise.tasks.writing.writer import Writer
from tests.tasks.writing.conftest import TEXT


def small(**more: Any) -> Writer:
    """A writer that trains in a second."""
    sizes: dict[str, Any] = {"hidden_size": 8, "embedding_size": 4, "window": 16, "batch_size": 8}
    return Writer(**{**sizes, "max_epochs": 2, **more})


def network_of(writer: Writer) -> WritingNetwork:
    network = writer.network_
    assert isinstance(network, WritingNetwork)
    return network


def test_it_learns(fitted: Writer) -> None:
    assert fitted.epochs_ == 3
    assert [epoch.number for epoch in fitted.history_] == [1, 2, 3]
    assert fitted.validation_error_ == min(epoch.error for epoch in fitted.history_) / log(2)
    tokens = len(fitted.vocabulary_.entries)
    assert fitted.history_[-1].error < fitted.history_[0].error < log(2 * tokens)
    assert fitted.score(TEXT) > fitted.score(TEXT[::-1])


def test_texts_are_scored_together_with_the_bits_of_each_alone(
    fitted: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    starts, lengths = random.integers(0, len(TEXT), 40), random.integers(0, 90, 40)
    texts = [TEXT[a : a + n] for a, n in zip(starts, lengths, strict=True)] + ["", "§ unknown §", TEXT]
    ending = small(max_epochs=1).fit(TEXT.splitlines())
    for model in (fitted.model_, ending.model_):
        alone = [model.score(text) for text in texts]
        following = [model.tokens[model.next(text).argmax()] for text in texts]
        for most in (1, 100, 1 << 14):
            monkeypatch.setattr(writer, "_MOST_TOGETHER", most)
            together = model.score_all(texts)
            assert list(map(pickle.dumps, together)) == list(map(pickle.dumps, alone))
            assert [each.following for each in together] == following


def test_the_model_and_the_network_agree(fitted: Writer) -> None:
    text = TEXT[:500]
    ids = np.concatenate([[0], fitted.vocabulary_.ids(text)])
    window = Window(torch.from_numpy(ids)[:, None], first=True)
    total, items = error(network_of(fitted), window)
    with torch.no_grad():
        whole, count = loss(network_of(fitted), window)
    assert items == count == 500
    assert float(total) == pytest.approx(float(whole), rel=1e-6)
    assert -fitted.model_.score(text).total == pytest.approx(float(total), rel=1e-5)
    assert fitted.score(text) == pytest.approx(-float(total) / log(2) / 500, rel=1e-5)


def test_the_same_seed_gives_the_same_weights(fitted: Writer) -> None:
    again = clone(fitted).fit(TEXT)
    for name, weight in fitted.network_.state_dict().items():
        assert torch.equal(weight, again.network_.state_dict()[name]), name
    assert clone(fitted).set_params(seed=2).fit(TEXT).write(20) != fitted.write(20)


def test_the_state_is_carried_from_window_to_window(fitted: Writer) -> None:
    network = network_of(fitted)
    ids = torch.from_numpy(fitted.vocabulary_.ids(TEXT[:64]))[:, None]
    with torch.no_grad():
        whole = network(ids)
        pieces = torch.cat([network(ids[:20]), network(ids[20:], first=False)])
        fresh = network(ids[20:])
    assert whole.equal(pieces)
    assert not whole[20:].equal(fresh)


def test_a_boundary_resets_the_state(fitted: Writer) -> None:
    ids = torch.from_numpy(np.concatenate([[0], fitted.vocabulary_.ids(TEXT[:20])]))[:, None]
    with torch.no_grad():
        assert fitted.network_(torch.cat([ids, ids]))[21:].equal(fitted.network_(ids))


def test_a_file_gives_the_same_writer_with_and_without_torch(fitted: Writer, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    for other in (Writer.load(path), load(path), tasks.load(path), pickle.loads(pickle.dumps(fitted))):
        assert other.write(40, prompt="She", count=2) == fitted.write(40, prompt="She", count=2)
    assert Writer.load(path).get_params() == fitted.get_params()
    assert Writer.load(path).score(TEXT) == fitted.score(TEXT)
    assert (
        Writer.load(path)
        .network_(torch.zeros(3, 1, dtype=torch.int64))
        .equal(fitted.network_(torch.zeros(3, 1, dtype=torch.int64)))
    )
    assert load(path).text is None


def test_a_file_of_another_preparation_is_refused(fitted: Writer, tmp_path: Path) -> None:
    from gatewise.runtime.model_file import write_model

    path = tmp_path / "model.safetensors"
    prepared = fitted.file_.header["preparation"] | {"vocabulary": {"entries": ["a"]}}
    write_model(path, "write", fitted.file_.header | {"preparation": prepared}, fitted.file_.tensors)
    with pytest.raises(ModelFileError, match="does not describe a writer"):
        Writer.load(path)


def test_the_training_text_is_kept_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    small(keep_text=True, max_epochs=1).fit(TEXT).save(path)
    assert load(path).text == TEXT[: -round(0.1 * len(TEXT))]
    again = Writer.load(path)
    again.save(tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_the_next_token(fitted: Writer) -> None:
    texts = [TEXT[:50], "", "zz"]
    proba = fitted.predict_proba(texts)
    assert proba.shape == (3, len(fitted.classes_))
    assert np.allclose(proba.sum(axis=1), 1)
    assert list(fitted.predict(texts)) == [fitted.classes_[row.argmax()] for row in proba]
    assert np.array_equal(fitted.predict_proba(TEXT[:50])[0], proba[0])
    assert [scored.tokens for scored in fitted.score_texts(texts)] == [list(text) for text in texts]


@pytest.mark.parametrize("unit", ["bytes", "words"])
def test_bytes_and_words(unit: str, tmp_path: Path) -> None:
    writer = small(unit=unit, vocabulary_size=50).fit(TEXT + "é" * 20)
    writer.save(tmp_path / "model.safetensors")
    text = writer.write(10, seed=3)[0]
    assert text
    assert load(tmp_path / "model.safetensors").write(10, seed=3) == [text]
    assert np.isfinite(writer.score(TEXT + "漢"))


def test_many_texts_teach_where_texts_end() -> None:
    names = [f"{word}{n}" for n in range(12) for word in ("anna", "bert", "carl")]
    writer = small(max_epochs=8, learning_rate=0.03).fit(names)
    assert writer.model_.ends
    assert max(map(len, writer.write(200, count=5))) < 200
    assert np.isfinite(writer.score(names))


@cell
def own(h, *, a):  # type: ignore[no-untyped-def]
    h = 0.5 * h + 0.5 * tanh(a)
    return h


def test_any_cell_and_several_layers(tmp_path: Path) -> None:
    writer = small(cell=own, num_layers=2, weight_drop=0.2, max_epochs=1).fit(TEXT)
    writer.save(tmp_path / "model.safetensors")
    again = Writer.load(tmp_path / "model.safetensors")
    assert (
        again.equations.signature()
        == read_cell("def own(h, *, a):\n    h = 0.5 * h + 0.5 * tanh(a)\n    return h").signature()
    )
    assert again.write(20) == writer.write(20)


def test_training_continues_from_a_checkpoint(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(epoch: object) -> None:
        if epoch.number == 2:  # type: ignore[attr-defined]
            raise KilledError

    whole = small(max_epochs=4).fit(TEXT)
    with pytest.raises(KilledError):
        small(max_epochs=4).fit(TEXT, checkpoint=tmp_path / "checkpoint", on_epoch=kill)
    resumed = small(max_epochs=4).fit(TEXT, checkpoint=tmp_path / "checkpoint")
    for name, weight in whole.network_.state_dict().items():
        assert torch.equal(weight, resumed.network_.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unit", "letters", "unit must be one of characters, bytes, words. Got 'letters'"),
        ("window", 0, "window must be a whole number of at least 1. Got 0"),
        ("weight_drop", 1.0, "weight_drop must be a number of at least 0 and below 1. Got 1.0"),
        ("validation", 0, "validation must be a number above 0 and below 0.9. Got 0"),
    ],
)
def test_a_parameter_out_of_range_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=name) as raised:
        small(**{name: value}).fit(TEXT)
    assert str(raised.value) == message


def test_an_unfitted_writer_says_so() -> None:
    with pytest.raises(NotFittedError):
        small().write(5)
    with pytest.raises(NotFittedError):
        small().score(TEXT)


with warnings.catch_warnings():
    warnings.simplefilter("ignore", SkipTestWarning)  # most checks are for tables of numbers
    _every_check = parametrize_with_checks([small()])


@_every_check  # type: ignore[untyped-decorator]
def test_scikit_learn(estimator: Writer, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_a_search_over_parameters() -> None:
    texts = [TEXT[n * 150 : n * 150 + 150] for n in range(8)]
    search = GridSearchCV(small(max_epochs=1), {"dropout": [0.0, 0.5]}, cv=2).fit(texts)
    assert search.best_params_["dropout"] in (0.0, 0.5)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
