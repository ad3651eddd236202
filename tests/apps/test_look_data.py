"""Arrays from files, which may be manipulated: they are read, or refused in one sentence."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.apps.look_data import DataError, read_arrays
from tests.hostile import damaged

GOOD = np.arange(12.0).reshape(4, 3)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def with_header(header: str) -> bytes:
    """A .npy file that has only this header."""
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header.encode() + b"\n"


def described(descr: str, shape: str) -> bytes:
    return with_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")


def bomb() -> bytes:
    """An archive of 7 MB that contains an array of 1.5 GB."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(described("'<f8'", "(65536000, 3)"))
        zeros = bytes(1 << 20)
        for _ in range(1500):
            member.write(zeros)
    return file.getvalue()


READ = {
    "float32": (".npy", npy(GOOD.astype("f4"))),
    "big-endian": (".npy", npy(GOOD.astype(">i2"))),
    "longdouble": (".npy", npy(GOOD.astype("longdouble"))),
    "booleans": (".npy", npy(GOOD > 3)),
    "archive": (".npz", npz(x=GOOD)),
    "any name": (".npz", npz(y=GOOD)),
    "table": (".csv", b"a,b,c\n" + b"\n".join(b",".join(b"%d" % v for v in row) for row in GOOD)),
}


@pytest.mark.parametrize(("kind", "content"), READ.values(), ids=READ)
def test_numbers_of_any_type_are_read(tmp_path: Path, kind: str, content: bytes) -> None:
    (tmp_path / f"x{kind}").write_bytes(content)
    found = read_arrays(tmp_path / f"x{kind}", 3).x
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, GOOD > 3 if b"|b1" in content else GOOD)


REFUSED: dict[str, tuple[str, bytes | Callable[[], bytes], str]] = {
    "a bomb": (".npz", bomb, "the array x must have at most 1 GB"),
    "a huge shape": (".npy", described("'<f8'", "(10000000000, 3)"), ""),
    "a shape beyond memory": (".npy", described("'<f8'", "(1000000000000000, 3)"), ""),
    "a shape beyond integers": (".npy", described("'<f8'", f"({10**30}, 3)"), ""),
    "a negative shape": (".npy", described("'<f8'", "(-1, 3)"), ""),
    "a huge type": (".npy", described("'|V4611686018427387904'", "(1, 3)"), ""),
    "a huge header": (".npy", with_header(" " * 60_000), ""),
    "a deep header": (".npy", with_header("(" * 5000), ""),
    "objects": (".npy", described("'|O'", "(1, 3)"), "Object arrays cannot be loaded"),
    "records": (".npy", npy(np.zeros((4, 3), [("a", float)])), "must hold finite numbers alone"),
    "complex": (".npy", npy(GOOD * 1j), "must hold finite numbers alone"),
    "words": (".npy", npy(np.array([["a"] * 3])), "must hold finite numbers alone"),
    "times": (".npy", npy(GOOD.astype("i8").view("M8[s]")), "must hold finite numbers alone"),
    "infinity": (".npy", npy(np.full((4, 3), np.inf)), "must hold finite numbers"),
    "beyond float32": (".npy", npy(np.full((4, 3), 1e39)), "must hold finite numbers alone, up to 1e+30"),
    "lengths that are no numbers": (".npz", npz(x=GOOD, lengths=np.array(["4"])), "whole numbers as lengths"),
    "lengths with fractions": (".npz", npz(x=GOOD, lengths=np.array([4.5])), "whole numbers as lengths"),
    "lengths of objects": (".npz", npz(x=GOOD, lengths=np.array(4)), "whole numbers as lengths"),
    "no archive": (".npz", b"PK\x03\x04 no more", ""),
    "names with controls": (".npz", npz(**{"a\x1b[2J": GOOD, "b": GOOD}), r"It has a\x1b[2J, b."),
    "columns with controls": (".csv", b"a\x1b[2J,b,c\nx,1,2\n", r"These are not: a\x1b[2J."),
    "no table": (".csv", b"", "No columns to parse from file"),
}


@pytest.mark.parametrize(("kind", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_unusable_files_are_refused_in_one_sentence(
    tmp_path: Path, kind: str, content: bytes | Callable[[], bytes], message: str
) -> None:
    (tmp_path / f"x{kind}").write_bytes(content() if callable(content) else content)
    with pytest.raises(DataError) as caught:
        read_arrays(tmp_path / f"x{kind}", 3)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX")
@pytest.mark.parametrize("kind", [".npy", ".npz", ".csv"])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / f"pipe{kind}")
    (tmp_path / f"device{kind}").symlink_to("/dev/zero")
    (tmp_path / f"folder{kind}").mkdir()
    for name in ("pipe", "device", "folder"):
        with pytest.raises(DataError, match=f"must be a file. Got a {name}"):
            read_arrays(tmp_path / f"{name}{kind}", 3)


SEEDS = [
    (".npy", npy(GOOD)),
    (".npz", npz(x=np.zeros((4, 2, 3)), lengths=np.array([1, 4]))),
    (".csv", b"a,b\x1b,c\n1,x,3\n4,5,6\n"),
]


@pytest.mark.parametrize(("kind", "content"), SEEDS, ids=[kind for kind, _ in SEEDS])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, kind: str, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path / f"x{kind}"
    path.write_bytes(data.draw(damaged(content)))
    with suppress(DataError):
        assert read_arrays(path, 3).x.dtype == np.float64
