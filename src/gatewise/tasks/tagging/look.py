"""What `gatewise.look` shows of a tagger: how the layers read sentences, and what led to a tag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatewise.tasks.tagging.tagger import Tagger

_ROWS, _LONGEST = 4, 60  # sentences, and words of one


class TagScores(nn.Module):
    """The trained network from the vectors of words on: an embedding, recurrent layers, a linear map.

    Args:
        tagger: the fitted tagger.
        words: the words that can be read; word k has the id k + 1. The id 0 stands for what follows the last
            word.
    """

    def __init__(self, tagger: Tagger, words: Sequence[str]) -> None:
        super().__init__()
        vectors = tagger.model_.vectors(words)
        table = np.concatenate([np.zeros((1, vectors.shape[1]), vectors.dtype), vectors])
        self.words = nn.Embedding(len(table), table.shape[1], _weight=torch.from_numpy(table))
        network: Any = tagger.network_
        self.recurrent, self.head = network.recurrent, network.heads[0]

    def forward(self, ids: Tensor, lengths: Any = None) -> Tensor:
        """The scores of the tags of the first column, ``[T, B, K]``."""
        output = self.recurrent(self.words(ids), lengths=lengths)[0]
        scores: Tensor = self.head(output)
        return scores


def shown(tagger: Tagger, sentences: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The arguments of `gatewise.look` for the first sentences that have words.

    Explained is the score of the tag that is least certain in each sentence.

    Raises:
        ValueError: no sentence has a word.
    """
    chosen = [list(words[:_LONGEST]) for words in sentences if words][:_ROWS]
    if not chosen:
        raise ValueError("no sentence has a word.")
    ahead, column = tagger.look_ahead or 0, tagger.columns_[0]
    words = list(dict.fromkeys(word for sentence in chosen for word in sentence))
    lengths = [len(sentence) + ahead for sentence in chosen]
    ids = torch.zeros(max(lengths), len(chosen), dtype=torch.int64)
    for row, sentence in enumerate(chosen):
        ids[: len(sentence), row] = torch.tensor([words.index(word) + 1 for word in sentence])
    tagged = tagger.tagged(chosen)
    places = [int(np.argmin([word.probabilities[0] for word in sentence])) for sentence in tagged]
    tags = [column.tags.index(sentence[t].tags[0]) for sentence, t in zip(tagged, places, strict=True)]
    steps, rows = torch.tensor(places) + ahead, torch.arange(len(chosen))
    said = tagged[0][places[0]]
    return {
        "model": TagScores(tagger, words).eval(),
        "x": ids,
        "lengths": lengths,
        "output": lambda scores: scores[steps, rows, torch.tensor(tags)],
        "output_name": f"the score of the least certain tag ({said.tags[0]} of {said.word!r} in row 0)",
        "tokens": [[*sentence, *[""] * ahead] for sentence in chosen],
        "outputs": column.tags,
        "probabilities": True,
        "title": f"Inside a tagger ({tagger.cell_name}): {column.name}",
    }
