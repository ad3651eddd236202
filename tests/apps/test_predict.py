"""`gatewise predict`: predictions for files, printed or written, with errors in one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.apps.standard_input import ending_for_training, ending_of
from gatewise.tasks import Classifier, Forecaster, TimeSeries
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


def test_a_forecast_from_new_rows_is_that_from_all_rows(folder: Path, tmp_path: Path) -> None:
    frame, state = make_frame(), tmp_path / "state"
    for first, stop in ((0, 300), (300, 301), (301, 340), (340, 400)):
        frame.iloc[first:stop].to_csv(tmp_path / "new.csv", index_label="time")
        frame.iloc[:stop].to_csv(tmp_path / "all.csv", index_label="time")
        options = ["--quantiles"] if first == 301 else []
        done = predicted(folder, tmp_path / "new.csv", "--resume", state, *options)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout == predicted(folder, tmp_path / "all.csv", *options).stdout
        assert ("quantile 0.5" in done.stdout) == bool(options)


def test_rows_that_repeat_or_leave_a_gap_leave_the_state_as_it_was(folder: Path, tmp_path: Path) -> None:
    frame, state = make_frame(), tmp_path / "state"
    frame.iloc[:300].to_csv(tmp_path / "new.csv", index_label="time")
    assert predicted(folder, tmp_path / "new.csv", "--resume", state).exit_code == 0
    before = state.read_bytes()
    for rows, problem in (
        (slice(290, 320), "the state already has 10 steps from the first row on; give only new rows"),
        (slice(302, 320), "there is a gap of 2 steps between the state and the first row"),
    ):
        frame.iloc[rows].to_csv(tmp_path / "new.csv", index_label="time")
        done = predicted(folder, tmp_path / "new.csv", "--resume", state)
        assert (done.exit_code, done.stdout, problem in done.stderr) == (2, "", True), done.stderr
        assert done.stderr.count("\n") == 1
        assert state.read_bytes() == before
    other = predicted(folder, tmp_path / "new.csv", "--resume", folder / "model.safetensors")
    assert (other.exit_code, "task must be 'forecast-state'" in other.stderr) == (2, True)


def test_every_step_is_scored(folder: Path, tmp_path: Path) -> None:
    frame = make_frame()
    frame[LOAD] = frame[LOAD].mask(frame.index == frame.index[350], frame[LOAD] + 9.0)
    frame.to_csv(tmp_path / "spiked.csv", index_label="time")
    picture = tmp_path / "found.png"
    done = predicted(folder, tmp_path / "spiked.csv", "--anomalies", "--picture", picture, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["time"] for row in rows] == [time.isoformat() for time in frame.index]
    assert rows[0].keys() == {"time", LOAD, "score", "anomaly"}
    flagged = [place for place, row in enumerate(rows) if row["anomaly"]]
    assert 350 in flagged
    assert max(rows[200:], key=lambda row: row["score"]) == rows[350]
    assert rows[0]["score"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")
    usual = predicted(folder, tmp_path / "spiked.csv", "--anomalies", "--rate", "0.05", "--json")
    assert usual.stdout.count('"anomaly": true') > len(flagged)


def test_times_are_read_as_the_options_say(folder: Path, tmp_path: Path) -> None:
    frame = make_frame()
    expected = predicted(folder, folder / "data.csv").stdout
    frame.index = pd.DatetimeIndex(frame.index).strftime("%d.%m.%Y %H:%M")
    frame.assign(other=frame.index).to_csv(tmp_path / "two.csv", index_label="when")
    done = predicted(folder, tmp_path / "two.csv")
    assert (done.exit_code, "name the time column with --time" in done.stderr) == (2, True), done.stderr
    done = predicted(folder, tmp_path / "two.csv", "--time", "when", "--time-format", "%d.%m.%Y %H:%M")
    assert (done.exit_code, done.stdout) == (0, expected)
    zoned = predicted(
        folder, tmp_path / "two.csv", "--time", "when", "--zone", "UTC", "--time-format", "%d.%m.%Y %H:%M"
    )
    assert (zoned.exit_code, "must have times without a time zone" in zoned.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0.01"], "--rate needs --anomalies."),
        (["--id", "shop"], "--id is for models of several series; this one forecasts a single series."),
        (["--quantiles", "--anomalies"], "--anomalies makes no forecasts: leave --quantiles out."),
        (["--picture", "a.png"], "--picture needs --anomalies."),
        (["--anomalies", "--picture", "a.txt"], "--picture must end in .png, .svg or .pdf. Got 'a.txt'."),
        (["--anomalies", "--resume", "state"], "--anomalies reads whole series: leave --resume out."),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, options: list[str], message: str) -> None:
    done = predicted(folder, folder / "data.csv", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


def test_options_of_forecasters_are_refused_for_other_models(tmp_path: Path) -> None:
    texts = ["warm and dry", "cold and wet", "dry and hot", "wet and windy"] * 5
    Classifier(hidden_size=4, max_epochs=1, unit="words").fit(texts, ["good", "bad"] * 10).save(
        tmp_path / "m.safetensors"
    )
    (tmp_path / "a.csv").write_text("text\nhot\n")
    for options, message in (
        (["--anomalies"], "--anomalies is for forecasters; this model is one for classify."),
        (["--zone", "UTC"], "--zone is for forecasters; this model is one for classify."),
    ):
        done = predicted(tmp_path / "m.safetensors", tmp_path / "a.csv", *options)
        assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    (tmp_path / "b.csv").write_text("text\n" + "hot\ncold day\n" * 70)
    one, two = (predicted(tmp_path / "m.safetensors", tmp_path / "b.csv", "--threads", n) for n in (1, 2))
    assert (one.exit_code, one.stdout.count("\n"), two.stdout) == (0, 141, one.stdout)


def test_threads_are_for_sequences(folder: Path) -> None:
    done = predicted(folder, folder / "data.csv", "--threads", 2)
    assert (done.exit_code, "--threads is for models of sequences." in done.stderr) == (2, True), done.stderr


def piped(content: bytes, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], input=content)


def test_standard_input_is_read_as_what_it_holds(folder: Path, tmp_path: Path) -> None:
    expected = predicted(folder, folder / "data.csv").stdout
    frame = make_frame().reset_index(names="time")
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_json(
        tmp_path / "data.jsonl", orient="records", lines=True, date_format="iso", double_precision=15
    )
    for file in (folder / "data.csv", tmp_path / "data.parquet"):
        assert piped(file.read_bytes(), folder, "-").stdout == expected
    lines = piped((tmp_path / "data.jsonl").read_bytes(), folder, "-")
    assert (lines.exit_code, lines.stdout.count("\n")) == (0, 4), lines.output
    packed = gzip.compress((tmp_path / "data.jsonl").read_bytes())
    assert piped(packed, folder, "-").stdout == lines.stdout
    assert piped(packed[:50], folder, "-").stderr.startswith(
        "Error: standard input: the file cannot be unpacked"
    )
    assert piped(b"", folder, "-").stderr == "Error: standard input: the file is empty.\n"
    assert piped(b"a,b\n1,2\n", folder, "-").stderr.startswith("Error: standard input: ")
    twice = piped(b"", folder, "-", "-")
    assert (twice.exit_code, twice.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(("content", "task", "ending"), [
    (b"# a\n1\tThe\tthe\n", "tag", ".conllu"), (b"The cat sat\n", "tag", ".txt"),
    (b'"id","Word"\n1,The\n', "tag", ".csv"), (b"Dear Sir, I am\n", "write", ".txt"),
    (b"text;n\r\nDear;1\r\n", "write", ".csv"), (b' {"text": "a"}\n', "write", ".jsonl"),
    (b"id,x\n1,2\n", "classify", ".csv"), (b"PAR1", "classify", ".parquet"),
    (b"cat\tN\r\n\r\nThe\tD\r\n", "tag", ".tsv"), (b"cat\tN\nThe cat\n", "tag", ".txt"), (b"", "tag", ".txt"),
    (b"{\tPUNCT\n", "tag", ".tsv"), (b"{ the cat }\n", "tag", ".txt"),
    (b'\xef\xbb\xbf{"x": [1]}\n', "classify", ".jsonl"), (b'\xef\xbb\xbf{"tokens": []}\n', "tag", ".jsonl"),
    ('{"x": [1]}'.encode("utf-16"), "classify", ".jsonl"), ("word,id\n".encode("utf-16"), "tag", ".csv"),
    (b"\xef\xbb\xbfcat\tN\n", "tag", ".tsv"), (b"\xef\xbb\xbfword,id\n", "tag", ".csv"),
])  # fmt: skip
def test_what_standard_input_holds(content: bytes, task: str, ending: str) -> None:
    assert ending_of(content, task) == ending


@pytest.mark.parametrize(("content", "task", "ending"), [
    (b"# a\n1\tThe\tthe\n", "tag", ".conllu"), (b"The DET\n", "tag", ".tsv"), (b"{\tPUNCT\n", "tag", ".tsv"),
    (b"word,sentence\n", "tag", ".csv"), (b'{"tokens": ["a"]}\n', "tag", ".jsonl"),
    (b"PAR1", "tag", ".parquet"),
    (b"text;n\r\n", "write", ".txt"), (b'{"text": "a"}\n', "write", ".txt"), (b"", "write", ".txt"),
    (b"#\n@problemName x\n@data\n", "classify", ".ts"), (b"user\n@data is me\n", "forecast", ".csv"),
    (b"id,x\n", "classify", ".csv"), (b'{"x": 1}\n', "forecast", ".jsonl"),
])  # fmt: skip
def test_what_standard_input_holds_for_training(content: bytes, task: str, ending: str) -> None:
    assert ending_for_training(content, task) == ending


def test_quantiles_are_columns_when_asked_for(folder: Path) -> None:
    done = predicted(folder, folder / "data.csv", "--quantiles", "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    plain = predicted(folder, folder / "data.csv", "--json")
    assert [{name: row[name] for name in ("time", LOAD)} for row in rows] == [
        json.loads(line) for line in plain.stdout.splitlines()
    ]
    for row in rows:
        values = [value for name, value in row.items() if name.startswith("quantile ")]
        assert len(values) == 7
        assert values == sorted(values)
        assert row["quantile 0.5"] == row[LOAD]
