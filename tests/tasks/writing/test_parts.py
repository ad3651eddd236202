"""Counting, copies, loops, signals, windows, and the division of texts."""

from __future__ import annotations

import doctest
import importlib
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.writing.copying import CopyIndex
from gatewise.tasks.writing.corpus import Corpus
from gatewise.tasks.writing.evaluation import Division
from gatewise.tasks.writing.loops import longest_loop
from gatewise.tasks.writing.network import Windows, checked
from gatewise.tasks.writing.ngram import ngram_bits
from gatewise.tasks.writing.reading import read_texts
from gatewise.tasks.writing.signals import signals
from tests.tasks.writing.conftest import TEXT

TEXTS = st.text("ab\n", max_size=40)


@pytest.mark.parametrize("name", ["copying", "loops", "ngram", "writer"])
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(f"gatewise.tasks.writing.{name}")
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_the_longest_copied_run_is_found(train: str, text: str) -> None:
    found = CopyIndex(train).compare(text)
    runs = [text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1) if text[a:b] in train]
    assert len(found.longest) == max(map(len, runs), default=0)
    assert text.startswith(found.longest, found.start)
    assert train.startswith(found.longest, found.place)
    through = [
        max(
            (b - a for a in range(n + 1) for b in range(n + 1, len(text) + 1) if text[a:b] in train),
            default=0,
        )
        for n in range(len(text))
    ]
    assert found.lengths.tolist() == through


def test_the_share_that_is_copied() -> None:
    train = "".join(chr(97 + n * n % 23) for n in range(500))
    found = CopyIndex(train).compare("0" * 25 + train[100:175])
    assert found.share == 0.75
    assert "75 characters; 75% of the characters" in str(found)


@given(TEXTS.filter(bool), TEXTS.filter(bool))
@settings(max_examples=50, deadline=None)
def test_ngrams_are_witten_and_bells(train: str, test: str) -> None:
    def probability(history: str, token: str) -> float:
        following = [
            train[n + len(history)] for n in range(len(train) - len(history)) if train.startswith(history, n)
        ]
        shorter = probability(history[1:], token) if history else 1 / (len(set(train)) + 1)
        if not following:
            return shorter
        kinds = len(set(following))
        return (following.count(token) + kinds * shorter) / (len(following) + kinds)

    whole = train + test
    for n, bits in enumerate(ngram_bits(train, test, 3)):
        expected = [
            -log2(probability(whole[max(at - n, 0) : at], whole[at])) for at in range(len(train), len(whole))
        ]
        assert bits == pytest.approx(np.mean(expected))


def test_loops() -> None:
    found = longest_loop("He went home. " + "and then he said " * 5)
    assert found is not None
    assert (found.phrase, found.start, round(found.times, 1)) == (" and then he said", 13, 5.1)
    assert str(found) == "' and then he said' is repeated 5.1 times from character 14 on"
    assert longest_loop("=" * 100) is None
    assert longest_loop(TEXT[:200]) is None
    assert longest_loop("") is None


def test_signals() -> None:
    text = 'a "b(c[d])" e\n  f ``g`` \n\n(" \n\nh'
    found = signals(text)
    quoted = found["being inside double quotes"]
    assert [text[n] for n in np.flatnonzero(np.diff(quoted, prepend=0) == 1)] == ['"', '"']
    assert quoted[-1] == 0  # a blank line ends a quotation
    depth = found["the depth of brackets"]
    assert [int(depth[text.index(c)]) for c in "abcde"] == [0, 0, 1, 2, 0]
    assert depth[-1] == 0
    code = found["being inside double backquotes"]
    assert [int(code[text.index(c)]) for c in "fgh"] == [0, 1, 0]
    assert found["the column in the line"][text.index("f")] == 3
    assert found["the indentation of the line"][text.index("f")] == 2
    assert found["the letters of the word so far"][text.index("c")] == 1


def test_windows_continue_each_other_and_cover_the_text() -> None:
    windows = Windows(np.arange(1, 2502), batch_size=4, steps=16, seed=3)
    for epoch in (0, 1):
        found = list(windows.at(epoch))
        assert len(found) == windows.count() == (2501 // 4 - 1) // 16
        assert [window.first for window in found] == [True] + [False] * (len(found) - 1)
        for one, other in pairwise(found):
            assert one.ids.shape == (17, 4)
            assert one.ids[-1].equal(other.ids[0])
        rows = np.concatenate([window.ids[:-1].numpy() for window in found])
        assert ((np.diff(rows, axis=0) == 1) | (np.diff(rows, axis=0) == -2500)).all()
        assert len(np.unique(rows)) == rows.size
    starts = [next(iter(windows.at(epoch))).ids[0, 0].item() for epoch in (0, 0, 1)]
    assert starts[0] == starts[1] != starts[2]


def test_processes_share_the_rows() -> None:
    windows = Windows(np.arange(1, 2502), batch_size=2, steps=16, seed=3)
    together = list(Windows(np.arange(1, 2502), 4, 16, 3).at(0))
    apart = [list(windows.at(0, rank, 2)) for rank in (0, 1)]
    assert windows.count(2) == len(together) == len(apart[0]) == len(apart[1])
    for whole, one, other in zip(together, *apart, strict=True):
        assert whole.ids[:, ::2].equal(one.ids)
        assert whole.ids[:, 1::2].equal(other.ids)


@pytest.mark.parametrize("length", [2, 5, 40])
def test_a_short_text_has_a_window(length: int) -> None:
    windows = Windows(np.arange(length), batch_size=32, steps=64, seed=0)
    assert len(list(windows.at(0))) == windows.count() >= 1
    assert len(checked(np.arange(length))) == max(1, length // 16)


def test_the_validation_part_is_whole() -> None:
    for length, shape in ((2000, (500, 1)), (4001, (500, 2))):
        windows = checked(np.arange(length))
        assert [tuple(window.ids.shape) for window in windows] == [shape] * 4
        rows = np.concatenate([window.ids.T.numpy().ravel() for window in windows])
        assert rows.tolist() == list(range(4 * shape[0] * shape[1]))
        assert all(window.first for window in windows)


def test_few_texts_are_divided_at_their_ends_and_many_are_held_out_whole() -> None:
    few = Corpus.of([TEXT, TEXT.upper()], "characters", 0.1, 1000, 0)
    assert not few.ends
    assert few.train[0] + few.check[0] == TEXT
    assert len(few.check[1]) == round(0.1 * len(TEXT))
    ids = few.ids(few.train)
    assert (ids == 0).sum() == 2
    texts = [f"{n} is a number" for n in range(30)]
    many = Corpus.of(texts, "characters", 0.1, 1000, 0)
    assert many.ends
    assert sorted(many.train + many.check) == sorted(texts)
    assert len(many.check) == 3
    assert (many.ids(many.check) == 0).sum() == 4
    division = Division.of(texts)
    assert len(division.test) == 3
    assert set(division.before) == {""}
    one = Division.of([TEXT])
    assert one.train[0] + one.test[0] == TEXT
    assert one.before == [one.train[0][-2000:]]
    assert len(one.test[0]) == pytest.approx(0.1 * len(TEXT), abs=1)


def test_characters_that_occur_once_are_unknown() -> None:
    corpus = Corpus.of(["ab" * 60 + "c"], "characters", 0.01, 1000, 0)
    assert "c" not in corpus.vocabulary
    assert len(Corpus.of([TEXT], "words", 0.1, 7, 0).vocabulary.entries) == 7
    with pytest.raises(ValueError, match=r"^texts must have at least 100 characters. Got 3.$"):
        Corpus.of(["abc"], "characters", 0.1, 1000, 0)


def test_files_lines_and_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("two\r\n\nlines\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00\x80\x81")
    (tmp_path / ".hidden").write_text("no")
    assert read_texts(tmp_path) == ["x = 1\n", "two\n\nlines\n"]
    assert read_texts(tmp_path / "b.txt") == ["two\n\nlines\n"]
    assert read_texts(tmp_path, lines=True) == ["x = 1", "two", "lines"]
    (tmp_path / "d").mkdir()
    for name, message in (("d", "the folder has no file with text"), ("e.txt", "the file cannot be read")):
        with pytest.raises(TableError, match=message):
            read_texts(tmp_path / name)
    (tmp_path / "latin.txt").write_bytes("né".encode("latin-1"))
    assert read_texts(tmp_path / "latin.txt", encoding="latin-1") == ["né"]
    with pytest.raises(TableError, match=r"not UTF-8 text \(byte 1\)"):
        read_texts(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("text", "unit", "validation", "message"),
    [
        (
            "abcde fghi " * 10,
            "characters",
            0.001,
            "validation must be larger for texts this short. Got 0.001.",
        ),
        ("x" * 200, "words", 0.1, "texts must have words that occur twice"),
    ],
)
def test_texts_that_teach_nothing_are_refused(text: str, unit: str, validation: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Corpus.of([text], unit, validation, 100, 0)


def test_a_long_copy_is_found_as_a_whole() -> None:
    random = np.random.default_rng(0)
    train = "".join(map(chr, random.integers(97, 100, 20_000)))
    found = CopyIndex(train).compare("z" * 9 + train[1000:10_000] + "z" + train[:50])
    assert (len(found.longest), found.start, found.place) == (9000, 9, 1000)
    assert found.lengths[[8, 9, 9008, 9009, 9010]].tolist() == [0, 9000, 9000, 0, 50]
