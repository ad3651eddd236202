"""Running code in a new process."""

from __future__ import annotations

import os
import subprocess

import pytest

from benchmarks.cases.process import fresh


def test_it_is_another_process_with_our_environment_and_additions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    code = "import os, json; print(json.dumps([os.getpid(), os.environ['OURS'], os.environ['MORE']]))"
    process, *environment = fresh(code, MORE="2")
    assert process != os.getpid()
    assert environment == ["1", "2"]


def test_the_benchmarks_can_be_imported_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert fresh("from benchmarks import measure; print(measure.ratio({'a': [1], 'b': [2]}, 'a', 'b'))") == 2


def test_a_failure_in_the_process_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        fresh("raise ValueError('a sentence')")
    assert "a sentence" in capfd.readouterr().err
