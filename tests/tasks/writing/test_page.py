"""The examples on the page about writing run, and print what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from gatewise.apps.job import OPTIONS
from gatewise.apps.write import write

PAGE = Path(__file__).parents[3] / "docs" / "write.md"


def test_the_examples() -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert (failed, attempted > 0) == (0, True)


def test_every_option_is_named() -> None:
    named = set(re.findall(r"`--([\w-]+)`", PAGE.read_text(encoding="utf-8")))
    own = {name for name in write.__annotations__ if name not in ("context", "file", "return")}
    assert {name.replace("_", "-") for name in own - {"threads"}} <= named
    assert OPTIONS.keys() <= own
