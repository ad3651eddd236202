"""`gatewise learn`, run as users run it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.learn import server

# What is installed with the extra `learn`, and nothing more.
SMALL = """
import sys
for name in ("torch", "lightning", "pandas", "pyarrow", "matplotlib", "onnx"):
    sys.modules[name] = None
"""
RUN = "from gatewise.apps.command_line import main; main()"


def learn(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["learn", *map(str, arguments)])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernels in the page."""

    def palette(count: Any) -> dict[str, Any]:
        count(1, 2)
        return {}

    monkeypatch.setattr("gatewise.learn.page.palette", palette)


@pytest.mark.usefixtures("few")
def test_the_page_is_written(tmp_path: Path) -> None:
    done = learn("--page", tmp_path / "lesson.html", "--language", "zh")
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.search(r"lesson\.html \(0\.\d MB\); open it in a browser\.", done.stdout.replace("\n", ""))
    assert '"language":"zh"' in (tmp_path / "lesson.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--page", "lesson.html", "--language", "xx"), 2, "--language must be one of en, zh. Got 'xx'."),
        (("--language", "xx"), 2, "--language must be one of en, zh. Got 'xx'."),
        (
            ("--page", "nowhere/lesson.html"),
            2,
            "--page: the page nowhere/lesson.html cannot be written, as the folder nowhere does not exist.",
        ),
    ],
)
def test_bad_options_are_refused_in_one_sentence(
    arguments: tuple[str, ...], status: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = learn(*arguments)
    assert done.exit_code == status
    assert sentence in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = learn("--port", port, "--no-browser")
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: --port: {port} can't be used: Address already in use.\n",
    )


def test_where_the_usual_port_is_in_use_another_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(self: server.Server) -> None:
        raise KeyboardInterrupt

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(server.Server, "PORT", taken.getsockname()[1])
        monkeypatch.setattr(server.Server, "serve_forever", serve)
        done = learn("--no-browser")
    assert done.exit_code == 0
    said = " ".join(done.stdout.split())
    assert f"Port {server.Server.PORT} is in use: progress that was made there is not seen here." in said
    assert f":{server.Server.PORT}/" not in said


@pytest.mark.parametrize("code", [RUN, SMALL + RUN], ids=["whole", "small"])
def test_it_serves_until_ctrl_c(code: str, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-c", code, "learn", "--no-browser"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"COLUMNS": "40"},
    )  # fmt: skip
    assert process.stdout
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", address)
    with urllib.request.urlopen(address, timeout=60) as page:
        assert page.read().startswith(b"<!DOCTYPE html>")
    said = ""
    while not said.endswith("Ctrl-C ends it. "):
        said += process.stdout.readline().replace("\n", " ")
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_the_browser_is_opened_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    known = threading.Event()

    def open_browser(address: str) -> None:
        opened.append(address)
        known.set()

    def serve(self: server.Server) -> None:
        assert known.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_browser)
    monkeypatch.setattr(server.Server, "serve_forever", serve)
    done = learn()
    assert done.exit_code == 0
    assert done.stdout.startswith(opened[0])


def test_the_page_needs_neither_torch_nor_the_packages_of_tasks(tmp_path: Path) -> None:
    code = SMALL + "import gatewise.learn.page as page; page.palette = lambda count: {}\n" + RUN
    command = [sys.executable, "-c", code, "learn", "--page", "lesson.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "lesson.html").exists()
