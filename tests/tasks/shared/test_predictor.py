"""`Predictor`: the same answers for each table, without torch, in other processes too."""

from __future__ import annotations

import doctest
import pickle
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

import gatewise.tasks.shared.predictor
from gatewise.runtime import ModelFileError
from gatewise.tasks import Forecaster, Predictor, TimeSeries
from gatewise.tasks.shared.written import IN_DAYS, csv_text, table_file
from tests.tasks.conftest import make_frame

LOAD = "load (kW)"


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp("run")
    series = TimeSeries.from_frame(make_frame(), LOAD)
    Forecaster(6, hidden_size=8, max_epochs=2).fit(series.head(340)).save(folder / "model.safetensors")
    return folder


def table(rows: int = 400) -> pa.Table:
    return pa.Table.from_pandas(make_frame().iloc[:rows].reset_index(names="time"))


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(gatewise.tasks.shared.predictor).failed == 0


def test_a_predictor_gives_the_forecast_of_the_estimator(run: Path) -> None:
    predictor = Predictor(run)
    assert predictor.task == "forecast"
    series = TimeSeries.from_frame(make_frame(), LOAD)
    expected = Forecaster.load(run / "model.safetensors").predict(series)
    found = predictor(table()).to_pandas()
    assert found[LOAD].tolist() == expected.tolist()
    assert found["time"].tolist() == expected.index.tolist()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (table().drop_columns(["wind"]), "there is no column 'wind'"),
        (table(50), "must have at least"),
        (table().take(np.arange(0, 400, 2)), "must have steps of 1 h. Got 2 h"),
    ],
    ids=["column", "rows", "step"],
)
def test_tables_of_another_kind_are_refused(run: Path, wrong: pa.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Predictor(run)(wrong)


def test_a_series_with_a_time_zone_is_another_one(run: Path) -> None:
    zoned = table().to_pandas()
    zoned["time"] = zoned["time"].dt.tz_localize("Asia/Tokyo")
    with pytest.raises(ValueError, match=r"times without a time zone. Got Asia/Tokyo"):
        Predictor(run)(pa.Table.from_pandas(zoned))


def test_a_pickled_predictor_loads_its_file_again(run: Path) -> None:
    predictor = Predictor(run)
    again = pickle.loads(pickle.dumps(predictor))
    assert again(table()).equals(predictor(table()))
    assert repr(again) == repr(predictor)


def test_a_file_of_no_job_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x" * 20)
    with pytest.raises(ModelFileError):
        Predictor(tmp_path / "m")


def test_torch_is_not_imported(run: Path) -> None:
    pa.parquet.write_table(table(), run / "data.parquet")
    code = f"""
import sys
sys.modules["torch"] = None
from gatewise.tasks import Predictor
predictor = Predictor({str(run)!r})
for table in predictor.read({str(run / "data.parquet")!r}):
    print(predictor(table).num_rows)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("6\n", 0), done.stderr


TABLE = pa.table({"a": [1.5, None, float("nan")], "b": ["x", 'y"', None], "c": [[1, 2], [], None]})


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".csv", '"a","b","c"\n1.5,"x","[1, 2]"\n,"y""","[]"\nnan,,"null"\n'),
        (".jsonl", '{"a": 1.5, "b": "x", "c": [1, 2]}\n{"a": null, "b": "y\\"", "c": []}\n'
                   '{"a": null, "b": null, "c": null}\n'),
    ],
)  # fmt: skip
def test_tables_as_text(tmp_path: Path, ending: str, text: str) -> None:
    path = tmp_path / f"out{ending}"
    with table_file(path) as write:
        write(TABLE.slice(0, 2))
        write(TABLE.slice(2))
    assert path.read_text(encoding="utf-8") == text


def test_tables_as_parquet(tmp_path: Path) -> None:
    with table_file(tmp_path / "out.parquet") as write:
        write(TABLE)
        write(TABLE)
    assert pa.parquet.read_table(tmp_path / "out.parquet").num_rows == 6


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_after_an_error_the_file_is_absent(tmp_path: Path, ending: str) -> None:
    def write_both() -> None:
        with table_file(tmp_path / f"out{ending}") as write:
            write(TABLE)
            write(pa.table({"z": [1]}))

    with pytest.raises(ValueError, match=r"all files must give the columns a, b, c. Got z"):
        write_both()
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--out must end in .csv, .jsonl, .parquet"):
        table_file(tmp_path / "x.txt").__enter__()


def test_the_parts_of_a_folder_are_read_one_by_one(run: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for n in range(8):
        pa.parquet.write_table(table(), parts / f"{n}.parquet")
    predictor = Predictor(run)
    tables = predictor.read(parts)
    assert next(tables).num_rows == 400  # an iterator, not a list
    made = [predictor(part) for part in predictor.read(parts)]
    assert len(made) == 8
    assert all(each.equals(made[0]) for each in made)


def test_times_in_csv_are_in_their_zone_and_have_no_needless_digits() -> None:
    def line(time: str, metadata: dict[bytes, bytes] | None = None, zone: str | None = None) -> str:
        column = pa.array([pd.Timestamp(time).tz_localize(zone), None], pa.timestamp("us", zone))
        field = pa.field("time", column.type, metadata=metadata)
        return csv_text(pa.table([column], pa.schema([field])), header=False)

    assert line("2024-10-13") == "2024-10-13 00:00:00\n\n"
    assert line("2024-10-13", IN_DAYS) == "2024-10-13\n\n"
    assert line("2024-07-13 06:00", zone="Europe/Berlin") == "2024-07-13 06:00:00+02:00\n\n"
    assert line("2024-10-13 00:00:00.25") == "2024-10-13 00:00:00.250000\n\n"
    assert line("2024-10-13", IN_DAYS, "Europe/Berlin") == "2024-10-13 00:00:00+02:00\n\n"
    texts = [
        'say "2024-07-13 06:00:00+02:00"',
        'a,"2024-07-13 06:00:00+02:00",b',
        "2024-07-13 06:00:00+02:00",
    ]
    times = pa.array([pd.Timestamp(texts[2])] * 3, pa.timestamp("us", "Europe/Berlin"))
    found = csv_text(pa.table({"a": texts, "time": times, "b": texts}), header=True)
    assert pd.read_csv(StringIO(found)).to_dict("list") == {"a": texts, "time": texts[2:] * 3, "b": texts}
