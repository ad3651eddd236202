"""Tagging without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from gatewise.language.form_reading import FormError
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine, Convolution
from gatewise.runtime.jobs.arithmetic import embedding, pooled, softmax
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.side_by_side import side_by_side
from gatewise.runtime.jobs.tag_stream import TagStream
from gatewise.runtime.jobs.tags import KEY, MOST_LOOK_AHEAD, Preparation, Tagged, sentences_of
from gatewise.runtime.layers_file import stored_layers
from gatewise.runtime.model_file import ModelFile

_MOST_STEPS = 4096  # steps of a padded batch
_MOST_REMEMBERED = 20_000  # words whose vectors are kept


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
        told: what a prediction needs besides the weights.
        layers: the recurrent layers.
        weights: all other weights.

    Attributes:
        spelling, columns, look_ahead, table: as in `Preparation`.
        threads: the threads on which batches are computed; 1, unless you set it. The bits are the same.

    Raises:
        ValueError: the shapes of weights do not fit together.
    """

    TASK: ClassVar[str] = "tag"
    threads: int = 1

    def __init__(self, told: Preparation, layers: Layers, weights: TaggerWeights) -> None:
        self.spelling, self.columns, self.look_ahead = told.spelling, told.columns, told.look_ahead
        self.table = told.table
        self._layers, self._weights = layers, weights
        _check_shapes(self)
        self._convolution = Convolution(*weights.convolution)
        self._heads = [Affine(*head) for head in weights.heads]
        self._vectors: dict[str, Array] = {}
        self._width = layers.input_size // ((told.look_ahead or 0) + 1)

    @classmethod
    def from_file(cls, file: ModelFile) -> Tagger:
        """The tagger in a model file.

        Raises:
            ValueError: the file does not describe a tagger.
        """
        told = Preparation.from_dict(file.header.get(KEY))
        weights = TaggerWeights.of(file.tensors, len(told.spelling.affixes), len(told.columns))
        return cls(told, Layers(stored_layers(file)), weights)

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

        def computed(rows: Array) -> Array:
            x = self._inputs([sentences[row] for row in rows], lengths[rows])
            return self._layers(x, lengths[rows]).output

        batches = list(_batches(lengths))
        for rows, output in zip(batches, side_by_side(computed, batches, self.threads), strict=True):
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
        """The vectors of words. Vectors of earlier calls are kept, so frequent words cost nothing."""
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
