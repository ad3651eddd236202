"""Damaged files, and random ones in many dialects."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.tables import TableError, read_sequences, read_table
from tests.hostile import damaged
from tests.tasks.shared.test_tables import LONG, TS

PACE = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LINES = '{"v":[[1,2],[3,null]],"label":"p","t":"x\\u00e9"}\n{"v":[[4,5]],"label":"q"}\n'


def _parquet() -> bytes:
    file = io.BytesIO()
    frame = pl.DataFrame({"id": [1, 1, 2], "x": [1.0, None, 3.0], "v": [[1], [], None], "t": ["a", "b", "c"]})
    frame.write_parquet(file)
    return file.getvalue()


WHOLE = {"a.csv": LONG.encode(), "a.ts": TS.encode(), "a.jsonl": LINES.encode(), "a.parquet": _parquet()}


@pytest.mark.parametrize("name", WHOLE)
@PACE
@given(st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(WHOLE[name])))
    for label in (None, "label"):
        try:
            found = read_sequences(path, label=label)
        except TableError as error:
            assert str(error).isprintable()  # noqa: PT017
            assert str(error).startswith(str(path))  # noqa: PT017
        else:
            assert len(found) == len(found.sequences) > 0
            assert found.sequences.is_text or all(
                np.isfinite(a[a == a]).all() for a in found.sequences.arrays
            )


WORDS = st.text(st.characters(exclude_categories=["C"], exclude_characters="\x85\u2028\u2029"), max_size=12)
CELLS = {
    "words": WORDS.map(str.strip),
    "whole": st.integers(-(10**6), 10**6),
    "numbers": st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
}


@PACE
@given(
    st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8),
    st.sampled_from(";\t|,"),
    st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
    st.sampled_from(("\n", "\r\n")),
)
def test_csv_of_any_dialect_gives_the_words_and_numbers(
    tmp_path: Path, rows: list[dict[str, Any]], separator: str, quoting: Any, end: str
) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(CELLS), delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writeheader()
    writer.writerows({**row, "words": f"w{row['words']}"} for row in rows)  # else a word can be a number
    path = tmp_path / "a.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    table = read_table(path, Reading(decimal="."))  # 1.375 alone can be a thousand
    assert table.column("words").to_pylist() == [f"w{row['words']}" for row in rows]
    for name in ("whole", "numbers"):
        assert table.column(name).to_pylist() == [row[name] for row in rows]


@PACE
@given(st.lists(st.lists(st.integers(-8, 8) | st.none(), min_size=1, max_size=5), min_size=1, max_size=5))
def test_all_formats_give_the_same_sequences(tmp_path: Path, rows: list[list[int | None]]) -> None:
    if all(value is None for row in rows for value in row):
        rows = [[1], *rows]
    lines = "\n".join(json.dumps({"v": row}) for row in rows)
    ts = "@data\n" + "\n".join(",".join("?" if x is None else str(x) for x in row) for row in rows)
    long = [(n, x) for n, row in enumerate(rows) for x in row]
    cells = "id,x\n" + "\n".join(f"{n},{'NA' if x is None else x}" for n, x in long)
    for name, text in (("a.jsonl", lines), ("a.ts", ts), ("a.csv", cells)):
        (tmp_path / name).write_text(text)
    pl.DataFrame(long, ["id", "x"], orient="row").write_parquet(tmp_path / "a.parquet")
    for name in WHOLE:
        arrays = read_sequences(tmp_path / name).sequences.arrays
        assert [[None if x != x else x for x in array[:, 0]] for array in arrays] == rows
