"""The page in docs/web.md runs unchanged."""

from __future__ import annotations

import doctest
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import gatewise
from gatewise.compiler.wasm.target import RELAXED
from gatewise.runtime import Stream
from gatewise.web import export
from gatewise.web.describing import bundle, described, editable, kernels_of
from tests.tabs import Tabs

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = Path(__file__).parents[2] / "docs" / "web.md"
SERVED, FROM_FILE, TRAINING = re.findall(r"```html\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_the_docstring_and_the_page_run() -> None:
    assert doctest.testmod(export)[0] == 0
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, attempted > 0) == (0, True)


def test_the_documented_page_runs(tabs: Tabs, served: str, tmp_path: Path) -> None:
    """From the server, and from a file in the way the text describes."""
    torch.manual_seed(0)
    layer = gatewise.nn.GRU(2, 8)
    gatewise.export_wasm(layer, tmp_path)
    assert len(SERVED.splitlines()) <= 20
    body = re.search(r"const stream.*(?=</script>)", SERVED, re.DOTALL)
    assert body is not None
    head = SERVED[: SERVED.index("<script")]
    from_file = head + FROM_FILE.replace("/* as above */", body[0])
    (tmp_path / "served.html").write_text(SERVED, encoding="utf-8")
    (tmp_path / "file.html").write_text(from_file, encoding="utf-8")
    for address in (f"{served}/served.html", (tmp_path / "file.html").as_uri()):
        with tabs.open(1024, 512) as page:
            page.goto(address)
            page.wait_for_function("document.querySelector('#about').textContent")
            assert page.inner_text("#about") == "gru, relaxed SIMD: the bits of Python"
            _move(page, Stream(layer.cell, layer.state_dict()))


def test_the_documented_page_trains(tabs: Tabs, served: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    gatewise.export_wasm(gatewise.nn.GRU(1, 8), tmp_path, training=True)
    (tmp_path / "training.html").write_text(TRAINING, encoding="utf-8")
    with tabs.open() as page:
        page.goto(f"{served}/training.html")
        page.wait_for_function("Number(document.querySelector('output').textContent) > 0.1")
        page.wait_for_function("Number(document.querySelector('output').textContent) < 0.01")


def test_the_documented_edit_runs(tabs: Tabs) -> None:
    (script,) = re.findall(r"```js\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    cell = editable(gatewise.cells.lstm)
    code = {name: b64encode(part).decode() for name, part in kernels_of(cell, RELAXED, ["forward"]).items()}
    with tabs.open() as page:
        page.add_script_tag(content=bundle())
        c, held, first = page.evaluate(
            f"""async ([about, texts]) => {{
              const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
              const code = {{ forward: bytesOf(texts.forward) }};
              const x = new Float32Array(10 * 2).fill(1);
              {script}
              const edits = [{{ name: "f", value: 1, steps: [5] }}];
              const all = layer.forward(x, {{ watch: ["f"], edits }});
              return [open.values.c.length, all.values.f[5 * 16 + 3], all.values.f[3]];
            }}""",
            [described(cell), code],
        )
    assert (c, held, first) == (10 * 16, 1, 0.5)


def _move(page: Page, stream: Stream) -> None:
    for x, y in [(512, 128), (16, 500)]:
        page.mouse.move(x, y)
        (output, *_) = stream.step(np.array([x / 1024, y / 512], "float32"))
        assert np.float32(page.inner_text("output")) == output
