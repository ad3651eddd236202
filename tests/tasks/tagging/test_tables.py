"""Tags from tables, without torch."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatewise.runtime.jobs.tagger import Tagger as Model
from gatewise.tasks import Predictor
from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.sentences import corpus

X, _ = corpus(1, 6)


def table_of(sentences: list[list[str]], first: int = 0) -> pa.Table:
    ids = [f"s{first + row}" for row, words in enumerate(sentences) for _ in words]
    return pa.table(
        {"more": range(len(ids)), "sent_id": ids, "form": [w for words in sentences for w in words]}
    )


def test_a_table_gets_the_tags_of_its_sentences(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path / "model.safetensors")
    assert isinstance(predictor.model, Model)
    made = predictor(table_of(X))
    assert made.column_names == ["sent_id", "form", "pos", "pos probability", "span", "span probability"]
    expected = [word for sentence in both.tagged(X) for word in sentence]
    assert made["form"].to_pylist() == [word.word for word in expected]
    assert made["span"].to_pylist() == [word.tags[1] for word in expected]
    assert made["pos probability"].to_pylist() == [
        word.probabilities[0] for word in expected
    ]  # the same bits
    parts = [predictor(table_of(X[:2])), predictor(table_of(X[2:], 2))]
    assert pa.concat_tables(parts).equals(made)


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv", "a.parquet"])
def test_files(both: Tagger, tmp_path: Path, name: str) -> None:
    both.save(tmp_path / "model.safetensors")
    predictor, path = Predictor(tmp_path), tmp_path / name
    if name == "a.txt":
        path.write_text("".join(" ".join(words) + "\n" for words in X))
    elif name == "a.tsv":
        path.write_text("".join("".join(f"{word}\tX\n" for word in words) + "\n" for words in X))
    elif name == "a.csv":
        rows = [f'{row},"{word}"\n' for row, words in enumerate(X) for word in words]
        path.write_text("id,word\n" + "".join(rows))
    else:
        pq.write_table(table_of(X), path)
    (read,) = predictor.read(path)
    assert predictor(read)["pos"].to_pylist() == [word.tags[0] for s in both.tagged(X) for word in s]


def test_a_table_without_words_is_refused(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no column is named 'word'; say which one holds the words"):
        Predictor(tmp_path)(pa.table({"sentence": [1], "x": ["a"]}))
