"""Files of two or more columns: a word and its tags on each line, an empty line after each sentence.

Fields are between tabs, or else between blanks. Lines ``-DOCSTART-`` of CoNLL-2003 are ignored.
"""

from __future__ import annotations

from pathlib import Path

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.tagging.corpus import Corpus, Sentences, blocks

_DOCUMENT = "-DOCSTART-"


def parse_columns(text: str, name: str | Path = "corpus") -> Corpus:
    """Read a text. Its columns of tags are named ``2``, ``3``, ...; of two columns the second is ``tag``.

    >>> parse_columns("the DET\\ncat NOUN\\n\\nyes INTJ\\n").tags["tag"]
    [['DET', 'NOUN'], ['INTJ']]

    Raises:
        TableError: a line has another number of fields than the first one.
    """
    lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    separator = "\t" if any("\t" in line.strip() for line in lines) else None
    width = 0
    found: list[list[list[str]]] = []
    for first, block in blocks(lines):
        rows = []
        for number, line in enumerate(block, first):
            fields = line.split(separator)
            if fields[0] == _DOCUMENT:
                continue
            width = width or len(fields)
            if len(fields) != width or not all(fields):
                given = len([field for field in fields if field])
                raise TableError(name, f"line {number} must have {width} fields, as above. Got {given}")
            rows.append(fields)
        if rows:
            found.append(rows)
    if not found:
        raise TableError(name, "the file has no words")
    return _corpus(found, width, name)


def _corpus(found: list[list[list[str]]], width: int, name: str | Path) -> Corpus:
    every: list[Sentences] = [[[row[k] for row in rows] for rows in found] for k in range(width)]
    names = ["tag"] if width == 2 else [str(k) for k in range(2, width + 1)]
    return Corpus(every[0], dict(zip(names, every[1:], strict=True)), str(name))
