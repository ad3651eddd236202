"""`Classifier`: its answers, its file, early decisions, explanations, several labels, weights of classes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from gatewise import tanh
from gatewise.language import cell
from gatewise.runtime import load
from gatewise.runtime.model_file import ModelFileError
from gatewise.tasks.classification import preparing
from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.classification.dividing import split
from gatewise.tasks.classification.labels import Labels
from gatewise.tasks.classification.preparing import padded, prepare
from gatewise.tasks.shared.saving import estimator_of
from tests.tasks.classification.conftest import OPINIONS, TEXTS

Array = NDArray[Any]
Walks = tuple[list[Array], list[str]]


def network_logits(classifier: Classifier, sequences: list[Any]) -> Array:
    inputs, lengths = padded([classifier.preparation_(sequence) for sequence in sequences])
    with torch.no_grad():
        logits: Array = classifier.network_(inputs, lengths).numpy()
    return logits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": True, "members": 2, "convolution": 3},
        {"convolution": False},
        {"cell": "lstm", "num_layers": 2},
    ],
    ids=str,
)
def test_the_model_without_torch_computes_the_network(options: dict[str, Any], walks: Walks) -> None:
    classifier = Classifier(refit=False, hidden_size=4, max_epochs=1, **options).fit(*walks)
    found = classifier.model_.logits(walks[0])
    np.testing.assert_allclose(found, network_logits(classifier, walks[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "channels"), [(True, [4, 8, 4]), (False, []), (np.bool_(False), []), (np.int64(1), [1, 2, 1])]
)
def test_channels_of_convolutions_are_those_asked_for(
    chosen: Any, channels: list[int], walks: Walks, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"cell": "rnn", "hidden_size": 4, "max_epochs": 1, "refit": False}
    classifier = Classifier(convolution=chosen, **options).fit(*walks)
    classifier.save(tmp_path / "model.safetensors")
    again = Classifier.load(tmp_path / "model.safetensors")
    weights = [f"convolutions.{k}.convolution.weight" for k in range(len(channels))]
    assert [len(again.file_.tensors[name]) for name in weights] == channels
    assert f"convolutions.{len(channels)}.convolution.weight" not in again.file_.tensors
    assert again.convolution == chosen
    assert (again.predict_proba(walks[0]) == classifier.predict_proba(walks[0])).all()


def test_texts_are_computed_alike(reader: Classifier) -> None:
    found = reader.model_.logits(TEXTS)
    np.testing.assert_allclose(found, network_logits(reader, TEXTS), rtol=1e-5, atol=1e-5)


def test_it_learns(fitted: Classifier, reader: Classifier, walks: Walks) -> None:
    assert fitted.score(*walks) > 0.75
    assert reader.score(TEXTS, OPINIONS) == 1.0


def test_a_row_has_the_same_bits_in_any_batch(fitted: Classifier, walks: Walks) -> None:
    whole = fitted.predict_proba(walks[0])
    for row in (0, 7, 31):
        assert (fitted.predict_proba([walks[0][row]])[0] == whole[row]).all()
    backwards = fitted.predict_proba(walks[0][::-1])[::-1]
    assert (backwards == whole).all()


def test_whole_running_and_stream_agree_to_the_bit(
    fitted: Classifier, reader: Classifier, walks: Walks
) -> None:
    whole, running = fitted.predict_proba(walks[0]), fitted.running_proba(walks[0])
    assert all((steps[-1] == end).all() for steps, end in zip(running, whole, strict=True))
    stream = fitted.model_.stream()
    for walk, expected in list(zip(walks[0], running, strict=True))[:5]:
        stream.reset()
        assert (np.array([stream.step(x_t) for x_t in walk]) == expected).all()
    words = reader.model_.stream()
    assert (np.array([words.step(word) for word in "a good film".split()])[-1]
            == reader.predict_proba(["a good film"])[0]).all()  # fmt: skip


def test_the_same_seed_gives_the_same_bits(walks: Walks) -> None:
    made = [Classifier(refit=False, hidden_size=3, max_epochs=2, seed=5).fit(*walks) for _ in range(2)]
    assert (made[0].predict_proba(walks[0]) == made[1].predict_proba(walks[0])).all()
    other = Classifier(refit=False, hidden_size=3, max_epochs=2, seed=6).fit(*walks)
    assert (made[0].predict_proba(walks[0]) != other.predict_proba(walks[0])).any()


def test_a_file_gives_the_same_bits_with_and_without_torch(
    fitted: Classifier, walks: Walks, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model.safetensors")
    again = Classifier.load(tmp_path / "model.safetensors")
    expected = fitted.predict_proba(walks[0])
    assert (again.predict_proba(walks[0]) == expected).all()
    assert (load(tmp_path / "model.safetensors").predict_proba(walks[0]) == expected).all()
    assert again.get_params() == fitted.get_params()
    assert again.predict(walks[0]).tolist() == fitted.predict(walks[0]).tolist()
    assert again.explain(walks[0][:1])[0].difference == fitted.explain(walks[0][:1])[0].difference
    again.save(tmp_path / "again.safetensors")
    saved = [(tmp_path / name).read_bytes() for name in ("model.safetensors", "again.safetensors")]
    assert saved[0] == saved[1]


def test_a_pickle_gives_the_same_bits(reader: Classifier) -> None:
    again = pickle.loads(pickle.dumps(reader))
    assert (again.predict_proba(TEXTS) == reader.predict_proba(TEXTS)).all()


def test_a_cell_of_ones_own_is_in_the_file(walks: Walks, tmp_path: Path) -> None:
    @cell
    def leaky(h, *, g):  # type: ignore[no-untyped-def]
        h = 0.5 * h + 0.5 * tanh(g)
        return h

    classifier = Classifier(refit=False, cell=leaky, hidden_size=4, max_epochs=1).fit(*walks)
    classifier.save(tmp_path / "model.safetensors")
    again = Classifier.load(tmp_path / "model.safetensors")
    assert again.equations.name == "leaky"
    assert (again.predict_proba(walks[0]) == classifier.predict_proba(walks[0])).all()


def test_an_early_decision_is_the_first_that_is_sure(fitted: Classifier, walks: Walks) -> None:
    found = fitted.predict_early(walks[0], threshold=0.6)
    for row, running in enumerate(fitted.running_proba(walks[0])):
        sure = np.flatnonzero(running.max(axis=1) >= 0.6)
        step = sure[0] if sure.size else len(running) - 1
        assert found.steps[row] == step + 1
        assert found.labels[row] == fitted.classes_[running[step].argmax()]
        assert found.probabilities[row] == running[step].max()
    np.testing.assert_allclose(found.earliness, found.steps / [len(walk) for walk in walks[0]])


def test_a_threshold_above_one_reads_to_the_end(fitted: Classifier, walks: Walks) -> None:
    found = fitted.predict_early(walks[0], threshold=np.inf)
    assert found.labels.tolist() == fitted.predict(walks[0]).tolist()
    assert (found.earliness == 1).all()


def test_a_lower_accuracy_reads_less(fitted: Classifier, walks: Walks) -> None:
    assert fitted.deciding_ is not None
    lower = fitted.predict_early(walks[0], accuracy=0.3)
    assert lower.threshold <= fitted.predict_early(walks[0]).threshold
    with pytest.raises(ValueError, match="accuracy must be from 0 to"):
        fitted.predict_early(walks[0], accuracy=1.01)


def test_early_decisions_need_one_direction(walks: Walks) -> None:
    both = Classifier(refit=False, cell="rnn", hidden_size=3, max_epochs=1, bidirectional=True).fit(*walks)
    with pytest.raises(ValueError, match="bidirectional=False"):
        both.predict_early(walks[0])
    with pytest.raises(ValueError, match="bidirectional=False"):
        both.model_.stream()


def test_shares_of_steps_add_up(fitted: Classifier, walks: Walks) -> None:
    for found, walk in zip(fitted.explain(walks[0][:6]), walks[0], strict=False):
        assert found.steps.shape == (len(walk),)
        assert found.channels.shape == walk.shape
        off = abs(found.steps.sum() - (found.difference - found.baseline))
        assert off == pytest.approx(found.residual * abs(found.difference - found.baseline))
        assert off < 0.02 * max(abs(found.difference - found.baseline), 1.0)
        assert found.label == fitted.predict([walk])[0]


def test_the_telling_word_is_found(reader: Classifier) -> None:
    found = reader.explain(["good film"], label="praise", against="blame")[0]
    assert found.words == ("good", "film")
    assert found.words[int(found.steps.argmax())] == "good"
    assert "'praise' rather than 'blame'" in str(found)
    with pytest.raises(ValueError, match="another class"):
        reader.explain(["a good film"], label="praise", against="praise")
    with pytest.raises(ValueError, match="label must be one of the classes blame, praise"):
        reader.explain(["a good film"], label="neither")


def test_several_labels_come_back_as_they_were_given() -> None:
    labels = [("film", "good"), ("film",), (), ("good",)] * 6
    classifier = Classifier(refit=False, cell="rnn", hidden_size=4, max_epochs=12, learning_rate=0.03)
    found = classifier.fit(TEXTS, labels).predict(TEXTS[:4])
    assert isinstance(found, list)
    assert all(set(some) <= {"film", "good"} for some in found)
    indicator = np.array([[1, 1], [1, 0], [0, 0], [0, 1]] * 6)
    matrix = clone(classifier).fit(TEXTS, indicator)
    assert (matrix.predict(TEXTS) == [[int(name in some) for name in ("film", "good")]
                                      for some in classifier.predict(TEXTS)]).all()  # fmt: skip
    assert matrix.score(TEXTS, indicator) == classifier.score(TEXTS, labels)
    with pytest.raises(ValueError, match="one label"):
        classifier.predict_early(TEXTS)


def test_a_heavy_class_is_predicted_more_often(walks: Walks) -> None:
    counts = []
    for weight in (0.05, 20.0):
        classifier = Classifier(
            refit=False, cell="rnn", hidden_size=4, max_epochs=4, class_weight={"up": weight}
        )
        counts.append(np.sum(classifier.fit(*walks).predict(walks[0]) == "up"))
    assert counts[0] < counts[1]


def test_labels_keep_their_type() -> None:
    for labels in ([3, 5, 5, 3] * 6, [True, False, False, True] * 6, [0.5, 1.5, 1.5, 0.5] * 6):
        classifier = Classifier(refit=False, cell="rnn", hidden_size=2, max_epochs=1)
        if labels[0] == 0.5:
            with pytest.raises(ValueError, match="continuous"):
                classifier.fit(TEXTS, labels)
            continue
        assert classifier.fit(TEXTS, labels).predict(TEXTS).dtype == np.asarray(labels).dtype


@pytest.mark.parametrize(
    "y", [np.array([3, 5], np.uint8), np.array([3, 5], np.int32), np.array(["b", "a"], object), [["a"], []]]
)
def test_classes_have_the_type_that_a_file_gives_back(y: Any) -> None:
    labels = Labels.fit(y)
    again = Labels.from_dict(labels.to_dict())
    assert labels.classes.dtype == again.classes.dtype
    assert labels.classes.tolist() == again.classes.tolist()


def test_classes_of_more_than_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="classes must each be of the kind 'integer'"):
        Labels.fit(np.array([1, 2**63], np.uint64))


def test_a_frame_in_long_format(fitted: Classifier, walks: Walks) -> None:
    rows = [(f"s{n}", *values) for n, walk in enumerate(walks[0]) for values in walk]
    frame = pd.DataFrame(rows, columns=["id", "channel 0", "channel 1"])
    assert (fitted.predict_proba(frame) == fitted.predict_proba(walks[0])).all()


def test_grid_search(walks: Walks) -> None:
    search = GridSearchCV(
        Classifier(refit=False, cell="rnn", hidden_size=2, max_epochs=1, convolution=False),
        {"hidden_size": [2, 3]},
        cv=2,
    )
    assert search.fit(*walks).best_params_["hidden_size"] in (2, 3)


def test_temperature_is_that_of_the_validation_part(fitted: Classifier, walks: Walks) -> None:
    logits = fitted.model_.logits(walks[0])
    shares = np.exp(logits / fitted.temperature_)
    expected = shares / shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(walks[0]), expected, rtol=1e-6)


def test_few_sequences_are_all_trained_on(walks: Walks) -> None:
    options: dict[str, Any] = {"cell": "rnn", "hidden_size": 3, "max_epochs": 3, "convolution": False}
    once, twice = Classifier(refit=False, **options), Classifier(**options)
    for classifier in (once.fit(*walks), twice.fit(*walks)):
        assert classifier.epochs_ == 3
    assert twice.best_epoch_ == 3
    assert (once.predict_proba(walks[0]) != twice.predict_proba(walks[0])).any()
    changed = [*walks[1]]
    validated = split(twice.labels_.encoded(walks[1]), 0.2, 0)[1]
    changed[validated[0]] = "up" if changed[validated[0]] != "up" else "down"
    again = Classifier(**options).fit(walks[0], changed)
    assert (again.predict_proba(walks[0]) != twice.predict_proba(walks[0])).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.0}, "validation must be"),
        ({"noise": -1.0}, "noise must be"),
        ({"unit": "sentences"}, "unit must be one of auto, words, characters"),
        ({"refit": "twice"}, "refit must be True, False or 'auto'"),
        ({"convolution": 0}, "convolution must be a whole number of at least 1"),
        ({"class_weight": "equal"}, "class_weight must be"),
        ({"class_weight": {"sideways": 2.0}}, "class_weight must have classes of y. Got 'sideways'"),
        ({"hidden_size": 0}, "hidden_size must be"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str, walks: Walks) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(**options).fit(*walks)


def test_a_wrong_number_of_channels_is_said(fitted: Classifier) -> None:
    with pytest.raises(ValueError, match="2 channels"):
        fitted.predict([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="texts"):
        fitted.predict(["a text"])


def test_no_sequence_is_said(fitted: Classifier) -> None:
    with pytest.raises(ValueError, match="X must have at least one sequence"):
        fitted.predict([])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([None] * 24, "24 of 24 have none, first y.0."),
        (["a", None, "b"] * 8, "8 of 24 have none, first y.1.[.]$"),
        (np.array(["a", float("nan")] * 12, object), "12 of 24 have none"),
        ([pd.NA, "a"] * 12, "12 of 24 have none"),
        ([("a",), None] * 12, "gets an empty list"),
        ([()] * 24, "Got 24 empty lists"),
    ],
    ids=["all", "some", "nan", "pandas", "lists", "empty"],
)
def test_missing_labels_are_said(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classifier(refit=False, cell="rnn", hidden_size=2, max_epochs=1).fit(TEXTS, y)


def test_only_the_longest_beginning_is_read(walks: Walks, tmp_path: Path) -> None:
    options: dict[str, Any] = {"refit": False, "cell": "rnn", "hidden_size": 3, "max_epochs": 1}
    classifier = Classifier(longest=3, **options).fit(*walks)
    expected = (
        Classifier(**options)
        .fit([walk[:3] for walk in walks[0]], walks[1])
        .predict_proba([walk[:3] for walk in walks[0]])
    )
    assert (classifier.predict_proba(walks[0]) == expected).all()
    classifier.save(tmp_path / "model.safetensors")
    stream = load(tmp_path / "model.safetensors").stream()
    walk = max(walks[0], key=len)
    steps = np.array([stream.step(x_t) for x_t in walk])
    assert (steps[:3] == classifier.running_proba([walk])[0]).all()
    assert (steps[3:] == steps[2]).all()
    assert classifier.explain([walk])[0].steps.shape == (3,)
    assert classifier.scaled(walk).shape == (3, 2)


def test_a_sequence_too_long_to_train_on_is_refused(monkeypatch: pytest.MonkeyPatch, walks: Walks) -> None:
    monkeypatch.setattr(preparing, "MOST_STEPS", 8)
    longest = max(range(len(walks[0])), key=lambda row: len(walks[0][row]))
    with pytest.raises(ValueError, match=f"at most 8 steps.*11 in sequence {longest}.*longest="):
        Classifier(max_epochs=1).fit(*walks)
    with pytest.raises(ValueError, match="at most 8 words"):
        Classifier(max_epochs=1).fit(["a " * 20, *TEXTS[1:]], OPINIONS)


def test_long_sequences_are_trained_on_in_small_batches() -> None:
    assert preparing.batch_size(np.full(100, 50), 32) == 12
    assert preparing.batch_size(np.array([50] * 999 + [1 << 14]), 32) == 16
    assert preparing.batch_size(np.array([preparing.MOST_STEPS] * 100), 32) == 4


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("この映画はとても面白かった。", "characters"),
        ("这部电影很好看。", "characters"),
        ("이 영화는 정말 재미있었다 .", "words"),
        ("a film of 宮崎 that I liked", "words"),
        ("films", "characters"),
    ],
)
def test_texts_without_spaces_are_read_by_characters(text: str, unit: str) -> None:
    assert prepare([text] * 3, "auto").unit == unit


def test_members_are_averaged(walks: Walks, tmp_path: Path) -> None:
    classifier = Classifier(members=3, refit=False, cell="rnn", hidden_size=3, max_epochs=2).fit(*walks)
    network: Any = classifier.network_
    inputs, lengths = padded([classifier.preparation_(walk) for walk in walks[0]])
    with torch.no_grad():
        each = torch.stack(network.each(inputs, lengths)).numpy()
    assert np.ptp(each, axis=0).max() > 0.01
    np.testing.assert_allclose(classifier.model_.logits(walks[0]), each.mean(axis=0), rtol=1e-5, atol=1e-5)
    running = classifier.running_proba(walks[0][:4])
    with torch.no_grad():
        expected = network.running(inputs, lengths).numpy()
    for row, found in enumerate(running):
        shown = classifier.model_.probabilities(expected[: len(found), row])
        np.testing.assert_allclose(found, shown, rtol=1e-4, atol=1e-5)
    classifier.save(tmp_path / "model.safetensors")
    model = load(tmp_path / "model.safetensors")
    assert (model.predict_proba(walks[0]) == classifier.predict_proba(walks[0])).all()
    stream = model.stream()
    assert (np.array([stream.step(x_t) for x_t in walks[0][0]]) == running[0]).all()
    again = Classifier.load(tmp_path / "model.safetensors")
    assert again.explain(walks[0][:1])[0].residual < 0.05


@pytest.mark.parametrize("change", ["name", "cell", "fewer"])
def test_a_file_whose_members_do_not_fit_is_refused(walks: Walks, change: str) -> None:
    classifier = Classifier(members=2, refit=False, cell="rnn", hidden_size=2, max_epochs=1).fit(*walks)
    file = classifier.file_
    stacks = dict(file.header["stacks"])
    if change == "name":
        stacks["member_3"] = stacks.pop("member_2")
    elif change == "cell":
        stacks["member_2"] = {**stacks["member_2"], "zoneout": [0.1]}
    else:
        stacks = {}
    header = {**file.header, "stacks": stacks}
    with pytest.raises(ModelFileError):
        estimator_of(Classifier, replace(file, header=header))
