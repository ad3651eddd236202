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
        windows: what steps can read; window k has the id k + 1, and the id 0 is padding. Without a look-ahead
            a window is a word; else the words up to the newest one, empty where there is none.
    """

    def __init__(self, tagger: Tagger, windows: Sequence[tuple[str, ...]]) -> None:
        super().__init__()
        words = list(dict.fromkeys(word for window in windows for word in window if word))
        vectors = dict(zip(words, tagger.model_.vectors(words), strict=True))
        nothing = np.zeros_like(vectors[words[0]])
        rows = [np.concatenate([vectors.get(word, nothing) for word in window]) for window in windows]
        table = np.stack([np.zeros_like(rows[0]), *rows])
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
    read = [_windows(sentence, ahead) for sentence in chosen]
    windows = list(dict.fromkeys(window for each in read for window in each))
    lengths = [len(each) for each in read]
    ids = torch.zeros(max(lengths), len(chosen), dtype=torch.int64)
    for row, each in enumerate(read):
        ids[: len(each), row] = torch.tensor([windows.index(window) + 1 for window in each])
    tagged = tagger.tagged(chosen)
    places = [int(np.argmin([word.probabilities[0] for word in sentence])) for sentence in tagged]
    tags = [column.tags.index(sentence[t].tags[0]) for sentence, t in zip(tagged, places, strict=True)]
    steps, rows = torch.tensor(places) + ahead, torch.arange(len(chosen))
    said = tagged[0][places[0]]
    return {
        "model": TagScores(tagger, windows).eval(),
        "x": ids,
        "lengths": lengths,
        "output": lambda scores: scores[steps, rows, torch.tensor(tags)],
        "output_name": f"the score of the least certain tag ({said.tags[0]} of {said.word!r} in row 0)",
        "tokens": [[*sentence, *[""] * ahead] for sentence in chosen],
        "outputs": column.tags,
        "probabilities": True,
        "title": f"Inside a tagger ({tagger.cell_name}): {column.name}",
    }


def _windows(words: Sequence[str], ahead: int) -> list[tuple[str, ...]]:
    """What each step reads: the words from `ahead` before the newest one to itself.

    >>> _windows(["a", "b"], 1)
    [('', 'a'), ('a', 'b'), ('b', '')]
    """
    padded = [""] * ahead + list(words) + [""] * ahead
    return [tuple(padded[k : k + ahead + 1]) for k in range(len(words) + ahead)]
