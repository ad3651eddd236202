"""Recordings in notebooks."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib import image

import gatewise
from gatewise import cells
from gatewise.insight import bitmap, notebook
from gatewise.insight.watch import Seen


def recorded(layer: Any, x: torch.Tensor, names: Any = None, **more: Any) -> Seen:
    with gatewise.watch(layer, names=names) as seen:
        layer(x, **more)
    return seen


def read(shown: str) -> dict[str, tuple[Any, str]]:
    """The pictures ``[units, steps, 4]`` by name, and what stands beside each."""
    root = ElementTree.fromstring(shown.replace('pixelated">', 'pixelated"/>'))
    found = {}
    for row in root.iter("tr"):
        (picture,) = row.iter("img")
        data = b64decode(picture.get("src", "").removeprefix("data:image/png;base64,"))
        found[row.findtext("th", "")] = (
            image.imread(BytesIO(data), format="png"),
            row.findall("td")[1].text or "",
        )
    return found


def test_a_png_holds_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    assert (np.round(image.imread(BytesIO(bitmap.png(pixels)), format="png") * 255) == pixels).all()
    assert bitmap.address(pixels).startswith("data:image/png;base64,")


def test_gates_go_from_dark_to_bright() -> None:
    torch.manual_seed(0)
    seen = recorded(gatewise.nn.LSTM(3, 8), 4 * torch.randn(20, 2, 3))
    pictures = read(seen._repr_html_())
    assert list(pictures) == ["i", "f", "g", "o", "h", "c"]
    f = seen["l0"].f[:, 0].T.numpy()
    shown, beside = pictures["f"]
    assert shown.shape == (8, 20, 4)
    assert beside == f"{f.min():.2g} to {f.max():.2g}"
    brightness = shown[..., :3] @ np.array([0.2126, 0.7152, 0.0722])
    order = np.argsort(f, axis=None)
    assert (np.diff(brightness.ravel()[order]) > -0.01).all()


def test_signs_have_colours_and_sizes_have_strength() -> None:
    torch.manual_seed(0)
    seen = recorded(gatewise.nn.LSTM(3, 8), torch.randn(20, 2, 3))
    c = seen["l0"].c[:, 0].T.numpy()
    shown, _ = read(seen["l0"]._repr_html_())["c"]
    assert ((shown[..., 0] > shown[..., 2]) == (c >= 0)).all()
    strength = np.sqrt(abs(c) / abs(c).max())
    assert abs(shown[..., 3] - strength).max() < 0.01


def test_only_the_steps_of_the_first_row_are_shown() -> None:
    shown = recorded(gatewise.nn.GRU(3, 8), torch.randn(20, 2, 3), lengths=[12, 20])._repr_html_()
    assert read(shown)["z"][0].shape == (8, 12, 4)
    assert "8 units over 12 steps, the first of 2 rows." in shown
    assert 'alt="z of 8 units over 12 steps, ' in shown


def test_long_and_wide_recordings_are_cut() -> None:
    seen = recorded(gatewise.nn.GRU(3, 70, num_layers=6), torch.randn(1000, 1, 3), names="h")
    shown = seen._repr_html_()
    assert read(shown)["h"][0].shape == (64, 400, 4)
    assert "70 units over 1000 steps, the first 64 units, means of neighbouring steps." in shown
    assert "and 2 more layers" in shown
    means = notebook._together(np.arange(1000.0)[:, None])
    assert means.shape == (400, 1)
    assert abs(means.mean() - 499.5) < 1


@pytest.mark.parametrize("names", [["f_bar"], []])
def test_some_values_alone(names: list[str]) -> None:
    shown = recorded(gatewise.nn.LSTM(3, 8), torch.randn(20, 2, 3), names=names)._repr_html_()
    assert ("nothing recorded" in shown) == (not names)
    assert names == [] or list(read(shown)) == names


def test_values_that_are_no_numbers_or_of_no_steps() -> None:
    x = torch.randn(5, 1, 3)
    x[2:] = torch.nan
    assert read(recorded(gatewise.nn.GRU(3, 8), x)._repr_html_())["z"][0].shape == (8, 2, 4)
    none = recorded(gatewise.nn.GRU(3, 8), torch.randn(5, 2, 3), lengths=[0, 5])._repr_html_()
    assert "over 0 steps" in none
    assert "<img" not in none


def test_a_single_step_and_a_single_row() -> None:
    step = recorded(gatewise.nn.Step(cells.gru, 3, 8), torch.randn(2, 3))
    (name,) = step
    assert read(step[name]._repr_html_())["z"][0].shape == (8, 1, 4)
    row = recorded(gatewise.nn.GRU(3, 8), torch.randn(9, 3))
    assert read(row._repr_html_())["z"][0].shape == (8, 9, 4)


def test_names_are_text() -> None:
    inner = torch.nn.Module()
    model = torch.nn.Module()
    model.add_module("a<b>", inner)
    inner.add_module("lstm", gatewise.nn.GRU(3, 8))
    with gatewise.watch(model) as seen:
        inner.get_submodule("lstm")(torch.randn(4, 1, 3))
    assert "<code>a&lt;b&gt;.lstm.l0</code>" in seen._repr_html_()
    assert not re.search("<b>", seen._repr_html_())


def test_a_notebook_needs_no_matplotlib() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import torch, gatewise\n"
        "layer = gatewise.nn.GRU(2, 3)\n"
        "with gatewise.watch(layer) as seen: layer(torch.randn(3, 1, 2))\n"
        "print('<img' in seen._repr_html_())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "True"
