from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gatewise
from gatewise.apps.commands import app

COMMAND = [sys.executable, "-m", "gatewise.apps.command_line"]


def gatewise_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        timeout=120,
    )


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = gatewise_command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"gatewise {gatewise.__version__}", "")


def test_help_names_the_commands_and_every_option(tmp_path: Path) -> None:
    assert "forecast" in gatewise_command("--help", cwd=tmp_path).stdout
    text = gatewise_command("forecast", "--help", cwd=tmp_path).stdout
    for option in ("target", "time", "horizon", "season", "cell", "hidden-size", "epochs", "seed", "out"):
        assert f"--{option}" in text


@pytest.mark.parametrize("arguments", ["--help", "--version", "forecast --help", "forecast none.csv"])
def test_commands_without_a_network_do_not_import_torch(tmp_path: Path, arguments: str) -> None:
    code = (
        "import atexit, sys; "
        "atexit.register(lambda: print('SLOW', [m for m in ('torch', 'lightning') if m in sys.modules])); "
        "from gatewise.apps.command_line import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "SLOW []" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--horizon 0", "--horizon"),
        ("--horizon -3", "--horizon"),
        ("--horizon soon", "--horizon"),
        ("--horizon 2.5", "--horizon"),
        ("--season 0", "--season"),
        ("--seed -1", "--seed"),
        ("--seed x", "--seed"),
        ("--cell elman", "--cell"),
        ("--hidden-size 0", "--hidden-size"),
        ("--epochs 0", "--epochs"),
        ("--nonsense", "--nonsense"),
    ],
)
def test_a_bad_option_is_named_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, option: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["forecast", *arguments.split()])
    assert done.exit_code == 2
    assert option in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bad_option_ends_the_process_with_status_2(tmp_path: Path) -> None:
    done = gatewise_command("forecast", "--horizon", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--horizon" in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None; from gatewise.apps.command_line import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "the command gatewise needs typer: pip install 'gatewise[tasks]'"


def test_a_command_that_lacks_a_package_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from gatewise.apps.command_line import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "forecast", "--epochs", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: this command needs torch: pip install 'gatewise[torch]'"
    assert list(tmp_path.iterdir()) == []


COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_whose_options_it_has(name: str) -> None:
    name = name.removesuffix("_model")
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300"}).stdout
    examples = re.findall(rf"gatewise {name}\b.*", shown.partition("Example")[2].partition("╭")[0])
    assert examples
    for option in re.findall(r"--[a-z-]+", " ".join(examples)):
        assert re.search(rf"│.* {option} ", shown)
