from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gatewise.tasks.series.errors import SeriesError
from gatewise.tasks.series.stamps import read_times
from gatewise.tasks.shared.reading.table import read_table


def write(folder: Path, text: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "t,y\n2024,1.5\n2025,2\n",
        "t;y\n2024;1,5\n2025;2\n",
        "t\ty\r\n2024\t1.5\r\n2025\t2\r\n",
        "\ufefft,y\n2024,1.5\n2025,2\n",
        '\n\n"t", y \n2024, 1.5 \n\n2025,2\n\n',
        "t,y\n2024,1.5\n2025,2",
    ],
)
def test_the_usual_kinds_of_csv_give_the_same_numbers(tmp_path: Path, text: str) -> None:
    table = read_table(write(tmp_path, text))
    assert table.numbers("y").tolist() == [1.5, 2.0]
    assert list(read_times(table, ["t"])) == [pd.Timestamp("2024"), pd.Timestamp("2025")]


def test_missing_values_are_nan(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t,y\n1,NA\n2,\n3,nan\n4,7\n"))
    assert np.array_equal(table.numbers("y"), [np.nan, np.nan, np.nan, 7.0], equal_nan=True)


def test_parquet_keeps_types_and_a_named_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"y": [1, 2], "on": [True, False]}, index=pd.date_range("2024", periods=2, name="t"))
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.numbers("y").tolist() == [1.0, 2.0]
    assert table.numbers("on").tolist() == [1.0, 0.0]
    assert read_times(table, ["t"])[1] == pd.Timestamp("2024-01-02")


def test_rows_are_counted_under_the_header_with_blank_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t,y\n1,1\n\n3,oops\n4,4\n"))
    with pytest.raises(SeriesError, match=r"a\.csv, column 'y', row 3: 'oops' is not a number; .*oops\.$"):
        table.numbers("y")


def test_rows_of_a_parquet_file_are_counted_from_one(tmp_path: Path) -> None:
    pd.DataFrame({"y": ["1", "2", "oops"]}).to_parquet(tmp_path / "a.pq")
    with pytest.raises(SeriesError, match=r"a\.pq, column 'y', row 3: 'oops' is not a number; .*oops\.$"):
        read_table(tmp_path / "a.pq").numbers("y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("t,y\n", "the file has a header but no rows"),
        ("t,y\n1,2\n3,4,5\n", "row 2: there are 3 fields where the header has 2"),
        ("t,y\n1,2,3\n3,4,5\n", "row 1: there are 3 fields where the header has 2"),
        ('t,y\n1,"2\n3,4\n', "a quote may never be closed"),
        ("t,y,y\n1,2,3\n", "column 'y': the header has this name more than once"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_in_one_sentence(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(SeriesError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"t,y\n\xff\xfe,1\n", "not UTF-8 text"),
        ("a.csv", b"PAR1 and then nothing", "not a readable Parquet file"),
        ("a.parquet", b"t,y\n1,2\n", "not a readable Parquet file"),
    ],
)
def test_bytes_that_are_not_a_table_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SeriesError, match=message):
        read_table(tmp_path / name)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SeriesError, match="Got a folder"):
        read_table(tmp_path)


def test_infinity_is_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="row 2: '-inf' is not a finite number"):
        read_table(write(tmp_path, "t,y\n1,2\n2,-inf\n")).numbers("y")


def test_a_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(SeriesError) as caught:
        read_table(write(tmp_path, f"t,y\n1,{'x' * 500}\n")).numbers("y")
    assert len(str(caught.value)) < 200
