"""Manipulated ONNX files: they are read, or refused with the documented error, at a limited cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

import gatewise
from gatewise.interop.onnx import OnnxError, limits
from tests.hostile import damaged, mutated

node = helper.make_node
LARGE = node("ConstantOfShape", ["square"], ["A"])


def file_of(nodes: Sequence[NodeProto], rank: int = 1, **constants: Any) -> bytes:
    """A file whose graph maps x ``[N]`` to y."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def added(operator: str, *inputs: str, before: Sequence[NodeProto] = (), **constants: Any) -> bytes:
    """A file that adds to x the result of an operator on constants."""
    made = node(operator, inputs, ["made"])
    return file_of([*before, made, node("Add", ["x", "made"], ["y"])], **constants)


NUMBERS = np.ones(8, np.float32)
SQUARE = np.array([1800, 1800])
TOO_MUCH = {
    "ConstantOfShape": added("ConstantOfShape", "s", s=np.array([2**30])),
    "ConstantOfShape beyond integers": added("ConstantOfShape", "s", s=np.array([2**40, 2**40])),
    "Expand": added("Expand", "n", "s", n=NUMBERS, s=np.array([2**30, 8])),
    "Tile": added("Tile", "n", "s", n=NUMBERS, s=np.array([2**40])),
    "Pad": added("Pad", "n", "s", n=NUMBERS, s=np.array([0, 2**40])),
    "Range": added("Range", *"abc", a=np.float32(0), b=np.float32(1e12), c=np.float32(1e-3)),
    "MatMul of large ones": file_of(
        [
            LARGE,
            *(node("MatMul", ["A", "A" if k == 0 else f"A{k}"], [f"A{k + 1}"]) for k in range(40)),
            node("Add", ["x", "A40"], ["y"]),
        ],
        square=np.array([1, 3_000_000]),
    ),
    "Concat of itself": file_of(
        [
            LARGE,
            *(node("Concat", [f"A{k}" if k else "A"] * 2, [f"A{k + 1}"], axis=0) for k in range(20)),
            node("Add", ["x", "A20"], ["y"]),
        ],
        square=np.array([1000, 8]),
    ),
    "Gather": added("Gather", "A", "i", before=[LARGE], square=np.array([1, 100_000]), i=np.zeros(5000, int)),
    "long chains": file_of(
        [node("Neg", [f"n{k}" if k else "n"], [f"n{k + 1}"]) for k in range(201)]
        + [node("Add", ["x", "n201"], ["y"])],
        n=NUMBERS,
    ),
}


@pytest.mark.parametrize("content", TOO_MUCH.values(), ids=TOO_MUCH)
def test_constants_that_cost_too_much_are_refused_before_they_are_computed(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MOST_OPERATIONS", 200)
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(OnnxError, match=r"m\.onnx: "):
        gatewise.import_onnx(tmp_path / "m.onnx")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX")
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe"), (Path("/dev/zero"), "device"), (tmp_path, "folder")):
        with pytest.raises(OnnxError, match=f"{path}: must be a file. Got a {kind}"):
            gatewise.import_onnx(path)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "link", "pipe"])
def test_numbers_of_other_files_are_not_read(tmp_path: Path, place: str) -> None:
    """Except for files beside the model, in which large models store their numbers."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    model = onnx.load_model_from_string(added("Neg", "n", n=NUMBERS))
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(OnnxError, match=r"m\.onnx: "):
        gatewise.import_onnx(folder / "m.onnx")


def exported(tmp_path: Path, module: Any, **options: Any) -> bytes:
    gatewise.export_onnx(module, tmp_path / "seed.onnx", **options)
    return (tmp_path / "seed.onnx").read_bytes()


SMALL = {
    "shapes": file_of(
        [
            node("ConstantOfShape", ["s"], ["a"]),
            node("Expand", ["a", "e"], ["b"]),
            node("Tile", ["b", "e"], ["c"]),
            node("Add", ["x", "c"], ["y"]),
        ],
        rank=2,
        s=np.array([2]),
        e=np.array([3, 2]),
    ),
    "numbers": file_of(
        [
            node("Range", ["a", "b", "c"], ["r"]),
            node("Cast", ["r"], ["f"], to=1),
            node("Pad", ["f", "p"], ["q"]),
            node("Concat", ["q", "q"], ["k"], axis=0),
            node("Mul", ["x", "k"], ["y"]),
        ],
        a=np.int64(0),
        b=np.int64(4),
        c=np.int64(1),
        p=np.array([1, 1]),
    ),
    "matrices": file_of(
        [
            node("Reshape", ["v", "s"], ["w"]),
            node("Transpose", ["w"], ["t"], perm=[1, 0]),
            node("MatMul", ["w", "t"], ["m"]),
            node("Gather", ["m", "i"], ["g"], axis=0),
            node("Slice", ["g", "i", "j"], ["l"]),
            node("ReduceMean", ["l", "i"], ["y"]),
        ],
        v=np.ones(6, np.float32),
        s=np.array([2, 3]),
        i=np.array([0]),
        j=np.array([1]),
    ),
    "convolution": file_of(
        [
            node("Unsqueeze", ["x", "ax"], ["u"]),
            node("Conv", ["u", "w"], ["c"], kernel_shape=[1], pads=[0, 0], strides=[1], group=1),
            node("Pow", ["w", "p"], ["q"]),
            node("Sub", ["c", "q"], ["y"]),
        ],
        rank=3,
        ax=np.array([0, 1]),
        w=np.ones((1, 1, 1), np.float32),
        p=np.float32(2),
    ),
}
NAMES = [*SMALL, "lstm", "gru", "scan"]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    layers = {
        "lstm": exported(folder, gatewise.nn.LSTM(2, 3, bidirectional=True), lengths=True),
        "gru": exported(folder, gatewise.nn.GRU(2, 3, num_layers=2)),
        "scan": exported(folder, gatewise.nn.Recurrent(gatewise.cells.lstm_peephole, 2, 3)),
    }
    return SMALL | layers


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_manipulated_files_are_read_or_refused(
    tmp_path: Path, seeds: dict[str, bytes], name: str, data: st.DataObject
) -> None:
    model = onnx.load_model_from_string(seeds[name])
    changed = data.draw(mutated(json_format.MessageToDict(model)))
    contents = [data.draw(damaged(seeds[name]))]
    with suppress(Exception):  # the bytes may not even be a message
        contents.append(json_format.ParseDict(changed, onnx.ModelProto()).SerializeToString())
    for content in contents:
        (tmp_path / "m.onnx").write_bytes(content)
        try:
            gatewise.import_onnx(tmp_path / "m.onnx")
        except OnnxError as error:
            said = str(error)
            assert said.isprintable()
