"""Tables and sequences of users' files, and the messages for files that cannot be used."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatewise.tasks.shared.tables import (
    Labelled,
    Reading,
    TableError,
    read_sequences,
    read_table,
    read_tables,
    read_text,
    sequences_from,
)

LONG = "id;time;x;y;name;label\n1;0;1,5;2;a;up\n1;1;2,5;;b;up\n\n2;0;3,5;4;c;down\n"
TS = "@problemName x\n#c\n@timeStamps false\n@missing true\n@classLabel true a b\n@data\n"
TS += "1,2,?:3,4,5:a\n6:7:b\n"
MARKS = "id,x\n" + "".join(f"{row // 5},{row}\n" for row in range(40)) + "9,-999\n" * 4

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def lists(found: Labelled) -> list[Any]:
    if found.sequences.is_text:
        return found.sequences.texts
    arrays = [array.tolist() for array in found.sequences.arrays]
    return [[[None if x != x else x for x in step] for step in array] for array in arrays]


def labels(found: Labelled) -> list[Any] | None:
    return None if found.labels is None else found.labels.tolist()


@pytest.mark.parametrize(("name", "text", "sequences", "of"), [
    ("a.csv", LONG, [[[1.5, 2.0], [2.5, None]], [[3.5, 4.0]]], ["up", "down"]),
    ("a.tsv", LONG.replace(",", ".").replace(";", "\t"), [[[1.5, 2], [2.5, None]], [[3.5, 4]]],
     ["up", "down"]),
    ("a.csv", 'text,label\nNA,1\nnull,2\n"a, b",2\n', ["NA", "null", "a, b"], [1, 2, 2]),
    ("a.csv", "a,b,label\n1,2,x\n4,?,y\n", [[[1], [2]], [[4], [None]]], ["x", "y"]),
    ("a.jsonl", '{"v":[1,2],"label":true}\n\n{"v":[3],"label":false}\n', [[[1], [2]], [[3]]], [True, False]),
    ("a.ndjson", '{"v":[[1,2],[3,null]],"label":"p"}\n{"v":[[4,5]],"label":"q"}',
     [[[1, 2], [3, None]], [[4, 5]]], ["p", "q"]),
    ("a.jsonl", '{"v":[1,2],"w":[3.5,null],"n":"x","label":1}\n{"v":[4],"w":[5],"n":"y","label":2}',
     [[[1, 3.5], [2, None]], [[4, 5]]], [1, 2]),
    ("a.ts", TS, [[[1, 3], [2, 4], [None, 5]], [[6, 7]]], ["a", "b"]),
    ("a.ts", TS.replace("classLabel true a b", "targetLabel true").replace(":a", ":3").replace(":b", ":1e2"),
     [[[1, 3], [2, 4], [None, 5]], [[6, 7]]], [3.0, 100.0]),
])  # fmt: skip
def test_files(write: Write, name: str, text: str, sequences: Any, of: Any) -> None:
    found = read_sequences(write(name, text), label=None if name.endswith(".ts") else "label")
    assert (lists(found), labels(found)) == (sequences, of)


def test_a_table_of_a_file_has_types(write: Write) -> None:
    table = read_table(write("a.csv", LONG))
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "int64", "time": "int64", "x": "double", "y": "int64",
        "name": "large_string", "label": "large_string",
    }  # fmt: skip
    assert table.column("y").to_pylist() == [2, None, 4]
    found = read_sequences(write("a.csv", LONG), label="label")
    assert found.notes == ("numbers with decimal comma", "without the columns 'name'")
    assert found.sequences.channels == ("x", "y")


def test_options_of_reading(write: Write, tmp_path: Path) -> None:
    found = read_sequences(write("m.csv", MARKS), reading=Reading(missing=("-999",)))
    assert lists(found)[-1] == [[None]] * 4
    found = read_sequences(write("m.csv", MARKS), reading=Reading(missing=("none",)))
    assert lists(found)[-1] == [[-999.0]] * 4
    found = read_sequences(write("m.csv", LONG), reading=Reading(where="label=up"), columns=["x"])
    assert lists(found) == [[[1.5], [2.5]]]
    dated = "id,when,x\n1,2024-01-02,3\n1,2024-01-01,4\n"
    assert lists(read_sequences(write("m.csv", dated), time="when")) == [[[4.0], [3.0]]]
    (tmp_path / "z.csv.gz").write_bytes(gzip.compress(LONG.encode()))
    assert len(read_sequences(tmp_path / "z.csv.gz")) == 2


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.csv", LONG.replace("c;down", "c;"), "a.csv, column 'label', row 4: the value is missing."),
    ("a.csv", LONG + "2;1;oops;4;c;down\n",
     "a.csv, column 'x', row 5: 'oops' is not a number; if it marks a missing value: --missing oops."),
    ("a.csv", LONG + "2;1;-inf;4;c;down\n", "a.csv, column 'x', row 5: '-inf' is not a finite number."),
    ("a.csv", LONG + "2;1;3;4;c;up\n",
     "a.csv, column 'label', row 5: sequence 2 has the label up, but down in other rows."),
    ("a.csv", LONG.replace("label", "class"),
     "a.csv: there is no column 'label'; the columns are 'id', 'time', 'x', 'y', 'name', 'class'."),
    ("a.csv", "id,label\n1,a\n", "a.csv: there is no column of numbers beside 'id'."),
    ("a.csv", "p,q,label\na,b,c\n",
     "a.csv: several columns could be the sequences: 'p', 'q'; name one with --column."),
    ("a.csv", MARKS.replace("id,x", "id,label"), "a.csv: there is no column of numbers beside 'id'."),
    ("a.jsonl", '{"v":[1],"label":"a"}\n{"v":["q"],"label":"b"}\n',
     "a.jsonl, column 'v', row 2: '[\"q\"]' has another type than '[1]' above."),
    ("a.jsonl", '{"v":"\\ud83d","label":"a"}',
     "a.jsonl, column 'v', row 1: '\"\\\\ud83d\"' has half a character (a surrogate) or a number "
     "beyond 64 bits."),
    ("a.jsonl", '{"v":[1],"label":"a"}\n{"v":[1' + "0" * 40 + '],"label":"a"}',
     "a.jsonl, column 'v', row 2: '[10000000000000000000000000000000000000…' has half a character "
     "(a surrogate) or a number beyond 64 bits."),
    ("a.jsonl", '{"v":[1],"label":"a"}\n{"v":[q],"label":"b"}\n',
     "a.jsonl, row 2: the line is not valid JSON (Expecting value: line 1 column 7 (char 6))."),
    ("a.jsonl", "[" * 100_000, "a.jsonl, row 1: the line is not valid JSON (maximum recursion depth"),
    ("a.jsonl", '{"t":"hi","label":"a"}\n[1]', "a.jsonl, row 2: the line must be a JSON object, not '[1]'."),
    ("a.json", '[{"t":"hi"}]', "a.json: the file must have one JSON object in each line."),
    ("a.jsonl", '{"v":[],"label":"a"}',
     "a.jsonl, column 'v', row 1: the list must be of numbers, or of steps of equally many numbers; "
     "it is empty."),
    ("a.jsonl", '{"v":[[1,2],[3]],"label":"a"}',
     "a.jsonl, column 'v', row 1: the list must be of numbers, or of steps of equally many numbers; "
     "it has steps of 1 and of 2."),
    ("a.jsonl", '{"v":[[1,2],null],"label":"a"}',
     "a.jsonl, column 'v', row 1: the list must be of numbers, or of steps of equally many numbers; "
     "a step is missing."),
    ("a.jsonl", '{"v":[[1,2]],"label":"a"}\n{"v":[[1]],"label":"a"}',
     "a.jsonl, column 'v', row 2: the list must be of numbers, or of steps of equally many numbers; "
     "its steps have 1, those before 2."),
    ("a.jsonl", '{"v":["q"],"label":"a"}',
     "a.jsonl, column 'v', row 1: the list must be of numbers, or of steps of equally many numbers; "
     "'q' is not a number."),
    ("a.jsonl", '{"v":[1,2],"w":[3],"label":"a"}',
     "a.jsonl, column 'w', row 1: the list has 1 number, but that of 'v' 2."),
    ("a.jsonl", '{"v":[],"w":[],"label":"a"}', "a.jsonl: several columns could be the "),
    ("a.jsonl", '{"v":[1],"w":[[1]],"label":"a"}', "a.jsonl: several columns could be the "),
    ("a.ts", TS + "1:2\n", "a.ts, row 3: the label '2' is not among those of @classLabel: 'a', 'b'."),
    ("a.ts", TS + "1:2:c\n", "a.ts, row 3: the label 'c' is not among those of @classLabel: 'a', 'b'."),
    ("a.ts", TS + "1:a\n", "a.ts, row 3: there are 1 channels where lines above have 2."),
    ("a.ts", TS + "1,2:3:a\n", "a.ts, row 3: channel 1 has 1 steps, but channel 0 has 2."),
    ("a.ts", TS + "1:q:a\n", "a.ts, row 3: channel 1: 'q' is not a number."),
    ("a.ts", TS + "1:inf:a\n", "a.ts, row 3: channel 1 has an infinite value."),
    ("a.ts", TS + ":1:a\n", "a.ts, row 3: channel 0 has no values."),
    ("a.ts", TS.replace("@data", "@dat"), "a.ts: the file has no line @data, which begins the sequences"),
    ("a.ts", TS.partition("@data")[0] + "@data\n", "a.ts: the file has no sequences below @data."),
    ("a.ts", TS.replace("Stamps false", "Stamps true"), "a.ts: the file has a time at each value"),
])  # fmt: skip
def test_errors(write: Write, name: str, text: str, message: str) -> None:
    path = write(name, text)
    with pytest.raises(TableError) as caught:
        read_sequences(path, label=None if name.endswith(".ts") else "label")
    assert str(caught.value).replace(f"{path.parent}/", "").startswith(message)


def test_marks_and_times_that_cannot_be_read_are_refused(write: Write) -> None:
    with pytest.raises(TableError, match=r"column 'x', row 41: -999 stands in 4 rows, far from all other"):
        read_sequences(write("m.csv", MARKS))
    with pytest.raises(
        TableError, match=r"column 'when': the times must be numbers, or written as 2024-01-31 "
    ):
        read_sequences(write("m.csv", "id,when,x\n1,1/2/2024,3\n1,2024-01-01,4\n"), time="when")


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the folder has no"):
        read_table(tmp_path)
    for name, columns in (
        ("b", {"x": [3.0], "id": [2]}),
        ("a", {"id": [1, 1], "x": [1.0, 2.0]}),
        (".c", {"y": [1]}),
    ):
        pl.DataFrame(columns).write_parquet(tmp_path / f"{name}.parquet")
    assert lists(sequences_from(read_table(tmp_path))) == [[[1.0], [2.0]], [[3.0]]]
    assert [len(part) for part in read_tables(tmp_path)] == [2, 1]
    pl.DataFrame({"x": ["3"], "id": [2]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(
        TableError, match=r"c.parquet, column 'x': the column has the type .*string.*, but double"
    ):
        read_table(tmp_path)
    pl.DataFrame({"x": [3.0]}).write_parquet(tmp_path / "c.parquet")
    with pytest.raises(TableError, match=r"c.parquet: other files .* do not have the same columns: 'id'"):
        read_table(tmp_path)


def test_columns_of_a_folder_may_differ_in_width_and_have_no_values_in_some_files(tmp_path: Path) -> None:
    for name, values in (("a", [None]), ("b", [1.5]), ("c", [None])):
        pl.DataFrame({"id": [name], "x": [1.0], "y": values}).write_parquet(tmp_path / f"{name}.parquet")
    pq.write_table(
        pa.table({"id": pa.array(["d"]).dictionary_encode(), "x": [1], "y": [2]}), tmp_path / "d.pq"
    )
    pq.write_table(pa.table({"id": ["0"], "x": [1.0], "y": pa.nulls(1)}), tmp_path / "0.parquet")
    assert read_table(tmp_path).column("y").to_pylist() == [None, None, 1.5, None, 2.0]
    assert lists(sequences_from(read_table(tmp_path)))[2] == [[1.0, 1.5]]


def test_frames_of_other_libraries() -> None:
    found = sequences_from(
        pl.DataFrame({"case": [1, 1, 2], "x": [1.0, None, 3.0], "y": ["a", "a", "b"]}), "case", label="y"
    )
    assert (lists(found), labels(found), found.name) == ([[[1.0], [None]], [[3.0]]], ["a", "b"], "the frame")


def test_text_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content, encoding in (
        (b"\xef\xbb\xbfa\r\nb\rc", None),
        ("a\nb\nc".encode("utf-16"), None),
        (b"a\nb\nc", "ascii"),
    ):
        path.write_bytes(content)
        assert read_text(path, encoding) == "a\nb\nc"
    path.write_bytes(b"\xe9")
    assert read_text(path, "cp1252") == "é"
    with pytest.raises(
        TableError, match=r"a.txt: the file is not UTF-8 text \(byte 0\); --encoding names another"
    ):
        read_text(path)
    assert np.isfinite(len(read_text(Path(__file__))))


def test_lists_may_stand_beside_an_id() -> None:
    lists = {"x": [[1.0, 2.0], [3.0]], "y": [[5.0, 6.0], [7.0]], "label": ["a", "b"]}
    alone = sequences_from(pa.table(lists), label="label")
    for id in ("id", "name"):
        found = sequences_from(pa.table({id: ["p", "q"], **lists}), id=id, label="label")
        assert list(found.sequences.ids) == ["p", "q"]
        assert found.sequences.channels == alone.sequences.channels == ("x", "y")
        assert [x.tolist() for x in found.sequences.arrays] == [x.tolist() for x in alone.sequences.arrays]
        assert found.labels is not None
        assert found.labels.tolist() == ["a", "b"]


def test_texts_may_stand_beside_ids_that_differ() -> None:
    table = pa.table({"id": ["p", "q"], "text": ["hot day", "cold"], "label": ["a", "b"]})
    found = sequences_from(table, label="label").sequences
    assert (list(found.ids), found.texts) == (["p", "q"], ["hot day", "cold"])
    with pytest.raises(ValueError, match="there is no column of numbers beside 'id'"):
        sequences_from(table.set_column(0, "id", [["p", "p"]]), label="label")
