"""Training in a web page: kernels as WebAssembly in Chromium, beside those of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

import gatewise
from benchmarks.cases.finding import Finding, Settings, Target
from benchmarks.cases.process import fresh
from benchmarks.check import agree
from benchmarks.layers import Shape, training
from benchmarks.measure import interleaved

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SHAPE = Shape(B=32, T=50, I=2, H=32)
_TIMES = 4.0  # how many times the native time an iteration may take
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_START = """
async ([x, output, rows]) => {
  const [layer] = await gatewise.layers();
  const [input, by] = [Float32Array.from(x), Float32Array.from(output)];
  globalThis.iteration = () => layer.forward(input, { rows, keep: true }).backward({ output: by });
  const { weights } = iteration();
  return Object.fromEntries(Object.entries(weights).map(([name, numbers]) => [name, [...numbers]]));
}"""
_TIME = """
(ms) => {
  let calls = 0;
  const start = performance.now();
  do { iteration(); calls += 1; } while (performance.now() - start < ms);
  return (performance.now() - start) / calls;
}"""


def findings(settings: Settings) -> Iterator[Finding]:
    """Forward, backward and all gradients of an LSTM, on one thread. The browser is one of a new process."""
    shape = settings.shape(_SHAPE)
    code = (
        "import json; from benchmarks.cases.page import measured; "
        f"print(json.dumps(measured({tuple(shape)}, {settings.rounds}, {settings.seconds})))"
    )
    ms = fresh(code)
    what = f"LSTM {shape}, an iteration of training"
    yield Finding(what, ms["page"], "ms", Target(_TIMES * ms["native"]), {"native": ms["native"]})


def measured(sizes: tuple[int, int, int, int], rounds: int, seconds: float) -> dict[str, float]:
    """Milliseconds of an iteration in the page and natively: medians of rounds that take turns."""
    from playwright.sync_api import sync_playwright

    torch.set_num_threads(1)
    shape = Shape(*sizes)
    layer = gatewise.nn.LSTM(shape.I, shape.H)
    x, by = torch.randn(shape.T, shape.B, shape.I), torch.randn(shape.T, shape.B, shape.H)
    run = training(layer, x, by)
    run()
    native, page_ms = [], []
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = _opened(browser.new_page(), layer, Path(folder))
        found = page.evaluate(_START, [x.flatten().tolist(), by.flatten().tolist(), shape.B])
        _check(layer, found)
        for _ in range(rounds):
            native += interleaved({"native": run}, 1, seconds)["native"]
            page_ms.append(page.evaluate(_TIME, seconds * 1e3))
        browser.close()
    return {"page": median(page_ms), "native": median(native) * 1e3}


def chromium() -> str | None:
    """The path of the browser; None if there is none."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


def _opened(page: Page, layer: gatewise.nn.Recurrent, folder: Path) -> Page:
    """A page with the layer, from a file."""
    gatewise.export_wasm(layer, folder, training=True)
    (folder / "page.html").write_text('<script src="model-file.js"></script>', encoding="utf-8")
    page.goto((folder / "page.html").as_uri())
    return page


def _check(layer: gatewise.nn.Recurrent, found: dict[str, Any]) -> None:
    expected = {n.removesuffix("_l0"): p.grad for n, p in layer.named_parameters() if p.grad is not None}
    shaped = {name: torch.tensor(values).view_as(expected[name]) for name, values in found.items()}
    agree("our LSTM in a page", shaped, expected)
