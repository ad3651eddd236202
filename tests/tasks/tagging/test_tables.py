"""Tags of tables, as `gatewise predict` makes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from gatewise.tasks import Predictor, Tagger
from gatewise.tasks.shared.reading.errors import TableError
from tests.random_cells.quickly import compiling_quickly

WORDS = [["the", "cat", "sat"], ["a", "dog", "ran"]]


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly() -> Iterator[None]:
    with compiling_quickly():
        yield


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    tags = [[("DET", "x"), ("NOUN", "y"), ("VERB", "x")]] * 10
    return Tagger(hidden_size=8, num_layers=1, max_epochs=2).fit(WORDS * 5, tags)


@pytest.fixture(scope="module")
def predictor(tagger: Tagger, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = tmp_path_factory.mktemp("tagger") / "model.safetensors"
    tagger.save(path)
    return Predictor(path)


def test_a_table_of_words(predictor: Predictor, tagger: Tagger) -> None:
    flat = [word for sentence in WORDS for word in sentence]
    found = predictor(pa.table({"sentence": [7, 7, 7, 9, 9, 9], "word": flat}))
    names = [column.name for column in predictor.model.columns]
    assert found.column_names == ["sentence", "word", names[0], f"p({names[0]})", names[1], f"p({names[1]})"]
    assert found["sentence"].to_pylist() == [1, 1, 1, 2, 2, 2]
    expected = [tags for sentence in tagger.predict(WORDS) for tags in sentence]
    assert list(zip(found[names[0]].to_pylist(), found[names[1]].to_pylist(), strict=True)) == expected
    assert all(0 < p <= 1 for p in found[f"p({names[0]})"].to_pylist())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "the cat sat\na dog ran\n"),
        ("a.conll", "the D\ncat N\nsat V\n\na D\ndog N\nran V\n"),
        ("a.csv", "sentence,word\n1,the\n1,cat\n1,sat\n2,a\n2,dog\n2,ran\n"),
    ],
)
def test_files_of_words(predictor: Predictor, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    (table,) = predictor.read(tmp_path / name)
    assert predictor(table)["word"].to_pylist() == [word for sentence in WORDS for word in sentence]


def test_a_table_without_words_is_refused(predictor: Predictor) -> None:
    with pytest.raises(TableError, match="no column is named 'word'"):
        predictor(pa.table({"sentence": [1], "other": ["a"]}))
