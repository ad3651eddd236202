"""Tags a stream of words, with bounded look-ahead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.arithmetic import softmax
from gatewise.runtime.jobs.tags import Tagged, word_of


class Streamed(Protocol):
    """What a stream needs of a `gatewise.runtime.jobs.tagger.Tagger`."""

    look_ahead: int | None
    _layers: Any
    _heads: Any
    _width: Any

    @property
    def columns(self) -> Sequence[Any]:
        """The columns of tags."""

    def scores(self, sentences: Sequence[Sequence[str]]) -> Any:
        """The scores of the tags of whole sentences."""

    def _remembered(self, words: set[str]) -> Any: ...


@final
class TagStream:
    """Tags a stream of words; each word is tagged as soon as the words of the look-ahead have come.

    With a look-ahead of d words, the tag of a word comes when the d-th word after it is pushed, and the last
    d tags come at `end`. No tag depends on later words. The tags of spans follow the rules from
    left to right.
    """

    def __init__(self, model: Streamed, look_ahead: int) -> None:
        self.look_ahead = look_ahead
        self._model = model
        self._steps = model._layers.stream() if model.look_ahead is not None else None
        self._restart()

    def _restart(self) -> None:
        self._words: list[str] = []
        self._done = 0  # words that are tagged
        self._window = np.zeros((self.look_ahead + 1, self._model._width), np.float32)
        self._read = 0  # steps of the network
        self._before: list[int | None] = [None] * len(self._model.columns)
        if self._steps:
            self._steps.reset()

    def push(self, word: str) -> list[Tagged]:
        """The next word of the sentence. Returns the words that are tagged now: one, or none."""
        self._words.append(word_of(word))
        if self._steps:
            return self._stepped(self._model._remembered({word})[word])
        if len(self._words) <= self.look_ahead:
            return []
        return [self._again(self._done)]

    def end(self) -> list[Tagged]:
        """The end of the sentence. Returns its remaining words; the next push begins a new sentence."""
        made: list[Tagged] = []
        while self._done < len(self._words):
            if self._steps:
                made += self._stepped(np.zeros(self._model._width, np.float32))
            else:
                made.append(self._again(self._done))
        self._restart()
        return made

    def _stepped(self, x: Array) -> list[Tagged]:
        """Run a step of the network, whose newest word is ``x [I]``."""
        assert self._steps is not None
        self._window = np.concatenate([self._window[1:], x[None]])
        output = self._steps.step(self._window.reshape(1, -1))
        self._read += 1
        if self._read <= self.look_ahead:
            return []
        return [self._chosen([head(output)[0] for head in self._model._heads])]

    def _again(self, place: int) -> Tagged:
        """Read the whole sentence so far."""
        (scores,) = self._model.scores([self._words])
        return self._chosen([values[place] for values in scores])

    def _chosen(self, scores: Sequence[Array]) -> Tagged:
        """The tags of the next word, from the scores of each column."""
        tags, likely = [], []
        for k, (column, values) in enumerate(zip(self._model.columns, scores, strict=True)):
            chances = softmax(values, column.temperature)
            allowed = self._allowed(k)
            tag = (
                int(np.where(allowed, chances, -1).argmax()) if allowed is not None else int(chances.argmax())
            )
            self._before[k] = tag
            tags.append(column.tags[tag])
            likely.append(float(chances[tag]))
        word = self._words[self._done]
        self._done += 1
        return Tagged(word, tuple(tags), tuple(likely))

    def _allowed(self, k: int) -> NDArray[np.bool_] | None:
        rules, before = self._model.columns[k].transitions, self._before[k]
        if rules is None:
            return None
        allowed = rules.first if before is None else rules.pairs[before]
        return allowed if allowed.any() else None
