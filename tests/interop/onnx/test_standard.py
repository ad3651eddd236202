"""The standard's own cases of its nodes, as the onnx package makes them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, numpy_helper, save

from gatewise import import_onnx
from gatewise.interop.onnx import OnnxError
from gatewise.interop.onnx.control import CONTROL
from gatewise.interop.onnx.operators import OPERATORS, RANDOM
from gatewise.interop.onnx.reading import RECURRENT
from tests.interop.onnx.models import Array
from tests.interop.onnx.test_operators import CASES
from tests.interop.onnx.test_runtime_operators import BY_RUNTIME

# The types that torch computes with and NumPy has.
TYPES = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
# Cases that draw random numbers, are in an operator set before 7, or resize to a size with a fraction
# (which ONNX Runtime never does).
LEFT = ("test_training_dropout", "test_not_", "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_cubic_align_corners")  # fmt: skip


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if not case.name.endswith("_expanded")]


def array(value: Any) -> Array | None:
    """None for what is no tensor."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None


def held(model: ModelProto, feeds: dict[str, Array]) -> ModelProto:
    """The model with the weights of its recurrent nodes as constants."""
    weights = {
        name
        for node in model.graph.node
        if node.op_type in RECURRENT
        for k, name in enumerate(node.input)
        if k in (1, 2, 3, 7) and name
    }
    changed = ModelProto()
    changed.CopyFrom(model)
    for value in [value for value in changed.graph.input if value.name in weights]:
        changed.graph.input.remove(value)
        changed.graph.initializer.append(numpy_helper.from_array(feeds.pop(value.name), value.name))
    return changed


def compared(operators: set[str], folder: Path) -> Iterator[tuple[str, str]]:
    """The operator of each case that was compared, and what was wrong with it."""
    for case in cases():
        operator = case.model.graph.node[0].op_type
        if operator not in operators or case.name.startswith(LEFT):
            continue
        for inputs, outputs in case.data_sets:
            found = [array(value) for value in (*inputs, *outputs)]
            values = [value for value in found if value is not None and value.dtype.name in TYPES]
            if len(values) < len(found):
                continue
            names = [value.name for value in case.model.graph.input]
            feeds = dict(zip(names, values[: len(inputs)], strict=True))
            save(held(case.model, feeds), folder / "case.onnx")
            yield operator, wrong(case, feeds, values[len(inputs) :], folder)


def wrong(case: Any, feeds: dict[str, Array], expected: list[Array], folder: Path) -> str:
    try:
        module = import_onnx(folder / "case.onnx")
    except OnnxError as error:
        return "" if "not served" in str(error) else f"{case.name}: {error}"
    try:
        with torch.no_grad():
            found = module(*(torch.from_numpy(feeds[name].copy()) for name in module.inputs))
        several = found if isinstance(found, tuple) else (found,)
        for y, value in zip(several, expected, strict=False):
            assert str(y.dtype) == f"torch.{value.dtype}", f"{y.dtype} in place of {value.dtype}"
            rounding = 1e-6 * np.abs(value).max(initial=0) if value.dtype.kind == "f" else 0
            np.testing.assert_allclose(
                y.detach(), value, rtol=case.rtol, atol=np.fmax(case.atol, np.nan_to_num(rounding, posinf=0))
            )
    except Exception as error:
        return f"{case.name}: {type(error).__name__} {error}"
    return ""


def test_every_case_of_the_operators_that_are_served(tmp_path: Path) -> None:
    found = list(compared({*OPERATORS, *CONTROL, *RECURRENT} - RANDOM, tmp_path))
    assert "\n".join(problem for _, problem in found if problem) == ""
    assert len(found) > 800
    elsewhere = {operator for operator, *_ in (*CASES, *BY_RUNTIME)} | RANDOM
    assert set(OPERATORS) <= {operator for operator, _ in found} | elsewhere


def test_the_page_names_every_operator() -> None:
    page = (Path(__file__).parents[3] / "docs" / "interop.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", page))
    assert {operator.removeprefix("com.microsoft.") for operator in OPERATORS} - named == set()
