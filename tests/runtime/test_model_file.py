from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from gatewise.runtime.model_file import ModelFileError, Tensors, read_model, write_model

TENSORS: Tensors = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([1e-30, -0.0], dtype=np.float64),
}
HEADER = {"size": 3, "name": "wetter °C", "scale": 0.1}


def test_what_was_written_is_read_bit_for_bit(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "forecast", HEADER, TENSORS)
    file = read_model(tmp_path / "m", "forecast")
    assert (file.task, file.header) == ("forecast", HEADER)
    assert file.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert file.tensors[name].dtype == tensor.dtype
        assert file.tensors[name].tobytes() == tensor.tobytes()


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_model(tmp_path / "a", "forecast", HEADER, TENSORS)
    write_model(tmp_path / "b", "forecast", dict(reversed(HEADER.items())), TENSORS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensors_that_are_views_are_written_as_they_look(tmp_path: Path) -> None:
    turned = TENSORS["w"].T
    write_model(tmp_path / "m", "forecast", {}, {"w": turned})
    assert np.array_equal(read_model(tmp_path / "m", "forecast").tensors["w"], turned)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "forecast", HEADER, TENSORS)
    before = (tmp_path / "m").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_model(tmp_path / "m", "forecast", {"error": float("nan")}, TENSORS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_model(tmp_path / "folder", "forecast", HEADER, TENSORS)
    assert (tmp_path / "m").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "m"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "gatewise did not write it"),
        ({"other": "x"}, "gatewise did not write it"),
        ({"gatewise": "{"}, "the header is not readable JSON"),
        ({"gatewise": '{"format": NaN}'}, "the header is not readable JSON"),
        ({"gatewise": "[" * 100_000}, "the header is not readable JSON"),
        (
            {"gatewise": '{"format": 1, "format": 1}'},
            "the header is not readable JSON (a key appears twice)",
        ),
        ({"gatewise": '{"format": ' + "9" * 5000 + "}"}, "the header is not readable JSON"),
        ({"gatewise": "[1]"}, "the header is not a JSON object"),
        ({"gatewise": "{}"}, "format must be a whole number from 1 on. Got None"),
        ({"gatewise": '{"format": true}'}, "format must be a whole number from 1 on. Got True"),
        (
            {"gatewise": '{"format": 99, "version": "9.9"}'},
            "format 99 is newer than 2; gatewise 9.9 wrote it",
        ),
        ({"gatewise": '{"format": 1, "task": "tag"}'}, "task must be 'forecast'. Got 'tag'"),
        ({"gatewise": '{"format": 1}'}, "task must be 'forecast'. Got None"),
    ],
)
def test_a_header_not_written_by_gatewise_is_refused_with_a_reason(
    tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    save_file(TENSORS, tmp_path / "m", metadata=metadata)
    with pytest.raises(ModelFileError) as caught:
        read_model(tmp_path / "m", "forecast")
    assert str(caught.value).startswith(str(tmp_path / "m"))
    assert message in str(caught.value)


def whole_file() -> bytes:
    header = {
        "__metadata__": {"gatewise": json.dumps({"format": 1, "task": "forecast"})},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    return packed(header, bytes(8))


def packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tampered(**tensor: Any) -> bytes:
    size = struct.unpack("<Q", whole_file()[:8])[0]
    header = json.loads(whole_file()[8 : 8 + size])
    header["w"] |= tensor
    return packed(header, bytes(8))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\xff" * 64,
        b"\x80\x04\x95 a pickle would begin like this",
        struct.pack("<Q", 2**62) + b"{}",
        whole_file()[:-1],
        whole_file() + b"x",
        whole_file()[:40],
        tampered(data_offsets=[0, 2**60]),
        tampered(data_offsets=[8, 0]),
        tampered(shape=[2**40, 2**40]),
        tampered(shape=[-1]),
        tampered(dtype="PY"),
        tampered(dtype="BF16", shape=[4]),
        tampered(dtype="F8_E4M3", shape=[8]),
        tampered(shape=[0] * 100, data_offsets=[0, 0])[:-8],
        tampered(shape=[0, 2**63 - 1], data_offsets=[0, 0])[:-8],
        tampered(shape=[10**400]),
        whole_file().replace(b"w", b"\xff"),
        whole_file().replace(b'"w"', b'"w": 0, "w"'),
        packed([1], b""),
        packed({"__metadata__": ["gatewise"]}, b""),
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError, match="damaged or not a safetensors file"):
        read_model(tmp_path / "m", "forecast")


def test_the_file_that_the_damaged_ones_were_made_from_is_whole(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(whole_file())
    assert read_model(tmp_path / "m", "forecast").tensors["w"].tolist() == [0.0, 0.0]


def test_a_missing_file_and_a_folder_raise_different_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "m", "forecast")
    with pytest.raises(ModelFileError, match=r"must be a file\. Got a folder"):
        read_model(tmp_path, "forecast")


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX")
def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match=r"pipe: must be a file\. Got a pipe"):
        read_model(tmp_path / "pipe", None)
    with pytest.raises(ModelFileError, match=r"/dev/zero: must be a file\. Got a device"):
        read_model("/dev/zero", None)


def test_tensors_are_private_to_this_process(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "forecast", HEADER, TENSORS)
    tensors = read_model(tmp_path / "m", "forecast").tensors
    os.truncate(tmp_path / "m", 0)
    assert np.array_equal(tensors["w"], TENSORS["w"])
    tensors["w"][0, 0] = 1  # and can be written to


def test_text_of_the_file_cannot_control_a_terminal(tmp_path: Path) -> None:
    header = {"gatewise": json.dumps({"format": 1, "task": "\x1b]0;hello\x07\n" + "x" * 5000})}
    save_file(TENSORS, tmp_path / "m", metadata=header)
    with pytest.raises(ModelFileError) as caught:
        read_model(tmp_path / "m", "forecast")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 1000


def test_reading_needs_no_torch_and_no_pickle(tmp_path: Path) -> None:
    write_model(tmp_path / "m", "forecast", HEADER, TENSORS)
    code = (
        "import sys; from gatewise.runtime.model_file import read_model; "
        "before = set(sys.modules); read_model(sys.argv[1], 'forecast'); "
        "assert 'torch' not in sys.modules; assert 'pickle' not in set(sys.modules) - before"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], check=True, timeout=120)
