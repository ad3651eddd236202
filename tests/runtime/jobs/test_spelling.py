"""Words as numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gatewise.runtime.jobs.spelling import Spelling

SENTENCES = [["the", "cat", "the"], ["The", "hat"], ["antidisestablishmentarianism"]]


def test_words_characters_and_affixes_have_ids() -> None:
    spelling = Spelling.learn(SENTENCES)
    ids = spelling.ids(["the", "xat"])
    assert ids.words.tolist() == [2, 1]  # the most frequent word; an unknown one
    before = len(spelling.characters)
    assert ids.characters[:, 0].tolist() == [before, *spelling.characters.ids("the"), before + 1]
    assert ids.characters[1, 1] == 1  # an unknown character
    assert ids.lengths.tolist() == [5, 5]
    kinds = [(kind.length, kind.at_end) for kind in spelling.affixes]
    assert kinds == [(1, False), (2, False), (3, False), (1, True), (2, True), (3, True), (4, True)]
    assert ids.affixes[1].tolist() == [0, 0, 0, *(kind.ids(["xat"])[0] for kind in spelling.affixes[3:])]
    assert ids.affixes[1, 4] > 0  # "at" ends two words


def test_ids_do_not_depend_on_the_other_words() -> None:
    spelling = Spelling.learn(SENTENCES)
    words = ["cat", "antidisestablishmentarianism", "unseen", "\u0131"]
    together = spelling.ids(words)
    for k, word in enumerate(words):
        alone = spelling.ids([word])
        assert alone.words[0] == together.words[k]
        assert alone.characters[:, 0].tolist() == together.characters[: alone.lengths[0], k].tolist()
        assert not together.characters[alone.lengths[0] :, k].any()
        assert (alone.affixes[0] == together.affixes[k]).all()


def test_of_a_long_word_beginning_and_end_are_read() -> None:
    spelling = Spelling.learn(SENTENCES)
    long = "abcdefgh" + "x" * 1000 + "tarianism"
    assert spelling.ids([long]).lengths.tolist() == [24]
    assert spelling.ids([]).characters.shape[1] == 0


def test_a_description_gives_the_same_spelling() -> None:
    spelling = Spelling.learn(SENTENCES)
    again = Spelling.from_dict(json.loads(json.dumps(spelling.to_dict())))
    assert again == spelling
    assert again.sizes == spelling.sizes
    for a, b in zip(again.ids(["the", "mat"]), spelling.ids(["the", "mat"]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), [], "spelling must be an object"),
        (("words",), {}, "words must be an object"),
        (("words", "padding"), False, "words: padding must be True, and unknown True"),
        (("affixes",), {}, "affixes must be a list"),
        (("affixes", 0, "length"), 0, "length must be from 1 to 100. Got 0"),
        (("affixes", 0, "at_end"), 1, "at_end must be true or false. Got 1"),
        (("affixes", 0, "known", "padding"), True, "padding must be False"),
    ],
)
def test_a_wrong_description_is_refused(path: tuple[Any, ...], value: Any, message: str) -> None:
    described: Any = {"top": Spelling.learn(SENTENCES).to_dict()}
    place, path = described, ("top", *path)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        Spelling.from_dict(described["top"])
