"""What all commands share."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.apps.session import BAD_INPUT, progress, status_of

HOSTILE = "a\x1b]0;title\x07\r\x1b[2J\ud800"


def test_text_from_files_cannot_control_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    def job(console: Console) -> int:
        table = Table(HOSTILE)
        table.add_row(HOSTILE)
        console.print(table)
        console.print(HOSTILE)
        console.print(Text(HOSTILE, style="bold"))
        with progress(console) as bar:
            bar.update(bar.add_task("training", total=1, state=HOSTILE), completed=1)
        raise ValueError(HOSTILE)

    assert status_of(job) == BAD_INPUT
    said, complaints = capfd.readouterr()
    assert (said + complaints).replace("\n", "").isprintable()
    assert "Error: a\\x1b]0;title" in complaints
