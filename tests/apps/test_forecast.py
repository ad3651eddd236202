"""`gatewise forecast` as users call it, in its own process where that matters."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import chdir
from math import sin
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks.forecast.forecaster import Forecaster
from gatewise.tasks.forecast.run_folder import FILES
from gatewise.tasks.series import read_series
from tests.apps.interrupting import BY_CTRL_C, interrupted, signalled
from tests.apps.processes import MAIN, run_forked

COMMAND = [sys.executable, "-m", "gatewise.apps.command_line", "forecast"]
TIMES = [f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00" for hour in range(240)]
SMALL = ["--hidden-size", "8", "--epochs", "2"]
RUN = ["shop.csv", "--target", "y", "--horizon", "6", "--hidden-size", "8", "--epochs", "3"]


def forecast(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        encoding="utf-8",
    )


def forecast_here(*arguments: str, cwd: Path) -> Result:
    """The command in this process, where nothing has to be imported again."""
    with chdir(cwd):
        return CliRunner().invoke(app, ["forecast", *arguments], env={"COLUMNS": "100"})


def table(folder: Path, *, header: str = "time,y,x", **rows: str) -> Path:
    """A table ``shop.csv`` with 240 good rows; ``r5="..."`` replaces row 5, counted from 1."""
    lines = [f"{time},{5 * sin(hour / 4) + hour % 3:.2f},{hour % 7}" for hour, time in enumerate(TIMES)]
    for name, line in rows.items():
        lines[int(name[1:]) - 1] = line
    path = folder / "shop.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("run")
    table(folder)
    return folder, forecast(*RUN, cwd=folder)


def test_a_run_prints_errors_and_leaves_a_complete_folder(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = run
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in folder.iterdir()} == {"shop.csv", "runs"}
    assert {path.name for path in (folder / "runs" / "shop-lstm").iterdir()} == set(FILES)
    for words in (
        "persistence",
        "seasonal naive (24 h)",
        "MAE",
        "RMSE",
        "MASE",
        "6 h ahead",
        "runs/shop-lstm/",
    ):
        assert words in done.stdout
    metrics = json.loads((folder / "runs/shop-lstm/metrics.json").read_text(encoding="utf-8"))
    errors = metrics["test"]["overall"]
    assert f"{errors['model']['mae']:.2f}" in done.stdout
    assert metrics["series"]["file"] == "shop.csv"


def test_the_model_of_a_run_gives_the_forecasts_of_the_run(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = run
    lines = (folder / "runs/shop-lstm/forecast.csv").read_text(encoding="utf-8").splitlines()
    written = [float(line.split(",")[1]) for line in lines[1:]]
    made = Forecaster.load(folder / "runs/shop-lstm/model.safetensors").predict(
        read_series(folder / "shop.csv", target="y")
    )
    assert written == made.tolist()  # the shortest text of a number gives the same number when it is read


def test_the_same_seed_gives_the_same_files_and_a_second_run_a_new_folder(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = run
    again = forecast_here(*RUN, cwd=folder)
    assert again.exit_code == 0
    for name in FILES:
        one, two = (folder / "runs" / run / name for run in ("shop-lstm", "shop-lstm-2"))
        assert one.read_bytes() == two.read_bytes()


def test_the_held_out_end_changes_neither_the_model_nor_its_scalers(
    run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = run
    rows = {f"r{row}": f"{TIMES[row - 1]},{row},{-row}" for row in range(240 - 36 + 1, 241)}
    table(tmp_path, **rows)
    done = forecast_here(*RUN, cwd=tmp_path)
    assert done.exit_code == 0
    one, two = (Forecaster.load(at / "runs/shop-lstm/model.safetensors") for at in (folder, tmp_path))
    assert one.prepared_ == two.prepared_
    weights = two.network_.state_dict()
    assert all((weights[name] == value).all() for name, value in one.network_.state_dict().items())
    assert one.metrics_["test"] != two.metrics_["test"]


def test_parquet_another_cell_a_chosen_folder_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", wanted.append)
    days = pd.date_range("2023-01-01", periods=150, freq="D")
    frame = pd.DataFrame({"sold": [day % 7 + day / 50 for day in range(150)], "kind": "shoe"}, index=days)
    frame.rename_axis("day").to_parquet(tmp_path / "shop.parquet")
    chosen = ["--cell", "gru", "--out", "deep/mine", "--threads", "2"]
    done = forecast_here("shop.parquet", *chosen, *SMALL, cwd=tmp_path)
    assert (done.exit_code, done.stderr, wanted) == (0, "", [2])
    assert {path.name for path in (tmp_path / "deep" / "mine").iterdir()} == set(FILES)
    assert "7 days ahead" in done.stdout
    assert "kind" in done.stdout
    assert forecast_here("shop.parquet", "--threads", "0", cwd=tmp_path).exit_code == 2


# Standard output as after `| head -0`, and as under PYTHONIOENCODING=ascii.
CLOSED = "import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\n"
ASCII = "import sys\nsys.stdout.reconfigure(encoding='ascii', errors='strict')\n"


def test_closed_output_and_output_in_ascii_lose_nothing(tmp_path: Path) -> None:
    table(tmp_path, header="time,y (°),x")
    arguments = ["forecast", "shop.csv", "--target", "y (°)", "--horizon", "6", *SMALL]
    for name, output in (("shop-lstm", CLOSED), ("shop-lstm-2", ASCII)):
        done = run_forked(*arguments, cwd=tmp_path, code=output + MAIN)
        assert (done.returncode, done.stderr) == (0, "")
        assert {path.name for path in (tmp_path / "runs" / name).iterdir()} == set(FILES)
        assert ("y (\\xb0)" in done.stdout) == (output is ASCII)


def test_the_columns_read_are_printed_and_zones_are_kept(tmp_path: Path) -> None:
    lines = [f"{time}+03:00;{5 * sin(k / 4) + k % 3:.2f}".replace(".", ",") for k, time in enumerate(TIMES)]
    (tmp_path / "shop.csv").write_text("\n".join(["t;y", *lines]) + "\n", encoding="utf-8")
    done = forecast_here("shop.csv", "--missing=-9", "--horizon", "6", *SMALL, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "numbers with decimal comma" in done.stdout
    assert "UTC+03:00" in done.stdout
    assert "--on shop.csv --missing=-9" in done.stdout
    written = (tmp_path / "runs" / "shop-lstm" / "forecast.csv").read_text(encoding="utf-8").splitlines()
    assert written[1].startswith("2024-01-11 00:00:00+03:00,")


OWN = """from gatewise import cell, sigmoid, tanh
NUMBER = 3
@cell
def minimal(h, *, f, g):
    f = sigmoid(f)
    h = f * h + (1 - f) * tanh(g)
    return h
"""


def test_a_cell_from_a_users_file(tmp_path: Path) -> None:
    table(tmp_path)
    (tmp_path / "my_cells.py").write_text(OWN, encoding="utf-8")
    chosen = ["--target", "y", "--horizon", "6", "--cell", "my_cells.py:minimal"]
    done = forecast_here("shop.csv", *chosen, *SMALL, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "minimal with 8 units" in done.stdout
    assert {path.name for path in (tmp_path / "runs" / "shop-minimal").iterdir()} == set(FILES)
    (tmp_path / "my_cells.py").unlink()  # the model contains its equations
    model = Forecaster.load(tmp_path / "runs" / "shop-minimal" / "model.safetensors")
    assert str(model.equations).splitlines()[0] == "minimal(h, *, f, g)"
    assert model.metrics_["model"]["cell"] == "minimal"


@pytest.mark.parametrize(
    ("choice", "content", "sentence"),
    [
        ("my_cells.py:other", OWN, "my_cells.py has no 'other'; its cells are minimal."),
        ("my_cells.py:a", "", "my_cells.py has no 'a'; its cells are none."),
        ("my_cells.py:NUMBER", OWN, "'NUMBER' in my_cells.py must be a function under @cell. Got int."),
        ("none.py:minimal", OWN, "there is no file none.py."),
        ("my_cells.py:a", "x = 1\ny = z\n", "my_cells.py:2: NameError: name 'z' is not defined"),
        ("my_cells.py:a", "x = 1\ny = (\n", "my_cells.py:2: SyntaxError: '(' was never closed"),
        ("my_cells.py:a", "exit('no')", "my_cells.py:1: SystemExit: no"),
        ("my_cells.py:a", "a\0b", "my_cells.py: SyntaxError: source code string cannot contain null bytes"),
        (
            "my_cells.py:a",
            "from gatewise import cell\n@cell\ndef a(h, *, g):\n    return g if g else h\n",
            "my_cells.py:4: cell 'a': the body branches on a value, which is not known when the cell "
            "is defined. Compute both sides and choose with where(condition, a, b)",
        ),
    ],
)
def test_a_file_without_the_cell_is_explained_in_one_sentence(
    tmp_path: Path, choice: str, content: str, sentence: str
) -> None:
    (tmp_path / "my_cells.py").write_text(content, encoding="utf-8")
    done = forecast_here("--cell", choice, cwd=tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"Error: --cell: {sentence}\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"my_cells.py", "__pycache__"}


LATE = range(190, 241)  # more rows than the test part, which begins in row 205
BAD: dict[str, tuple[dict[str, str], list[str], str]] = {
    "no such column": ({}, ["--target", "z"], ": there is no column 'z'; the columns are 'time', 'y', 'x'."),
    "no such time": ({}, ["--time", "z"], ": there is no column 'z'; the columns are 'time', 'y', 'x'."),
    "time unread": ({"r9": "soon,1,1"}, [], ", column 'time', row 9: 'soon' is not a time that can be read"),
    "time missing": ({"r9": ",1,1"}, [], ", column 'time', row 9: the time is missing."),
    "time twice": ({"r9": f"{TIMES[7]},1,1"}, [], ", column 'time', row 9: the time 2024-01-01 07:00:00 is"),
    "time off": ({"r9": "2024-01-01 08:30,1,1"}, [], ", column 'time', row 9: 2024-01-01 08:30:00 is off"),
    "text in y": ({"r9": f"{TIMES[8]},many,1"}, [], ", column 'y', row 9: 'many' is not a number; if it"),
    "text in x": ({"r9": f"{TIMES[8]},1,many"}, [], ", column 'x', row 9: 'many' is not a number; if it"),
    "infinite": ({"r9": f"{TIMES[8]},inf,1"}, [], ", column 'y', row 9: 'inf' is not a finite number."),
    "ragged": ({"r9": f"{TIMES[8]},1,1,1"}, [], ", row 9: there are 4 fields where the header has 3."),
    "name twice": ({"header": "time,y,y"}, [], ", column 'y': the header has this name more than once."),
    "too few rows": ({}, ["--horizon", "100"], ", column 'y', row 240: 240 rows are too few for a horizon"),
    "horizon": (
        {},
        ["--horizon", "1000000000"],
        ", column 'y', row 240: 240 rows are too few for a horizon of",
    ),
    "enormous": (
        {"r9": f"{TIMES[8]},1e300,1"},
        [],
        ", column 'y', row 9: '1e300' is beyond 1e+100, the most",
    ),
    "far": (
        {"r239": f"{TIMES[238]},1,1e20"},
        [],
        ", column 'x', row 239: 1e+20 is 1e+12 times as far from the",
    ),
    "all missing": (
        {f"r{row + 1}": f"{time},,1" for row, time in enumerate(TIMES)},
        [],
        ", column 'y': all 240 values are missing.",
    ),
    "constant": (
        {f"r{row + 1}": f"{time},3,1" for row, time in enumerate(TIMES)},
        [],
        ", column 'y': every value is 3, and a constant needs no forecast.",
    ),
    "constant in training": (
        {f"r{row + 1}": f"{time},{max(0, row - 200)},1" for row, time in enumerate(TIMES)},
        [],
        ", column 'y', row 173: every value before 2024-01-08 05:00 is 0",
    ),
    "no test values": (
        {f"r{row}": f"{TIMES[row - 1]},,1" for row in LATE},
        [],
        ", column 'y', row 205: all values are missing from 2024-01-09 12:00 on, in the test part.",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_explained_in_one_sentence_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    rows, arguments, sentence = BAD[name]
    table(tmp_path, **rows)
    done = forecast_here("shop.csv", "--target", "y", *arguments, cwd=tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: shop.csv{sentence}")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]


def test_bad_input_ends_the_process_with_one_sentence_and_status_2(tmp_path: Path) -> None:
    table(tmp_path, r9=f"{TIMES[8]},many,1")
    done = run_forked("forecast", "shop.csv", "--target", "y", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: shop.csv, column 'y', row 9: 'many' is not a number; if it")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "shop.csv: name the target column with --target; columns that could be it: 'y', 'x'."),
        (
            ["--target", "y", "--season", "100"],
            "season must be at most 86, half of the training rows. Got 100",
        ),
        (["--target", "y", "--out", "."], ".: the folder exists already; give --out a new name."),
        (
            ["--target", "y", "--out", "shop.csv/x"],
            "shop.csv/x: the folder cannot be made (Not a directory).",
        ),
    ],
)
def test_bad_arguments_are_explained_in_one_sentence_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    table(tmp_path)
    done = forecast_here("shop.csv", *arguments, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"Error: {sentence}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]


def test_standard_input_is_read(tmp_path: Path) -> None:
    content = table(tmp_path).read_bytes()
    with chdir(tmp_path):
        done = CliRunner().invoke(app, ["forecast", "-"], content)
        assert done.stderr.startswith("Error: standard input: name the target column with --target; ")
        small = ["--hidden-size", "4", "--epochs", "1", "--horizon", "2", "--no-refit", "--out", "run"]
        done = CliRunner().invoke(app, ["forecast", "-", "--target", "y", *small], content)
    assert done.exit_code == 0, done.output
    assert "standard_input" in (tmp_path / "run/metrics.json").read_text()
    assert "/standard_input" not in (tmp_path / "run/metrics.json").read_text()
    done = forecast_here("--id", "shop", cwd=tmp_path)
    assert done.stderr == "Error: --id goes with FILE: the bundled year of weather is one series.\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "shop.csv: the file cannot be read (No such file or directory)."),
        (b"", "shop.csv: the file is empty."),
        (b"time,y\n", "shop.csv: the file has a header but no rows."),
        (
            b"\xff\xd8\xff\xe0 a photograph",
            "shop.csv: the file is not UTF-8 text (byte 0); --encoding names another, for example cp1252.",
        ),
        (b"PAR1 half a file", "shop.csv: the file is not a readable Parquet file."),
    ],
)
def test_an_unreadable_file_is_explained_in_one_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "shop.csv").write_bytes(content)
    done = forecast_here("shop.csv", "--target", "y", cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"Error: {sentence}\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"shop.csv"}


INTERRUPTING = """
from gatewise.tasks.shared import training

given = training._Keeper.on_validation_end

def on_validation_end(keeper, trainer, module):
    if when == 0:
        os.kill(os.getpid(), signal.SIGINT)
    given(keeper, trainer, module)
    if when and len(keeper.history) >= when:
        os.kill(os.getpid(), signal.SIGINT)

training._Keeper.on_validation_end = on_validation_end
"""


def stopped(epoch: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run with a signal in the validation of the first epoch (0), or right after this epoch."""
    arguments = ("forecast", "shop.csv", "--target", "y", "--epochs", "500", "--out", "mine")
    return interrupted(INTERRUPTING, epoch, *arguments, cwd=folder)


def test_ctrl_c_keeps_the_last_good_model_and_says_so(tmp_path: Path) -> None:
    table(tmp_path)
    done = stopped(3, tmp_path)
    assert (done.returncode in BY_CTRL_C, done.stderr) == (True, "")
    assert "Stopped by Ctrl-C. Kept: the best model so far, of epoch " in done.stdout
    assert {path.name for path in (tmp_path / "mine").iterdir()} == set(FILES)
    model = Forecaster.load(tmp_path / "mine" / "model.safetensors")
    assert model.metrics_["training"]["interrupted"] is True
    assert model.metrics_["training"]["epochs"] == 3


def test_ctrl_c_before_there_is_a_model_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    table(tmp_path)
    done = stopped(0, tmp_path)
    assert (done.returncode in BY_CTRL_C, done.stderr) == (True, "")
    assert "Stopped by Ctrl-C. Nothing was written." in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["shop.csv"]


LONG = ("forecast", "shop.csv", "--target", "y", "--epochs", "100000", "--out", "mine")


def test_a_signal_from_outside_during_training_stops_it_cleanly(tmp_path: Path) -> None:
    table(tmp_path)
    status, said, complaints = signalled(signal.SIGINT, *LONG, cwd=tmp_path)
    assert (status in BY_CTRL_C, complaints) == (True, "")
    kept = (tmp_path / "mine").exists()
    assert ("Stopped by Ctrl-C. Kept: the best model so far" if kept else "Nothing was written.") in said
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv"} | ({"mine"} if kept else set())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_run_leaves_nothing_but_its_training_to_resume(
    tmp_path: Path, number: signal.Signals
) -> None:
    table(tmp_path)
    status, said, complaints = signalled(number, *LONG, cwd=tmp_path)
    assert (status, complaints) == (128 + number, "")
    assert said.endswith(f"Stopped by {number.name}.\n")
    kept = (tmp_path / "mine.training").exists()  # if an epoch was complete
    assert ("Continue with --resume: training is kept in mine.training." in said) == kept
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv"} | ({"mine.training"} if kept else set())


def test_files_of_a_killed_run_do_not_disturb_the_next_one(tmp_path: Path) -> None:
    table(tmp_path)
    assert signalled(signal.SIGKILL, *LONG, cwd=tmp_path)[0] == -signal.SIGKILL
    (left,) = tmp_path.glob(".gatewise-*.part")
    shop = ("shop.csv", "--target", "y", "--horizon", "6", *SMALL)
    done = forecast_here(*shop, "--out", "mine", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv", "mine", left.name}


KILLING = """
import os, signal
from gatewise.tasks.shared import training

given = training._Keeper.on_train_epoch_end

def on_train_epoch_end(keeper, trainer, module):
    given(keeper, trainer, module)
    if len(keeper.history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

training._Keeper.on_train_epoch_end = on_train_epoch_end
"""


def test_a_killed_run_is_continued_to_the_same_files(
    run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    table(tmp_path)
    killed = run_forked("forecast", *RUN, "--out", "mine", cwd=tmp_path, code=KILLING + MAIN)
    assert (killed.returncode, (tmp_path / "mine").exists()) == (-signal.SIGKILL, False)
    assert (tmp_path / "mine.training/training.ckpt").exists()
    done = forecast_here(*RUN, "--out", "mine", "--resume", "--json", cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"shop.csv", "mine"}
    whole = run[0] / "runs" / "shop-lstm"
    for name in FILES:
        assert (tmp_path / "mine" / name).read_bytes() == (whole / name).read_bytes()
    metrics = json.loads((tmp_path / "mine/metrics.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == {"folder": "mine", "interrupted": False, "metrics": metrics}


def panel(folder: Path) -> Path:
    """A panel ``shops.csv`` of three shops, with a price that is known seven days ahead, and a region."""
    lines = ["shop,day,sold,price,region"]
    for place, (shop, days) in enumerate({"west": 100, "east": 120, "north": 90}.items(), start=1):
        for day in range(days + 7):
            sold = f"{place * (5 + sin(day) + day % 7):.2f}" if day < days else ""
            when = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
            lines.append(f"{shop},{when:%Y-%m-%d},{sold},{day % 5},{'coast' if place < 3 else 'inland'}")
    path = folder / "shops.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_panel_is_read_trained_tested_and_forecast(tmp_path: Path) -> None:
    panel(tmp_path)
    roles = ["--id", "shop", "--target", "sold", "--known", "price", "--static", "region"]
    more = ["--horizon", "7", "--output", "negative-binomial", "--non-negative", "--no-refit"]
    done = forecast_here("shops.csv", *roles, *SMALL, *more, "--out", "run", cwd=tmp_path)
    assert done.exit_code == 0, done.output
    assert "shops.csv: 3 series of 90 to 120 steps each, 310 steps of 1 day" in done.output
    assert "known ahead: price; of each series: region" in done.output
    made = pd.read_csv(tmp_path / "run" / "forecast.csv")
    levels = ("0.025", "0.1", "0.25", "0.5", "0.75", "0.9", "0.975")
    quantiles = [f"quantile {level}" for level in levels]
    assert list(made.columns) == ["shop", "time", "sold", *quantiles]
    assert np.array_equal(made["sold"], made["quantile 0.5"])
    assert (np.diff(made[quantiles], axis=1) >= 0).all()
    assert made.groupby("shop")["time"].first().to_dict() == {
        "east": "2024-04-30", "north": "2024-03-31", "west": "2024-04-10",
    }  # fmt: skip
    assert made["sold"].notna().all()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["series"]["known_inputs"] == ["price"]
    assert set(metrics["test"]["by_series"]) == {"east", "north", "west"}


def test_a_series_that_is_too_short_is_left_out_of_the_forecast(tmp_path: Path) -> None:
    with panel(tmp_path).open("a", encoding="utf-8") as file:
        file.write("new,2024-04-09,3,2,coast\n")
    roles = ["--id", "shop", "--target", "sold", "--past", "none", "--horizon", "7", "--no-refit"]
    done = forecast_here("shops.csv", *roles, *SMALL, "--out", "run", cwd=tmp_path)
    assert done.exit_code == 0, done.output
    assert "rows: 'shop new'." in done.stdout
    made = pd.read_csv(tmp_path / "run" / "forecast.csv")
    assert set(made["shop"]) == {"east", "north", "west"}
    with chdir(tmp_path):
        again = CliRunner().invoke(app, ["predict", "run", "shops.csv", "--quantiles"])
    assert again.exit_code == 0
    assert again.stdout == (tmp_path / "run" / "forecast.csv").read_text(encoding="utf-8")
    assert re.fullmatch(r"Left out, with fewer than \d+ rows: 'shop new'\.\n", again.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--static", "region"], "--static: name the column that tells series apart with --id"),
        (["--wide", "--id", "shop"], "--wide: each column is a series"),
        (["--id", "shops"], "there is no column 'shops'"),
        (["--output", "gamma"], "--output must be one of point, quantiles, gaussian"),
        (
            ["--id", "shop", "--known", "sold"],
            "'sold': the target and an input that is known ahead must be two different columns",
        ),
        (
            ["--known", "price", "--past", "price"],
            "an input that is known ahead and a past input must be two",
        ),
        (
            ["--id", "shop", "--static", "shop"],
            "'shop': the id and an attribute must be two different columns",
        ),
        (["--output", "negative-binomial", "--log"], "forecasts the counts themselves; leave --log out."),
        (["--mode", "recursive", "--past", "price"], "--mode recursive reads no inputs but those of --known"),
        (["--irregular", "--resample", "1D"], "--irregular takes rows as they are: leave resample out."),
        (
            ["--id", "shop", "--known", "price", "--horizon", "8"],
            "shop 'east', column 'price': the input is known ahead, but has no value at 2024-05-07",
        ),
    ],
)
def test_options_of_panels_that_do_not_fit_are_refused(
    tmp_path: Path, words: list[str], message: str
) -> None:
    panel(tmp_path)
    done = forecast_here("shops.csv", "--target", "sold", *words, *SMALL, cwd=tmp_path)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Training" not in done.output  # files and options are checked before
