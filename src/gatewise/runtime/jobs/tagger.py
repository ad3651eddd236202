"""Tagging without torch: sentences, and streams of words with bounded look-ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from gatewise.language.form_reading import FormError, fields, items, label, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine, Convolution
from gatewise.runtime.jobs.arithmetic import embedding, pooled, softmax
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.spans import Transitions, scheme_of
from gatewise.runtime.jobs.spelling import Spelling
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.layers_file import stored_layers
from gatewise.runtime.model_file import ModelFile

KEY, KEYS = "preparation", ("spelling", "columns", "look_ahead", "several")
SCHEMES = ("iob2", "iobes")
MOST_LOOK_AHEAD = 16  # words; a step reads so many words more
MOST_COLUMNS = 100
_MOST_STEPS = 4096  # steps of a padded batch
_MOST_REMEMBERED = 20_000  # words whose vectors are kept


@final
@dataclass(frozen=True)
class Column:
    """A column of tags.

    Attributes:
        name: its name.
        tags: the tags of training, frequent ones first.
        scheme: ``"iob2"`` or ``"iobes"`` if they mark spans that must be well formed; else None.
        temperature: what scores are divided by before they become probabilities.
    """

    name: str
    tags: tuple[str, ...]
    scheme: str | None = None
    temperature: float = 1.0

    @cached_property
    def transitions(self) -> Transitions | None:
        """Which tags may follow each other; None if all may."""
        return Transitions.of(self.tags, self.scheme) if self.scheme else None

    def to_dict(self) -> dict[str, Any]:
        """The column as JSON."""
        return {
            "name": self.name,
            "tags": list(self.tags),
            "scheme": self.scheme,
            "temperature": self.temperature,
        }

    @classmethod
    def from_dict(cls, value: Any) -> Column:
        """The column that `to_dict` described.

        Raises:
            FormError: `value` does not describe a column.
        """
        found = fields(value, "a column", ("name", "tags", "scheme", "temperature"))
        plain = {"entries": found["tags"], "padding": False, "unknown": False, "lower": False}
        tags = Vocabulary.from_dict(plain, "tags").entries
        scheme, temperature = found["scheme"], found["temperature"]
        if not tags:
            raise FormError("tags must have an item")
        if scheme is not None and (scheme not in SCHEMES or scheme_of(tags) is None):
            raise FormError(f"scheme must be null, or one that the tags follow. Got {shown(scheme)}")
        if not isinstance(temperature, float) or not 0.01 <= temperature <= 100:
            raise FormError(f"temperature must be a number from 0.01 to 100. Got {shown(temperature)}")
        return cls(label(found["name"], "name"), tags, scheme, temperature)


class Tagged(NamedTuple):
    """A word with its tags.

    Attributes:
        word: the word.
        tags: a tag for each column.
        probabilities: the probability of each of these tags.
    """

    word: str
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]

    def certain(self, least: float, otherwise: str = "_") -> tuple[str, ...]:
        """The tags, with `otherwise` in place of those whose probability is below `least`."""
        both = zip(self.tags, self.probabilities, strict=True)
        return tuple(tag if probability >= least else otherwise for tag, probability in both)


@final
@dataclass(frozen=True)
class TaggerWeights:
    """The weights of a tagger apart from its recurrent layers.

    ``E`` is the width of an embedding, ``D*P`` that of the layers' output, ``K`` the tags of a column.

    Attributes:
        words, characters: embeddings, ``[V, E]``.
        affixes: embeddings for each kind of affix, ``[V, E]``.
        convolution: weight ``[O, E, W]`` and bias ``[O]`` of the convolution over characters.
        heads: weight ``[K, D*P]`` and bias ``[K]`` for each column.
    """

    words: Array
    characters: Array
    affixes: tuple[Array, ...]
    convolution: tuple[Array, Array]
    heads: tuple[tuple[Array, Array], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Array], affixes: int, columns: int) -> TaggerWeights:
        """The weights by the names that `names` gives.

        Raises:
            FormError: a weight is missing, or of another number of axes.
        """

        def get(name: str, axes: int) -> Array:
            if name not in tensors:
                raise FormError(f"weights: {name!r} is missing")
            if tensors[name].ndim != axes or tensors[name].dtype != np.float32:
                raise FormError(f"weights: {name!r} must have {axes} axes of float32")
            return tensors[name]

        return cls(
            get("words.weight", 2),
            get("characters.weight", 2),
            tuple(get(f"affixes.{k}.weight", 2) for k in range(affixes)),
            (get("convolution.weight", 3), get("convolution.bias", 1)),
            tuple((get(f"heads.{k}.weight", 2), get(f"heads.{k}.bias", 1)) for k in range(columns)),
        )


@final
class Tagger:
    """A trained tagger. The tags and probabilities of a sentence have the same bits alone and in any batch.

    Args:
        spelling: the ids of words, characters and affixes.
        columns: the columns of tags.
        look_ahead: words that the network reads past a word before it is tagged; None if it reads the whole
            sentence, in both directions.
        layers: the recurrent layers.
        weights: all other weights.

    Raises:
        ValueError: the shapes of weights do not fit together.
    """

    TASK: ClassVar[str] = "tag"

    def __init__(
        self, spelling: Spelling, columns: Sequence[Column], look_ahead: int | None,
        layers: Layers, weights: TaggerWeights,
    ) -> None:  # fmt: skip
        self.spelling, self.columns, self.look_ahead = spelling, tuple(columns), look_ahead
        self._layers, self._weights = layers, weights
        _check_shapes(self)
        self._convolution = Convolution(*weights.convolution)
        self._heads = [Affine(*head) for head in weights.heads]
        self._vectors: dict[str, Array] = {}
        self._width = layers.input_size // ((look_ahead or 0) + 1)

    @classmethod
    def from_file(cls, file: ModelFile) -> Tagger:
        """The tagger in a model file.

        Raises:
            ValueError: the file does not describe a tagger.
        """
        stored = stored_layers(file)
        found = fields(file.header.get(KEY), KEY, KEYS)
        spelling = Spelling.from_dict(found["spelling"])
        columns = [Column.from_dict(c) for c in items(found["columns"], "columns", 1, MOST_COLUMNS)]
        ahead = found["look_ahead"]
        if ahead is not None and (type(ahead) is not int or not 0 <= ahead <= MOST_LOOK_AHEAD):
            raise FormError(f"look_ahead must be null, or from 0 to {MOST_LOOK_AHEAD}. Got {shown(ahead)}")
        weights = TaggerWeights.of(file.tensors, len(spelling.affixes), len(columns))
        return cls(spelling, columns, ahead, Layers(stored), weights)

    def with_temperatures(self, temperatures: Sequence[float]) -> Tagger:
        """The same tagger with a temperature for each column."""
        columns = [replace(c, temperature=t) for c, t in zip(self.columns, temperatures, strict=True)]
        return Tagger(self.spelling, columns, self.look_ahead, self._layers, self._weights)

    def predict(
        self, X: Iterable[Sequence[str]], *, least: float | None = None, otherwise: str = "_"
    ) -> list[list[tuple[str, ...]]]:
        """For each word of each sentence a tag of every column.

        With `least`, a tag whose probability is smaller is replaced by `otherwise`.
        """
        return [[word.certain(least or 0.0, otherwise) for word in sentence] for sentence in self.tagged(X)]

    def tagged(self, X: Iterable[Sequence[str]]) -> Iterator[list[Tagged]]:
        """Each sentence with the tags of its words and their probabilities."""
        sentences = sentences_of(X)
        for words, chances in zip(sentences, self.predict_proba(sentences), strict=True):
            yield self._decoded(words, chances)

    def predict_proba(self, X: Iterable[Sequence[str]]) -> list[tuple[Array, ...]]:
        """For each sentence of ``T`` words the probability of each of the K tags of every column, ``[T, K]``.

        The order of the tags is that of `columns`. The probabilities are of single words: the rules of spans
        are not used.
        """
        made: list[tuple[Array, ...]] = []
        for scores in self.scores(X):
            both = zip(scores, self.columns, strict=True)
            made.append(tuple(softmax(values, column.temperature) for values, column in both))
        return made

    def scores(self, X: Iterable[Sequence[str]]) -> list[tuple[Array, ...]]:
        """As `predict_proba`, before the softmax and the temperature; float32."""
        sentences = sentences_of(X)
        ahead = self.look_ahead or 0
        lengths = np.array([len(words) + ahead if words else 0 for words in sentences], np.int64)
        outputs = [np.zeros((0, self._layers.output_size), np.float32)] * len(sentences)
        for rows in _batches(lengths):
            x = self._inputs([sentences[row] for row in rows], lengths[rows])
            output = self._layers(x, lengths[rows]).output
            for k, row in enumerate(rows):
                outputs[row] = output[ahead : lengths[row], k]
        return self._headed(outputs)

    def _headed(self, outputs: Sequence[Array]) -> list[tuple[Array, ...]]:
        """The scores of every column for the outputs of each sentence."""
        if not outputs:
            return []
        flat, ends = np.concatenate(outputs), np.cumsum([len(output) for output in outputs])[:-1]
        return list(zip(*(np.split(head(flat), ends) for head in self._heads), strict=True))

    def stream(self, look_ahead: int | None = None) -> TagStream:
        """A stream that tags word by word.

        A tagger that was trained with a look-ahead carries its state: a word costs one step. A tagger that
        reads in both directions reads the sentence so far again for every word, and `look_ahead` says how
        many words after a word are waited for.

        Raises:
            ValueError: `look_ahead` differs from that of training, or is missing where it is needed.
        """
        if self.look_ahead is None and look_ahead is None:
            raise ValueError(
                "look_ahead must be given: this tagger reads whole sentences, in both directions"
            )
        if self.look_ahead is not None and look_ahead not in (None, self.look_ahead):
            raise ValueError(f"look_ahead must be {self.look_ahead}, as in training. Got {look_ahead}")
        ahead = self.look_ahead if look_ahead is None else look_ahead
        if type(ahead) is not int or not 0 <= ahead <= MOST_LOOK_AHEAD:
            raise ValueError(f"look_ahead must be from 0 to {MOST_LOOK_AHEAD}. Got {ahead!r}")
        return TagStream(self, ahead)

    def _decoded(self, words: Sequence[str], chances: Sequence[Array]) -> list[Tagged]:
        """Choose the tags of a sentence."""
        tags: list[tuple[str, ...]] = []
        likely: list[list[float]] = []
        for column, each in zip(self.columns, chances, strict=True):
            rules = column.transitions
            path = rules.best_path(logarithms(each)) if rules else each.argmax(axis=-1)
            tags.append(tuple(column.tags[tag] for tag in path))
            likely.append(each[np.arange(len(words)), path].tolist())
        by_word = zip(words, zip(*tags, strict=True), zip(*likely, strict=True), strict=True)
        return [Tagged(*each) for each in by_word]

    def _inputs(self, sentences: Sequence[Sequence[str]], lengths: Array) -> Array:
        """The inputs of the recurrent layers, ``[T, B, I]``."""
        remembered = self._remembered({word for words in sentences for word in words})
        ahead = self.look_ahead or 0
        x = np.zeros((int(lengths.max(initial=0)), len(sentences), ahead + 1, self._width), np.float32)
        for k, words in enumerate(sentences):
            if words:
                vectors = np.array([remembered[word] for word in words])
                for place in range(ahead + 1):  # the newest word stands last
                    x[ahead - place :][: len(words), k, place] = vectors
        return x.reshape(len(x), len(sentences), self._layers.input_size)

    def _remembered(self, words: set[str]) -> dict[str, Array]:
        """The vectors of words. Those of earlier calls are kept, so frequent words cost nothing."""
        vectors = self._vectors  # stays that of this call if another thread begins a new one
        if len(vectors) > _MOST_REMEMBERED:
            self._vectors = vectors = {}
        new = [word for word in words if word not in vectors]
        if new:
            vectors.update(zip(new, self.vectors(new), strict=True))
        return vectors

    def vectors(self, words: Sequence[str]) -> Array:
        """What the recurrent layers read of words, ``[U, I]``."""
        spelled, weights = self.spelling.ids(words), self._weights
        read = embedding(weights.characters, spelled.characters)
        shapes = pooled(self._convolution(read, spelled.lengths), spelled.lengths, "max")
        affixes = [
            embedding(table, ids) for table, ids in zip(weights.affixes, spelled.affixes.T, strict=True)
        ]
        parts = [embedding(weights.words, spelled.words), np.maximum(shapes, 0), *affixes]
        return np.concatenate(parts, axis=1)


@final
class TagStream:
    """Tags a stream of words; each word is tagged as soon as the words of the look-ahead have come.

    With a look-ahead of d words, the tag of a word comes when the d-th word after it is pushed, and the last
    d tags come at `end`. No tag depends on later words. The tags of spans follow the rules from
    left to right.
    """

    def __init__(self, model: Tagger, look_ahead: int) -> None:
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
        self._words.append(_text(word))
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


def description(spelling: Spelling, columns: Sequence[Column], look_ahead: int | None) -> dict[str, Any]:
    """The preparation of a tagger in a header, which `Tagger.from_file` reads, apart from ``several``."""
    described = [column.to_dict() for column in columns]
    return {"spelling": spelling.to_dict(), "columns": described, "look_ahead": look_ahead}


def _check_shapes(model: Tagger) -> None:
    """Raise a FormError for weights that do not fit together."""
    words, characters, affixes = model.spelling.sizes
    weights, layers = model._weights, model._layers
    tables = {"words": (weights.words, words), "characters": (weights.characters, characters)}
    tables |= {f"affixes.{k}": (w, n) for k, (w, n) in enumerate(zip(weights.affixes, affixes, strict=True))}
    for name, (table, rows) in tables.items():
        if len(table) != rows:
            raise FormError(f"weights: {name!r} must have {rows} rows. Got {len(table)}")
    weight, bias = weights.convolution
    if weight.shape[1] != weights.characters.shape[1] or bias.shape != weight.shape[:1] or 0 in weight.shape:
        raise FormError(f"weights: 'convolution' does not fit. Got {weight.shape}")
    width = weights.words.shape[1] + len(weight) + sum(table.shape[1] for table in weights.affixes)
    width *= (model.look_ahead or 0) + 1
    if layers.input_size != width or layers.dtype != np.float32:
        raise FormError(f"layers must have {width} inputs of float32. Got {layers.input_size}")
    if (layers.directions == 2) != (model.look_ahead is None):
        raise FormError("layers must be bidirectional if look_ahead is null, and only then")
    for column, (weight, bias) in zip(model.columns, weights.heads, strict=True):
        if weight.shape != (len(column.tags), layers.output_size) or bias.shape != weight.shape[:1]:
            raise FormError(f"weights: the head of {column.name!r} does not fit. Got {weight.shape}")


def sentences_of(X: Iterable[Sequence[str]]) -> list[list[str]]:
    """Sentences as lists of words.

    Raises:
        TypeError: a sentence is a text, or a word is not one.
    """
    if isinstance(X, str):
        raise TypeError("X must hold sentences, each a list of words. Got a text.")
    sentences = []
    for words in X:
        if isinstance(words, str):
            raise TypeError(f"X must hold sentences, each a list of words. Got the text {words!r:.60}.")
        sentences.append([_text(word) for word in words])
    return sentences


def _text(word: str) -> str:
    if not isinstance(word, str) or not word:
        raise TypeError(f"a word must be a text with a character. Got {word!r:.60}.")
    return str(word)


def _batches(lengths: Array) -> Iterator[Array]:
    """The rows of batches of similar length, each of a limited size."""
    order = np.argsort(lengths, kind="stable")[::-1]
    first = 0
    while first < len(order):
        rows = max(_MOST_STEPS // max(int(lengths[order[first]]), 1), 1)
        yield order[first : first + rows]
        first += rows


def logarithms(chances: Array) -> Array:
    """The logarithms of probabilities; finite also for 0, since a rule may allow only such tags."""
    found: Array = np.log(np.maximum(chances, np.finfo(np.float64).tiny))
    return found
