"""A stream for printing. The command goes on if it is closed or full, or cannot encode a character."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any, TextIO


class Output:
    """A text stream that escapes what it cannot encode, and writes nothing more after a failed write."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text if the stream still works."""
        self._trying("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self._trying("flush")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and bool(self._stream.isatty())

    def _trying(self, action: str, *text: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, action)(*text)
        except (OSError, ValueError):
            with suppress(OSError, ValueError, AttributeError):  # Python flushes the stream again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._stream = None
