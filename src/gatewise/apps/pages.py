"""The page that a command writes."""

from __future__ import annotations

from pathlib import Path


def check_page(option: str, page: Path) -> None:
    """Refuse a page that cannot be written, before any work is done for it.

    Raises:
        ValueError: `page` is a folder, or its folder does not exist. The message names `option`.
    """
    if page.is_dir():
        raise ValueError(f"{option}: the page {page} is a folder.")
    if not page.parent.is_dir():
        raise ValueError(
            f"{option}: the page {page} cannot be written, as the folder {page.parent} does not exist."
        )
