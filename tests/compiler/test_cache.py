"""Objects on disk: private, named by what they are made of, used only if they are whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewise.compiler import cache

posix = pytest.mark.skipif(os.name != "posix", reason="modes of folders are POSIX")

# Loads a function of one line and says whether it had to be compiled, and what the function gives.
ASK = """
import ctypes
from gatewise.compiler import machine
made, compile_object = [], machine.compile_object
machine.compile_object = lambda text: made.append(text) or compile_object(text)
loaded = machine.load("a key", lambda: "define i64 @answer() { ret i64 42 }", ["answer"])
print("compiled" if made else "from the cache", ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address["answer"])())
"""


def start(setting: str | Path, **environment: str) -> subprocess.Popen[str]:
    """A new process that asks for the function."""
    environment = {**os.environ, "GATEWISE_CACHE": str(setting), **environment}
    return subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=-1, stderr=-1, text=True)


def ask(setting: str | Path, **environment: str) -> str:
    """What it says."""
    process = start(setting, **environment)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said.strip()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a first process has made and filled."""
    at = tmp_path_factory.mktemp("cache") / "deep" / "folder"
    assert ask(at) == "compiled 42"
    return at


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process, not made yet."""
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_one_process_compiles_the_next_one_loads(filled: Path) -> None:
    assert ask(filled) == "from the cache 42"


@posix
def test_folder_and_files_belong_to_the_user_alone(filled: Path) -> None:
    assert stat.S_IMODE(filled.stat().st_mode) == 0o700
    (file,) = filled.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a bit flipped": flipped,
    "cut in half": lambda content: content[: len(content) // 2],
    "cut to its hash": lambda content: content[:32],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\0",
    "another's": lambda content: b"\0" * 32 + content[32:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_not_used(damage: Callable[[bytes], bytes], folder: Path) -> None:
    cache.put("name", b"an object " * 100)
    assert cache.get("name") == b"an object " * 100
    (folder / "name").write_bytes(damage((folder / "name").read_bytes()))
    assert cache.get("name") is None


def test_a_damaged_file_is_compiled_anew_and_mended(filled: Path, tmp_path: Path) -> None:
    (file,) = filled.iterdir()
    whole = file.read_bytes()
    damaged = tmp_path / file.name
    tmp_path.chmod(0o700)
    damaged.write_bytes(flipped(whole))
    assert ask(tmp_path) == "compiled 42"
    assert damaged.read_bytes() == whole
    assert [*tmp_path.iterdir()] == [damaged]


@posix
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_left_alone(mode: int, folder: Path) -> None:
    cache.put("mine", b"object")
    folder.chmod(mode)
    assert cache.get("mine") is None
    cache.put("another", b"object")
    assert [file.name for file in folder.iterdir()] == ["mine"]


@posix
def test_an_object_in_such_a_folder_is_not_loaded(filled: Path, tmp_path: Path) -> None:
    (file,) = filled.iterdir()
    (tmp_path / file.name).write_bytes(file.read_bytes())
    tmp_path.chmod(0o777)
    assert ask(tmp_path) == "compiled 42"


def test_off_keeps_nothing(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    assert ask("off", **home) == "compiled 42"
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_cannot_be_used_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert ask(tmp_path / "file") == ask(tmp_path / "file" / "below") == "compiled 42"


@posix
def test_a_folder_that_cannot_be_written_does_no_harm(folder: Path) -> None:
    """To the administrator, who may write everywhere, it is a folder like any other."""
    folder.mkdir(mode=0o500)
    cache.put("name", b"object")
    assert cache.get("name") == (b"object" if os.access(folder, os.W_OK) else None)


@posix
def test_a_user_without_a_home_compiles_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_user(_: int) -> None:
        raise KeyError

    for name in ("GATEWISE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    cache.put("name", b"object")
    assert cache.get("name") is None


def test_of_too_many_objects_the_least_recently_used_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MOST", 5)
    names = [cache.digest(str(n)) for n in range(8)]
    for age, name in enumerate(names[:5]):
        cache.put(name, b"object")
        os.utime(folder / name, (1000 + age, 1000 + age))
    other = folder / "notes.txt"
    other.write_text("not an object")
    os.utime(other, (1, 1))
    assert cache.get(names[0]) == b"object"
    for name in names[5:]:
        cache.put(name, b"object")
    kept = {file.name for file in folder.iterdir()}
    assert kept == {names[0], names[4], *names[5:], other.name}


def test_what_cannot_be_marked_as_used_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_: Path) -> None:
        raise PermissionError

    cache.put("name", b"object")
    monkeypatch.setattr(os, "utime", read_only)
    assert cache.get("name") == b"object"


def test_processes_that_start_at_once_all_get_an_answer(tmp_path: Path) -> None:
    processes = [start(tmp_path / "cache") for _ in range(4)]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert set(said) <= {"compiled 42", "from the cache 42"}
    assert len([*(tmp_path / "cache").iterdir()]) == 1
    assert ask(tmp_path / "cache") == "from the cache 42"


def test_a_name_tells_parts_apart() -> None:
    names = [cache.digest(*parts) for parts in (("ab",), ("a", "b"), ("b", "a"), ("ab", ""), ())]
    assert len(set(names)) == len(names)
    assert cache.digest("a", "b") == cache.digest("a", "b")
    assert all(name.isalnum() for name in names)


def test_the_folder_is_that_of_the_user_unless_it_is_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path))
    assert cache.folder() == tmp_path
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    assert cache.folder() is None
    monkeypatch.delenv("GATEWISE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "gatewise"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "gatewise"
