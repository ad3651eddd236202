"""The server of the lesson: what it answers, and what it refuses."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from gatewise.compiler.wasm.target import RELAXED
from gatewise.language import read_cell
from gatewise.learn.page import texts
from gatewise.learn.palette import about
from gatewise.learn.server import BODY, OPERATIONS, Server
from gatewise.web.describing import kernels_of
from tests.learn.conftest import Lesson
from tests.tabs import Tabs

TEXT = "def mine(h, *, f, g):\n    f = sigmoid(f)\n    return f * h + (1 - f) * tanh(g)\n"
JSON = {"Content-Type": "application/json"}


def asked(
    server: Server, method: str, path: str | None = None, body: bytes | None = None, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Status, content and headers of an answer. Headers of the request: `_` stands for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{server.token}/" if path is None else path, body, named)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


def compiled(server: Server, **question: Any) -> Any:
    body = json.dumps({"simd": "relaxed", **question}).encode()
    status, content, _ = asked(
        server, "POST", f"/{server.token}/compile", body, Content_Type=JSON["Content-Type"]
    )
    return json.loads(content) if status == 200 else (status, content)


def test_the_page_is_at_the_address(server: Server) -> None:
    status, content, headers = asked(server, "GET")
    assert status == 200
    assert content.startswith("<!DOCTYPE html>")
    assert "connect-src 'self'" in content
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_each_server_has_a_token_of_its_own(server: Server) -> None:
    with Server() as other:
        assert other.token != server.token
    assert len(server.token) >= 20


def test_a_server_follows_another_on_its_port() -> None:
    """Browsers keep progress for each port apart; a port just left is not free for a minute, by default."""
    with Server() as first:
        threading.Thread(target=first.serve_forever, daemon=True).start()
        open_end = http.client.HTTPConnection("127.0.0.1", first.server_port, timeout=60)
        open_end.request("GET", f"/{first.token}/wrong")
        assert open_end.getresponse().status == 404  # the server closes this connection
        first.shutdown()
    with Server(first.server_port) as second:
        assert second.server_port == first.server_port
        with pytest.raises(OSError, match="in use"):
            Server(first.server_port)
    open_end.close()


@pytest.mark.parametrize("path", ["/", "", "/wrong/", "/wrong/compile", "/../etc/passwd", "//", "/%C3%A9/"])
def test_without_the_token_nothing_is_served(server: Server, path: str) -> None:
    status, content, _ = asked(server, "GET", path)
    assert (status, content) == (404, "The address must be the one that gatewise learn prints.")


def test_the_token_alone_is_not_enough(server: Server) -> None:
    for path in ("lesson.html", "../server.py", "compile", "texts/en.json"):
        assert asked(server, "GET", f"/{server.token}/{path}")[0] == 404
    assert asked(server, "POST", f"/{server.token}/", b"{}", Content_Type="application/json")[0] == 404
    assert asked(server, "DELETE")[0] == 501


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_a_foreign_page_is_refused(server: Server, method: str, headers: dict[str, str]) -> None:
    body = json.dumps({"simd": "relaxed", "name": "lstm"}).encode() if method == "POST" else None
    path = f"/{server.token}/" + ("compile" if method == "POST" else "")
    status, content, _ = asked(server, method, path, body, Content_Type="application/json", **headers)
    assert status == 403
    assert content.endswith("must be that of the lesson.")


def test_its_own_origin_is_accepted(server: Server) -> None:
    for host in ("127.0.0.1", "localhost"):
        at = f"{host}:{server.server_port}"
        assert asked(server, "GET", Host=at, Origin=f"http://{at}")[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {}, 415),
        (b"{", JSON, 400),
        (b"[" * 20_000, JSON, 400),
        (b"\xff", JSON, 400),
        (b"[]", JSON, 400),
        (b"{}", JSON, 400),
        (b'{"simd": "fast", "text": ""}', JSON, 400),
        (b'{"simd": []}', JSON, 400),
        (b'{"simd": "relaxed"}', JSON, 400),
        (b'{"simd": "relaxed", "text": 1}', JSON, 400),
        (b'{"simd": "relaxed", "name": "nothing"}', JSON, 400),
        (b'{"simd": "relaxed", "name": ["lstm"]}', JSON, 400),
        (b" " * (BODY + 1), JSON, 413),
        (b"{}", {**JSON, "Content-Length": "many"}, 411),
        (b"{}", {**JSON, "Content-Length": "-1"}, 411),
        (b"{}", {**JSON, "Content-Length": "9" * 30}, 413),
        (b"{}", {**JSON, "Content-Length": "9" * 5000}, 413),
    ],
)
def test_what_is_no_question_is_refused(
    server: Server, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, content, _ = asked(server, "POST", f"/{server.token}/compile", body, **headers)
    assert found == status
    assert content.endswith(".")


def test_a_body_without_a_length_is_refused(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest("POST", f"/{server.token}/compile")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_a_text_is_compiled(server: Server) -> None:
    found = compiled(server, text=TEXT)
    cell = read_cell(TEXT)
    assert found["about"] == json.loads(json.dumps(about(cell)))
    kernels = {name: gzip.decompress(b64decode(text)) for name, text in found["relaxed"].items()}
    assert kernels == kernels_of(cell, RELAXED)


def test_a_cell_of_the_palette_is_compiled(server: Server) -> None:
    found = compiled(server, name="lstm_without_forget", simd="plain")
    assert found["about"]["cell"] == "lstm_without_forget"
    assert found["plain"].keys() == {"forward", "backward", "outer"}


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        (
            "def mine(h, *, f):\n    h = sigmod(f)\n    return h",
            2,
            "no function 'sigmod'",
            "The language has",
        ),
        ("def mine(h, *, f):\n    f = sigmoid(f)\n    h = f * k\n    return h", 3, "no 'k'", "Declare it"),
        ("def mine(h, *, f):\n    h = = f\n    return h", 2, "can't be read", "A cell is a def"),
        ("def mine(h, *, f):\n    h += f\n    return h", 2, "in place", "Write a new value"),
        ("", 1, "no function", "A cell is a def"),
        ("def mine(h, *, f):\n    pass", 2, "not part of the language", "A cell is a def"),
    ],
)
def test_an_error_has_its_line_and_its_remedy(
    server: Server, text: str, line: int, message: str, remedy: str
) -> None:
    error = compiled(server, text=text)["error"]
    assert error["line"] == line
    assert message in error["message"]
    assert error["remedy"].startswith(remedy)
    assert "<cell>" not in str(error)


def chain(operations: int) -> str:
    """A cell of so many operations that hang on each other."""
    lines = [f"    a{k} = tanh(a{k - 1})" for k in range(1, operations - 1)]
    return "\n".join(["def mine(h, *, a0):", *lines, f"    return a{operations - 2}"])


def test_a_cell_that_would_compile_for_minutes_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewise.learn.server.packed", lambda cell, _: {"operations": len(cell.nodes)})
    assert compiled(server, text=chain(OPERATIONS)) == {"operations": OPERATIONS}
    error = compiled(server, text=chain(OPERATIONS + 1))["error"]
    assert error["message"] == f"the cell has {OPERATIONS + 1} operations; the lesson compiles at most 200"


def test_a_name_that_is_too_long_is_an_error_of_the_text(server: Server) -> None:
    error = compiled(server, text=TEXT.replace("    return", f"    {'q' * 129} = f\n    return"))["error"]
    assert "1 to 128 letters" in error["message"]


def test_a_failure_of_the_compiler_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("gatewise.learn.server.packed", fail)
    assert compiled(server, text=TEXT) == (500, "The server failed: MemoryError: no memory")


def test_a_text_is_never_run(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "written"
    attacks = [
        f"open({str(target)!r}, 'w')",
        f"import os\nos.mkdir({str(target)!r})",
        f"def mine(h, *, f):\n    h = open({str(target)!r}, 'w')\n    return h",
        f"def mine(h, *, f):\n    h = __import__('os').mkdir({str(target)!r})\n    return h",
        f"def mine(h, *, f=open({str(target)!r}, 'w')):\n    return h",
        f"@open({str(target)!r}, 'w')\ndef mine(h, *, f):\n    return h",
        f"def mine(h, *, f: open({str(target)!r}, 'w')):\n    return h",
        f"def mine(h, *, f):\n    h = (lambda: open({str(target)!r}, 'w'))()\n    return h",
        "def mine(h, *, f):\n    h = sigmoid.__globals__['__builtins__']\n    return h",
    ]
    for text in attacks:
        assert compiled(server, text=text).keys() == {"error"}, text
    assert not target.exists()


def test_the_page_compiles_texts_and_cells_of_the_palette(live: Lesson) -> None:
    with live() as page:
        assert page.evaluate("lesson.engine.live")
        states = page.evaluate("async (text) => (await lesson.engine.compile(text)).kernels.states", TEXT)
        assert states == ["h"]
        wrong = page.evaluate("async (text) => (await lesson.engine.compile(text)).error.line", TEXT + "\nx")
        assert wrong == 5
        assert page.evaluate('lesson.engine.cell("gru").then(({ cell }) => cell)') == "gru"


def test_the_page_says_when_the_server_has_gone(tabs: Tabs) -> None:
    compiling = "async (text) => (await lesson.engine.compile(text)).error"
    with tabs.open() as page:
        with Server() as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page.goto(server.address)
            page.wait_for_selector("section[data-ready]")
            server.token = "another"  # as after a new start
            gone = {"line": None, "message": texts()["en"]["kit"]["gone"], "remedy": ""}
            assert page.evaluate(compiling, TEXT) == gone
            server.shutdown()
        assert page.evaluate(compiling, TEXT) == gone
        said = page.evaluate('lesson.engine.cell("lstm").catch((error) => error.message)')
        assert said == gone["message"]
