"""`Writer`: a trained language model without torch. It scores texts, and writes them.

Shapes: ``N`` tokens, ``B`` texts written side by side, ``V`` ids of the vocabulary, ``H`` units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, ClassVar, final

import numpy as np

from gatewise.language.form_reading import FormError, fields, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine
from gatewise.runtime.jobs.arithmetic import embedding, log_softmax, softmax
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.sampling import Choice
from gatewise.runtime.jobs.side_by_side import side_by_side
from gatewise.runtime.jobs.units import BYTES, CHARACTERS, UNITS, join, split
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.layers_file import stored_layers
from gatewise.runtime.model_file import ModelFile

BOUNDARY = 0  # the id before the first token of a text, and after the last one of a text that ends
_BLOCK = 1024  # tokens that are scored at once
_CODE_POINTS = 0x110000  # characters that Unicode has room for
_MOST_SIDE_BY_SIDE = 64  # texts that are written in one batch
_MOST_NUMBERS = 1 << 22  # scores of a block
_MOST_TOGETHER = 1 << 14  # tokens, with padding, of texts that are scored side by side
_NOTHING = np.array([BOUNDARY])  # in place of the token after a text


@final
@dataclass(frozen=True)
class Scored:
    """What a model thinks of a text, token by token.

    Attributes:
        tokens: the characters, bytes or words of the text.
        log_probabilities: ``[N]``, the natural logarithm of the probability of each, given all before it.
        expected: the most likely token at each place.
        confidence: ``[N]``, its probability.
        following: the most likely token after the text; "" if it is the end of the text.
        ending: the logarithm of the probability that the text ends here; None if the model knows no ends.
        characters: the number of characters of the text.
    """

    tokens: list[str]
    log_probabilities: Array
    expected: list[str]
    confidence: Array
    following: str
    ending: float | None
    characters: int

    @property
    def bits(self) -> Array:
        """``[N]``, the surprise at each token: the negative logarithm of its probability to base 2."""
        found: Array = -self.log_probabilities / log(2)
        return found

    @property
    def total(self) -> float:
        """The logarithm of the probability of the whole text, with its end if the model knows ends."""
        return float(self.log_probabilities.sum()) + (self.ending or 0.0)

    @property
    def bits_per_character(self) -> float:
        """Bits of the whole text for each of its characters. NaN for an empty text."""
        return -self.total / log(2) / self.characters if self.characters else float("nan")

    @property
    def perplexity(self) -> float:
        """The exponential of the mean surprise at a token. NaN for an empty text."""
        count = len(self.tokens) + (self.ending is not None)
        return float(np.exp(-self.total / count)) if self.tokens else float("nan")


@final
class Writer:
    """A recurrent language model: the probability of each character (byte, word) given all before it.

    Attributes:
        unit: "characters", "bytes" or "words".
        vocabulary: the tokens. Id 0 is the boundary of a text, id 1 whatever is unknown (no byte is).
        ends: whether the model knows where texts end: it was trained on many texts, and stops by itself.
        text: the training text, if the file has it; else None.
        threads: the threads on which `score_all` reads texts; 1, unless you set it. The bits are the same.
    """

    TASK: ClassVar[str] = "write"
    threads: int = 1

    def __init__(
        self, layers: Layers, vocabulary: Vocabulary, unit: str, ends: bool, weights: dict[str, Array],
        text: str | None = None,
    ) -> None:  # fmt: skip
        self.unit, self.vocabulary, self.ends, self.text = unit, vocabulary, ends, text
        self._layers = layers
        for name in ("embedding.weight", "head.weight", "head.bias"):
            if weights[name].dtype != layers.dtype:
                raise FormError(f"{name} must be {layers.dtype}. Got {weights[name].dtype}")
            if not np.isfinite(weights[name]).all():
                raise FormError(f"{name} must be finite")
        self._table = weights["embedding.weight"]
        self._head = Affine(weights["head.weight"], weights["head.bias"])
        V = len(vocabulary)
        if self._table.shape != (V, layers.input_size):
            raise FormError(f"embedding.weight must have shape {(V, layers.input_size)}")
        if (self._head.outputs, self._head.inputs) != (V, layers.output_size):
            raise FormError(f"head.weight must have shape {(V, layers.output_size)}")
        if layers.directions > 1:
            raise FormError("layers must read forwards only")

    @classmethod
    def from_file(cls, file: ModelFile) -> Writer:
        """The writer that a file holds.

        Raises:
            ValueError: the file does not describe one.
        """
        found = fields(file.header.get("preparation"), "preparation", ("unit", "ends", "vocabulary", "text"))
        if found["unit"] not in UNITS or not isinstance(found["ends"], bool):
            raise FormError(f"unit must be one of {', '.join(UNITS)}. Got {shown(found['unit'])}")
        vocabulary = Vocabulary.from_dict(found["vocabulary"])
        if not vocabulary.padding or not vocabulary.entries:
            raise FormError("vocabulary must have a boundary and an entry")
        if found["unit"] == BYTES and vocabulary.entries != tuple(map(chr, range(256))):
            raise FormError("vocabulary must have all bytes in order")
        if vocabulary.unknown == (found["unit"] == BYTES) or vocabulary.lower:
            raise FormError("vocabulary must have an id for what is unknown, except for bytes")
        if not isinstance(found["text"], str | None):
            raise FormError(f"text must be a text or null. Got {shown(found['text'])}")
        layers = Layers(stored_layers(file))
        return cls(layers, vocabulary, found["unit"], found["ends"], file.tensors, found["text"])

    def score(self, text: str, after: str = "") -> Scored:
        """The exact probability of every token of a text, given all before it.

        `after` is text that was read before, and is not scored.

        The probability of an unknown character is divided equally among all characters of Unicode that are
        not in the vocabulary. An unknown word has the probability of all unknown words together, as is usual
        for perplexity.
        """
        before, ids = self._with_start(after), self.vocabulary.ids(split(text, self.unit))
        stream = self._layers.stream()
        self._outputs(stream, before[:-1])
        read = np.concatenate([before[-1:], ids])
        found = [
            self._judged(self._outputs(stream, read[start : start + self._block]), ids[start:])
            for start in range(0, len(read), self._block)
        ]
        return self._scored(text, ids, *map(np.concatenate, zip(*found, strict=True)))

    def score_all(self, texts: Sequence[str]) -> list[Scored]:
        """What `score` says of each text, with the same bits; many short texts are read side by side."""
        ids = [self.vocabulary.ids(split(text, self.unit)) for text in texts]

        def scored(rows: list[int]) -> list[Scored]:
            if len(rows) == 1:
                return [self.score(texts[rows[0]])]
            judged = zip(rows, self._judged_together([ids[row] for row in rows]), strict=True)
            return [self._scored(texts[row], ids[row], *each) for row, each in judged]

        batches = list(self._batches([len(each) + 1 for each in ids]))
        found: dict[int, Scored] = {}
        for rows, made in zip(batches, side_by_side(scored, batches, self.threads), strict=True):
            found |= zip(rows, made, strict=True)
        return [found[row] for row in range(len(texts))]

    def _batches(self, steps: Sequence[int]) -> Iterator[list[int]]:
        """The numbers of texts of similar length; a long one is alone."""
        rows: list[int] = []
        for row in sorted(range(len(steps)), key=steps.__getitem__):
            if rows and (len(rows) + 1) * steps[row] > _MOST_TOGETHER:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _judged_together(self, texts: Sequence[Array]) -> Iterator[tuple[Array, Array, Array]]:
        """What `_judged` says of each of several texts."""
        lengths = np.array([len(ids) + 1 for ids in texts])
        read = np.zeros((lengths.max(), len(texts)), np.int64)
        for row, ids in enumerate(texts):
            read[0, row], read[1 : len(ids) + 1, row] = BOUNDARY, ids
        outputs = self._layers(embedding(self._table, read), lengths).output
        there = np.arange(len(read)) < lengths[:, None]  # [B, T]
        packed = np.ascontiguousarray(outputs.transpose(1, 0, 2)[there])
        after = np.concatenate([part for ids in texts for part in (ids, _NOTHING)])
        judged = [
            self._judged(packed[start : start + self._block], after[start : start + self._block])
            for start in range(0, len(packed), self._block)
        ]
        columns = [np.split(np.concatenate(c), lengths.cumsum()[:-1]) for c in zip(*judged, strict=True)]
        yield from zip(*columns, strict=True)

    def _scored(self, text: str, ids: Array, logs: Array, best: Array, sure: Array) -> Scored:
        """The result for a text, from what `_judged` says of its tokens and of what follows it."""
        N = len(ids)
        logs, ending = logs[:N], float(logs[N]) if self.ends else None
        logs = logs - (ids == self.vocabulary.unknown_id) * self._unknown_share
        tokens, expected = split(text, self.unit), self.vocabulary.texts(best[:N])
        return Scored(tokens, logs, expected, sure[:N], self.tokens[best[N]], ending, len(text))

    def next(self, text: str) -> Array:
        """The probability of each token of `tokens` to be the next one after a text, ``[V]``.

        Tokens that cannot be written (the boundary if texts do not end, whatever is unknown) have none.
        """
        outputs = self._outputs(self._layers.stream(), self._with_start(text))
        found: Array = softmax(self._allowed(self._head(outputs[-1:])))[0]
        return found

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The token of each id, ``[V]``; "" for the boundary and for whatever is unknown."""
        return ("",) * self.vocabulary.first + self.vocabulary.entries

    def write(
        self, length: int = 500, *, prompt: str = "", temperature: float = 1.0, top_k: int | None = None,
        top_p: float | None = None, stop: str | Sequence[str] = (), seed: int = 0, count: int = 1,
    ) -> list[str]:  # fmt: skip
        """Write texts that continue a prompt. The same seed gives the same texts, whatever their number.

        Args:
            length: the most tokens of a text, without the prompt.
            prompt: the beginning of the texts, which is not repeated in them.
            temperature, top_k, top_p: how tokens are drawn, as in `Choice`.
            stop: a text ends before this string, or the first of these strings.
            seed: text k is drawn from the seed and k alone.
            count: the number of texts.

        Raises:
            ValueError: a number is out of range.
        """
        for name, value, least in (("length", length, 0), ("seed", seed, 0), ("count", count, 1)):
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}. Got {value!r}.")
        choice = Choice(temperature, top_k, top_p)
        stops = tuple(end for end in ((stop,) if isinstance(stop, str) else stop) if end)
        texts: list[str] = []
        for first in range(0, count, _MOST_SIDE_BY_SIDE):
            rows = range(first, min(first + _MOST_SIDE_BY_SIDE, count))
            drawn = np.array([np.random.default_rng([seed, row]).random(length) for row in rows])
            texts += self._written(self._with_start(prompt), drawn, choice, stops)
        return texts

    def _written(self, prompt: Array, drawn: Array, choice: Choice, stops: tuple[str, ...]) -> list[str]:
        """Texts for random numbers ``drawn [B, N]``."""
        B, N = drawn.shape
        ids = np.zeros((N, B), np.int64)
        ends = _Ends(self, stops, B)
        n = 0
        for n, row in enumerate(self._steps(prompt, drawn.T, choice), 1):
            ids[n - 1] = row
            if ends.matter and ends.all_after(row):
                break
        return [ends.cut(k, self.vocabulary.texts(ids[:n, k])) for k in range(B)]

    def _steps(self, prompt: Array, drawn: Array, choice: Choice) -> Iterator[Array]:
        """The ids ``[B]`` of each step, for random numbers ``drawn [N, B]``."""
        B = drawn.shape[1]
        stream = self._layers.stream(B)
        start = self._layers.stream()
        if len(prompt) > 1:
            self._outputs(start, prompt[:-1])
        stream.state = {name: np.repeat(state, B, axis=1) for name, state in start.state.items()}
        head = self._head.prepared(B)
        x = np.empty((B, self._layers.input_size), self._layers.dtype)
        scores = np.empty((B, self._head.outputs))
        blocked, table, step, project = self._blocked, self._table, stream.step, head.step
        ids = np.full(B, prompt[-1])
        for uniform in drawn:
            np.take(table, ids, axis=0, out=x, mode="clip")  # "raise" would copy
            step(x, head.x)
            project()
            np.add(head.out, blocked, out=scores)
            ids = choice.draw(scores, uniform)
            yield ids

    @cached_property
    def _blocked(self) -> Array:
        """``[V]``: minus infinity for ids that are never written, else 0."""
        blocked = np.zeros(len(self.vocabulary))
        blocked[: self.vocabulary.first] = -np.inf
        if self.ends:
            blocked[BOUNDARY] = 0
        return blocked

    def _allowed(self, scores: Array) -> Array:
        return scores + self._blocked

    @property
    def _unknown_share(self) -> float:
        """The logarithm of the number of characters that the probability of the unknown is divided among."""
        return log(_CODE_POINTS - len(self.vocabulary.entries)) if self.unit == CHARACTERS else 0.0

    def _with_start(self, text: str) -> Array:
        return np.concatenate([np.array([BOUNDARY]), self.vocabulary.ids(split(text, self.unit))])

    def _outputs(self, stream: Any, ids: Array) -> Array:
        """The outputs of the layers ``[N, H]``, from the state of a stream."""
        found: Array = stream.run(embedding(self._table, ids))
        return found

    @property
    def _block(self) -> int:
        """Tokens that are judged at once."""
        return max(1, min(_BLOCK, _MOST_NUMBERS // len(self.vocabulary)))

    def _judged(self, outputs: Array, ids: Array) -> tuple[Array, Array, Array]:
        """The logarithms of the probabilities of tokens, the most likely ones, and their probabilities.

        The last of ``outputs [N, H]`` may have no token in `ids`: then it is the boundary.
        """
        rows = np.arange(len(outputs))
        ids = np.concatenate([ids, _NOTHING])[: len(rows)]
        logs = log_softmax(self._head(outputs))
        best = self._allowed(logs).argmax(axis=1)
        return logs[rows, ids], best, np.exp(logs[rows, best])

    def __repr__(self) -> str:
        size = self._layers.output_size
        return f"Writer({self._layers.cell.name}, {size} units, {len(self.vocabulary.entries)} {self.unit})"


class _Ends:
    """Where the texts of a batch end: at a boundary, or before a string."""

    def __init__(self, writer: Writer, stops: tuple[str, ...], rows: int) -> None:
        self.writer, self.stops = writer, stops
        self.sought = ["".join(split(end, writer.unit)) for end in stops]
        self.matter = bool(stops) or writer.ends
        self.tails = [""] * rows
        self.ended = [False] * rows
        self.longest = max(map(len, self.sought), default=1)

    def all_after(self, ids: Array) -> bool:
        """Whether all texts have ended after these tokens."""
        for k, token in enumerate(ids.tolist()):
            if not self.ended[k]:
                self.tails[k] = self.tails[k][-self.longest :] + self.writer.tokens[token]
                self.ended[k] = token == BOUNDARY or any(end in self.tails[k] for end in self.sought)
        return all(self.ended)

    def cut(self, row: int, tokens: list[str]) -> str:
        """The text of a row up to its end."""
        if self.writer.ends and "" in tokens:
            tokens = tokens[: tokens.index("")]
        text = join(tokens, self.writer.unit)
        return text[: min((at for at in map(text.find, self.stops) if at >= 0), default=len(text))]
