"""`look(show=True)`: the page in the output of a notebook."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import gatewise
from gatewise import cells
from gatewise.insight.page.frame import Frame
from tests.insight.page.pages import layer_of, sequence
from tests.tabs import Tabs, heard


def shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool, show: bool = True
) -> tuple[list[Any], list[str]]:
    """What is displayed, and which addresses the browser opens."""
    displayed: list[Any] = []
    opened: list[str] = []
    shell = SimpleNamespace(kernel=None) if kernel else SimpleNamespace()
    fake = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=displayed.append))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    layer, path = layer_of(cells.lstm), tmp_path / "page.html"
    gatewise.look(layer, sequence(7, 2, 3), path, title='A "page" & <b>', show=show)
    return displayed, opened


def test_a_notebook_shows_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (frame,), opened = shown(tmp_path, monkeypatch, kernel=True)
    assert isinstance(frame, Frame)
    assert opened == []
    assert (tmp_path / "page.html").exists()
    assert 'title="A &quot;page&quot; &amp; &lt;b&gt;"' in frame._repr_html_()
    assert repr(frame) == "<page 'A \"page\" & <b>'>"


def test_elsewhere_the_browser_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = (tmp_path / "page.html").as_uri()
    assert shown(tmp_path, monkeypatch, kernel=False) == ([], [address])
    monkeypatch.setitem(sys.modules, "IPython", None)
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    gatewise.look(layer_of(cells.rnn), torch.randn(5, 2, 3), tmp_path / "page.html", show=True)
    assert opened == [address]


def test_by_default_nothing_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(tmp_path, monkeypatch, kernel=True, show=False) == ([], [])


def test_the_frame_works_without_the_file(pages: dict[str, Path], tabs: Tabs) -> None:
    """As in a notebook that was opened on another machine, and with the page's scripts in their sandbox."""
    frame = Frame(pages["layers"].read_text(), "layers")._repr_html_()
    with tabs.open(900, 900) as page, heard(page) as (said, _):
        page.set_content(f"<!doctype html><body><p>a cell above</p>{frame}</body>")
        inner = page.frame_locator("iframe")
        inner.locator("h1").wait_for()
        assert inner.locator("h1").inner_text() == (page.frames[1].title())
        assert inner.locator("math").count() > 0
        assert inner.locator("canvas").count() > 0
        box = page.locator("iframe").bounding_box()
        assert box
        assert (box["width"] > 800, 600 < box["height"] < 800) == (True, True)
    assert said == []
