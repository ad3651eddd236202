"""Errors where an optional package is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        (
            "onnx",
            "export_onnx",
            "gatewise reads and writes ONNX files with onnx: pip install 'gatewise[onnx]'",
        ),
        (
            "onnx",
            "import_onnx",
            "gatewise reads and writes ONNX files with onnx: pip install 'gatewise[onnx]'",
        ),
        (
            "onnxruntime",
            "export_onnx",
            "export_onnx checks its files in ONNX Runtime: pip install 'gatewise[onnx]'",
        ),
    ],
)
def test_a_missing_package_is_named(package: str, name: str, message: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import gatewise
try:
    gatewise.{name}
except ImportError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == message


def test_the_exporter_of_whole_modules() -> None:
    code = """
import sys
sys.modules["onnxscript"] = None
import gatewise, torch
try:
    gatewise.export_onnx(torch.nn.Linear(2, 2), "never.onnx", torch.randn(2, 2))
except ImportError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    needs = "gatewise.export_onnx of a whole module needs onnxscript: pip install 'gatewise[onnx]'"
    assert run.stdout.strip() == needs
