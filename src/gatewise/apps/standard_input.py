"""``-`` in place of a file: standard input, as a file that has the ending of its content."""

from __future__ import annotations

import re
import sys
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gatewise.apps.options import OptionError
from gatewise.tasks.shared.reading.content import marked, unpacked

DASH = Path("-")
NAME = "standard_input"  # the name of the temporary file, without its ending
WORDS = ("word", "token", "form", "words", "tokens")  # names of the column of words in a table
_MOST = 1 << 29  # bytes, as of a file
_CONLLU = re.compile(rb"^1\t", re.MULTILINE)
_TS = re.compile(rb"^@(problemname|timestamps|data)\b", re.MULTILINE | re.IGNORECASE)
_OBJECT = re.compile(rb'\s*\{\s*"')  # the beginning of a line of JSON, but not of a brace that is tagged
_SEEN = 1 << 16  # bytes in which the head of a .ts file is sought


@contextmanager
def with_standard_input(paths: Sequence[Path], ending: Callable[[bytes], str]) -> Iterator[list[Path]]:
    """Context manager: the paths, with a temporary file in place of ``-``. Messages call it "standard input".

    Args:
        paths: what a command reads.
        ending: the ending of a file with this content.

    Raises:
        OptionError: ``-`` is named twice, or standard input has too many bytes or cannot be unpacked.
    """
    if DASH not in paths:
        yield list(paths)
        return
    if paths.count(DASH) > 1:
        raise OptionError("standard input can be read once. Got - twice.")
    content = sys.stdin.buffer.read(_MOST + 1)
    if len(content) > _MOST:
        raise OptionError(f"standard input has more than {_MOST >> 20} MiB, the most that is read.")
    try:
        content = unpacked(Path("standard input"), content)
    except ValueError as error:
        raise OptionError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="gatewise-") as folder:
        file = Path(folder) / f"{NAME}{ending(content)}"
        file.write_bytes(content)
        try:
            yield [file if path == DASH else path for path in paths]
        except ValueError as error:
            told = str(error).replace(str(file), "standard input").replace(file.name, "standard input")
            if told == str(error):
                raise
            raise OptionError(told) from error


def ending_for_training(content: bytes, task: str) -> str:
    """The ending of a file with this content that a job is trained on.

    ``write`` learns from any text; ``tag`` from words with their tags, which are columns if there is no other
    sign; ``classify`` also from the format of aeon and sktime.
    """
    if task == "write":
        return ".txt"
    if task == "classify" and _TS.search(_unmarked(content[:_SEEN])):
        return ".ts"
    found = ending_of(content, task)
    return ".tsv" if task == "tag" and found == ".txt" else found


def ending_of(content: bytes, task: str) -> str:
    """The ending of a file with this content: Parquet, JSON lines, CoNLL-U, columns, a text, or else CSV.

    The job of the model that reads it, `task`, decides what a text without other signs is. A tagger reads
    words and tags in columns if there is a tab in each line.
    """
    if content.startswith(b"PAR1"):
        return ".parquet"
    content = _unmarked(content)
    if _OBJECT.match(content) if task == "tag" else content.lstrip().startswith(b"{"):
        return ".jsonl"
    header = content.partition(b"\n")[0].decode("utf-8", "replace")
    names = {name.strip('" \r').lower() for name in re.split(r"[,;\t]", header)}
    if task == "tag" and not names & set(WORDS):
        if _CONLLU.search(content):
            return ".conllu"
        return ".tsv" if _are_columns(content) else ".txt"
    return ".txt" if task == "write" and "text" not in names else ".csv"


def _unmarked(content: bytes) -> bytes:
    """The content as UTF-8 without a byte order mark, if it begins with one."""
    encoding = marked(content)
    return content.decode(encoding, "replace").encode() if encoding else content.removeprefix(BOM_UTF8)


def _are_columns(content: bytes) -> bool:
    """Whether there is a tab between words in each line that is not empty."""
    lines = [line for each in content.splitlines() if (line := each.strip())]
    return bool(lines) and all(b"\t" in line for line in lines)
