"""The test cases of the ONNX standard for its operators, as the onnx package generates them."""

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
from gatewise.interop.onnx.operators import OPERATORS
from gatewise.interop.onnx.operators.filling import RANDOM
from gatewise.interop.onnx.operators.sequences import SEQUENCES
from gatewise.interop.onnx.reading import RECURRENT
from tests.interop.onnx.test_operators import CASES
from tests.interop.onnx.test_runtime_operators import BY_RUNTIME

# The types that both torch and NumPy compute with.
TYPES = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"}
# Omitted cases: random numbers, an operator set before 7, or a resize to a fractional size
# (which ONNX Runtime never does).
LEFT = ("test_training_dropout", "test_not_", "test_resize_downsample_scales_linear_align_corners",
        "test_resize_downsample_scales_cubic_align_corners")  # fmt: skip


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if not case.name.endswith("_expanded")]


def tensor(value: Any) -> Any:
    """A value of a case as a tensor or a list of tensors; None for anything else, or another type."""
    if isinstance(value, list):
        found = [tensor(item) for item in value]
        return None if any(item is None for item in found) else found
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    usual = isinstance(value, (np.ndarray, np.generic)) and value.dtype.name in TYPES
    return torch.from_numpy(np.array(value)) if usual else None


def held(model: ModelProto, feeds: dict[str, Any]) -> ModelProto:
    """The model, with the weights of its recurrent nodes as constants."""
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
        changed.graph.initializer.append(numpy_helper.from_array(feeds.pop(value.name).numpy(), value.name))
    return changed


def compared(operators: set[str], folder: Path) -> Iterator[tuple[Any, str]]:
    """The cases that were compared, each with what was wrong with it."""
    for case in cases():
        if case.model.graph.node[0].op_type not in operators or case.name.startswith(LEFT):
            continue
        for inputs, outputs in case.data_sets:
            values = [tensor(value) for value in (*inputs, *outputs)]
            if any(value is None for value in values):
                continue
            names = [value.name for value in case.model.graph.input]
            feeds = dict(zip(names, values[: len(inputs)], strict=True))
            save(held(case.model, feeds), folder / "case.onnx")
            yield case, wrong(case, feeds, values[len(inputs) :], folder)


def wrong(case: Any, feeds: dict[str, Any], expected: list[Any], folder: Path) -> str:
    try:
        module = import_onnx(folder / "case.onnx")
        with torch.no_grad():
            found = module(*(feeds[name] for name in module.inputs))
        for y, value in zip(found if isinstance(found, tuple) else (found,), expected, strict=False):
            if isinstance(value, list):
                torch.testing.assert_close(list(y), value)
            elif value.is_floating_point() and value.numel():
                rounding = float(torch.nan_to_num(value, 0, 0, 0).abs().max()) * 1e-6
                atol = max(case.atol, rounding)
                torch.testing.assert_close(y, value, rtol=case.rtol, atol=atol, equal_nan=True)
            else:
                torch.testing.assert_close(y, value)
    except (OnnxError, AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"{case.name}: {type(error).__name__} {error}"
    return ""


# Unsupported cases: training, values of optional type, positions of a maximum, Scan of operator set 8.
REFUSED = [
    "test_batchnorm_epsilon_training_mode",
    "test_batchnorm_example_training_mode",
    "test_identity_opt",
    "test_if_opt",
    "test_loop16_seq_none",
    "test_maxpool_with_argmax_2d_precomputed_pads",
    "test_maxpool_with_argmax_2d_precomputed_strides",
    "test_scan_sum",
]


def test_every_case_of_the_supported_operators(tmp_path: Path) -> None:
    found = list(compared({*OPERATORS, *CONTROL, *RECURRENT} - RANDOM, tmp_path))
    refused = {case.name for case, problem in found if "unsupported" in problem}
    assert sorted(refused) == REFUSED
    problems = [problem for case, problem in found if problem and case.name not in refused]
    assert "\n".join(problems) == ""
    assert len(found) > 800
    elsewhere = {operator for operator, *_ in (*CASES, *BY_RUNTIME)} | RANDOM | SEQUENCES.keys()
    assert set(OPERATORS) <= {case.model.graph.node[0].op_type for case, _ in found} | elsewhere


def test_the_page_names_every_operator() -> None:
    page = (Path(__file__).parents[3] / "docs" / "interop.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", page))
    assert {operator.removeprefix("com.microsoft.") for operator in OPERATORS} - named == set()
