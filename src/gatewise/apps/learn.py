"""``gatewise learn``: the lesson, in the browser or as a page for it."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from gatewise.apps.helping import example
from gatewise.apps.learn_check import check_cells, write_starter
from gatewise.apps.options import Among
from gatewise.apps.pages import check_page
from gatewise.apps.reading import refuse_missing
from gatewise.apps.session import status_of

if TYPE_CHECKING:
    from gatewise.learn.server import Server


@example("gatewise learn")
def learn(
    page: Annotated[
        Path | None, typer.Option(help="Write the lesson as one page, which needs no network.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the server. (default: 4283, or a free one)"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the lesson in the browser.")] = True,
    language: Annotated[
        str | None, typer.Option(help="en or zh. (default: the browser's)"), Among(("en", "zh"))
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Check a file of cells that you wrote: which line is wrong?")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Write a file for --check, with the exercises as comments.")
    ] = None,
) -> None:
    """Learn how recurrent networks remember: a lesson in which networks run and train in the page.

    The lesson opens in the browser, and this command compiles the equations that are written there, until it
    is stopped with Ctrl-C. With --page the lesson is one file, with a choice of equations compiled already.
    """

    def job(console: Console) -> int:
        if start is not None:
            return write_starter(start, console)
        if check is not None:
            refuse_missing([check])
            return check_cells(check, console)
        if page is not None:
            return _write(console, page, language)
        return _serve(console, port, browser, language)

    raise typer.Exit(status_of(job))


def _write(console: Console, page: Path, language: str | None) -> int:
    from gatewise.learn.page import write_page

    check_page("--page", page)
    with console.status("Compiling the cells of the lesson") as status:
        write_page(
            page,
            language=language,
            count=lambda done, all: status.update(f"Compiling the cells of the lesson: {done} of {all}"),
        )
    console.print(f"{page} ({page.stat().st_size / 1e6:.1f} MB); open it in a browser.")
    return 0


def _serve(console: Console, port: int | None, browser: bool, language: str | None) -> int:
    with _server(port, language) as server, suppress(KeyboardInterrupt):
        console.print(Text(server.address, style="bold"), soft_wrap=True)
        if port is None and server.server_port != server.PORT:
            console.print(f"Port {server.PORT} is in use: progress that was made there is not seen here.")
        console.print("The lesson is at this address, on this machine only. Ctrl-C ends it.")
        if browser:
            address = server.address + (f"?language={language}" if language else "")
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()
    return 0


def _server(port: int | None, language: str | None) -> Server:
    from gatewise.learn.server import Server

    try:
        return Server(Server.PORT if port is None else port, language)
    except OSError as error:
        if port is not None:
            raise OSError(f"--port: {port} can't be used: {error.strerror}.") from error
    return Server(0, language)
