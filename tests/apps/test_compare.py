"""`gatewise compare`, run as users run it, in its own process where that matters."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.results import FILES
from tests.apps.interrupting import BY_CTRL_C, interrupted, signalled
from tests.apps.processes import run_forked

TINY = ["--task", "reber", "--lengths", "12", "--hidden", "4", "--most", "100", "--batch", "10"]

OWN = """
from gatewise import cell, sigmoid, tanh

@cell
def keeping(h, c, *, i, g, o):
    c = c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, c
"""


def compare_here(*arguments: str, cwd: Path) -> Result:
    """The command in this process, where nothing has to be imported again."""
    with chdir(cwd):
        return CliRunner().invoke(app, ["compare", *arguments])


def written(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return found


def test_cells_are_compared_and_all_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    arguments = [*TINY, "--cells", "rnn, gru,mine.py:keeping", "--seeds", "2", "--bias", "z=1.5"]
    done = compare_here(*arguments, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    for cell in ("rnn", "gru", "keeping"):
        assert re.search(rf"^{cell} +12 +0 of 2 +- ", done.stdout, re.MULTILINE)
    folder = tmp_path / "runs" / "compare-reber"
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert {path.stem for path in (folder / "models").iterdir()} == {
        f"{cell}-12-{seed}" for cell in ("rnn", "gru", "keeping") for seed in (0, 1)
    }
    found = written(folder)
    assert [(run["cell"], run["length"], run["seed"]) for run in found["runs"]] == [
        (cell, 12, seed) for cell in ("rnn", "gru", "keeping") for seed in (0, 1)
    ]
    assert {run["sequences"] for run in found["runs"]} == {100}
    assert found["settings"] == {
        "hidden_size": 4, "most": 100, "batch": 10, "learning_rate": 0.01, "clip": 1.0, "biases": {"z": 1.5},
    }  # fmt: skip
    assert found["interrupted"] is False


def test_a_memory_that_fails_is_explained(tmp_path: Path) -> None:
    arguments = [*TINY, "--cells", "lstm,gru,rnn", "--seeds", "1"]
    done = compare_here(*arguments, cwd=tmp_path)
    said = " ".join(done.stdout.split())
    assert "lstm failed at T = 12. With the usual first weights f begins half open, so" in said
    assert "it can keep it: --bias f=5,i=-5" in said
    assert "it can keep it: --bias z=5" in said
    assert "rnn failed" not in said
    done = compare_here(*arguments, "--bias", "f=5", cwd=tmp_path)
    assert "lstm failed" not in done.stdout


def test_the_same_command_gives_the_same_figures(tmp_path: Path) -> None:
    arguments = (*TINY, "--cells", "lstm", "--seeds", "1", "--out")
    assert run_forked("compare", *arguments, "one", cwd=tmp_path).returncode == 0
    assert compare_here(*arguments, "two", cwd=tmp_path).exit_code == 0
    one, two = written(tmp_path / "one"), written(tmp_path / "two")
    assert one["runs"][0].pop("seconds") > 0
    assert two["runs"][0].pop("seconds") > 0
    assert one["runs"] == two["runs"]
    for name in ("gradient_flow.csv", "gradient_flow.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_quick_is_one_seed_at_the_first_length(tmp_path: Path) -> None:
    done = compare_here("--quick", "--most", "64", "--hidden", "4", "--out", "mine", cwd=tmp_path)
    assert done.exit_code == 0
    runs = written(tmp_path / "mine")["runs"]
    assert [(run["cell"], run["length"], run["seed"]) for run in runs] == [
        (cell, TASKS["adding"].lengths[0], 0) for cell in ("rnn", "lstm", "gru")
    ]


def test_help_names_every_task_and_option_and_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('SLOW', 'torch' in sys.modules)); "
        "sys.argv[1:] = ['compare', '--help']; from gatewise.apps.command_line import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    words = re.findall(r"[\w-]+", done.stdout)
    options = "task cells lengths seeds hidden most batch rate bias threads quick out"
    assert {*TASKS, *(f"--{option}" for option in options.split())} <= set(words)
    assert "SLOW False" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--task", "subtracting"], "--task must be one of adding, multiplication, parity, "),
        (["--cells", "lstm,transformer"], "--cells must be of "),
        (["--cells", "lstm,mine.py:keeping"], "--cells: there is no file mine.py."),
        (["--cells", "lstm,lstm"], "--cells: each must have a name of its own. Got 'lstm' twice."),
        (["--lengths", "50,"], "--lengths must be whole numbers with commas between. Got '50,'."),
        (["--lengths", "50,10"], "length: adding needs at least 11 steps. Got 10."),
        (["--bias", "f"], "--bias must be GATE=NUMBER, as f=3. Got 'f'."),
        (["--bias", "q=1"], "--bias: the gates are a, f, g, i, n, o, r, z. Got 'q'."),
        (["--out", "."], ".: the folder exists already; give --out a new name."),
    ],
)
def test_bad_options_are_explained_in_one_sentence_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = compare_here(*arguments, cwd=tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--seeds", "--hidden", "--most", "--batch", "--threads"])
def test_numbers_must_be_positive(option: str) -> None:
    done = CliRunner().invoke(app, ["compare", option, "0"])
    assert done.exit_code == 2
    assert option in done.stderr


INTERRUPTING = """
from gatewise.tasks.synthetic import training

calls, given = [], training.train

def train(*arguments):
    calls.append(arguments)
    if len(calls) > when:
        os.kill(os.getpid(), signal.SIGINT)
    return given(*arguments)

training.train = train
"""


def stopped(after: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run with a signal after this many finished runs."""
    arguments = ("compare", *TINY, "--cells", "rnn,gru", "--seeds", "2", "--out", "mine")
    return interrupted(INTERRUPTING, after, *arguments, cwd=folder)


def test_ctrl_c_keeps_the_finished_runs_and_says_so(tmp_path: Path) -> None:
    done = stopped(3, tmp_path)
    assert (done.returncode in BY_CTRL_C, done.stderr) == (True, "")
    assert "Stopped by Ctrl-C. Kept: the 3 of 4 runs that were done." in done.stdout
    assert re.search(r"^rnn +12 +0 of 2 ", done.stdout, re.MULTILINE)
    assert re.search(r"^gru +12 +0 of 1 ", done.stdout, re.MULTILINE)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == set(FILES)
    found = written(tmp_path / "mine")
    assert found["interrupted"] is True
    assert len(found["runs"]) == 3


def test_ctrl_c_before_the_first_finished_run_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    done = stopped(0, tmp_path)
    assert (done.returncode in BY_CTRL_C, done.stderr) == (True, "")
    assert "Stopped by Ctrl-C. Nothing was written." in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_signal_from_outside_stops_it_cleanly(tmp_path: Path) -> None:
    long = ("--task", "parity", "--lengths", "50", "--most", "100000000", "--out", "mine")
    status, said, complaints = signalled(signal.SIGINT, "compare", *long, cwd=tmp_path)
    assert (status in BY_CTRL_C, complaints) == (True, "")
    assert "Stopped by Ctrl-C. Nothing was written." in said
    assert list(tmp_path.iterdir()) == []
