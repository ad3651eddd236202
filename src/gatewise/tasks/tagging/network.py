"""The network of a tagger, in torch for training, and its batches.

Shapes: ``T`` steps (words, and the look-ahead after the last one), ``B`` sentences, ``U`` different words of
a batch, ``K`` characters of the longest one, ``A`` kinds of affixes, ``C`` columns of tags. Time first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.runtime.jobs.spelling import Spelling

UNTAGGED = -100  # the number of a tag that is not trained on: padding, look-ahead, unknown tags
_UNKNOWN = 1  # the id of an unknown word
WORD_WIDTH, CHARACTER_WIDTH, AFFIX_WIDTH = 100, 32, 24
SHAPES, WINDOW = 64, 3  # outputs and width of the convolution over characters
_WORD_SCALE, _PART_SCALE = 0.1, 0.3  # standard deviations of embeddings before training

Whole = NDArray[np.int64]


class Batch(NamedTuple):
    """Sentences.

    Attributes:
        words, characters, spelled, affixes: the different words, as `Spelled`: ``[U]``, ``[K, U]``, ``[U]``
            (the lengths) and ``[U, A]``.
        rare: ``[U]``, the probability with which training takes each of them for an unknown word.
        places: ``[T, B]``, which of them stands at each step.
        lengths: ``[B]``, the steps of each row.
        present: ``[T, B]``, where there is a word.
        tags: ``[T, B, C]``, the numbers of the tags.
    """

    words: Tensor
    characters: Tensor
    spelled: Tensor
    affixes: Tensor
    rare: Tensor
    places: Tensor
    lengths: Tensor
    present: Tensor
    tags: Tensor


@dataclass(frozen=True)
class Encoded:
    """A corpus as numbers: its different words, and for each sentence its words and their tags.

    Attributes:
        words, characters, spelled, affixes: the different words, as in `Spelled`.
        rare: how likely training takes each of them for an unknown one, ``[U]``.
        sentences: for each sentence the places of its words among the different ones, ``[T]``.
        tags: for each sentence the numbers of its tags, ``[T, C]``.
        look_ahead: steps after the last word of a sentence.
    """

    words: Whole
    characters: Whole
    spelled: Whole
    affixes: Whole
    rare: NDArray[np.float32]
    sentences: list[Whole]
    tags: list[Whole]
    look_ahead: int

    @classmethod
    def of(
        cls, spelling: Spelling, X: Sequence[Sequence[str]], tags: list[Whole], look_ahead: int,
        rarity: Mapping[str, float],
    ) -> Encoded:  # fmt: skip
        """Encode sentences. `tags` holds the numbers of their tags, `rarity` the `rare` of words."""
        different = sorted({word for words in X for word in words})
        number = {word: k for k, word in enumerate(different)}
        ids = spelling.ids(different)
        sentences = [np.array([number[word] for word in words], np.int64) for words in X]
        rare = np.array([rarity.get(word, 0.0) for word in different], np.float32)
        return cls(ids.words, ids.characters, ids.lengths, ids.affixes, rare, sentences, tags, look_ahead)

    @property
    def lengths(self) -> Whole:
        """The steps of each sentence."""
        return np.array([len(words) + self.look_ahead for words in self.sentences], np.int64)

    def batch(self, rows: Sequence[int] | Whole) -> Batch:
        """The batch of some sentences."""
        ahead = self.look_ahead
        chosen = [self.sentences[row] for row in rows]
        steps, columns = max(map(len, chosen)) + ahead, self.tags[0].shape[1]
        used, places = np.unique(np.concatenate(chosen), return_inverse=True)
        where = np.zeros((steps, len(chosen)), np.int64)
        present = np.zeros((steps, len(chosen)), bool)
        tags = np.full((steps, len(chosen), columns), UNTAGGED, np.int64)
        first = 0
        for k, (row, words) in enumerate(zip(rows, chosen, strict=True)):
            where[: len(words), k] = places[first : first + len(words)]
            present[: len(words), k] = True
            tags[ahead : ahead + len(words), k] = self.tags[row]
            first += len(words)
        spelled = self.spelled[used]
        characters = self.characters[: spelled.max(), used]
        parts = (self.words[used], characters, spelled, self.affixes[used], self.rare[used])
        lengths = np.array([len(words) + ahead for words in chosen])
        return Batch(*map(torch.from_numpy, (*parts, where, lengths, present, tags)))


class TaggingNetwork(nn.Module):
    """Words, their characters and affixes; recurrent layers; a linear map to the tags of each column.

    A word is represented by its own embedding, the largest outputs of a convolution over its characters (Ma &
    Hovy 2016), and embeddings of its first 1 to 3 and last 1 to 4 characters. With a look-ahead, a step reads
    the word to be tagged and all that follow it up to the newest one, side by side. In training, rare words
    are often replaced by the unknown one (Kiperwasser & Goldberg 2016).

    Args:
        cell: the equations of the recurrent layers.
        sizes: rows of the tables of words, characters and affixes, as `Spelling.sizes`.
        tags: the number of tags of each column.
        hidden_size, num_layers: units of a layer and direction, and layers.
        look_ahead: words that are read past a word before it is tagged; None if the layers read in both
            directions.
        dropout: the share of the inputs and outputs of each recurrent layer that is dropped in training.
    """

    def __init__(
        self, cell: Cell, sizes: tuple[int, int, tuple[int, ...]], tags: Sequence[int], *,
        hidden_size: int, num_layers: int, look_ahead: int | None, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        words, characters, affixes = sizes
        self.words = nn.Embedding(words, WORD_WIDTH, padding_idx=0)
        self.characters = nn.Embedding(characters, CHARACTER_WIDTH, padding_idx=0)
        self.affixes = nn.ModuleList(nn.Embedding(rows, AFFIX_WIDTH) for rows in affixes)
        self.convolution = nn.Conv1d(CHARACTER_WIDTH, SHAPES, WINDOW, padding=WINDOW // 2)
        for table in (self.words, self.characters, *self.affixes):
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=_WORD_SCALE if table is self.words else _PART_SCALE)
        with torch.no_grad():
            self.characters.weight[0] = 0  # padding is what a convolution sees outside of a word
        self.look_ahead = look_ahead or 0
        bidirectional = look_ahead is None
        width = (WORD_WIDTH + SHAPES + AFFIX_WIDTH * len(affixes)) * (1 + self.look_ahead)
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = Recurrent(
            cell, width, hidden_size, num_layers, bidirectional=bidirectional, dropout=between
        )
        self.dropout = nn.Dropout(dropout)
        wide = hidden_size * (1 + bidirectional)
        self.heads = nn.ModuleList(nn.Linear(wide, number) for number in tags)

    def forward(self, batch: Batch) -> list[Tensor]:
        """The scores of the tags of each column, ``[T, B, K]``."""
        steps, rows = batch.places.shape
        places = batch.places.flatten()
        words = self.words(self._kept(batch.words[places], batch.rare[places]))
        parts = nn.functional.embedding(
            places, self._parts(batch)
        )  # the gradient of [places] has no fixed order
        x = torch.cat([words, parts], dim=-1)
        x = self.dropout(x * batch.present.flatten()[:, None]).view(steps, rows, -1)
        output = self.recurrent(windows(x, self.look_ahead), lengths=batch.lengths)[0]
        output = self.dropout(output)
        return [head(output) for head in self.heads]

    def _kept(self, words: Tensor, rare: Tensor) -> Tensor:
        """The words, with some replaced by the unknown word in training."""
        return words.masked_fill(torch.rand_like(rare) < rare, _UNKNOWN) if self.training else words

    def _parts(self, batch: Batch) -> Tensor:
        """What the different words are made of, ``[U, ...]``."""
        characters = self.characters(batch.characters).permute(1, 2, 0)
        found = self.convolution(characters)
        outside = torch.arange(found.shape[2], device=found.device) >= batch.spelled[:, None]
        shapes = found.masked_fill(outside[:, None], -torch.inf).amax(dim=2).relu()
        affixes = [table(batch.affixes[:, k]) for k, table in enumerate(self.affixes)]
        return torch.cat([shapes, *affixes], dim=1)


def windows(x: Tensor, look_ahead: int) -> Tensor:
    """For each step of ``x [T, B, I]`` the steps from `look_ahead` before it to itself, side by side."""
    before = x.new_zeros(look_ahead, *x.shape[1:])
    padded = torch.cat([before, x])
    return torch.cat([padded[k : k + len(x)] for k in range(look_ahead + 1)], dim=-1)


def loss_of(scores: Sequence[Tensor], tags: Tensor, smoothing: float, others: float) -> tuple[Tensor, int]:
    """The cross-entropy summed over words, and the number of words.

    Args:
        scores: for each column ``[T, B, K]``.
        tags: ``[T, B, C]``.
        smoothing: the share of label smoothing (Szegedy et al. 2016).
        others: the weight of all columns but the first.
    """
    total = torch.zeros((), dtype=scores[0].dtype, device=scores[0].device)
    for column, values in enumerate(scores):
        loss = nn.functional.cross_entropy(
            values.flatten(0, 1), tags[..., column].flatten(), ignore_index=UNTAGGED,
            label_smoothing=smoothing, reduction="sum",
        )  # fmt: skip
        total = total + (others if column else 1.0) * loss
    return total, int((tags[..., 0] != UNTAGGED).sum())


def wrong_of(scores: Sequence[Tensor], tags: Tensor) -> tuple[Tensor, int]:
    """The wrong tags, averaged over columns, and the number of words."""
    known = tags != UNTAGGED
    wrong = [(values.argmax(-1) != tags[..., k]) & known[..., k] for k, values in enumerate(scores)]
    return torch.stack(wrong).sum().double() / len(wrong), int(known[..., 0].sum())
