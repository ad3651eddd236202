"""A stream to print to. It may be closed, full, or know few letters; none of it ends a job."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any, TextIO


class Output:
    """A stream of text whose first failed write is the last one; what it cannot encode is escaped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write a text, if the stream is still open."""
        self._trying("write", text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._trying("flush")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Say whether a person reads along."""
        return self._stream is not None and bool(self._stream.isatty())

    def _trying(self, action: str, *text: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, action)(*text)
        except (OSError, ValueError):
            with suppress(OSError, ValueError, AttributeError):  # Python flushes it once more at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._stream = None
