"""Reads the files of a tagger, and writes tags in the same format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatewise.tasks.shared import tables
from gatewise.tasks.shared.reading.content import decoded, read_content
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.shared.reading.options import Reading
from gatewise.tasks.shared.reading.table import Table, read_table, table_of
from gatewise.tasks.tagging.columns import parse_columns
from gatewise.tasks.tagging.conllu import Document
from gatewise.tasks.tagging.corpus import Corpus, Sentences, text_of
from gatewise.tasks.tagging.frames import corpus_of, frame_of, pandas_of, unrolled

JSON = (".jsonl", ".ndjson")
FORMATS = {
    "conllu": (".conllu", ".conllup"),
    "table": (".csv", ".parquet", ".pq", *JSON),
    "columns": (".conll", ".tsv", ".iob", ".iob2", ".bio", ".col", ".pos", ".tag"),
    "text": (".txt", ".text"),
}
SUFFIXES = {"conllu": ".conllu", "table": ".csv", "columns": ".tsv", "text": ".tsv"}  # of what is written
HELD_OUT = 10  # every tenth sentence is for the test
_PACKED = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True)
class TaggedFile:
    """A file of sentences.

    Attributes:
        format: ``"conllu"``, ``"columns"``, ``"table"`` or ``"text"``.
        corpus: its sentences.
        document: all that a CoNLL-U file holds; else None.
    """

    format: str
    corpus: Corpus
    document: Document | None = None

    def part(self, rows: Sequence[int]) -> TaggedFile:
        """The file with some of its sentences."""
        document = self.document
        if document is not None:
            document = Document(tuple(document.sentences[row] for row in rows), document.name)
        return TaggedFile(self.format, self.corpus.part(rows), document)

    def written(self, tags: Mapping[str, Sentences]) -> str:
        """The sentences with other tags, in the format of the file.

        A CoNLL-U file keeps everything but those columns; of a table or a file of columns, the words are
        written with these tags. A text becomes a file of columns.
        """
        if self.document is not None and set(tags) <= {"upos", "xpos", "feats"}:
            return str(self.document.tagged(tags))
        made = Corpus(self.corpus.words, dict(tags), self.corpus.name)
        return frame_of(made).to_csv(index=False) if self.format == "table" else text_of(made)


def read_tagged(
    path: str | Path, *, format: str | None = None, word: str | None = None, sentence: str | None = None,
    tags: Sequence[str] = (), encoding: str | None = None,
) -> TaggedFile:  # fmt: skip
    """Read sentences, with their tags if the file has any.

    Args:
        path: a CoNLL-U file, a file of columns (a word and its tags on a line, empty lines between
            sentences), a table (CSV, Parquet or JSON lines; a word on a row, or lists of words and of tags),
            or a plain text (a sentence on a line, words between blanks).
        format: ``"conllu"``, ``"columns"``, ``"table"`` or ``"text"``; by default by the name of the file.
        word, sentence, tags: columns of a table, as in `corpus_of`.
        encoding: the encoding of the text; UTF-8 by default.

    Raises:
        TableError: the file cannot be read, or is not of the format. The message names file, row and column.
        ValueError: `format` is not a format.
    """
    path = Path(path)
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}. Got {format!r}")
    format = format or format_of(path)
    if format == "table":
        table = unrolled(table_in(path, encoding))
        corpus = corpus_of(table, word, sentence, tags)
        for name, own in corpus.tags.items():
            missing = np.array([tag == "" for row in own for tag in row], bool)
            if not missing.all():  # a column without any tag is one to be filled
                table.refuse(name, missing, "a tag is missing")
        return TaggedFile(format, corpus)
    text = decoded(path, read_content(path), encoding)
    if format == "conllu":
        document = Document.parse(text, path)
        if not document.sentences:
            raise TableError(path, "the file has no words")
        return TaggedFile(format, document.corpus(), document)
    if format == "columns":
        return TaggedFile(format, parse_columns(text, path))
    words = [line.split() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
    return TaggedFile(format, Corpus(words, {}, str(path)))


def table_in(path: Path, encoding: str | None = None) -> Table:
    """The table in a file, whose words stay as they are written.

    Raises:
        TableError: the file cannot be read.
    """
    if path.suffix.lower() not in JSON:
        return read_table(path, Reading(encoding=encoding), words=True)
    return table_of(pandas_of(tables.read_table(path, Reading(encoding=encoding))), str(path), Reading())


def divided(file: TaggedFile, groups: Sequence[str] | None = None) -> tuple[TaggedFile, TaggedFile]:
    """The training and the test part of a file: every tenth sentence is for the test.

    With `groups`, the names of what each sentence is from, whole groups are: every fourth in order of name.

    Raises:
        TableError: the file has fewer than two sentences.
    """
    count = len(file.corpus)
    if count < 2:
        raise TableError(file.corpus.name, f"a tagger needs at least two sentences. Got {count}")
    if groups is None:
        tested = {row for row in range(count) if row % HELD_OUT == HELD_OUT - 1} or {count - 1}
    else:
        chosen = set(sorted(set(groups))[3::4])
        tested = {row for row, group in enumerate(groups) if group in chosen}
    return file.part([row for row in range(count) if row not in tested]), file.part(sorted(tested))


def format_of(path: Path) -> str:
    """The format by the ending of a name; raises a TableError for one that is unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    last = suffixes[-1] if suffixes else ""
    for format, known in FORMATS.items():
        if last in known:
            return format
    every = ", ".join(suffix for known in FORMATS.values() for suffix in known)
    raise TableError(path, f"the name of the file must end in one of {every}, or the format must be given")
