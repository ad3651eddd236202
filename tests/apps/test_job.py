"""What the commands of all jobs share, with a job that trains nothing."""

from __future__ import annotations

import fcntl
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from gatewise.apps import job
from gatewise.apps.job import Common, job_command
from gatewise.apps.resuming import RunState
from gatewise.language import Cell
from gatewise.tasks.shared.training import Epoch


class Estimator:
    max_epochs = 3
    epochs_ = 0
    best_epoch_ = 1
    interrupted_ = False


class Counting:
    """A job whose training counts to three, and fails or ends where the test says so."""

    name = "counts-lstm"
    files = {"counts.txt": "the counts"}
    look = ["--on", "a file.csv"]

    def __init__(self, data: Sequence[Path], fails: Exception | None, **given: Any) -> None:
        self.data, self.read = data, [path.read_bytes() for path in data if path.exists()]
        self.fails = fails
        self.given = given
        self.estimator = Estimator()

    def show_data(self, console: Console) -> None:
        console.print("counting")

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        done = 0
        if checkpoint.exists():
            with zipfile.ZipFile(checkpoint) as archive:
                done = int(archive.read("done"))
        for number in range(done + 1, 4):
            on_epoch(Epoch(number, 3, 1.0, 1.0, 1.0))
            with zipfile.ZipFile(checkpoint, "w") as archive:
                archive.writestr("done", str(number))
            if self.fails and number == 2:
                raise self.fails
        self.estimator.epochs_ = 3 - done

    def epoch_text(self, epoch: Epoch) -> str:
        return f"error {epoch.error:.1f}"

    def test(self) -> None:
        pass

    def write(self, folder: Path) -> dict[str, Any]:
        (folder / "counts.txt").write_text(f"{self.estimator.epochs_}")
        return {"counted": self.estimator.epochs_, "word": "é", "worst": (float("inf"), 0.5)}

    def show_results(self, console: Console) -> None:
        console.print("counted")

    def remarks(self) -> Sequence[str]:
        return ["A remark."]


FAILS: list[Exception | None] = [None]
SEEN: list[Counting] = []

app = typer.Typer()


@app.callback()
def several() -> None:
    pass


@app.command()
@job_command(example="gatewise count a.csv", reads=("decimal", "missing"), defaults={"hidden_size": 7})
def count(
    file: Annotated[Path | None, typer.Argument()] = None,
    share: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
    *,
    common: Common,
    reading: dict[str, Any],
) -> Counting:
    """Count."""
    if share == 0.25:
        raise ValueError("share must be another")
    SEEN.append(Counting([file] if file else [], FAILS[0], common=common, reading=reading, share=share))
    return SEEN[-1]


@pytest.fixture(autouse=True)
def _succeeding() -> Iterator[None]:
    FAILS[0] = None
    yield
    SEEN.clear()


def run(folder: Path, *arguments: str, piped: bytes = b"") -> Result:
    with chdir(folder):
        return CliRunner().invoke(app, ["count", *arguments], piped, env={"COLUMNS": "100"})


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_flow_of_a_job(tmp_path: Path) -> None:
    done = run(tmp_path, "--decimal", ",", "--missing", "x", "--cell", "gru", "--out", "deep/mine")
    assert (done.exit_code, done.stderr, names(tmp_path)) == (0, "", {"deep/mine/counts.txt"})
    lines = [line.rstrip() for line in done.stdout.splitlines() if "Training" not in line]
    assert lines == [
        "counting", "counted", "", "deep/mine/", "  counts.txt         the counts", "", "A remark.", "",
        "Look inside: gatewise look deep/mine --on 'a file.csv'",
    ]  # fmt: skip
    given, options = SEEN[0].given, SEEN[0].given["common"]
    assert (given["reading"], given["share"]) == ({"decimal": ",", "missing": ["x"]}, 0.5)
    assert (options.cell, options.hidden_size, options.epochs, options.seed) == ("gru", 7, 30, 0)
    assert "Example: gatewise count a.csv" in run(tmp_path, "--help").stdout


def test_json_is_the_only_output(tmp_path: Path) -> None:
    done = run(tmp_path, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    metrics = {"counted": 3, "word": "é", "worst": [None, 0.5]}
    assert document == {"folder": "runs/counts-lstm", "interrupted": False, "metrics": metrics}
    assert json.loads(run(tmp_path, "--json").stdout)["folder"] == "runs/counts-lstm-2"
    failed = run(tmp_path, "--json", "--share", "0.25")
    assert (failed.exit_code, failed.stdout, failed.stderr) == (2, "", "Error: share must be another\n")


def test_options_that_are_given_are_known(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("epochs = 30\nhidden-size = 9\n")
    assert run(tmp_path, "--config", "run.toml", "--seed", "0").exit_code == 0
    assert SEEN[0].given["common"].given == {"config", "epochs", "hidden_size", "seed"}


def test_standard_input_is_read_as_a_file(tmp_path: Path) -> None:
    done = run(tmp_path, "-", piped=b"a,b\n1,2\n")
    assert (done.exit_code, SEEN[0].read, SEEN[0].data[0].name) == (0, [b"a,b\n1,2\n"], "standard_input.csv")
    assert not SEEN[0].data[0].exists()
    assert "Look inside" not in done.stdout
    killed(tmp_path, "-", "--out", "mine", piped=b"a\n1\n")
    told = run(tmp_path, "-", "--out", "mine", "--resume", piped=b"a\n2\n").stderr
    assert told == "Error: mine.training: the unfinished run was begun with other data.\n"
    again = run(tmp_path, "-", "--out", "mine", "--resume", piped=b"a\n1\n")
    assert (again.exit_code, (tmp_path / "mine/counts.txt").read_text()) == (0, "1")


def test_errors_leave_nothing(tmp_path: Path) -> None:
    for fails in (ValueError("it cannot"), FloatingPointError("it cannot"), KeyboardInterrupt()):
        FAILS[0] = fails  # type: ignore[assignment]
        assert run(tmp_path).exit_code == {"FloatingPointError": 1, "KeyboardInterrupt": 130}.get(
            type(fails).__name__, 2
        )
        assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, "--cell", "none").exit_code == 2
    (tmp_path / "a").touch()
    assert "a: the folder exists already; give --out a new name." in run(tmp_path, "--out", "a").stderr


OWN = "from gatewise import cell\n@cell\ndef mine(h, *, a):\n    h = a{}\n    return h\n"


def killed(folder: Path, *arguments: str, piped: bytes = b"") -> Result:
    FAILS[0] = OSError("no space")  # as a kill, it keeps the state
    done = run(folder, *arguments, piped=piped)
    FAILS[0] = None
    return done


def test_a_run_that_was_killed_is_continued(tmp_path: Path) -> None:
    done = killed(tmp_path)
    assert done.exit_code == 1
    assert "Continue with --resume: training is kept in runs/counts-lstm.training." in done.stdout.replace(
        "\n", " "
    )
    kept = {f"runs/counts-lstm.training/{name}" for name in ("training.ckpt", "request.json", "lock")}
    assert names(tmp_path) - {"runs/counts-lstm.training/lock"} == kept - {"runs/counts-lstm.training/lock"}
    assert run(tmp_path).exit_code == 0  # a new run takes a new name
    assert (tmp_path / "runs/counts-lstm-2/counts.txt").read_text() == "3"
    assert run(tmp_path, "--resume", "--threads", "2").exit_code == 0
    assert (tmp_path / "runs/counts-lstm/counts.txt").read_text() == "1"
    assert names(tmp_path) == {"runs/counts-lstm/counts.txt", "runs/counts-lstm-2/counts.txt"}
    assert run(tmp_path, "--resume").exit_code == 0  # there is nothing to continue
    assert (tmp_path / "runs/counts-lstm-3/counts.txt").read_text() == "3"


def test_the_folder_that_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    killed(tmp_path, "--out", "mine")
    writing = json.loads((tmp_path / "mine.training/request.json").read_text())["writing"]
    assert re.fullmatch(r"\.gatewise-[0-9a-f]+\.part", writing)
    (tmp_path / writing).mkdir()
    assert run(tmp_path, "--out", "mine", "--resume").exit_code == 0
    assert names(tmp_path) == {"mine/counts.txt"}
    assert not (tmp_path / writing).exists()


def test_a_run_given_up_leaves_no_checkpoint_of_any_name(tmp_path: Path) -> None:
    """A classifier has a second one, from which the new run must not continue either."""
    killed(tmp_path, "--out", "mine")
    (tmp_path / "mine.training/training.ckpt-all").write_text("of the run given up")
    state = RunState(tmp_path / "mine", "counts", {}, resume=False)
    assert "given up" in state.begin(tmp_path / "writing")
    assert {path.name for path in state.folder.iterdir()} == {"request.json", "lock"}
    state.remove()


@pytest.mark.parametrize(("arguments", "difference"), [
    (["--hidden-size", "9"], "--hidden-size 7, not --hidden-size 9"),
    (["--seed", "1", "--decimal", ","], "--seed 0, not --seed 1 and no --decimal"),
    (["a.csv"], "other data"),
    (["--cell", "cells.py:mine"], "other equations of the cell"),
])  # fmt: skip
def test_another_request_is_not_a_continuation(tmp_path: Path, arguments: list[str], difference: str) -> None:
    data, cells = tmp_path / "a.csv", tmp_path / "cells.py"
    data.write_text("1")
    cells.write_text(OWN.format(""))
    first = arguments if ".csv" in arguments[0] or "cells.py" in arguments[-1] else []
    killed(tmp_path, "--out", "mine", *first)
    data.write_text("2")
    cells.write_text(OWN.format(" + 1"))
    done = run(tmp_path, "--out", "mine", "--resume", *arguments)
    sentence = f"Error: mine.training: the unfinished run was begun with {difference}.\n"
    assert (done.exit_code, done.stderr) == (2, sentence)
    done = run(tmp_path, "--out", "mine", *first)
    assert done.exit_code == 0
    assert "mine.training: the unfinished run there is given up" in done.stdout
    assert (tmp_path / "mine/counts.txt").read_text() == "3"


def test_a_run_that_is_still_training_is_not_continued(tmp_path: Path) -> None:
    killed(tmp_path, "--out", "mine")
    lock = os.open(tmp_path / "mine.training/lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    done = run(tmp_path, "--out", "mine", "--resume")
    assert done.stderr == "Error: mine.training: another process is training this run.\n"
    assert run(tmp_path, "--out", "mine").stderr == done.stderr
    assert run(tmp_path, "--out", "mine", "--resume", "--seed", "1").exit_code == 2
    os.close(lock)
    assert run(tmp_path, "--out", "mine", "--resume").exit_code == 0


@pytest.mark.parametrize("position", [0, 30, 31, -10])
def test_a_damaged_checkpoint_is_not_continued_from(tmp_path: Path, position: int) -> None:
    """30 is the first byte of a name, 34 that of the content."""
    killed(tmp_path, "--out", "mine")
    checkpoint = tmp_path / "mine.training/training.ckpt"
    content = bytearray(checkpoint.read_bytes())
    content[position] ^= 255
    checkpoint.write_bytes(content[:position] if position == 0 else content)
    done = run(tmp_path, "--out", "mine", "--resume")
    assert done.exit_code == 0
    assert "mine.training: the checkpoint there is damaged; training begins again." in done.stdout
    assert (tmp_path / "mine/counts.txt").read_text() == "3"


def test_runs_of_other_requests_may_train_beside_one_that_is_resumed(tmp_path: Path) -> None:
    killed(tmp_path)
    lock = os.open(tmp_path / "runs/counts-lstm.training/lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert run(tmp_path, "--resume", "--seed", "1").exit_code == 0
    assert (tmp_path / "runs/counts-lstm-2/counts.txt").read_text() == "3"
    assert "another process is training this run" in run(tmp_path, "--resume").stderr
    os.close(lock)
    assert "--seed 0, not --seed 1" in run(tmp_path, "--resume", "--seed", "1").stderr
    assert run(tmp_path, "--resume").exit_code == 0
    assert (tmp_path / "runs/counts-lstm/counts.txt").read_text() == "1"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"request": 3}', b"\xff"])
def test_a_damaged_request_is_refused_or_that_of_a_run_killed_at_once(tmp_path: Path, content: bytes) -> None:
    killed(tmp_path, "--out", "mine")
    (tmp_path / "mine.training/request.json").write_bytes(content)
    done = run(tmp_path, "--out", "mine", "--resume")
    assert done.exit_code in (0, 2)
    assert done.stderr.count("\n") == (done.exit_code == 2)


@pytest.mark.parametrize(("content", "sentence"), [
    ("hiden-size = 8", "c.toml: there is no option 'hiden-size'; did you mean 'hidden-size'?"),
    ("qqq = 8", "c.toml: there is no option 'qqq'; the options are file, share, cell, hidden-size, layers, "
     "epochs, seed, threads, out, decimal, missing."),
    ("hidden_size = '8'", "c.toml: hidden_size must be a whole number from 1 to 4096. Got '8'."),
    ("hidden-size = true", "c.toml: hidden-size must be a whole number from 1 to 4096. Got true."),
    ("hidden-size = 0", "c.toml: hidden-size must be a whole number from 1 to 4096. Got 0."),
    ("epochs = 0", "c.toml: epochs must be a whole number of at least 1. Got 0."),
    ("cell = 3", "c.toml: cell must be a text in quotes. Got 3."),
    ("cell = 'no'", "--cell must be gru, lstm, rnn,"),
    ("missing = ['a', 3]", "c.toml: missing must be a list of which each is a text in quotes. Got 3."),
    ("share = 'x'", "c.toml: share must be a number from 0 to 1. Got 'x'."),
    ("share = nan", "c.toml: share must be a number from 0 to 1. Got nan."),
    ("out = 3", "c.toml: out must be a path in quotes. Got 3."),
    ("json = true", "c.toml: json is an option of the command line alone."),
    ("[model]\nseed = 1", "c.toml: there is no option 'model'"),
    ("seed = ", "c.toml: the file is not valid TOML (Invalid value (at end of document))."),
])  # fmt: skip
def test_wrong_configurations(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "c.toml").write_text(content)
    done = run(tmp_path, "--config", "c.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {sentence}")
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]
    assert run(tmp_path, "--config", "d.toml").stderr.startswith(
        "Error: --config: d.toml cannot be read (No such"
    )


VALUES = {
    "hidden_size": st.integers(1, 4096), "epochs": st.integers(1, 10**6), "seed": st.integers(0, 2**32 - 1),
    "share": st.floats(0, 1).filter(lambda share: share != 0.25),
    "missing": st.lists(st.text("ab-", min_size=1), min_size=1),
    "decimal": st.sampled_from(".,"), "cell": st.sampled_from(("gru", "rnn")), "layers": st.integers(1, 9),
}  # fmt: skip


def written(value: Any) -> str:
    return json.dumps(value)


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries({}, optional=VALUES), st.fixed_dictionaries({}, optional=VALUES), st.booleans())
def test_flags_have_precedence_over_the_file(
    tmp_path_factory: pytest.TempPathFactory, in_file: dict[str, Any], flags: dict[str, Any], hyphens: bool
) -> None:
    folder = tmp_path_factory.mktemp("config")
    lines = [f"{k.replace('_', '-') if hyphens else k} = {written(value)}" for k, value in in_file.items()]
    (folder / "c.toml").write_text("\n".join(lines))
    words = [
        f"--{name.replace('_', '-')}={one}"
        for name, value in flags.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    SEEN.clear()
    done = run(folder, "--config", "c.toml", *words)
    assert (done.exit_code, done.stderr) == (0, "")
    found = SEEN[0].given
    seen = {**vars(found["common"]), **found["reading"], "share": found["share"]}
    assert not isinstance(seen["cell"], Cell)
    for name in VALUES:
        default = {"share": 0.5, "hidden_size": 7}.get(name, job.OPTIONS.get(name, (None, None))[1])
        assert seen.get(name) == flags.get(name, in_file.get(name, default))
