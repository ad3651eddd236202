"""Shows a page in the output of a notebook, or in the browser where there is no notebook."""

from __future__ import annotations

import sys
import webbrowser
from html import escape
from pathlib import Path

HEIGHT = 720  # pixels


class Frame:
    """A page inside the output of a notebook.

    The output contains the whole page, so it stays with the notebook when the file is gone. The page runs in
    a sandbox: it reaches neither the notebook nor the network.
    """

    def __init__(self, page: str, title: str) -> None:
        self._page, self._title = page, title

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self._page)}" title="{escape(self._title)}" '
            f'sandbox="allow-scripts allow-downloads" loading="lazy" '
            f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #8888; border-radius: 6px"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page {self._title!r}>"


def show(page: str, title: str, path: Path) -> None:
    """Display a page in the notebook that runs; without one, open its file in the browser."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    if shell is not None and hasattr(shell, "kernel"):
        interactive.display.display(Frame(page, title))  # type: ignore[union-attr]
    else:
        webbrowser.open(path.resolve().as_uri())
