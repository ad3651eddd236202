"""The program in docs/small.md runs, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "small.md"


def test_the_small_gatewise_runs() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    printed = ""
    for kind, content in blocks:
        if kind == "text":
            assert printed == content
            printed = ""
            continue
        assert not printed, "a block prints, and the page does not show it"
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(content, names)
        printed = output.getvalue()
    assert [kind for kind, _ in blocks].count("text") >= 5
    assert not printed


def test_its_files_exist() -> None:
    linked = re.findall(r"\w`?\]\(([a-z./_]+)\)", PAGE.read_text(encoding="utf-8"))
    assert linked
    assert [path for path in linked if not (PAGE.parent / path).exists()] == []
