"""Vocabularies and scalings: looking up, scaling, and descriptions that are checked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.language.form_reading import FormError
from gatewise.runtime.jobs.scaling import Scaling
from gatewise.runtime.jobs.vocabulary import Vocabulary
from tests.hostile import strange


def test_a_vocabulary_is_sorted_by_frequency_and_numbered_after_padding_and_unknown() -> None:
    words = "b a c a B".split()
    assert Vocabulary.of(words).entries == ("a", "B", "b", "c")
    assert Vocabulary.of(words, lower=True, least=2).entries == ("a", "b")
    assert Vocabulary.of(words, most=1).entries == ("a",)
    vocabulary = Vocabulary.of(words, lower=True)
    assert len(vocabulary) == 5
    assert vocabulary.unknown_id == 1
    assert "B" in vocabulary
    assert "d" not in vocabulary
    assert vocabulary.ids(["A", "d", "c"]).tolist() == [2, 1, 4]
    assert vocabulary.texts([0, 1, 2]) == ["", "", "a"]
    with pytest.raises(IndexError):
        vocabulary.texts([-1])


def test_without_an_id_for_the_unknown_it_is_refused() -> None:
    vocabulary = Vocabulary.of("abc", padding=False, unknown=False)
    assert vocabulary.ids("cab").tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match=r"among the 3 known ones. Got 'x'"):
        vocabulary.ids("axb")


@settings(deadline=None)
@given(st.lists(st.text()), st.booleans(), st.booleans(), st.booleans())
def test_a_vocabulary_comes_back_from_its_description(
    texts: list[str], padding: bool, unknown: bool, lower: bool
) -> None:
    try:
        made = Vocabulary.of(texts, padding=padding, unknown=unknown, lower=lower)
    except FormError:
        assert any(text.lower() != text.lower().lower() for text in texts)
        return
    back = Vocabulary.from_dict(json.loads(json.dumps(made.to_dict())))
    assert back == made
    known = [text for text in texts if text in made]
    assert back.texts(back.ids(known)) == ([text.lower() for text in known] if lower else known)


GOOD: dict[str, Any] = {"entries": ["a", "b"], "padding": True, "unknown": True, "lower": False}
SCALED: dict[str, Any] = {"mean": [0.0, 1.0], "scale": [1.0, 2.0], "masked": [True, False]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": ["a", "a"]}, "entries must differ"),
        ({"entries": ["a", 1]}, "entries must be texts"),
        ({"entries": ["a" * 5000]}, "entries must be texts of at most 4096 letters"),
        ({"entries": ["\ud800"]}, "half of a character"),
        ({"entries": "ab"}, "must be a list"),
        ({"entries": ["A"], "lower": True}, "must be in lower case"),
        ({"padding": 1}, "padding must be true or false"),
        ({"more": 1}, "It has 'more'"),
    ],
)
def test_a_wrong_vocabulary_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormError, match=message):
        Vocabulary.from_dict(GOOD | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": []}, "mean must have 1 to"),
        ({"mean": [0.0]}, "scale must have 1 items"),
        ({"scale": [1.0, 0.0]}, "scale must be above 0. Got 0.0"),
        ({"scale": [1.0, "Infinity"]}, "scale must be above 0. Got 'Infinity'"),
        ({"mean": [1e301, 0.0]}, "mean must be finite"),
        ({"mean": [None, 0.0]}, "mean must be a number"),
        ({"masked": [1, 0]}, "masked must be true or false"),
        ({"more": 1}, "It has 'more'"),
    ],
)
def test_a_wrong_scaling_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormError, match=message):
        Scaling.from_dict(SCALED | change)


@settings(deadline=None)
@given(strange, st.sampled_from(sorted(GOOD) + sorted(SCALED)))
def test_strange_descriptions_raise_one_error(value: Any, key: str) -> None:
    for kind, good in ((Vocabulary, GOOD), (Scaling, SCALED)):
        for wrong in (value, {**good, key: value}):
            try:
                kind.from_dict(wrong)
            except FormError:
                continue


def test_scaling_gives_channels_of_mean_0_and_deviation_1_with_masks() -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(500, 3)) * [1, 100, 0] + [5, -3, 7]
    whole[::7, 1] = np.nan
    scaling = Scaling.fit([whole[:100], whole[100:101], whole[101:]])
    np.testing.assert_allclose(scaling.mean, np.nanmean(whole, axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, [*np.nanstd(whole, axis=0)[:2], 1], rtol=1e-12)
    assert scaling.masked == (False, True, False)
    found = scaling(whole)
    assert found.shape == (500, 4)
    assert found.dtype == np.float32
    assert (found[:, 3] == ~np.isnan(whole[:, 1])).all()
    np.testing.assert_allclose(found[:, :3].mean(0), 0, atol=1e-6)
    assert Scaling.from_dict(json.loads(json.dumps(scaling.to_dict()))) == scaling


@pytest.mark.parametrize("missing", [np.full((4, 1), np.nan), np.zeros((0, 1))], ids=["all", "empty"])
def test_channels_without_a_known_value(missing: Any) -> None:
    scaling = Scaling.fit([missing])
    assert scaling.mean == (0,)
    assert scaling.scale == (1,)
    assert (scaling(missing)[:, 0] == 0).all()


def test_scaling_refuses_what_it_cannot_scale() -> None:
    scaling = Scaling((0.0, 0.0), (1.0, 1.0), (False, False))
    with pytest.raises(ValueError, match=r"x must have 2 channels. Got shape \(3, 1\)"):
        scaling(np.zeros((3, 1)))
    for wrong in (np.inf, -1e13):
        with pytest.raises(ValueError, match="channel 1 more than 1e"):
            scaling(np.array([[0.0, wrong]]))
