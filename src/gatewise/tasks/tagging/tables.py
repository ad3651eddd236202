"""Tags from tables with a word on each row, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from gatewise.runtime.jobs.tagger import Tagger
from gatewise.tasks.shared import frames
from gatewise.tasks.shared import tables as shared
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.shared.reading.options import Reading, refuse_all_but_encoding
from gatewise.tasks.shared.reading.table import read_table, table_of
from gatewise.tasks.tagging.conllu import COLUMNS
from gatewise.tasks.tagging.corpus import Corpus, text_of
from gatewise.tasks.tagging.frames import corpus_of, frame_of, known_columns, pandas_of, unrolled
from gatewise.tasks.tagging.reading import JSON, TaggedFile, format_of, read_tagged, table_in

FORMATS = (".conllu", ".tsv")  # files that `rewritten` makes
_PARQUET = (".parquet", ".pq")


def read_tables(path: Path, reading: Reading | None = None) -> Iterator[pa.Table]:
    """The words of a file (CoNLL-U, columns, CSV, text), or of the Parquet files of a folder, as tables.

    Raises:
        TableError: the file is not one that can be read.
    """
    encoding = reading.encoding if reading else None
    if path.is_dir() or path.suffix.lower() in (*_PARQUET, *JSON):
        yield from shared.read_tables(path, reading)
        return
    refuse_all_but_encoding(path, reading, "words")
    if format_of(path) == "table":
        table = read_table(path, Reading(encoding=encoding), words=True)
        yield _named(pa.Table.from_pandas(table.frame, preserve_index=False), path)
    else:
        corpus = read_tagged(path, encoding=encoding).corpus
        words = frame_of(Corpus(corpus.words, {}, corpus.name))
        yield _named(pa.Table.from_pandas(words, preserve_index=False), path)


def _named(table: pa.Table, path: Path) -> pa.Table:
    return table.replace_schema_metadata({frames.FILE: str(path).encode()})


def rewritten(
    model: Tagger, paths: Sequence[Path], ending: str, reading: Reading | None = None, *, least: float = 0.0
) -> tuple[str, int]:
    """The sentences of files with their tags, as CoNLL-U or as columns, and the number of their words.

    Of a CoNLL-U file all else is kept, if it becomes one. A tag that is less likely than `least` becomes
    ``_``.

    Raises:
        TableError: a file cannot be read, or is to become CoNLL-U and is not.
        ValueError: the tagger has no column of a CoNLL-U file.
    """
    names = [column.name for column in model.columns]
    if ending == ".conllu" and not set(names) <= set(COLUMNS):
        kept = ", ".join(map(repr, names))
        raise ValueError(f"--out must end in .tsv: CoNLL-U has {', '.join(COLUMNS)}, the tagger has {kept}")
    texts, words = [], 0
    for path in paths:
        file = read_known(model, path, reading)
        if ending == ".conllu" and file.document is None:
            raise TableError(path, "the file is not CoNLL-U; --out must end in .tsv")
        made = model.predict(file.corpus.words, least=least)
        tags = {name: [[each[k] for each in row] for row in made] for k, name in enumerate(names)}
        document = file.document if ending == ".conllu" else None
        corpus = Corpus(file.corpus.words, tags)
        texts.append(str(document.tagged(tags)) if document else text_of(corpus))
        words += corpus.tokens
    return "".join(texts), words


def read_known(model: Tagger, path: Path, reading: Reading | None = None) -> TaggedFile:
    """Read a file like that of training: a table may have the same columns of words and of sentences.

    Raises:
        TableError: the file cannot be read.
    """
    refuse_all_but_encoding(path, reading, "words")
    encoding = reading.encoding if reading else None
    if format_of(path) != "table":
        return read_tagged(path, encoding=encoding)
    table = unrolled(table_in(path, encoding))
    return TaggedFile("table", corpus_of(table, *known_columns(table, model.table)))


def predict_table(model: Tagger, table: pa.Table, *, least: float = 0.0) -> pa.Table:
    """The words of a table with their tags.

    The table has a column of words and one that tells sentences apart, named as in training or as `corpus_of`
    says; or lists of words. The result has both, and for each column of tags the tag and its probability. A
    tag that is less likely than `least` is null.

    Raises:
        TableError: there is no such column, or a word is missing.
    """
    name = (table.schema.metadata or {}).get(frames.FILE, b"the table").decode()
    given = table_of(pandas_of(table), name, Reading())
    read = unrolled(given)
    if read is not given:
        table = pa.Table.from_pandas(read.frame, preserve_index=False)
    word, sentence = known_columns(read, model.table)
    corpus = corpus_of(read, word, sentence)
    tagged = [word for sentence in model.tagged(corpus.words) for word in sentence]
    columns = {column: table.column(column) for column in (sentence, word)}
    for k, column in enumerate(model.columns):
        likely = [word.probabilities[k] for word in tagged]
        tags = [word.tags[k] if p >= least else None for word, p in zip(tagged, likely, strict=True)]
        columns[column.name] = pa.array(tags, pa.string())
        columns[f"{column.name} probability"] = pa.array(likely)
    return pa.table(columns)
