"""The server of the lesson: it serves the page, and compiles the equations that the learner writes.

It answers this machine only, under an address with a random token, and only requests of its own page: a
foreign ``Host`` (DNS rebinding) or ``Origin`` (another page in the same browser) is refused. Equations are
read by `gatewise.read_cell`, which never runs them as Python.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, final

from gatewise.compiler.wasm.target import TARGETS
from gatewise.language import Cell, CellError, read_cell
from gatewise.language.form_reading import FormError
from gatewise.learn.page import html
from gatewise.learn.palette import cell_of, names, packed

BODY = 64 * 1024  # bytes of a request, at most
OPERATIONS = 200  # of a cell, at most: they compile for some seconds. The LSTM has 15
_WAIT = 20  # seconds for a request to arrive
_FILE = "<cell>"  # what messages of `read_cell` call the text
_MESSAGE = re.compile(rf"{_FILE}:(\d+): (?:cell '\w*': )?(.*?)\. ([A-Z].*)", re.DOTALL)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address has the token
    "X-Content-Type-Options": "nosniff",
}


class _RefusedError(Exception):
    """Raised for a request that is not answered. Its message is the answer."""

    def __init__(self, status: HTTPStatus, what: str) -> None:
        super().__init__(what)
        self.status = status


@final
class Server(ThreadingHTTPServer):
    """The server of the lesson, on a free port unless one is given. `serve_forever` runs it.

    Attributes:
        PORT: the usual one. Browsers keep the progress of the learner for each port apart.
        address: what to open in a browser.
    """

    PORT: ClassVar[int] = 4283
    daemon_threads = True
    # A server may follow another one on its port at once. On Windows two servers would share it.
    allow_reuse_address = os.name != "nt"

    def __init__(self, port: int = 0, language: str | None = None) -> None:
        self.page = html(live=True, language=language).encode()
        super().__init__(("127.0.0.1", port), _Handler)
        self.token = secrets.token_urlsafe(16)
        self.hosts = {f"127.0.0.1:{self.server_port}", f"localhost:{self.server_port}"}
        self.address = f"http://127.0.0.1:{self.server_port}/{self.token}/"
        self.compiling = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a browser has given up."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout: ClassVar[float] = _WAIT
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gatewise", ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, of: Any) -> None:
        try:
            self._check()
            kind, content = of(self._below())
            self._send(HTTPStatus.OK, kind, content)
        except _RefusedError as error:
            self.close_connection = True  # the body of the request may not have been read
            self._send(error.status, "text/plain", str(error).encode())
        except Exception as error:
            self.close_connection = True
            what = f"The server failed: {type(error).__name__}: {error}"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", what.encode())

    def _check(self) -> None:
        """Refuse requests that other pages make, and addresses without the token."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "Host must be that of the lesson.")
        if origin is not None and origin != f"http://{host}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "Origin must be that of the lesson.")
        token = self.path.lstrip("/").partition("/")[0]
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise _RefusedError(
                HTTPStatus.NOT_FOUND, "The address must be the one that gatewise learn prints."
            )

    def _below(self) -> str:
        """The path below the token, without the query."""
        return self.path.partition("?")[0].lstrip("/").partition("/")[2]

    def _get(self, path: str) -> tuple[str, bytes]:
        if path:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "There is only one page.")
        return "text/html; charset=utf-8", self.server.page

    def _post(self, path: str) -> tuple[str, bytes]:
        if path != "compile":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "Only compile is posted to.")
        question = self._question()
        with self.server.compiling:
            return "application/json", json.dumps(answer(question)).encode()

    def _question(self) -> Mapping[str, Any]:
        """The body of a request."""
        if self.headers.get_content_type() != "application/json":  # what forms of other pages can't send
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The content must be application/json.")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length must be a number.")
        if len(length) > 9 or int(length) > BODY:  # Python refuses to read numbers of thousands of digits
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The text must be at most {BODY:,} bytes."
            )
        try:
            question = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            question = None
        if not isinstance(question, dict) or question.get("simd") not in [*TARGETS]:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "The content must be an object with simd.")
        return question

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to the page: kernels of a cell, or the error of a text.

    Args:
        question: "simd", the kind of the browser, and either "name", of a cell of the palette, or "text".

    Returns:
        The result of `palette.packed`, or {"error": {"line", "message", "remedy"}}; the line is None if the
        error is not at a line.
    """
    try:
        return packed(_asked(question), question["simd"])
    except CellError as error:
        return {"error": fault(error)}
    except FormError as error:  # names that don't fit into a model file, say
        return {"error": {"line": None, "message": str(error), "remedy": ""}}


def _asked(question: Mapping[str, Any]) -> Cell:
    name, text = question.get("name"), question.get("text")
    if name in names():
        return cell_of(name)
    if not isinstance(text, str):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "The content must have a text, or the name of a cell.")
    cell = read_cell(text, _FILE)
    if len(cell.nodes) > OPERATIONS:
        raise CellError(
            f"the cell has {len(cell.nodes):,} operations; the lesson compiles at most {OPERATIONS}"
        )
    return cell


def fault(error: CellError) -> dict[str, Any]:
    """The parts of the message of an error: the line, what is wrong, and the remedy."""
    found = _MESSAGE.fullmatch(str(error))
    if found is None:
        return {"line": None, "message": str(error), "remedy": ""}
    line, message, remedy = found.groups()
    return {"line": int(line), "message": message, "remedy": remedy}
