"""The bundled data sets."""

from __future__ import annotations

import doctest
import tokenize
from collections import Counter

from gatewise.tasks.shared import samples


def test_the_labelled_sets() -> None:
    assert doctest.testmod(samples).failed == 0
    found = samples.docstrings()
    assert found.labels is not None
    counts = Counter(found.labels.tolist())
    assert set(counts) == set(samples.PACKAGES)
    assert min(counts.values()) > 50
    texts = found.sequences.texts
    assert len(texts) == len(set(texts)) > 1000
    assert all(len(text) >= samples.LEAST_CHARACTERS for text in texts)


def test_the_tags_of_a_line_are_what_its_names_are_for() -> None:
    source = """
import os.path
class Shape(Base):
    async def area(self, unit=None):
        if unit: return os.path.join(self.width ** 2, str(unit), key="x", *rest)
        f"{unit}"
        é = 1
"""
    lines = [list(zip(words, tags, strict=True)) for words, tags in samples._lines(source)]
    assert [" ".join(f"{word}/{tag[:2]}" for word, tag in line) for line in lines] == [
        "class/ke Shape/cl (/op Base/va )/op :/op",
        "async/ke def/ke area/fu (/op self/pa ,/op unit/pa =/op None/ke )/op :/op",
        "if/ke unit/va :/op return/ke os/mo ./op path/at ./op join/fu (/op self/va ./op width/at **/op 2/nu "
        ',/op str/cl (/op unit/va )/op ,/op key/pa =/op "..."/st ,/op */op rest/va )/op',
    ]


def test_the_lines_of_python() -> None:
    found = samples.python_tokens()
    assert set().union(*found.tags) == set(samples.TAGS)
    assert [*map(len, found.words)] == [*map(len, found.tags)]
    assert len(found) == len(found.groups) == len({*map(tuple, found.words)}) > 5000
    assert set(found.groups) == set(samples.MODULES)


def test_the_texts() -> None:
    assert 300_000 < len(samples.python_topics()) < 1_000_000
    source = samples.python_source()
    assert 500_000 < len(source) < 3_000_000
    assert source.count("def ") > 1000
    assert tokenize.__doc__ in source
