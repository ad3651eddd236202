"""CoNLL-U files: ten columns, comments, multiword tokens and empty nodes.

The format: https://universaldependencies.org/format.html. What is not a word (comments, ranges ``3-4``, empty
nodes ``5.1``) is not tagged, and is written back as it was read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.tagging.corpus import Corpus, Sentences, blocks

FIELDS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
COLUMNS = ("upos", "xpos", "feats")  # the columns that are tags
_NUMBER = "[1-9][0-9]{0,8}"
_WORD, _OTHER = re.compile(_NUMBER), re.compile(rf"{_NUMBER}-{_NUMBER}|(0|{_NUMBER})\.{_NUMBER}")


@dataclass(frozen=True)
class Sentence:
    """A sentence with all its lines.

    Attributes:
        lines: comments as they are, every other line split into its ten fields.
        words: the positions of the words among the lines.
    """

    lines: tuple[str | tuple[str, ...], ...]
    words: tuple[int, ...]

    def column(self, field: int) -> list[str]:
        """A field of every word."""
        return [self.lines[word][field] for word in self.words]

    def replaced(self, columns: Mapping[int, list[str]]) -> Sentence:
        """The sentence with other values in some fields of its words."""
        lines = list(self.lines)
        for field, values in columns.items():
            for word, value in zip(self.words, values, strict=True):
                line = lines[word]
                lines[word] = (*line[:field], value, *line[field + 1 :])
        return Sentence(tuple(lines), self.words)

    def __str__(self) -> str:
        lines = (line if isinstance(line, str) else "\t".join(line) for line in self.lines)
        return "".join(f"{line}\n" for line in lines) + "\n"


@dataclass(frozen=True)
class Document:
    """The sentences of a CoNLL-U file.

    >>> document = Document.parse("# text = Go!\\n1\\tGo\\tgo\\tVERB\\t_\\t_\\t0\\troot\\t_\\t_\\n\\n")
    >>> document.corpus().words
    [['Go']]
    >>> document.corpus().columns
    ('upos',)
    """

    sentences: tuple[Sentence, ...]
    name: str = "corpus"

    @classmethod
    def parse(cls, text: str, name: str | Path = "corpus") -> Document:
        """Read a text.

        Raises:
            TableError: a line is not a comment and does not have ten fields, or the words are not numbered
                from 1; the message names the line.
        """
        lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        return cls(tuple(_sentence(block, first, name) for first, block in blocks(lines)), str(name))

    def corpus(self) -> Corpus:
        """The words and those columns of tags that are not empty (``_`` everywhere)."""
        words: Sentences = [sentence.column(1) for sentence in self.sentences]
        tags = {name: [s.column(FIELDS.index(name)) for s in self.sentences] for name in COLUMNS}
        used = {name: values for name, values in tags.items() if any(set(row) - {"_"} for row in values)}
        return Corpus(words, used, self.name)

    def tagged(self, tags: Mapping[str, Sentences]) -> Document:
        """The document with other values in columns of tags."""
        made = (
            sentence.replaced({FIELDS.index(name): values[row] for name, values in tags.items()})
            for row, sentence in enumerate(self.sentences)
        )
        return Document(tuple(made), self.name)

    def __str__(self) -> str:
        return "".join(map(str, self.sentences))


def _sentence(block: list[str], first: int, name: str | Path) -> Sentence:
    lines: list[str | tuple[str, ...]] = []
    words: list[int] = []
    for number, line in enumerate(block, first):
        if line.startswith("#"):
            lines.append(line)
            continue
        fields = tuple(line.split("\t"))
        if len(fields) != len(FIELDS):
            raise TableError(
                name, f"line {number} must have {len(FIELDS)} fields between tabs. Got {len(fields)}"
            )
        if _WORD.fullmatch(fields[0]):
            _check_word(fields, len(words) + 1, number, name)
            words.append(len(lines))
        elif not _OTHER.fullmatch(fields[0]):
            raise TableError(name, f"line {number}, column 'id': {fields[0]!r} is not the number of a word")
        lines.append(fields)
    if not words:
        raise TableError(name, f"the sentence at line {first} has no words")
    return Sentence(tuple(lines), tuple(words))


def _check_word(fields: tuple[str, ...], expected: int, number: int, name: str | Path) -> None:
    if int(fields[0]) != expected:
        raise TableError(name, f"line {number}, column 'id': must be {expected}. Got {fields[0]}")
    if not fields[1]:
        raise TableError(name, f"line {number}, column 'form': the word is empty")
