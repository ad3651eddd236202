"""Kernels on disk: private files, named by a hash of what they are compiled from, used only if undamaged."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from gatewise import Split, Vector, cell, dropout, layer_norm, linear, sigmoid, tanh, zoneout
from gatewise.compiler.emit.number import NUMBERS
from gatewise.compiler.emit.target import Target
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.kernels.weight_gradients import WeightGradientKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.run import cache, machine
from gatewise.compiler.run.host import host
from gatewise.compiler.wasm import modules
from gatewise.compiler.wasm.target import PLAIN, RELAXED
from gatewise.language.rewrites import without_random, written_out

posix = pytest.mark.skipif(os.name != "posix", reason="modes of folders are POSIX")

# Loads a function of one line. Prints whether it was compiled, and the result of the function.
ASK = """
import ctypes
from gatewise.compiler.run import machine
made, compile_object = [], machine.compile_object
machine.compile_object = lambda text: made.append(text) or compile_object(text)
loaded = machine.load("a key", lambda: "define i64 @answer() { ret i64 42 }", ["answer"])
print("compiled" if made else "from the cache", ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address["answer"])())
"""


def start(setting: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start a new process that asks for the function."""
    environment = {**os.environ, "GATEWISE_CACHE": str(setting), **environment}
    return subprocess.Popen([sys.executable, "-c", ASK], env=environment, stdout=-1, stderr=-1, text=True)


def ask(setting: str | Path, **environment: str) -> str:
    """The output of a new process that asks for the function."""
    said, errors = asked(setting, **environment)
    assert errors == ""
    return said


def asked(setting: str | Path, **environment: str) -> tuple[str, str]:
    """The output of the process, and its warnings."""
    process = start(setting, **environment)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return said.strip(), errors


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that was created and filled by a first process."""
    at = tmp_path_factory.mktemp("cache") / "deep" / "folder"
    assert ask(at) == "compiled 42"
    return at


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this process. It does not exist yet."""
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", False)
    return tmp_path / "cache"


def object_in(folder: Path) -> Path:
    """The file of the object. (The index file has another name.)"""
    return max(folder.iterdir(), key=lambda file: file.stat().st_size)


def copied(folder: Path, to: Path) -> Path:
    """A private copy of a cache folder."""
    shutil.copytree(folder, to)
    to.chmod(0o700)
    return to


def test_what_one_process_compiles_the_next_one_loads(filled: Path) -> None:
    assert ask(filled) == "from the cache 42"


@posix
def test_folder_and_files_belong_to_the_user_alone(filled: Path) -> None:
    assert stat.S_IMODE(filled.stat().st_mode) == 0o700
    for file in filled.iterdir():
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


def test_another_object_under_this_name_is_not_used(folder: Path) -> None:
    cache.put("this", b"this object")
    cache.put("other", b"other object")
    (folder / "this").write_bytes((folder / "other").read_bytes())
    assert cache.get("this") is None
    assert cache.get("other") == b"other object"


def unreadable(path: Path) -> None:
    path.touch(mode=0)


def linked(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"theirs")
    path.symlink_to("elsewhere")


STRANGE: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo if hasattr(os, "mkfifo") else Path.mkdir,
    "a link": linked,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "unreadable": unreadable,
}


@posix
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_an_entry_that_is_not_a_file_is_replaced(strange: Callable[[Path], None], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    strange(folder / "name")
    assert cache.get("name") is None
    cache.put("name", b"object")
    assert cache.get("name") == b"object"
    assert not (folder / "name").is_symlink()
    if (folder / "elsewhere").exists():
        assert (folder / "elsewhere").read_bytes() == b"theirs"


def test_a_folder_with_the_name_of_an_object_only_costs_a_compilation(folder: Path) -> None:
    (folder / "name").mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    assert cache.get("name") is None
    with pytest.warns(RuntimeWarning, match="name"):
        cache.put("name", b"object")
    assert cache.get("name") is None


@pytest.mark.parametrize("which", ["the object", "its name"])
def test_a_damaged_file_is_compiled_again_and_replaced(filled: Path, tmp_path: Path, which: str) -> None:
    damaged = copied(filled, tmp_path / "cache")
    whole = {file.name: file.read_bytes() for file in damaged.iterdir()}
    file = object_in(damaged)
    if which == "its name":
        (file,) = (other for other in damaged.iterdir() if other != file)
    file.write_bytes(flipped(file.read_bytes()))
    assert ask(damaged) == ("compiled 42" if which == "the object" else "from the cache 42")
    assert {file.name: file.read_bytes() for file in damaged.iterdir()} == whole


def elf_without(_: bytes) -> bytes:
    return machine.compile_object("define i64 @question() { ret i64 43 }")


@pytest.mark.parametrize("image", [lambda _: b"no object", lambda image: image[:-60], elf_without])
def test_an_object_that_cannot_be_linked_is_compiled_again(
    filled: Path, tmp_path: Path, image: Callable[[bytes], bytes]
) -> None:
    damaged = copied(filled, tmp_path / "cache")
    file = object_in(damaged)
    whole = file.read_bytes()
    unusable = image(whole[32:])
    file.write_bytes(hashlib.sha256(file.name.encode() + b"\0" + unusable).digest() + unusable)
    said, _ = asked(damaged)  # LLVM prints the symbol that it does not find
    assert said == "compiled 42"
    assert file.read_bytes() == whole


def test_a_compiler_change_that_keeps_the_llvm_text_compiles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(key: str) -> None:
        machine.load(key, lambda: "define i64 @answer() { ret i64 42 }", ["answer"])

    def never(_: str) -> bytes:
        raise AssertionError("compiled again")

    load("a key of before")
    monkeypatch.setattr(machine, "compile_object", never)
    monkeypatch.setattr(cache, "WRITER", "another")
    load("a key of before")
    load("another key")
    monkeypatch.setattr(cache, "ASSEMBLER", "another")
    with pytest.raises(AssertionError, match="compiled again"):
        load("a third key")


def test_neither_are_modules_for_browsers_then_compiled_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def module(target: Target = RELAXED) -> bytes:
        return modules.module("outer", WeightGradientKernel(), NUMBERS["float32"], target)

    def never(*_: object) -> bytes:
        raise AssertionError("compiled again")

    first, plain = module(), module(PLAIN)
    assert first != plain
    monkeypatch.setattr(modules, "compile_object", never)
    monkeypatch.setattr(cache, "WRITER", "another")
    assert (module(), module(PLAIN)) == (first, plain)
    for place, name in ((cache, "ASSEMBLER"), (modules, "LINKER")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, "another")
            patch.setattr(cache, "WRITER", "a third")
            with pytest.raises(AssertionError, match="compiled again"):
                module()


def test_every_source_that_writes_code_is_in_the_hash() -> None:
    """Sources outside of the hash have no function that runs between a cell and its kernel."""
    here = Path(cache.__file__).parents[1]
    everything = {*here.rglob("*.py"), *(here.parent / "language").rglob("*.py")}
    apart = everything - set(cache.sources())
    assert set(cache.sources()) < everything
    assert all(here not in source.parents for source in apart)
    folders = {source.parent.name for source in cache.sources() if here in source.parents}
    assert folders == {"compiler", "plan", "emit", "kernels", "run", "wasm"}
    called = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:

        @cell
        def fresh(h, c, *, v: Vector, f, n: Split):  # type: ignore[no-untyped-def]
            f = sigmoid(layer_norm(f)) * v
            c = zoneout(c, f * c + dropout(n.x, 0.5) + linear(n.h), 0.1)
            return tanh(c), c

        form = plan(written_out(without_random(fresh)))
        for kernel in (ForwardKernel(form), BackwardKernel(form)):
            kernel.write(NUMBERS["float32"], host(4))
    finally:
        sys.setprofile(None)
    assert not called & {str(source) for source in apart}
    names = {Path(file).name for file in called & {str(source) for source in everything}}
    assert {"cell.py", "gradient.py", "plan.py", "forward.py", "backward.py"} <= names


@posix
@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(mode: int, folder: Path) -> None:
    cache.put("mine", b"object")
    folder.chmod(mode)
    assert cache.get("mine") is None
    with pytest.warns(RuntimeWarning, match="cache: others can write to it"):
        cache.put("another", b"object")
    assert [file.name for file in folder.iterdir()] == ["mine"]


@posix
def test_an_object_in_such_a_folder_is_not_loaded(filled: Path, tmp_path: Path) -> None:
    others = copied(filled, tmp_path / "cache")
    others.chmod(0o777)
    said, warned = asked(others)
    assert said == "compiled 42"
    assert warned.count("RuntimeWarning") == 1
    assert "cache: others can write to it" in warned


@posix
def test_a_folder_of_another_user_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("mine", b"object")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert cache.get("mine") is None
    with pytest.warns(RuntimeWarning, match="cache: it belongs to another user"):
        cache.put("another", b"object")
    assert [file.name for file in folder.iterdir()] == ["mine"]


def test_a_kernel_that_cannot_be_stored_is_reported_once(folder: Path) -> None:
    folder.write_text("no folder")
    with pytest.warns(RuntimeWarning, match=r"cannot be kept .* Set GATEWISE_CACHE to a folder"):
        cache.put("name", b"object")
    cache.put("name", b"object")


def test_off_stores_nothing(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    assert ask("off", **home) == "compiled 42"
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_cannot_be_used_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for setting in (tmp_path / "file", tmp_path / "file" / "below"):
        said, warned = asked(setting)
        assert said == "compiled 42"
        assert "RuntimeWarning: compiled kernels cannot be kept" in warned


@posix
def test_a_folder_that_cannot_be_written_does_no_harm(folder: Path) -> None:
    """The administrator may write to every folder, so for them it is an ordinary folder."""
    folder.mkdir(mode=0o500)
    with warnings.catch_warnings(record=True):
        cache.put("name", b"object")
    assert cache.get("name") == (b"object" if os.access(folder, os.W_OK) else None)


@posix
def test_a_user_without_a_home_compiles_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_user(_: int) -> None:
        raise KeyError

    for name in ("GATEWISE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    monkeypatch.setattr(cache, "_said", False)
    with pytest.warns(RuntimeWarning, match="home directory"):
        cache.put("name", b"object")
    assert cache.get("name") is None


def test_the_least_recently_used_of_too_many_objects_are_removed(
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


def test_files_of_a_killed_writer_are_removed_after_a_while(folder: Path) -> None:
    cache.put("name", b"object")
    old, new = folder / ".gatewise-0123456789abcdef.part", folder / ".gatewise-fedcba9876543210.part"
    old.touch()
    new.touch()  # a young file may belong to a process that is still writing
    os.utime(old, (time.time() - 7200,) * 2)
    cache.put("name", b"object")
    assert {file.name for file in folder.iterdir()} == {"name", new.name}


def test_a_full_disk_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        cache.put("name", b"object")
    assert not [*folder.iterdir()]


def test_an_object_that_cannot_be_marked_as_used_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(_: Path) -> None:
        raise PermissionError

    cache.put("name", b"object")
    monkeypatch.setattr(os, "utime", read_only)
    assert cache.get("name") == b"object"


def test_processes_that_start_at_once_all_get_an_answer(tmp_path: Path) -> None:
    processes = [start(tmp_path / "cache") for _ in range(4)]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert set(said) <= {"compiled 42", "from the cache 42"}
    assert len([*(tmp_path / "cache").iterdir()]) == 2
    assert ask(tmp_path / "cache") == "from the cache 42"


def test_two_parts_never_have_the_same_name() -> None:
    names = [cache.digest(*parts) for parts in (("ab",), ("a", "b"), ("b", "a"), ("ab", ""), ())]
    assert len(set(names)) == len(names)
    assert cache.digest("a", "b") == cache.digest("a", "b")
    assert all(name.isalnum() for name in names)


def test_the_folder_is_the_users_cache_unless_the_environment_names_one(
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
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() == Path.home() / ".cache" / "gatewise"
    monkeypatch.setenv("GATEWISE_CACHE", "~/kernels")
    assert cache.folder() == Path.home() / "kernels"
    monkeypatch.delenv("GATEWISE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "gatewise"
