"""Safe reading and writing: files are complete at every moment, keep their mode, and leave no other file."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest

from gatewise import files

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and pipes are POSIX")
OLD, NEW = b"old" * 50_000, b"new" * 50_000


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (OLD, NEW, b""):
        files.save(path, content)
        assert path.read_bytes() == content
    assert left_in(tmp_path) == {"file"}


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    files.save(path, NEW)
    assert path.read_bytes() == NEW


def test_a_path_without_a_folder_is_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.save("file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_threads_that_save_to_one_path_all_succeed_and_readers_see_whole_files(tmp_path: Path) -> None:
    path, ended = tmp_path / "file", Event()
    files.save(path, OLD)
    seen: set[bytes] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(8) as pool:
        for saved in [pool.submit(files.save, path, content) for content in (OLD, NEW) * 20]:
            saved.result()
    ended.set()
    reader.join()
    assert seen <= {OLD, NEW}
    assert left_in(tmp_path) == {"file"}


def test_processes_that_save_to_one_path_all_succeed(tmp_path: Path) -> None:
    code = "from gatewise import files; [files.save('file', b'x' * 1000) for _ in range(100)]"
    processes = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert left_in(tmp_path) == {"file"}
    assert (tmp_path / "file").read_bytes() == b"x" * 1000


@posix
@pytest.mark.parametrize("before", [0o640, 0o600, 0o444, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, before: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(before)
    files.save(path, NEW)
    assert (mode(path), path.read_bytes()) == (before, NEW)


@posix
@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, mask: int, expected: int) -> None:
    before = os.umask(mask)
    try:
        files.save(tmp_path / "file", NEW)
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == expected


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives files away")
def test_an_existing_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    os.chown(path, 12, 34)
    files.save(path, NEW)
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


@posix
def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(Path("real") / "file")
    for content in (OLD, NEW):  # at first the target does not exist
        files.save(tmp_path / "first", content)
        assert (tmp_path / "real" / "file").read_bytes() == content
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert left_in(tmp_path) == {"first", "second", "real"}
    assert left_in(tmp_path / "real") == {"file"}


@posix
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path, kind in {"pipe": "pipe", "link": "device", ".": "folder"}.items():
        with pytest.raises(files.NotAFileError, match=f"must be a file. Got a {kind}"):
            files.open_to_read(tmp_path / path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("up\rdown\n", r"up\rdown\n"),
        ("\u202eright to left\ud800\x9b", r"\u202eright to left\ud800\x9b"),
        ("Größe 温度 1\u202f000\xa0°C", "Größe 温度 1\u202f000\xa0°C"),
    ],
)
def test_text_of_files_is_quoted_harmlessly(text: str, expected: str) -> None:
    assert files.escaped(text) == files.quoted(text) == expected
    assert files.escaped(expected) == expected


def test_long_text_is_cut() -> None:
    assert len(files.quoted("x" * 5000)) == 1000


@posix
def test_a_symbolic_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="link") as caught:
        files.save(tmp_path / "link", NEW)
    assert caught.value.errno == errno.ELOOP
    assert left_in(tmp_path) == {"link"}


@posix
def test_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (Path("/dev/null"), tmp_path / "link"):
        files.save(path, NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert (tmp_path / "link").is_symlink()


@posix
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        files.save(pipe, NEW)
        assert read.result(timeout=60) == NEW
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@posix
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into", ["a pipe", "a file"])
def test_standard_output_is_written_to(tmp_path: Path, name: str, into: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"no {name} here")
    code = f"from gatewise import files; files.save({name!r}, b'new')"
    if into == "a pipe":
        assert (
            subprocess.run(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, timeout=120
            ).stdout
            == b"new"
        )
        return
    with open(tmp_path / "file", "w+b") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True, timeout=120)
        assert file.read() == b"new"  # of the file that was opened before
    assert left_in(tmp_path) == {"file"}


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="folder") as caught:
        files.save(tmp_path / "folder" / "file", NEW)
    assert caught.value.filename == str(tmp_path / "folder" / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder") as caught:
        files.save(tmp_path / "folder", NEW)
    assert caught.value.filename == str(tmp_path / "folder")
    assert left_in(tmp_path) == {"folder"}


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    files.save(path, OLD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.save(path, NEW)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == OLD
    assert left_in(tmp_path) == {"file"}


def test_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    files.save(path, OLD)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.save(path, NEW)
    assert path.read_bytes() == OLD
    assert left_in(tmp_path) == {"file"}
