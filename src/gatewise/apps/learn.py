"""``gatewise learn``: the lesson, in the browser or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gatewise.apps.session import status_of


def learn(
    page: Annotated[
        Path | None, typer.Option(help="Write the lesson as one page, which needs no network.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="en or zh. (default: the browser's)")] = None,
) -> None:
    """Learn how recurrent networks remember: a lesson in which networks run and train in the page."""

    def job(console: Console) -> int:
        from gatewise.learn.page import write_page

        if page is None:
            raise ValueError("--page: give the file of the page.")
        write_page(page, language=language)
        console.print(f"{page} ({page.stat().st_size / 1e6:.1f} MB); open it in a browser.")
        return 0

    raise typer.Exit(status_of(job))
