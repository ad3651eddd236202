"""Operators around recurrent nodes, against the reference of ONNX, in each version of the standard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from gatewise import import_onnx
from tests.interop.onnx.models import Array, by_onnx_runtime, by_reference, saved

RNG = np.random.default_rng(0)


def some(*shape: int) -> Array:
    return RNG.normal(size=shape)


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


X = some(2, 3, 4)
SCALAR = numpy_helper.from_array(np.array([2.5]), "value")

# Operator, version of the standard, inputs (None for an omitted one), attributes.
CASES: list[tuple[str, int, list[Array | None], dict[str, Any]]] = [
    ("Squeeze", 11, [some(1, 3, 1)], {"axes": [0]}),
    ("Squeeze", 17, [some(1, 3, 1), whole(-1)], {}),
    ("Squeeze", 17, [some(1, 3, 1)], {}),
    ("Unsqueeze", 11, [X], {"axes": [0, 4]}),
    ("Unsqueeze", 17, [X, whole(-1, 0)], {}),
    ("Transpose", 17, [X], {"perm": [2, 0, 1]}),
    ("Transpose", 17, [X], {}),
    ("Reshape", 17, [X, whole(0, -1)], {}),
    ("Reshape", 17, [some(0, 3), whole(3, 0)], {"allowzero": 1}),
    ("Flatten", 17, [X], {}),
    ("Flatten", 17, [X], {"axis": -1}),
    ("Flatten", 17, [X], {"axis": 0}),
    ("Concat", 17, [X, some(2, 1, 4), X], {"axis": -2}),
    ("Split", 11, [X], {"axis": 2, "split": [1, 3]}),
    ("Split", 17, [X, whole(3, 1)], {"axis": -1}),
    ("Split", 17, [X], {"axis": 2}),
    ("Slice", 9, [X], {"starts": [1, -3], "ends": [2, 100], "axes": [1, 2]}),
    ("Slice", 17, [X, whole(0, 1), whole(1, -1)], {}),
    ("Slice", 17, [X, whole(-1), whole(-1000), whole(2), whole(-1)], {}),
    ("Slice", 17, [X, whole(3, 0), whole(0, 3), whole(-1, 1), whole(-2, 2)], {}),
    ("Slice", 17, [X, whole(2), whole(1), whole(1)], {}),
    ("Gather", 17, [X, np.array(1)], {}),
    ("Gather", 17, [X, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    ("Gather", 17, [some(5), np.array(-2)], {"axis": -1}),
    ("Expand", 17, [some(3, 1), whole(2, 1, 4)], {}),
    ("Expand", 17, [X, whole(1)], {}),
    ("Shape", 17, [X], {}),
    ("Shape", 17, [X], {"start": 1, "end": -1}),
    ("Cast", 17, [X * 3], {"to": TensorProto.INT64}),
    ("Cast", 17, [X], {"to": TensorProto.FLOAT}),
    ("Constant", 17, [], {"value": SCALAR}),
    ("Constant", 17, [], {"value_float": 0.5}),
    ("Constant", 17, [], {"value_ints": [1, 2]}),
    ("ConstantOfShape", 17, [whole(2, 3)], {}),
    ("ConstantOfShape", 17, [whole(2, 3)], {"value": SCALAR}),
    ("Range", 17, [np.array(1), np.array(9), np.array(3)], {}),
    ("Identity", 17, [X], {}),
    ("Dropout", 11, [X], {}),
    ("Dropout", 17, [X, np.array(0.5), np.array(False)], {}),
    ("Gemm", 17, [some(3, 4), some(4, 2)], {"alpha": 0.5}),
    ("Gemm", 17, [some(4, 3), some(2, 4), some(2)], {"transA": 1, "transB": 1, "beta": 2.0}),
    ("MatMul", 17, [X, some(4, 5)], {}),
    ("MatMul", 17, [some(4), some(4)], {}),
    ("Softmax", 17, [X], {"axis": 1}),
    ("LogSoftmax", 17, [X], {}),
    ("ReduceMean", 17, [X], {"axes": [1], "keepdims": 0}),
    ("ReduceMean", 18, [X, whole(0, -1)], {}),
    ("ReduceMean", 18, [X], {}),
    ("ReduceSum", 11, [X], {"axes": [0]}),
    ("ReduceSum", 17, [X, whole(2)], {"keepdims": 0}),
    ("ReduceSum", 17, [X], {"noop_with_empty_axes": 1}),
    ("Add", 17, [X, some(3, 1)], {}),
    ("Sub", 17, [X, some(4)], {}),
    ("Mul", 17, [X, X], {}),
    ("Div", 17, [X, some(1)], {}),
    ("Div", 17, [whole(7, -7), whole(2, 2)], {}),
    ("Neg", 17, [X], {}),
    ("Abs", 17, [X], {}),
    ("Exp", 17, [X], {}),
    ("Log", 17, [X * X], {}),
    ("Sqrt", 17, [X * X], {}),
    ("Relu", 17, [X], {}),
    ("Sigmoid", 17, [X], {}),
    ("Tanh", 17, [X], {}),
    ("Softplus", 17, [X * 9], {}),
    ("Max", 17, [X, some(4), some(1)], {}),
    ("Min", 17, [X, some(4)], {}),
    ("Less", 17, [X, some(4)], {}),
    ("LessOrEqual", 17, [X, X], {}),
    ("Greater", 17, [X, some(4)], {}),
    ("Not", 17, [X < 0], {}),
    ("Where", 17, [X < 0, X, some(1)], {}),
]


def element(inputs: list[Array | None], operator: str) -> int:
    """The type of the outputs that the file declares."""
    if operator.startswith(("com.microsoft.QL", "com.microsoft.Quantize")):
        return int(TensorProto.UINT8)
    singles = any(array is not None and array.dtype == np.float32 for array in inputs)
    return int(TensorProto.FLOAT if singles else TensorProto.DOUBLE)


def model(
    operator: str, opset: int, inputs: list[Array | None], attributes: dict[str, Any], held: bool
) -> Any:
    """A model with one node. Its inputs are those of the graph, or constants of it."""
    arrays = {f"x{k}": array for k, array in enumerate(inputs) if array is not None}
    names = [f"x{k}" if array is not None else "" for k, array in enumerate(inputs)]
    outputs = ["y0", "y1"] if operator == "Split" else ["y0"]
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in arrays.items()}
    *domain, name = operator.rsplit(".", 1)
    graph = helper.make_graph(
        [helper.make_node(name, names, outputs, "node", domain="".join(domain), **attributes)],
        "graph",
        [] if held else [helper.make_tensor_value_info(k, kinds[k], a.shape) for k, a in arrays.items()],
        [helper.make_tensor_value_info(name, element(inputs, operator), []) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()] if held else [],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


@pytest.mark.parametrize("held", [False, True], ids=["input", "constant"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_an_operator_gives_what_the_reference_gives(case: Any, held: bool, tmp_path: Path) -> None:
    operator, opset, inputs, attributes = case
    made = model(operator, opset, inputs, attributes, held)
    arrays = [] if held else [array for array in inputs if array is not None]
    feeds = {f"x{k}": array for k, array in enumerate(inputs) if array is not None and not held}
    expected = by_reference(made, feeds)
    with torch.no_grad():
        found = import_onnx(saved(made, tmp_path))(*map(torch.from_numpy, arrays))
    for y, value in zip([found] if isinstance(found, torch.Tensor) else found, expected, strict=True):
        assert y.detach().numpy().dtype == np.asarray(value).dtype
        np.testing.assert_allclose(y.detach(), value, rtol=1e-12, atol=1e-14)


def test_an_old_softmax_covers_all_axes_from_its_own_on(tmp_path: Path) -> None:
    made = model(
        "Softmax", 11, [X], {"axis": 1}, held=False
    )  # the reference computes these as the newest version does
    (expected,) = by_onnx_runtime(made, {"x0": X})
    found = import_onnx(saved(made, tmp_path))(torch.from_numpy(X))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_error_at_run_time_names_the_node(tmp_path: Path) -> None:
    made = model("MatMul", 17, [some(2, 3), some(3, 2)], {}, held=False)
    module = import_onnx(saved(made, tmp_path))
    with pytest.raises(RuntimeError) as caught:
        module(torch.zeros(2, 3), torch.zeros(2, 3))
    assert caught.value.__notes__ == ["in node 'node' (MatMul)"]
