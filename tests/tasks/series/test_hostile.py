"""Damaged and malicious files are refused in one sentence, without delay."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gatewise.tasks import SeriesError, read_series
from gatewise.tasks.shared.reading import content, table


def refused(path: str | Path, sentence: str) -> None:
    with pytest.raises(SeriesError) as caught:
        read_series(path)
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "must be a file. Got a pipe")
    refused("/dev/zero", "must be a file. Got a device")
    refused(tmp_path, "the folder has no .parquet files")


def test_a_million_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        ",".join(f"c{k}" for k in range(10**6)) + "\n" + "1," * (10**6 - 1) + "1\n"
    )
    refused(tmp_path / "a.csv", "the file has 1,000,000 columns; at most 4,096 are read")


def test_limits_are_checked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_BYTES", 1 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"0" * (2 << 20)))
    refused(tmp_path / "a.gz", "the file has more than 1 MiB, the most that is read")
    monkeypatch.setattr(table, "MOST_VALUES", 1000)
    pq.write_table(pa.table({"y": np.zeros(1001)}), tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "the file has 1,001 rows of 1 columns; at most 1,000 values")


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        (b"PK\x03\x04", "cannot be unpacked"),
        (b"\x1f\x8b", "cannot be unpacked"),
        (b"\xd0\xcf\x11\xe0", "Excel workbook; save the sheet as CSV"),
        (b"%PDF-1.7", "PDF"),
        (b"PAR1", "not a readable Parquet file"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, start: bytes, sentence: str) -> None:
    (tmp_path / "a.csv").write_bytes(start + b"and so on" * 20)
    refused(tmp_path / "a.csv", sentence)


def test_names_cannot_control_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J.csv"
    path.write_text("t,\x1b[31mred\n2024,1\n2025,2\n")
    with pytest.raises(SeriesError) as caught:
        read_series(path, "y")
    assert "a\\x1b[2J.csv: there is no column 'y'; the columns are 't', '\\x1b[31mred'" in str(caught.value)


@pytest.mark.parametrize("word", ["now", "today", "NaT", "0", "-5", "99999999999999999999", "9999-12-31"])
def test_times_that_no_series_has_are_refused(tmp_path: Path, word: str) -> None:
    times = [f"2024-01-{day:02d}" for day in range(1, 31)]
    times[9] = word
    (tmp_path / "a.csv").write_text("t,y\n" + "\n".join(f"{time},{k % 7}" for k, time in enumerate(times)))
    with pytest.raises(SeriesError, match="column 't', row 10: "):
        read_series(tmp_path / "a.csv", "y", "t")


def test_damaged_parquet_is_refused_or_read(tmp_path: Path) -> None:
    chance, path = random.Random(0), tmp_path / "a.parquet"
    days = pd.date_range("2022-01-01", periods=60, tz="Europe/Berlin")
    pd.DataFrame({"day": days, "sold": np.arange(60.0) % 7, "word": "x"}).to_parquet(path)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        try:
            read_series(path)
        except SeriesError as error:
            assert str(error).isprintable()  # noqa: PT017
