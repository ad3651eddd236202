"""Scores of texts in tables and files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gatewise.tasks import Predictor
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.writing.tables import predict_table, read_tables
from gatewise.tasks.writing.writer import Writer
from tests.tasks.writing.conftest import TEXT


def test_texts_in_a_table_are_scored(fitted: Writer, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.safetensors")
    texts = [TEXT[:40], "She said", ""]
    found = Predictor(tmp_path)(pa.table({"id": [7, 8, 9], "text": texts}))
    assert found.column("id").to_pylist() == [7, 8, 9]
    scored = fitted.score_texts(texts)
    assert found.column("characters").to_pylist() == [40, 8, 0]
    assert found.column("log_probability").to_pylist() == [each.total for each in scored]
    assert found.column("bits").to_pylist()[:2] == [each.bits_per_character for each in scored[:2]]
    assert found.column("next").to_pylist() == list(fitted.predict(texts))


def test_the_column_of_texts_is_found_or_missed(fitted: Writer) -> None:
    assert predict_table(fitted.model_, pa.table({"n": [1], "said": ["She"]})).column_names[:2] == ["id", "n"]
    for columns, message in (
        ({"n": [1]}, "no column holds texts"),
        ({"a": ["x"], "b": ["y"]}, "columns a, b hold texts"),
    ):
        with pytest.raises(TableError, match=message):
            predict_table(fitted.model_, pa.table(columns))


def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.csv").write_text("text,n\none,1\ntwo,2\n")
    assert [table.column("text").to_pylist() for table in read_tables(tmp_path / "a.txt")] == [["one\ntwo\n"]]
    assert [table.column("text").to_pylist() for table in read_tables(tmp_path / "b.csv")] == [["one", "two"]]
