"""A corpus: sentences of words, with columns of tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gatewise.tasks.shared.reading.errors import TableError

Sentences = list[list[str]]


@dataclass(frozen=True)
class Corpus:
    """Sentences, as a file holds them.

    Attributes:
        words: the words of each sentence.
        tags: for each column of tags, by name, the tag of every word; empty if the file has none.
        name: the name of the file, for messages.
    """

    words: Sentences
    tags: dict[str, Sentences] = field(default_factory=dict)
    name: str = "corpus"

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> int:
        """The number of words in all sentences."""
        return sum(map(len, self.words))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of tags."""
        return tuple(self.tags)

    def targets(self, columns: Sequence[str]) -> list[list[str]] | list[list[tuple[str, ...]]]:
        """The tags as `Tagger.fit` takes them: texts for one column, tuples of texts for several.

        Raises:
            TableError: a column does not exist, or has no tag.
        """
        for column in columns:
            if column not in self.tags:
                listed = ", ".join(map(repr, self.tags)) or "none"
                raise TableError(self.name, f"the file has no column of tags {column!r}; it has {listed}")
            if not any(tag for row in self.tags[column] for tag in row):
                raise TableError(self.name, f"the column of tags {column!r} is empty")
        chosen = [self.tags[column] for column in columns]
        if len(chosen) == 1:
            return chosen[0]
        return [list(zip(*rows, strict=True)) for rows in zip(*chosen, strict=True)]

    def part(self, rows: Sequence[int]) -> Corpus:
        """The corpus of some sentences."""
        tags = {name: [values[row] for row in rows] for name, values in self.tags.items()}
        return Corpus([self.words[row] for row in rows], tags, self.name)


def text_of(corpus: Corpus) -> str:
    """A corpus as two or more columns, tab-separated: word, then tags; an empty line ends a sentence."""
    return "".join(
        _block(words, tags) for words, *tags in zip(corpus.words, *corpus.tags.values(), strict=True)
    )


def _block(words: Sequence[str], tags: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in zip(words, *tags, strict=True)) + "\n"


def blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The blocks of lines between empty lines, each with the number of its first line, from 1."""
    block: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []
