"""A trained classifier of sequences, without torch: whole sequences, every beginning of one, or step by step.

Shapes: ``T`` steps, ``B`` rows, ``I`` inputs, ``F`` features of a sequence, ``K`` classes. Time first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from gatewise.language.form import same
from gatewise.language.form_reading import FormError, fields, items, number, real, shown
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.arithmetic import embedding, sigmoid, softmax
from gatewise.runtime.jobs.class_network import ClassNetwork
from gatewise.runtime.jobs.classes import classes_of
from gatewise.runtime.jobs.deciding import Deciding, Decisions, first_sure
from gatewise.runtime.jobs.layers import Layers
from gatewise.runtime.jobs.preparation import Preparation
from gatewise.runtime.jobs.side_by_side import side_by_side
from gatewise.runtime.layers_file import stored_layers, stored_stacks
from gatewise.runtime.model_file import ModelFile, Tensors

BATCH = 64  # most sequences in a batch
STEPS = 1 << 16  # most steps in a batch, padding included
COLUMNS = ("id", "time", "text")  # of a table of sequences
_MOST_CONVOLUTIONS, _MOST_CHANNELS = 64, 1 << 20

Sequences: TypeAlias = Iterable[Any]  # arrays [T, C] of measurements (or [T], for one channel), or texts


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
        threads: the threads on which batches are computed; 1, unless you set it. The bits are the same.
    """

    TASK: ClassVar[str] = "classify"
    threads: int = 1

    def __init__(self, told: dict[str, Any], layers: Sequence[Layers], tensors: Tensors) -> None:
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
        self._embedding = tensors.get("embedding.weight")
        if f"others.{len(layers) - 1}.head.weight" in tensors:
            raise FormError(
                f"stacks must have the layers of all members. Got {len(layers) - 1} besides the main ones"
            )
        prefixes = ("", *(f"others.{k}." for k in range(len(layers) - 1)))
        self._networks = [
            ClassNetwork(some, tensors, prefix, count) for some, prefix in zip(layers, prefixes, strict=True)
        ]
        self._check()

    @classmethod
    def from_file(cls, file: ModelFile) -> Classifier:
        """The classifier that a file holds.

        Raises:
            ValueError: the file does not describe one.
        """
        main, stacks = stored_layers(file), stored_stacks(file)
        if {*stacks} != {f"member_{k + 2}" for k in range(len(stacks))}:
            raise FormError(f"stacks must be member_2 and so on. Got {shown([*stacks])}")
        others = [stacks[f"member_{k + 2}"] for k in range(len(stacks))]
        for stored in others:
            if stored.options != main.options or not same(stored.cell, main.cell):
                raise FormError("all members must have the same layers")
        layers = [Layers(stored) for stored in (main, *others)]
        return cls(file.header["preparation"], layers, file.tensors)

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

        def computed(rows: Array) -> Array:
            x, lengths = self._padded([inputs[row] for row in rows])
            return _mean([network.whole(x, lengths) for network in self._networks])

        batches = _batches([len(x) for x in inputs])
        for rows, found in zip(batches, side_by_side(computed, batches, self.threads), strict=True):
            logits[rows] = found
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

        def computed(rows: Array) -> Array:
            x, lengths = self._padded([inputs[row] for row in rows])
            return self.probabilities(_mean([network.running(x, lengths) for network in self._networks]))

        batches = _batches([len(x) for x in inputs])
        for rows, made in zip(batches, side_by_side(computed, batches, self.threads), strict=True):
            for place, row in enumerate(rows):
                found[row] = made[: len(inputs[row]), place]
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
        return bool(self._networks[0].layers.directions > 1)

    def _check_forward(self) -> None:
        if self._is_bidirectional:
            raise ValueError(
                "early decisions need bidirectional=False: this network reads a sequence both ways"
            )

    def _check(self) -> None:
        """Check that the parts fit together."""
        prepared = self.preparation
        channels = 0 if prepared.scaling is None else prepared.scaling.inputs
        if len(self.channels) != channels:
            raise FormError(f"channels must be {channels} names. Got {len(self.channels)}")
        if prepared.vocabulary is not None:
            if self._embedding is None or self._embedding.ndim != 2:
                raise FormError("embedding.weight must be a matrix")
            if len(self._embedding) != len(prepared.vocabulary):
                raise FormError("embedding.weight must have a row for each entry of the vocabulary")
            width = self._embedding.shape[1]
        else:
            assert prepared.scaling is not None
            width = prepared.scaling.outputs
        for network in self._networks:
            network.check(width, len(self.classes))

    def _padded(self, inputs: list[Array]) -> tuple[Array, Array]:
        """Padded inputs of the layers ``[T, B, I]``, and lengths ``[B]``."""
        lengths = np.array([len(x) for x in inputs], np.int64)
        padded = np.zeros((int(lengths.max()), len(inputs), *inputs[0].shape[1:]), inputs[0].dtype)
        for row, x in enumerate(inputs):
            padded[: len(x), row] = x
        return (padded if self._embedding is None else embedding(self._embedding, padded)), lengths


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
        self._streams = [network.stream() for network in classifier._networks]
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        for stream in self._streams:
            stream.reset()
        self.steps = 0
        self._last: Array | None = None

    def step(self, value: Any) -> Array:
        """Read one step: measurements ``[C]``, or a word or character. Returns the probabilities ``[K]``.

        After the most steps that the classifier reads, they stay as they are.
        """
        classifier = self._classifier
        prepared = classifier.preparation
        if self._last is not None and self.steps == prepared.longest:
            return self._last.copy()
        if prepared.vocabulary is not None:
            inputs = prepared.vocabulary.ids([value])
            assert classifier._embedding is not None
            x = embedding(classifier._embedding, inputs)[0]
        else:
            x = prepared(np.atleast_1d(np.asarray(value, np.float64))[None])[0]
        self.steps += 1
        logits = _mean([stream.step(x) for stream in self._streams])
        self._last = classifier.probabilities(logits)
        return self._last.copy()


def _mean(logits: Sequence[Array]) -> Array:
    """The mean of the logits of several networks, summed in order."""
    total = logits[0]
    for more in logits[1:]:
        total = total + more
    return total / np.float32(len(logits)) if len(logits) > 1 else total


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
