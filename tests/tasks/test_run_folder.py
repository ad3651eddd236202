from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.run_folder import FILES, metrics, write_run
from gatewise.tasks.forecast.tables import Asked, predict_table
from gatewise.tasks.series import TimeSeries
from gatewise.tasks.shared.run_folder import FolderError, NewFolder, free_name, given_name
from gatewise.tasks.shared.written import csv_text


def test_a_folder_gets_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    wanted = tmp_path / "deep" / "run"
    with NewFolder(lambda: given_name(wanted)) as folder:
        (folder.writing / "a").write_text("1")
        assert not wanted.exists()
    assert folder.path == wanted
    assert [path.name for path in wanted.iterdir()] == ["a"]
    assert [path.name for path in wanted.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_folder_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with NewFolder(lambda: given_name(tmp_path / "deep" / "er" / "run")) as folder:
            (folder.writing / "a").write_text("1")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_existed_before_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError), NewFolder(lambda: given_name(tmp_path / "run")):
        raise ValueError
    assert tmp_path.exists()


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (
        pytest.raises(FolderError, match=r"run: the folder exists already; give --out a new name\."),
        NewFolder(lambda: given_name(tmp_path / "run")),
    ):
        pytest.fail("the body must not run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_is_created_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    wanted = tmp_path / "run"

    def write() -> None:
        with NewFolder(lambda: given_name(wanted)) as folder:
            (folder.writing / "a").write_text("ours")
            wanted.mkdir()
            (wanted / "a").write_text("theirs")

    with pytest.raises(FolderError, match="exists already"):
        write()
    assert (wanted / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_runs_that_end_at_the_same_time_have_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with NewFolder(lambda: free_name("a")) as first, NewFolder(lambda: free_name("a")) as second:
        (first.writing / "first").touch()
        (second.writing / "second").touch()
    assert (second.path, first.path) == (Path("runs/a"), Path("runs/a-2"))
    assert sorted(path.name for path in Path("runs").rglob("*")) == ["a", "a-2", "first", "second"]


def test_a_name_that_is_taken_at_the_last_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter([tmp_path / "run", tmp_path / "run", tmp_path / "run-2"])
    with NewFolder(lambda: next(names)) as folder:
        (folder.writing / "a").touch()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs").touch()
    assert folder.path == tmp_path / "run-2"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "run", "run-2", "theirs"]


def test_folders_of_other_processes_stay(tmp_path: Path) -> None:
    theirs = tmp_path / "deep" / ".gatewise-0123456789abcdef.part"

    def fail() -> None:
        with NewFolder(lambda: given_name(tmp_path / "deep" / "run")):
            theirs.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list((tmp_path / "deep").iterdir()) == [theirs]


def test_a_second_ctrl_c_during_the_clean_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree, calls = shutil.rmtree, []

    def interrupted_once(path: Path, ignore_errors: bool) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        rmtree(path, ignore_errors)

    def fail() -> None:
        with NewFolder(lambda: given_name(tmp_path / "run")) as folder:
            (folder.writing / "a").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_inside_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FolderError, match=r"the folder cannot be made \(Not a directory\)\."),
        NewFolder(lambda: given_name(tmp_path / "file" / "run")),
    ):
        pytest.fail("the body must not run")


def test_free_names_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_name("a-lstm") == Path("runs/a-lstm")
    for name in ("a-lstm", "a-lstm-2"):
        Path("runs", name).mkdir(parents=True)
    assert free_name("a-lstm") == Path("runs/a-lstm-3")


def test_a_run_writes_all_its_files_and_they_agree(
    tmp_path: Path, fitted: Forecaster, series: TimeSeries
) -> None:
    tested = fitted.backtest(series, 340)
    write_run(tmp_path, fitted, series, tested)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (
        written == metrics(fitted, series, tested) == Forecaster.load(tmp_path / "model.safetensors").metrics_
    )
    assert written["test"]["overall"] == tested.overall()
    assert len(written["test"]["by_step"]) == 6
    assert written["series"]["past_inputs"] == ["wind"]
    series.frame.to_parquet(tmp_path / "data.parquet")
    answer = predict_table(
        fitted.model_, pa.parquet.read_table(tmp_path / "data.parquet"), Asked(quantiles=True)
    )
    (tmp_path / "data.parquet").unlink()
    text = (tmp_path / "forecast.csv").read_text(encoding="utf-8")
    assert text == csv_text(answer, header=True)  # what gatewise predict prints
    coming = pd.read_csv(tmp_path / "forecast.csv", index_col="time", parse_dates=True)
    assert list(coming.index) == list(series.future(6))
    assert np.allclose(coming["load (kW)"], fitted.predict(series), rtol=1e-5)
    for picture in ("forecasts.png", "gates.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_the_same_run_writes_the_same_bytes(tmp_path: Path, fitted: Forecaster, series: TimeSeries) -> None:
    tested = fitted.backtest(series, 340)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, fitted, series, tested)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
