"""`gatewise predict`: predictions for files, printed or written, with errors in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks import Forecaster, TimeSeries
from tests.tasks.conftest import make_frame

LOAD = "load (kW)"


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and data as CSV and as a folder of Parquet."""
    folder = tmp_path_factory.mktemp("run")
    frame = make_frame()
    series = TimeSeries.from_frame(frame, LOAD)
    Forecaster(3, hidden_size=8, max_epochs=1).fit(series.head(340)).save(folder / "model.safetensors")
    frame.to_csv(folder / "data.csv", index_label="time")
    (folder / "parts").mkdir()
    for n in range(3):
        frame.iloc[: 300 + n].to_parquet(folder / "parts" / f"{n}.parquet")
    return folder


def predicted(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_predictions_are_printed(folder: Path) -> None:
    done = predicted(folder, folder / "data.csv")
    assert done.exit_code == 0, done.output
    expected = Forecaster.load(folder / "model.safetensors").predict(
        TimeSeries.from_frame(make_frame(), LOAD)
    )
    lines = done.stdout.splitlines()
    assert lines[0] == f'"time","{LOAD}"'
    assert [float(line.rpartition(",")[2]) for line in lines[1:]] == expected.tolist()


def test_as_json(folder: Path) -> None:
    done = predicted(folder / "model.safetensors", folder / "data.csv", folder / "parts", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 4 * 3
    assert rows[0].keys() == {"time", LOAD}
    assert rows[0]["time"] == "2024-03-17T16:00:00"


def test_a_file_is_read_as_the_options_say(folder: Path, tmp_path: Path) -> None:
    frame = make_frame()
    frame.loc[frame.index[350:360], "wind"] = -999.0
    frame.to_csv(tmp_path / "marked.csv", index_label="time", sep=";", decimal=",")
    done = predicted(folder, tmp_path / "marked.csv")
    assert (done.exit_code, "-999" in done.stderr) == (2, True)
    done = predicted(folder, tmp_path / "marked.csv", "--missing", "-999", "--decimal", ",")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 4), done.output


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_predictions_of_parts_are_written(folder: Path, tmp_path: Path, options: list[str]) -> None:
    out = tmp_path / "out.parquet"
    done = predicted(folder, folder / "parts", "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert pyarrow.parquet.read_table(out).num_rows == 9
    if options:
        report = json.loads(done.stdout)
        assert (report["task"], report["tables"], report["rows"]) == ("forecast", 3, 9)
    else:
        assert done.stdout.startswith("Wrote 9 rows to")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.safetensors", "data.csv"], "MODEL: there is no file none.safetensors"),
        (["parts", "data.csv"], "MODEL: the folder parts has no model.safetensors."),
        ([".", "none.csv"], "none.csv"),
        ([".", "data.csv", "--out", "parts"], "--out must name a file. Got the folder parts"),
        ([".", "data.csv", "--out", "x.txt"], "--out must end in .csv, .jsonl, .parquet. Got 'x.txt'"),
        ([".", "bad.csv"], "bad.csv"),
        ([".", "short.csv"], "short.csv: the series must have at least"),
        (["data.csv", "data.csv"], "data.csv"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.csv").write_text("time,x\n2024-01-01,1\n")
    make_frame().iloc[:30].to_csv("short.csv", index_label="time")
    before = sorted(folder.rglob("*"))
    done = predicted(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before
