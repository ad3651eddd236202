"""One error names all unsupported parts. Files that would need much memory or time are refused early."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from onnx.helper import make_node as node

from gatewise import import_onnx
from gatewise.interop.onnx import OnnxError
from tests.interop.onnx.models import saved
from tests.interop.onnx.test_control import BOOL, I64, F, agrees, graph, made, some, value


def refusal(model: ModelProto, folder: Path) -> str:
    with pytest.raises(OnnxError) as caught:
        import_onnx(saved(model, folder))
    return str(caught.value).replace(str(folder), "")


def lacking() -> ModelProto:
    """A file with many unsupported parts, in its graph and in nested graphs."""
    unserved = [node("Unique", ["x"], ["u"]), node("NonMaxSuppression", ["x", "x"], ["n"], "nms")]
    inside = graph("inside", unserved, [], [value("u")])
    other = graph("other", [node("Identity", ["x"], ["o"])], [], [value("o")])
    nodes = [
        node("Unique", ["x"], ["a"], "first"),
        node("If", ["which"], ["b"], then_branch=inside, else_branch=other),
        node("Unique", ["a"], ["c"]),
        node("Polish", ["c"], ["d"], domain="someone"),
        node("MaxPool", ["d"], ["e", "places"], "pool", kernel_shape=[2]),
        node("GRU", ["e", "W", "x"], ["y", ""], "gru", hidden_size=2),
    ]
    inputs = [value("x"), value("which", BOOL, []), value("words", TensorProto.STRING, [None])]
    return made(graph("lacking", nodes, inputs, [value("y")], W=some(1, 6, 2)))


def test_all_unsupported_parts_are_named_with_counts(tmp_path: Path) -> None:
    assert refusal(lacking(), tmp_path) == (
        "/model.onnx: unsupported: "
        "the operator 'Unique' (3 times, first node 'first'); "
        "the element type STRING has no counterpart in torch (input 'words'); "
        "the operator 'NonMaxSuppression' (node 'nms'); "
        "the operator 'someone.Polish' (node 'd'); "
        "MaxPool that gives indices (node 'pool'); "
        "GRU whose R is no constant of the file (node 'gru')"
    )


def sizes(*numbers: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"sizes": np.array(numbers)}


def doubled(times: int) -> ModelProto:
    nodes = [node("Concat", [f"x{k}", f"x{k}"], [f"x{k + 1}"], axis=0) for k in range(times)]
    return made(graph("doubled", nodes, [], [value(f"x{times}")], x0=np.zeros(64, "float32")))


def of_constants(operator: str, *inputs: str, attributes: Any = None, **held: Any) -> ModelProto:
    return made(graph("g", [node(operator, inputs, ["y"], **attributes or {})], [], [value("y")], **held))


N = 100_000
ONE, COLUMN, ROW = np.zeros(1, "float32"), np.zeros((N, 1), "float32"), np.zeros((1, N), "float32")
MANY = [node("ConstantOfShape", ["sizes"], [f"y{k}"]) for k in range(64)]
EDGE = {"mode": "edge"}
HUGE: dict[str, Callable[[], ModelProto]] = {
    "ConstantOfShape": lambda: of_constants("ConstantOfShape", "sizes", **sizes(2**30)),
    "many": lambda: made(graph("g", MANY, [], [value(f"y{k}") for k in range(64)], **sizes(2**22))),
    "Expand": lambda: of_constants("Expand", "x", "sizes", x=ONE, **sizes(2**15, 2**15)),
    "Tile": lambda: of_constants("Tile", "x", "sizes", x=ONE, **sizes(2**30)),
    "Range": lambda: of_constants("Range", "a", "b", "c", a=np.array(0), b=np.array(2**30), c=np.array(1)),
    "Pad": lambda: of_constants("Pad", "x", "sizes", x=ONE, **sizes(2**30, 0)),
    "Pad edge": lambda: of_constants("Pad", "x", "sizes", attributes=EDGE, x=ONE, **sizes(2**30, 0)),
    "OneHot": lambda: of_constants("OneHot", "x", "n", "v", x=np.arange(N), n=np.array(N), v=np.arange(2)),
    "broadcast": lambda: of_constants("Add", "a", "b", a=COLUMN, b=ROW),
    "MatMul": lambda: of_constants("MatMul", "a", "b", a=COLUMN, b=ROW),
    "Resize": lambda: of_constants("Resize", "x", "", "s", x=ONE, s=np.array([2.0**30], "float32")),
    "Gather": lambda: of_constants("Gather", "x", "i", x=ROW, i=np.zeros(N, int)),
    "doubling": lambda: doubled(40),
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE)
def test_constants_that_would_need_much_memory_are_refused_before_they_are_computed(
    make: Callable[[], ModelProto], tmp_path: Path
) -> None:
    path, before = saved(make(), tmp_path), resident()
    with pytest.raises(OnnxError, match="the constants computed from those of the file need more than"):
        import_onnx(path)
    assert resident() - before < 2**29


def resident() -> int:
    """The most memory that the process has had, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def function(name: str, *calls: str) -> Any:
    """A function of a file, which calls other functions one after another, or Neg."""
    names = ["x", *(f"t{k}" for k in range(len(calls) - 1)), "y"]
    nodes = [
        node(call, [names[k]], [names[k + 1]], domain="own" if call != "Neg" else "")
        for k, call in enumerate(calls)
    ]
    return helper.make_function(
        "own", name, ["x"], ["y"], nodes, [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
    )


def with_functions(*functions: Any) -> ModelProto:
    whole = graph("g", [node("A0", ["x"], ["y"], domain="own")], [value("x", F, [3])], [value("y", F, [3])])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(whole, functions=functions, opset_imports=domains, ir_version=8)


def test_functions_of_a_file(tmp_path: Path) -> None:
    agrees(with_functions(function("A0", "A1", "A1", "A1"), function("A1", "Neg")), tmp_path, x=some(3))


LAUGHS = [function(f"A{k}", f"A{k + 1}", f"A{k + 1}") for k in range(60)] + [function("A60", "Neg")]
BAD: dict[str, tuple[ModelProto, str]] = {
    "many nodes": (with_functions(*LAUGHS), r"its functions expand to \d+ nodes"),
    "itself": (with_functions(function("A0", "A0")), "or in a cycle"),
    "cycle": (with_functions(function("A0", "A1"), function("A1", "A0")), "or in a cycle"),
    "deep": (
        with_functions(*(function(f"A{k}", f"A{k + 1}") for k in range(5000))),
        "to a depth of more than 100",
    ),
}


@pytest.mark.parametrize(("model", "message"), BAD.values(), ids=BAD)
def test_functions_that_call_each_other_without_end_are_refused(
    model: ModelProto, message: str, tmp_path: Path
) -> None:
    with pytest.raises(OnnxError, match=message):
        import_onnx(saved(model, tmp_path))


def test_an_operator_that_the_standard_defines_by_other_operators(tmp_path: Path) -> None:
    nodes = [node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["y"], reduction="mean")]
    whole = graph("loss", nodes, [value("x", F, [4, 3]), value("labels", I64, [4])], [value("y", F, [])])
    labels = np.array([0, 2, 1, 1])
    module = import_onnx(saved(made(whole), tmp_path))
    x = torch.from_numpy(some(4, 3))
    expected = torch.nn.functional.cross_entropy(x, torch.from_numpy(labels))
    torch.testing.assert_close(module(x, torch.from_numpy(labels)), expected)
