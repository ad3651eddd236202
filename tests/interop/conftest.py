from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _networks_from_files_are_compiled(quickly: None) -> None:
    """Networks from files run over few steps."""


_torchlib: list[Any] = []


@pytest.fixture(scope="module")
def torchlib_once() -> Iterator[None]:
    """List the functions of onnxscript once: each export of torch parses the source of all 500 to do so."""
    exporter: Any = importlib.import_module("torch.onnx._internal.exporter._registration")
    if not _torchlib:
        _torchlib.extend(exporter.onnxscript_apis.get_torchlib_ops())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter.onnxscript_apis, "get_torchlib_ops", lambda: _torchlib)
        yield
