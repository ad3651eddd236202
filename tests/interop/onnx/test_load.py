"""Whole files: networks of other libraries with recurrent nodes, and damaged or manipulated files."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, load, numpy_helper, save

from gatewise import export_onnx, import_onnx, nn
from gatewise.interop.onnx import OnnxError
from tests.interop.onnx.models import by_onnx_runtime, saved

T, B, I, H = 6, 3, 4, 5


def numbers(seed: int) -> Callable[..., Any]:
    """Draws arrays of a shape."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.normal(size=shape).astype("float32")


some = numbers(0)


def tagger(seed: int = 1) -> ModelProto:
    """A network as exporters write it: two layers, whose weights the graph puts together, and a head."""
    some = numbers(seed)
    held = {
        "w.f": some(3 * H, I), "w.b": some(3 * H, I), "r": some(2, 3 * H, H), "b": some(2, 6 * H),
        "W2": some(1, 4 * H, 2 * H), "R2": some(1, 4 * H, H), "head": some(H, 7), "head bias": some(7),
        "axes": np.array([0]), "shape": np.array([0, 0, -1]), "one": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Unsqueeze", ["w.f", "axes"], ["w1"]),
        helper.make_node("Unsqueeze", ["w.b", "axes"], ["w2"]),
        helper.make_node("Concat", ["w1", "w2"], ["w"], axis=0),
        helper.make_node(
            "GRU", ["x", "w", "r", "b"], ["y", ""], "/encoder/rnn.0",
            hidden_size=H, direction="bidirectional", linear_before_reset=1,
        ),
        helper.make_node("Transpose", ["y"], ["y turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["y turned", "shape"], ["z"]),
        helper.make_node("LSTM", ["z", "W2", "R2"], ["u", "", "c"], hidden_size=H),
        helper.make_node("Squeeze", ["u", "one"], ["v"]),
        helper.make_node("MatMul", ["v", "head"], ["scores"]),
        helper.make_node("Add", ["scores", "head bias"], ["biased"]),
        helper.make_node("LogSoftmax", ["biased"], ["tags"], axis=-1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I])],
        [
            helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["T", "B", 7]),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, "B", H]),
        ],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_network_of_another_library(tmp_path: Path) -> None:
    made, x = tagger(), some(T, B, I)
    module = import_onnx(saved(made, tmp_path))
    assert (module.inputs, module.outputs) == (("x",), ("tags", "c"))
    found = module(torch.from_numpy(x))
    for mine, theirs in zip(found, by_onnx_runtime(made, {"x": x}), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs, rtol=1e-4, atol=1e-5)


def test_its_weights_are_parameters_and_part_of_the_state_dict(tmp_path: Path) -> None:
    module = import_onnx(saved(tagger(), tmp_path))
    names = [name.removeprefix("program.") for name, _ in module.named_parameters()]
    assert [name for name in names if "directions" not in name] == ["head", "head_bias"]
    assert {name.split(".")[0] for name in names} == {"head", "head_bias", "_encoder_rnn_0", "u"}
    again = import_onnx(saved(tagger(seed=2), tmp_path))
    again.load_state_dict(module.state_dict())
    x = torch.from_numpy(some(T, B, I))
    assert torch.equal(again(x)[0], module(x)[0])
    assert torch.equal(pickle.loads(pickle.dumps(module))(x)[0], module(x)[0])
    assert module.double()(x.double())[0].dtype == torch.float64


class Network(torch.nn.Module):
    """An embedding, recurrent layers of torch, a head."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, I)
        self.recurrent = getattr(torch.nn, kind)(I, H, **options)
        self.head = torch.nn.Linear(H * (1 + self.recurrent.bidirectional), 2)

    def forward(self, words: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output, states = self.recurrent(self.embedding(words))
        scores = torch.relu(self.head(output))
        last = states if isinstance(states, torch.Tensor) else states[1]
        return torch.softmax(scores, -1), scores.mean(1), last


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "both ways": {"batch_first": True, "num_layers": 2, "bidirectional": True},
    "no bias": {"num_layers": 2, "bias": False, "dropout": 0.2},
}


@pytest.mark.filterwarnings("ignore")  # a warning of the exporter
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_files_of_torch_onnx_export(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs, path = Network(kind, **options).eval(), tmp_path / "network.onnx"
    torch.onnx.export(
        theirs, (torch.zeros(4, 2, dtype=torch.long),), path, dynamo=False, opset_version=17,
        input_names=["words"], dynamic_axes={"words": {0: "a", 1: "b"}},
    )  # fmt: skip
    mine = import_onnx(path)
    for sizes in ((4, 2), (6, 3)):
        words = torch.randint(0, 11, sizes)
        torch.testing.assert_close(mine(words), theirs(words), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_half_precision(operator: str, tmp_path: Path) -> None:
    def halves(*shape: int) -> Any:
        return (some(*shape) / 2).astype("float16")

    G = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    held = {
        "k": halves(5, I, 3),
        "W": halves(2, G * H, 5),
        "R": halves(2, G * H, H),
        "b": halves(2, 2 * G * H),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        helper.make_node(operator, ["t", "W", "R", "b"], ["y"], hidden_size=H, direction="bidirectional"),
        helper.make_node("LayerNormalization", ["y", "scale"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "halves",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["B", I, "T"])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT16, ["T", 2, "B", H])],
        [numpy_helper.from_array(array, name) for name, array in (held | {"scale": halves(H)}).items()],
    )
    made, x = (
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        halves(B, I, T),
    )
    module = import_onnx(saved(made, tmp_path))
    (expected,) = by_onnx_runtime(made, {"x": x})
    found = module(torch.from_numpy(x))
    assert found.dtype is torch.float16
    np.testing.assert_allclose(found.detach().float(), expected.astype("float32"), rtol=5e-3, atol=5e-3)
    found.float().sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_wrong_number_of_inputs_is_refused(tmp_path: Path) -> None:
    module = import_onnx(saved(tagger(), tmp_path))
    with pytest.raises(TypeError, match=r"inputs must be 1: x\. Got 2\."):
        module(torch.zeros(1), torch.zeros(1))


def changed(change: Any) -> ModelProto:
    model = tagger()
    change(model)
    return model


def renamed(model: ModelProto, output: str, operator: str) -> None:
    next(node for node in model.graph.node if output in node.output).op_type = operator


def huge(model: ModelProto) -> None:
    sizes = numpy_helper.from_array(np.array([2**40, 2**20]), "shape")
    next(c for c in model.graph.initializer if c.name == "shape").CopyFrom(sizes)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["k"]))


REFUSED: dict[str, tuple[Any, str]] = {
    "operator": (
        lambda m: renamed(m, "v", "NonMaxSuppression"),
        r"unsupported: the operator 'NonMaxSuppression' \(node 'v'\)",
    ),
    "domain": (lambda m: m.graph.node.add(op_type="Tanh", domain="other", output=["k"]), r"'other\.Tanh'"),
    "old": (lambda m: setattr(m.opset_import[0], "version", 6), "must be 7 or newer. Got 6"),
    "no version": (lambda m: m.ClearField("opset_import"), "must be 7 or newer. Got none"),
    "undefined": (lambda m: m.graph.node[7].input.__setitem__(0, "nobody"), "nobody"),
    "weights": (
        lambda m: m.graph.node[3].input.__setitem__(2, "x"),
        "unsupported: GRU whose R is no constant of the file",
    ),
    "numbers": (lambda m: setattr(m.graph.initializer[2], "raw_data", b"12"), "damaged"),
    "huge": (huge, r"node 'k' \(ConstantOfShape\): "),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_unsupported_parts_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = saved(changed(change), tmp_path)
    with pytest.raises(OnnxError, match=rf"model.onnx: .*{message}"):
        import_onnx(path)


def test_numbers_in_a_separate_file(tmp_path: Path) -> None:
    x = torch.from_numpy(some(T, B, I))
    expected = import_onnx(saved(tagger(), tmp_path))(x)[0]
    path = tmp_path / "apart.onnx"
    save(tagger(), path, save_as_external_data=True, location="numbers", size_threshold=0)
    assert torch.equal(import_onnx(path)(x)[0], expected)
    stray = load(path, load_external_data=False)
    for constant in stray.graph.initializer:
        constant.external_data[0].value = "../numbers"
    save(stray, path)
    (tmp_path.parent / "numbers").write_bytes((tmp_path / "numbers").read_bytes())
    with pytest.raises(OnnxError, match=r"apart\.onnx: .* points outside the directory"):
        import_onnx(path)
    (tmp_path.parent / "numbers").unlink()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04hello", pickle.dumps(io.BytesIO)], ids=["empty", "text", "pickle"]
)
def test_a_file_that_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(OnnxError, match=r"model\.onnx: .* damaged or not an ONNX file"):
        import_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["native", "scan"])
def test_a_damaged_file_loads_or_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "layer.onnx"
    export_onnx(nn.GRU(I, H, dtype=torch.float32 if kind == "native" else torch.float64), path)
    whole, rng = path.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: rng.randrange(len(whole)) if rng.random() < 0.3 else len(whole)])
        for _ in range(rng.randrange(1, 4)):
            if damaged:
                damaged[rng.randrange(min(len(damaged), 400))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            import_onnx(path)
        except OnnxError:
            refused += 1
    assert refused > 100


def test_an_unsupported_graph_in_a_node_is_refused(tmp_path: Path) -> None:
    export_onnx(nn.GRU(I, H, dtype=torch.float64), tmp_path / "layer.onnx")
    model = load(tmp_path / "layer.onnx")
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    next(a for a in scan.attribute if a.name == "body").g.node[0].op_type = "Unique"
    save(model, tmp_path / "layer.onnx")
    with pytest.raises(OnnxError, match=r"unsupported: the operator 'Unique'"):
        import_onnx(tmp_path / "layer.onnx")
