"""Nodes that contain graphs, against ONNX Runtime: branches, loops, and values of the enclosing graph."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

from gatewise import import_onnx, watch
from tests.interop.onnx.models import Array, by_onnx_runtime, saved

F, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(0)


def some(*shape: int) -> Array:
    return RNG.normal(size=shape).astype("float32")


def value(name: str, element: int = F, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def graph(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], **held: Array) -> GraphProto:
    constants = [numpy_helper.from_array(array, key) for key, array in held.items()]
    return helper.make_graph(nodes, name, inputs, outputs, constants)


def made(whole: GraphProto, opset: int = 17) -> ModelProto:
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def agrees(model: ModelProto, folder: Path, **feeds: Array) -> Any:
    module = import_onnx(saved(model, folder))
    found = module(**{name: torch.from_numpy(array) for name, array in feeds.items()})
    several = found if isinstance(found, tuple) else (found,)
    for mine, theirs in zip(several, by_onnx_runtime(model, feeds), strict=True):
        assert str(mine.dtype) == f"torch.{theirs.dtype}"
        np.testing.assert_allclose(mine.detach(), theirs, rtol=1e-4, atol=1e-5)
    return module


T, B, I, H = 5, 2, 3, 4


def branching() -> ModelProto:
    """A layer as exporters write it for input with or without a batch: one copy in each branch."""
    weight = some(4 * H, I)

    def branch(name: str, first: list[Any], last: list[Any]) -> GraphProto:
        nodes = [
            *first,
            node("Slice", ["w", "h", "hh"], [f"{name} front"]),
            node("Slice", ["w", "zero", "h"], [f"{name} back"]),
            node("Concat", [f"{name} front", f"{name} back"], [f"{name} joined"], axis=0),
            node("Unsqueeze", [f"{name} joined", "zero"], [f"{name} W"]),
            node(
                "LSTM", [f"{name} x", f"{name} W", "R"], [f"{name} y", "", ""], f"{name} lstm", hidden_size=H
            ),
            node("Squeeze", [f"{name} y", "one"], [f"{name} out"]),
            *last,
        ]
        return graph(name, nodes, [], [value(f"{name} result")])

    with_batch = branch("batched", [node("Identity", ["x"], ["batched x"])], [
        node("Identity", ["batched out"], ["batched result"]),
    ])  # fmt: skip
    without = branch("single", [node("Unsqueeze", ["x", "one"], ["single x"])], [
        node("Squeeze", ["single out", "one"], ["single result"]),
    ])  # fmt: skip
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Size", ["sizes"], ["rank"]),
        node("Equal", ["rank", "three"], ["is batched"]),
        node("If", ["is batched"], ["y"], then_branch=with_batch, else_branch=without),
    ]
    held = {"w": weight, "R": some(1, 4 * H, H), "three": np.array(3), "zero": np.array([0])}
    held |= {"one": np.array([1]), "h": np.array([2 * H]), "hh": np.array([4 * H])}
    return made(graph("branching", nodes, [value("x")], [value("y")], **held))


def test_the_branch_is_chosen_at_each_call(tmp_path: Path) -> None:
    model = branching()
    agrees(model, tmp_path, x=some(T, B, I))
    module = agrees(model, tmp_path, x=some(T, I))
    assert module.outputs == ("y",)


def test_branches_with_the_same_weights_share_a_layer(tmp_path: Path) -> None:
    module = import_onnx(saved(branching(), tmp_path))
    assert len(list(module.parameters())) == 2  # without biases
    x = torch.from_numpy(some(T, B, I))
    with watch(module) as seen:
        module(x).sum().backward()
    (name,) = seen
    assert seen[name].f.shape == (T, B, H)
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    module.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x)[:, 0], module(x[:, 0]))


def test_branches_in_branches_share_a_layer(tmp_path: Path) -> None:
    model = branching()
    (inner,) = (n for n in model.graph.node if n.op_type == "If")
    other = next(a.g for a in inner.attribute if a.name == "then_branch")
    nested = graph("nested", [inner], [], [value("y")])
    model.graph.node.remove(inner)
    model.graph.node.append(node("If", ["flag"], ["y out"], "outer", then_branch=nested, else_branch=other))
    model.graph.input.append(value("flag", BOOL, []))
    model.graph.output[0].name = "y out"
    x = some(T, B, I)
    module = agrees(model, tmp_path, x=x, flag=np.array(True))
    assert len(list(module.parameters())) == 2
    agrees(model, tmp_path, x=x, flag=np.array(False))


@pytest.mark.parametrize("then", [False, True])
def test_a_constant_condition(then: bool, tmp_path: Path) -> None:
    branches = {
        f"{way}_branch": graph(way, [node(operator, ["x"], [way])], [], [value(way)])
        for way, operator in (("then", "Exp"), ("else", "Tanh"))
    }
    nodes = [node("Not", ["no"], ["yes"]), node("If", ["yes"], ["y"], **branches)]
    whole = graph("constant", nodes, [value("x")], [value("y")], no=np.array(not then))
    module = agrees(made(whole), tmp_path, x=some(3))
    assert [name for name, _ in module.program.named_children()] == ["y"]
    assert (
        len(list(module.modules())) == 5
    )  # the model, its graph, the node, its branches, the one that is taken


def counting(stop: float) -> ModelProto:
    """Adds a vector until the sum exceeds a bound, with a limit on the number of times. Returns all sums."""
    body = graph(
        "body",
        [
            node("Add", ["sum", "step"], ["more"]),
            node("ReduceSum", ["more"], ["total"], keepdims=0),
            node("Less", ["total", "bound"], ["go on"]),
            node("Identity", ["more"], ["kept"]),
        ],
        [value("k", I64, []), value("going", BOOL, []), value("sum", F, [3])],
        [value("go on", BOOL, []), value("more", F, [3]), value("kept", F, [3])],
        bound=np.array(stop, "float32"),
    )
    nodes = [
        node("Mul", ["x", "half"], ["step"]),
        node("Loop", ["count", "", "x"], ["last", "all"], body=body),
    ]
    inputs = [value("x", F, [3]), value("count", I64, [])]
    half = np.array(0.5, "float32")
    return made(graph("counting", nodes, inputs, [value("last"), value("all")], half=half))


@pytest.mark.parametrize(("stop", "count"), [(1e9, 4), (4.0, 100), (1e9, 0)])
def test_loops_by_count_and_by_condition(stop: float, count: int, tmp_path: Path) -> None:
    agrees(counting(stop), tmp_path, x=np.abs(some(3)), count=np.array(count))


def test_gradients_pass_through_a_loop(tmp_path: Path) -> None:
    module = import_onnx(saved(counting(1e9), tmp_path))
    x = torch.ones(3, requires_grad=True)
    last, _ = module(x, torch.tensor(4))
    last.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 3.0))  # x + 4 * x / 2


def test_a_layer_in_a_loop_in_a_branch(tmp_path: Path) -> None:
    lstm = node("GRU", ["a", "W", "R", "", "", "h"], ["", "next"], "inner", hidden_size=H)
    body = graph("body", [lstm, node("Identity", ["going"], ["go on"])],
                 [value("k", I64, []), value("going", BOOL, []), value("h", F, [1, None, H])],
                 [value("go on", BOOL, []), value("next", F, [1, None, H])])  # fmt: skip
    then = graph("then", [node("Loop", ["count", "", "h0"], ["t"], body=body)], [], [value("t")])
    other = graph("else", [node("Neg", ["h0"], ["e"])], [], [value("e")])
    nodes = [
        node("Tanh", ["x"], ["a"]),
        node("Greater", ["count", "zero"], ["some"]),
        node("If", ["some"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", F, [None, None, I]), value("h0", F, [1, None, H]), value("count", I64, [])]
    whole = graph(
        "nested", nodes, inputs, [value("y")], zero=np.array(0), W=some(1, 3 * H, I), R=some(1, 3 * H, H)
    )
    for count in (0, 1, 3):
        module = agrees(made(whole), tmp_path, x=some(T, B, I), h0=some(1, B, H), count=np.array(count))
    module(*map(torch.from_numpy, (some(T, B, I), some(1, B, H))), torch.tensor(2)).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def collecting() -> ModelProto:
    """Collects the results of a loop in a list, as scripted networks do, and concatenates them."""
    item = helper.make_tensor_sequence_value_info
    body = graph(
        "body",
        [
            node("Tanh", ["h"], ["next"]),
            node("SequenceInsert", ["some", "next"], ["more"]),
            node("Identity", ["going"], ["go on"]),
        ],
        [value("k", I64, []), value("going", BOOL, []), value("h", F, [None, 3]), item("some", F, None)],
        [value("go on", BOOL, []), value("next", F, [None, 3]), item("more", F, None)],
    )
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["first"]),
        node("Loop", ["count", "", "x", "first"], ["last", "all"], body=body),
        node("SequenceErase", ["all", "zero"], ["fewer"]),
        node("ConcatFromSequence", ["fewer"], ["joined"], axis=0, new_axis=1),
        node("SequenceAt", ["all", "minus one"], ["at"]),
        node("SplitToSequence", ["x"], ["parts"], axis=1),
        node("SequenceLength", ["parts"], ["length"]),
        node("SequenceEmpty", [], ["nothing"]),
        node("SequenceLength", ["nothing"], ["none"]),
    ]
    outputs = [value(name) for name in ("joined", "at")] + [
        value(name, I64, []) for name in ("length", "none")
    ]
    inputs = [value("x", F, [None, 3]), value("count", I64, [])]
    held = {"zero": np.array(0), "minus one": np.array(-1)}
    return made(graph("collecting", nodes, inputs, outputs, **held))


def test_lists_in_a_loop(tmp_path: Path) -> None:
    for count in (0, 3):
        agrees(collecting(), tmp_path, x=some(2, 3), count=np.array(count))


def test_it_is_copied_and_pickled(tmp_path: Path) -> None:
    module, x = import_onnx(saved(branching(), tmp_path)), torch.from_numpy(some(T, B, I))
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(again(x), module(x))
        assert len(list(again.parameters())) == 2


def test_inputs_by_name(tmp_path: Path) -> None:
    module = import_onnx(saved(counting(1e9), tmp_path))
    x, count = torch.ones(3), torch.tensor(2)
    assert torch.equal(module(x, count=count)[0], module(x, count)[0])
    for args, named in (((x, count), {"x": x}), ((x,), {"x": x}), ((), {"x": x, "other": count}), ((x,), {})):
        with pytest.raises(TypeError, match="inputs must be 2: x, count"):
            module(*args, **named)
