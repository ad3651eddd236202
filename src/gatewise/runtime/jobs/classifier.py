"""A trained classifier of sequences, without torch: whole sequences, every beginning of one, or step by step.

Shapes: ``T`` steps, ``B`` rows, ``I`` inputs, ``F`` features of a sequence, ``K`` classes. Time first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from gatewise.language.form_reading import FormError, fields, items, number, real, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.affine import Affine, Convolution
from gatewise.runtime.jobs.arithmetic import embedding, sigmoid, softmax
from gatewise.runtime.jobs.classes import classes_of
from gatewise.runtime.jobs.deciding import Deciding, Decisions, first_sure
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.scaling import Scaling
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.layers_file import stored_layers
from gatewise.runtime.model_file import ModelFile, Tensors
from gatewise.runtime.stream import Stream

BATCH = 64  # most sequences in a batch
STEPS = 1 << 16  # most steps in a batch, padding included
WORDS, CHARACTERS = "words", "characters"
COLUMNS = ("id", "time", "text")  # of a table of sequences
UNITS = (WORDS, CHARACTERS)  # what a text is read by
_MOST_CONVOLUTIONS, _MOST_CHANNELS = 64, 1 << 20
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
_NORMALISED = 1e-5  # added to variances, as in torch's BatchNorm1d

Sequences: TypeAlias = Iterable[Any]  # arrays [T, C] of measurements (or [T], for one channel), or texts


def split_text(text: str, unit: str) -> list[str]:
    """The words and punctuation marks of a text, or its characters.

    >>> split_text("Don't panic!", "words")
    ["Don't", 'panic', '!']
    """
    return _WORD.findall(text) if unit == WORDS else list(text)


class Preparation(NamedTuple):
    """How sequences become inputs: measurements by `scaling`, texts by `unit` and `vocabulary`."""

    scaling: Scaling | None
    vocabulary: Vocabulary | None
    unit: str

    @property
    def is_text(self) -> bool:
        """Whether the sequences are texts."""
        return self.vocabulary is not None

    def __call__(self, sequence: Any) -> Array:
        """The inputs of one sequence: ``[T, I]`` of float32 for measurements, ``[T]`` ids for a text.

        Raises:
            TypeError: a text is expected and something else came, or the other way round.
            ValueError: the number of channels differs, or there is no step.
        """
        if self.vocabulary is not None:
            if not isinstance(sequence, str):
                raise TypeError(f"a sequence must be a text. Got {type(sequence).__name__}.")
            ids = self.vocabulary.ids(split_text(sequence, self.unit))
            return ids if len(ids) else np.array([self.vocabulary.unknown_id], np.int64)
        assert self.scaling is not None
        if isinstance(sequence, str):
            raise TypeError("a sequence must be an array of measurements. Got a text.")
        values = np.asarray(sequence, np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or not len(values):
            raise ValueError(f"a sequence must have shape [T, {self.scaling.inputs}]. Got {values.shape}.")
        return self.scaling(values)

    def to_dict(self) -> dict[str, Any]:
        """The preparation as JSON."""
        if self.vocabulary is not None:
            return {"unit": self.unit, "vocabulary": self.vocabulary.to_dict()}
        assert self.scaling is not None
        return {"scaling": self.scaling.to_dict()}

    @classmethod
    def from_dict(cls, value: Any) -> Preparation:
        """The preparation that `to_dict` described. Raises a FormError if it does not describe one."""
        if isinstance(value, dict) and "scaling" in value:
            found = fields(value, "preparation", ("scaling",))
            return cls(Scaling.from_dict(found["scaling"], "preparation: scaling"), None, "")
        found = fields(value, "preparation", ("unit", "vocabulary"))
        if found["unit"] not in UNITS:
            raise FormError(
                f"preparation: unit must be one of {', '.join(UNITS)}. Got {shown(found['unit'])}"
            )
        vocabulary = Vocabulary.from_dict(found["vocabulary"], "preparation: vocabulary")
        if vocabulary.unknown_id is None or not vocabulary.padding:
            raise FormError("preparation: vocabulary must have ids for padding and unknown words")
        return cls(None, vocabulary, found["unit"])


@final
class Classifier:
    """Classes of sequences, with their probabilities.

    The bits of an answer do not depend on the batch, and are the same for a whole sequence and for a stream
    that has read it step by step.

    Attributes:
        classes: ``[K]``, the classes in the order of the columns of probabilities.
        several: whether a sequence has any number of labels, each with a probability of its own.
        preparation: how sequences become inputs.
        channels: the names of the channels; empty for texts.
        columns: the columns ``id``, ``time`` and ``text`` of the table of training, None where it had none.
        deciding: what early decisions cost; None if the network reads both ways, or for several labels.
    """

    TASK: ClassVar[str] = "classify"

    def __init__(self, told: dict[str, Any], layers: Layers, tensors: Tensors) -> None:
        self.preparation = Preparation.from_dict(told["inputs"])
        self.classes, self.several = classes_of(told["classes"])
        self.temperature = real(told["temperature"], "temperature")
        if not 1e-6 <= self.temperature <= 1e6:
            raise FormError(f"temperature must be from 1e-6 to 1e6. Got {self.temperature}")
        deciding = told["deciding"]
        self.deciding = None if deciding is None else Deciding.from_dict(deciding)
        self.channels = tuple(_texts(told["channels"], "channels"))
        self.columns = columns_of(told["columns"])
        count = number(told["convolutions"], "convolutions", 0, _MOST_CONVOLUTIONS)
        if f"convolutions.{count}.convolution.weight" in tensors:
            raise FormError(f"convolutions must count all convolutions. Got {count}")
        self._layers, self._embedding = layers, tensors.get("embedding.weight")
        self._convolutions = [_convolution(tensors, k, not self._is_bidirectional) for k in range(count)]
        self._head = Affine(tensors["head.weight"], tensors["head.bias"])
        self._check()

    @classmethod
    def from_file(cls, file: ModelFile) -> Classifier:
        """The classifier that a file holds.

        Raises:
            ValueError: the file does not describe one.
        """
        return cls(file.header["preparation"], Layers(stored_layers(file)), file.tensors)

    def predict(self, sequences: Sequences) -> Array:
        """The most probable class of each sequence, ``[N]``.

        With several labels instead: whether each label has a probability above one half, ``[N, K]`` of 0
        and 1.
        """
        probabilities = self.predict_proba(sequences)
        if self.several:
            return (probabilities > 0.5).astype(np.int64)
        labels: Array = self.classes[probabilities.argmax(axis=1)]
        return labels

    def predict_proba(self, sequences: Sequences) -> Array:
        """The calibrated probability of each class for each sequence, ``[N, K]`` of float64."""
        return self.probabilities(self.logits(sequences))

    def logits(self, sequences: Sequences) -> Array:
        """The network's logits of whole sequences, ``[N, K]``, before calibration."""
        inputs = [self.preparation(sequence) for sequence in sequences]
        logits = np.empty((len(inputs), len(self.classes)), np.float32)
        for rows in _batches([len(x) for x in inputs]):
            logits[rows] = self._logits(*self._padded([inputs[row] for row in rows]))
        return logits

    def probabilities(self, logits: Array) -> Array:
        """The calibrated probabilities ``[..., K]`` of logits."""
        calibrated = np.asarray(logits, np.float64) / self.temperature
        return sigmoid(calibrated) if self.several else softmax(calibrated)

    def running_proba(self, sequences: Sequences) -> list[Array]:
        """The probabilities after each step of each sequence, a list of ``[T, K]``.

        Raises:
            ValueError: the network reads both ways.
        """
        self._check_forward()
        inputs = [self.preparation(sequence) for sequence in sequences]
        found: list[Array] = [np.empty(0)] * len(inputs)
        for rows in _batches([len(x) for x in inputs]):
            x, lengths = self._padded([inputs[row] for row in rows])
            probabilities = self.probabilities(self._running(x, lengths))
            for place, row in enumerate(rows):
                found[row] = probabilities[: lengths[place], place]
        return found

    def decide(
        self, sequences: Sequences, accuracy: float | None = None, threshold: float | None = None
    ) -> Decisions:
        """Decide about each sequence as early as a probability allows.

        Args:
            sequences: the sequences.
            accuracy: the wanted accuracy, from which the threshold follows that kept it on the validation
                sequences; by default the accuracy at their end.
            threshold: the probability from which a decision is made, in place of `accuracy`.

        Raises:
            ValueError: the network reads both ways, a sequence can have several labels, or the accuracy was
                not reached.
        """
        sure = self.decision_threshold(accuracy) if threshold is None else threshold
        running = self.running_proba(sequences)
        steps = np.array([first_sure(probabilities, sure) for probabilities in running], np.int64)
        at = np.array([p[t] for p, t in zip(running, steps, strict=True)]).reshape(-1, len(self.classes))
        lengths = np.array([len(probabilities) for probabilities in running])
        return Decisions(self.classes[at.argmax(1)], steps + 1, at.max(1), (steps + 1) / lengths, sure)

    def decision_threshold(self, accuracy: float | None = None) -> float:
        """The threshold of `decide` for a wanted accuracy. Raises as `decide`."""
        if self.several:
            raise ValueError("early decisions need one label a sequence, not several")
        self._check_forward()
        if self.deciding is None:
            raise ValueError("early decisions need a threshold: training had no validation sequences")
        return self.deciding.threshold(accuracy)

    def stream(self) -> ClassStream:
        """A sequence that is read step by step.

        Raises:
            ValueError: the network reads both ways.
        """
        self._check_forward()
        return ClassStream(self)

    @property
    def _is_bidirectional(self) -> bool:
        return bool(self._layers.directions > 1)

    def _check_forward(self) -> None:
        if self._is_bidirectional:
            raise ValueError(
                "early decisions need bidirectional=False: this network reads a sequence both ways"
            )

    def _check(self) -> None:
        """Check that the parts fit together."""
        prepared = self.preparation
        if prepared.vocabulary is not None:
            if self._embedding is None or self._embedding.ndim != 2:
                raise FormError("embedding.weight must be a matrix")
            if len(self._embedding) != len(prepared.vocabulary):
                raise FormError("embedding.weight must have a row for each entry of the vocabulary")
            width = self._embedding.shape[1]
        else:
            assert prepared.scaling is not None
            width = prepared.scaling.outputs
        if width != self._layers.input_size:
            raise FormError(f"the layers read {self._layers.input_size} inputs, not {width}")
        features = 3 * self._layers.output_size
        for convolution in self._convolutions:
            if convolution.inputs != width:
                raise FormError(f"a convolution reads {convolution.inputs} channels, not {width}")
            width = convolution.outputs
        features += 2 * width if self._convolutions else 0
        if (self._head.inputs, self._head.outputs) != (features, len(self.classes)):
            raise FormError(f"head.weight must have shape ({len(self.classes)}, {features})")
        if self._layers.dtype != np.float32:
            raise FormError(f"the layers must be float32. Got {self._layers.dtype}")

    def _padded(self, inputs: list[Array]) -> tuple[Array, Array]:
        """Padded inputs of the layers ``[T, B, I]``, and lengths ``[B]``."""
        lengths = np.array([len(x) for x in inputs], np.int64)
        padded = np.zeros((int(lengths.max()), len(inputs), *inputs[0].shape[1:]), inputs[0].dtype)
        for row, x in enumerate(inputs):
            padded[: len(x), row] = x
        return (padded if self._embedding is None else embedding(self._embedding, padded)), lengths

    def _logits(self, x: Array, lengths: Array) -> Array:
        """The logits at the end of each row, ``[B, K]``."""
        end = lengths - 1, np.arange(len(lengths))
        outputs = self._layers(x, lengths)
        features = [outputs.last, _mean(outputs.output, lengths), _most(outputs.output)[end]]
        if self._convolutions:
            found = self._convolved(x, lengths)
            features += [_mean(found, lengths), _most(found)[end]]
        return self._head(np.concatenate(features, axis=-1))

    def _running(self, x: Array, lengths: Array) -> Array:
        """The logits after each step, ``[T, B, K]``; without a meaning past an end."""
        output = self._layers(x, lengths).output
        features = [output, _means(output), _most(output)]
        if self._convolutions:
            found = self._convolved(x, lengths)
            features += [_means(found), _most(found)]
        return self._head(np.concatenate(features, axis=-1))

    def _convolved(self, x: Array, lengths: Array) -> Array:
        for convolution in self._convolutions:
            x = np.maximum(convolution(x, lengths), 0)
        return x


@final
class ClassStream:
    """The probabilities of the classes while a sequence arrives. `Classifier.stream` makes it.

    Example:
        >>> stream = classifier.stream()  # doctest: +SKIP
        >>> for x_t in sensor:  # doctest: +SKIP
        ...     if stream.step(x_t).max() > 0.95:
        ...         break
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._stream: Stream = classifier._layers.stream()
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        self._stream.reset()
        self.steps = 0
        self._pools = [_Pool(), _Pool()]
        self._seen: list[Array] = [
            np.zeros((c.width - 1, c.inputs), np.float32) for c in self._classifier._convolutions
        ]

    def step(self, value: Any) -> Array:
        """Read one step: measurements ``[C]``, or a word or character. Returns the probabilities ``[K]``."""
        classifier = self._classifier
        prepared = classifier.preparation
        if prepared.vocabulary is not None:
            inputs = prepared.vocabulary.ids([value])
            assert classifier._embedding is not None
            x = embedding(classifier._embedding, inputs)[0]
        else:
            x = prepared(np.atleast_1d(np.asarray(value, np.float64))[None])[0]
        self.steps += 1
        output = self._stream.step(x)
        features = [output, *self._pools[0].add(output)]
        if self._seen:
            features += self._pools[1].add(self._convolved(x))
        return classifier.probabilities(classifier._head(np.concatenate(features)))

    def _convolved(self, x: Array) -> Array:
        for k, convolution in enumerate(self._classifier._convolutions):
            window = np.concatenate([self._seen[k], x[None]])
            self._seen[k] = window[1:]
            x = np.maximum(convolution.at(window), 0)
        return x


class _Pool:
    """The mean and the maximum of all outputs so far."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0.0
        self.most: Any = -np.inf

    def add(self, output: Array) -> list[Array]:
        self.count += 1
        self.total = self.total + output.astype(np.float64)
        self.most = np.maximum(self.most, output)
        return [(self.total / self.count).astype(np.float32), self.most.astype(np.float32)]


def _means(x: Array) -> Array:
    """The mean of each beginning of ``x [T, B, C]``, summed in order, in float64."""
    sums = np.add.accumulate(x, axis=0, dtype=np.float64)
    return (sums / np.arange(1, len(x) + 1)[:, None, None]).astype(np.float32)


def _mean(x: Array, lengths: Array) -> Array:
    """The mean of each row, ``[B, C]``, with the bits of `_means`."""
    mean: Array = _means(x)[lengths - 1, np.arange(len(lengths))]
    return mean


def _most(x: Array) -> Array:
    """The maximum of each beginning, ``[T, B, C]``."""
    most: Array = np.maximum.accumulate(x, axis=0)
    return most


def _convolution(tensors: Tensors, k: int, causal: bool) -> Convolution:
    """A convolution of a file, with the batch normalisation that follows it folded into its weights."""
    name = f"convolutions.{k}."
    weight, bias = (tensors[f"{name}convolution.{part}"].astype(np.float64) for part in ("weight", "bias"))
    factor, shift, mean, variance = (
        tensors[f"{name}normalisation.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = factor / np.sqrt(variance + _NORMALISED)
    folded = weight * scale[:, None, None]
    return Convolution(
        folded.astype(np.float32), ((bias - mean) * scale + shift).astype(np.float32), causal=causal
    )


def columns_of(value: Any) -> dict[str, str | None]:
    """The columns in a file. Raises a FormError if `value` does not describe them."""
    found = fields(value, "columns", COLUMNS)
    given = {name: column for name, column in found.items() if column is not None}
    _texts(list(given.values()), "columns")
    return {name: given.get(name) for name in COLUMNS}


def _texts(value: Any, what: str) -> list[str]:
    for entry in items(value, what, 0, _MOST_CHANNELS):
        if not isinstance(entry, str):
            raise FormError(f"{what} must be texts. Got {shown(entry)}")
        entry.encode("utf-8")  # raises a ValueError for a name that cannot be encoded
    return list(value)


def _batches(lengths: Sequence[int]) -> list[NDArray[np.int64]]:
    """The rows of each batch: sequences of similar length together."""
    order = np.argsort(lengths, kind="stable")
    batches, some = [], 0
    while some < len(order):
        stop = min(some + BATCH, len(order))
        while stop - some > 1 and lengths[order[stop - 1]] * (stop - some) > STEPS:
            stop = some + (stop - some) // 2
        batches.append(order[some:stop])
        some = stop
    return batches
