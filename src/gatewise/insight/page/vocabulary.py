"""The words that a reader may type, and what the network reads for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from gatewise.insight.page.arrays import packed
from gatewise.insight.page.run import Run
from gatewise.insight.page.tracing import Signal

_MOST_CHARACTERS = 1 << 16  # code points that an embedding may have as ids


@final
@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words, each with its token id or its vector.

    Attributes:
        words: the words that are known.
        inputs: for token ids ``[W]``, else ``[W, I]``.
        characters: if the id of every word is its code point, the number of ids; else 0. The reader may then
            type every character below.
    """

    words: list[str]
    inputs: Tensor
    characters: int = 0

    @property
    def numbers(self) -> int:
        """The number of numbers in it, words included."""
        return self.inputs.numel() + sum(len(word) for word in self.words)

    def shown(self) -> dict[str, Any]:
        """The data for the page."""
        return {"words": self.words, "inputs": packed(self.inputs), "characters": self.characters}


def vocabulary_of(
    run: Run, signals: Sequence[Signal], words: Sequence[Sequence[str]] | None
) -> Vocabulary | None:
    """What each word stands for; None if one stands for different inputs, or if no word is known.

    Token ids without words are typed as numbers.
    """
    x = run.x.transpose(0, 1) if run.batch_first else run.x
    ends = run.lengths or [run.steps] * run.rows
    of_ids = not x.is_floating_point()
    known = _ids(signals) if of_ids else 0
    if words is None:
        return Vocabulary([str(k) for k in range(known)], torch.arange(known)) if known else None
    found: dict[str, Tensor] = {}
    for row, end in enumerate(ends):
        for t, word in enumerate(list(map(str, words[row]))[:end]):
            given = found.setdefault(word, x[t, row])
            if not torch.equal(given, x[t, row]):
                return None
    if not found:
        return None
    points = of_ids and all(len(word) == 1 and int(found[word]) == ord(word) for word in found)
    inputs = torch.stack(list(found.values())).detach().cpu()
    return Vocabulary(list(found), inputs, known if points and known <= _MOST_CHARACTERS else 0)


def _ids(signals: Sequence[Signal]) -> int:
    """The number of token ids of the smallest embedding."""
    sizes = [
        part.about.num_embeddings
        for part in signals
        if part.op == "embedding" and isinstance(part.about, nn.Embedding)
    ]
    return min(sizes, default=0)
