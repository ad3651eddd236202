"""``-`` in place of a file: standard input, as a file that has the ending of its content."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gatewise.apps.options import OptionError

DASH = Path("-")
WORDS = ("word", "token", "form", "words", "tokens")  # names of the column of words in a table
_MOST = 1 << 29  # bytes, as of a file
_CONLLU = re.compile(rb"^1\t", re.MULTILINE)


@contextmanager
def with_standard_input(paths: Sequence[Path], task: str) -> Iterator[list[Path]]:
    """Context manager: the paths, with a temporary file in place of ``-``. Messages call it "standard input".

    Args:
        paths: what a command reads.
        task: the job of the model that reads it, which decides what a text without other signs is.

    Raises:
        OptionError: ``-`` is named twice, or standard input has too many bytes.
    """
    if DASH not in paths:
        yield list(paths)
        return
    if paths.count(DASH) > 1:
        raise OptionError("FILE: standard input can be read once. Got - twice.")
    content = sys.stdin.buffer.read(_MOST + 1)
    if len(content) > _MOST:
        raise OptionError(f"standard input has more than {_MOST >> 20} MiB, the most that is read.")
    with tempfile.TemporaryDirectory(prefix="gatewise-") as folder:
        file = Path(folder) / f"standard input{ending_of(content, task)}"
        file.write_bytes(content)
        try:
            yield [file if path == DASH else path for path in paths]
        except ValueError as error:
            if str(file) not in str(error):
                raise
            raise OptionError(str(error).replace(str(file), "standard input")) from error


def ending_of(content: bytes, task: str) -> str:
    """The ending of a file with this content: Parquet, JSON lines, CoNLL-U, a text, or else CSV."""
    if content.startswith(b"PAR1"):
        return ".parquet"
    if content.lstrip().startswith(b"{"):
        return ".jsonl"
    header = content.partition(b"\n")[0].decode("utf-8", "replace")
    names = {name.strip('" \r').lower() for name in re.split(r"[,;\t]", header)}
    if task == "tag" and not names & set(WORDS):
        return ".conllu" if _CONLLU.search(content) else ".txt"
    return ".txt" if task == "write" and "text" not in names else ".csv"
