"""Wrong values of every option of every command: one sentence, exit status 2, nothing written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from inspect import Parameter
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.models import ArgumentInfo
from typer.testing import CliRunner, Result

from gatewise.apps import compare
from gatewise.apps.commands import app
from gatewise.apps.options import Above, Among, expected, option_names, parameters_of, type_of
from gatewise.tasks.synthetic import TASKS

COMMANDS = {
    (command.name or command.callback.__name__): command.callback
    for command in app.registered_commands
    if command.callback
}
# Arguments with which a call of a command is complete, so that a wrong option is what is wrong with it.
COMPLETE = {
    "predict": ["model.safetensors", "table.csv"],
    "look": ["model.safetensors"],
    "compile": ["model.safetensors"],
}
# Wrong values of options that are texts or paths, and files with which some of them are wrong.
TEXTS: dict[str, tuple[str, ...]] = {
    "--cell": ("elman", "", "a.py", "none.py:mine", "table.csv:mine", "broken.py:mine", "own.py:none"),
    "--cells": ("elman", "", "lstm,lstm", "none.py:mine"),
    "--task": ("nothing", ""),
    "--lengths": ("x", "-3", "1,,2", "2.5"),
    "--bias": ("f", "f=x", "none=1", "f=nan"),
    "--decimal": ("x", "..", ""),
    "--thousands": ("x", ",,"),
    "--encoding": ("none", "", "utf-99"),
    "--where": ("x", "", "=3"),
    "--zone": ("Nowhere", ""),
    "--repeated": ("all", ""),
    "--resample": ("x", "-1h", ""),
    "--time-format": ("x", ""),
    "--language": ("xx", ""),
    "--out": ("there",),
    "--config": ("none.toml", "there", "wrong.toml"),
}
FILES = ("--test", "--score", "--text", "--on", "--check", "FILE", "MODEL")  # that are read: no such file
COLUMNS = {  # of a table, by command: no such column
    "classify": ("--label", "--id", "--time", "--column"),
    "tag": ("--word", "--sentence", "--tags"),
    "forecast": ("--target", "--time", "--inputs", "--known", "--id", "--static"),
}
FREE = {"--prompt", "--stop", "--separator", "--missing"}  # any text
WRITTEN = {"--page", "--start", "--picture", "--resume"}  # files that are written
SERIES = ("--time", "--inputs", "--known", "--id")  # of `look` and `predict`: read with the forecaster alone


def options_of(command: str) -> dict[str, Any]:
    """The annotation of each option as it is typed, and of each argument as the help names it."""
    found: dict[str, Parameter] = parameters_of(COMMANDS[command])
    annotations = {name: each.annotation for name, each in found.items() if name != "context"}
    names = option_names(annotations)
    return {names[name]: annotation for name, annotation in annotations.items()}


def wrong_numbers(annotation: Any) -> Iterator[str]:
    """Texts that are no numbers, and numbers outside of the limits."""
    kind, _ = type_of(annotation)
    yield from ("x", "", "nan", "1;2", "inf", "-inf", *(("2.5", "1e3") if kind is int else ()))
    for each in get_args(annotation)[1:]:
        if (least := getattr(each, "min", None)) is not None:
            yield from (f"{least - 1}", f"{least - 10**9}")
        if (most := getattr(each, "max", None)) is not None:
            yield from (f"{most + 1}", f"{most + 10**9}")
        if isinstance(each, Above):
            yield from (f"{each.limit}", f"{each.limit - 1}")


def wrong_values(command: str, option: str, annotation: Any) -> list[list[str]]:
    """Words of a call in which an option has a wrong value."""
    kind, _ = type_of(annotation)
    if any(isinstance(each, ArgumentInfo) for each in get_args(annotation)):
        return [["nothing.csv"]]
    if kind is bool:
        return [[f"{option}=x"], [f"{option}="]]
    if kind in (int, float):
        return [[f"{option}={value}"] for value in wrong_numbers(annotation)] + [[option]]
    if any(isinstance(each, Among) for each in get_args(annotation)):
        return [[option, "other"], [option, ""], [option]]
    if option in FILES:
        return [[option, "nothing.csv"], [option]]
    if option in COLUMNS.get(command, ()):
        given = ["table.csv", *(["--target", "x"] if command == "forecast" else [])]
        given += ["--id", "word"] if option == "--static" else []
        return [[*given, option, "nothing"], [option]]
    return [[option, value] for value in TEXTS.get(option, ())] + [[option]]


def calls() -> Iterator[Any]:
    """Calls with a wrong value. An option that several commands share is called with in one of them."""
    seen = []
    for command in COMMANDS:
        for option, annotation in options_of(command).items():
            values = wrong_values(command, option, annotation)
            if (option, annotation, values) not in seen:
                seen.append((option, annotation, values))
                for words in values:
                    yield pytest.param(command, option, words, id=f"{command} {' '.join(words)}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that calls name."""
    folder = tmp_path_factory.mktemp("options")
    (folder / "there").mkdir()
    (folder / "model.safetensors").write_text("{}")
    (folder / "table.csv").write_text("word,sentence,label,x\na,1,p,1\nb,1,q,2\nc,2,p,3\n")
    (folder / "broken.py").write_text("1 / 0")
    (folder / "own.py").write_text("mine = 3")
    (folder / "wrong.toml").write_text("nonsense = 1")
    return folder


def run(folder: Path, *words: str) -> Result:
    with chdir(folder):
        return CliRunner().invoke(app, list(words), env={"COLUMNS": "40"})


@pytest.mark.parametrize(("command", "option", "words"), list(calls()))
def test_a_wrong_value_is_refused_in_one_sentence(
    folder: Path, command: str, option: str, words: list[str]
) -> None:
    complete = [] if option in ("MODEL", "FILE") else COMPLETE.get(command, [])
    if command == "predict" and option == "MODEL":
        words = [*words, "table.csv"]
    if command == "predict" and option == "FILE":
        words = ["model.safetensors", *words]
    before = sorted(folder.rglob("*"))
    done = run(folder, command, *complete, *words)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert re.fullmatch(r"Error: [^\n]*\w[^\n]*\n", done.stderr), done.stderr
    named = (option, words[-1]) if option.startswith("--") else ("nothing.csv",)
    assert any(name and name in done.stderr for name in named), done.stderr
    assert sorted(folder.rglob("*")) == before


def test_every_option_has_wrong_values_or_takes_any() -> None:
    for command in COMMANDS:
        for option, annotation in options_of(command).items():
            known = len(wrong_values(command, option, annotation)) > 1 or option in FREE | WRITTEN
            known = known or (command in ("look", "predict") and option in SERIES)
            assert known or not option.startswith("--"), option


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_and_missing_arguments(folder: Path, command: str) -> None:
    options = [option for option in options_of(command) if option.startswith("--")]
    longest = max(options, key=len)
    done = run(folder, command, *COMPLETE.get(command, ()), f"{longest}z")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"Error: there is no option '{longest}z'; did you mean '{longest}'?\n"
    done = run(folder, command, "--qqqq")
    assert done.stderr.startswith("Error: there is no option '--qqqq'; gatewise ")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    if command in COMPLETE and command != "look":
        done = run(folder, command)
        assert done.stderr.startswith(f"Error: gatewise {command} needs MODEL; ")
        assert done.exit_code == 2
    done = run(folder, command, "a", "b", "c") if command not in ("predict",) else done
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_an_unknown_command_is_refused(folder: Path) -> None:
    assert run(folder, "clasify").stderr == "Error: there is no command 'clasify'; did you mean 'classify'?\n"
    assert run(folder, "qq").stderr.startswith("Error: there is no command 'qq'; the commands are forecast, ")
    assert run(folder, "--qq").stderr.startswith("Error: there is no option '--qq'; gatewise --help ")
    assert {run(folder, *words).exit_code for words in (["clasify"], ["qq"], ["--qq"])} == {2}
    assert run(folder).exit_code == 2
    assert "Usage" in run(folder).output


@pytest.mark.parametrize("command", ["classify", "tag"])
def test_a_test_without_a_file_to_train_on_is_refused(folder: Path, command: str) -> None:
    done = run(folder, command, "--test", "table.csv")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: --test goes with FILE, which is trained on. Got table.csv alone.\n"


@pytest.mark.parametrize("words", ["--top-p=0.3", "--top-p=1", "--temperature=0"])
def test_right_values_pass(folder: Path, words: str) -> None:
    assert "none.txt" in run(folder, "write", "none.txt", words).stderr


def test_names_that_are_known_without_torch_are_all() -> None:
    assert tuple(TASKS) == compare.TASKS


def test_expected_values_in_words() -> None:
    found = {option: expected(annotation) for option, annotation in options_of("write").items()}
    assert found["--hidden-size"] == "a whole number from 1 to 4096"
    assert found["--epochs"] == "a whole number of at least 1"
    assert found["--top-p"] == "a number above 0 and at most 1"
    assert found["--unit"] == "one of characters, bytes, words"
    assert found["--out"] == "a path"


WITHOUT_TORCH = [
    *("classify none.csv", "tag none.csv", "write none.txt", "predict none table.csv", "look none"),
    *("classify table.csv --label none", "classify table.csv", "tag table.csv --tags none"),
    *("write table.csv", "write --unit x", "forecast table.csv --target none", "classify --out there"),
    *("predict model.safetensors none.csv", "look model.safetensors --on none.csv", "look model.safetensors"),
]


def test_wrong_input_is_refused_before_torch_is_imported(folder: Path) -> None:
    code = (
        "import sys, shlex\n"
        "from gatewise.apps.commands import app\n"
        f"for call in {WITHOUT_TORCH!r}:\n"
        "    try:\n"
        "        app(shlex.split(call))\n"
        "    except SystemExit as end:\n"
        "        slow = [name for name in ('torch', 'lightning') if name in sys.modules]\n"
        "        print(call, '|', end.code, *slow)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == [f"{call} | 2" for call in WITHOUT_TORCH]
