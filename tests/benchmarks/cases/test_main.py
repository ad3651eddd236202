"""`python -m benchmarks.cases`: every case runs, with tiny sizes, and prints its findings."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import gatewise
from benchmarks.cases import page
from benchmarks.cases.__main__ import CASES, main

QUICK = ["--tiny", "--rounds", "1", "--seconds", "0"]


def here(code: str, **environment: str) -> Any:
    """Does what `process.fresh` does, but in this process, which is faster."""
    with (
        patch.dict(os.environ, environment),
        patch.dict(sys.modules),
        redirect_stdout(io.StringIO()) as printed,
    ):
        exec(code, {})
    return json.loads(printed.getvalue())


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.cases.cold.fresh", here)
    monkeypatch.setattr("benchmarks.cases.memory.fresh", here)


def run(out: Path, *cases: str) -> Any:
    """The output of a quick run of the cases."""
    main([*cases, *QUICK, "--out", str(out)])
    return json.loads((out / "cases.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_a_case_prints_its_findings_and_writes_them(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "page" and page.chromium() is None:
        pytest.skip("there is no chromium on this machine")
    written = run(tmp_path, name)
    assert (written["threads"], written["rounds"], written["tiny"]) == (1, 1, True)
    assert list(written["cases"]) == [name]
    for finding in written["cases"][name]:
        target = finding["target"]
        met = (target["bound"] <= finding["figure"], finding["figure"] <= target["bound"])
        assert finding["met"] == met[0 if target["at_least"] else 1]
        assert finding["figure"] >= 0
        assert all(value >= 0 for value in finding["beside"].values())
    said = capsys.readouterr().out
    assert said.count(" yes ") + said.count(" no ") == len(written["cases"][name]) > 0
    assert "1 thread" in said


@pytest.mark.parametrize(("case", "argument"), [("lengths", "lengths"), ("resets", "reset")])
def test_a_layer_that_ignores_an_argument_is_refused(
    case: str, argument: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right: Any = gatewise.nn.LSTM.forward

    def deaf(self: Any, x: Any, **named: Any) -> Any:
        return right(self, x, **{name: value for name, value in named.items() if name != argument})

    monkeypatch.setattr(gatewise.nn.LSTM, "forward", deaf)
    with pytest.raises(SystemExit, match=f"^Nothing was timed: our LSTM with {argument}"):
        main([case, *QUICK])
    assert capsys.readouterr().out == ""
