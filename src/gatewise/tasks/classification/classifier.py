"""`Classifier`: fit, predict, decide early, explain; with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from gatewise.language import Cell
from gatewise.language.form_reading import items, label, number, real
from gatewise.runtime.jobs.arithmetic import sigmoid, softmax
from gatewise.runtime.jobs.classifier import COLUMNS, columns_of
from gatewise.runtime.jobs.classifier import Classifier as Model
from gatewise.runtime.jobs.deciding import Deciding, Decisions
from gatewise.runtime.jobs.preparation import UNITS, Preparation
from gatewise.tasks.classification.calibration import temperature
from gatewise.tasks.classification.dividing import split
from gatewise.tasks.classification.evaluation import Evaluation
from gatewise.tasks.classification.explanation import (
    Explanation,
    compared,
    explain,
    explanations,
    nothing,
)
from gatewise.tasks.classification.labels import Labels, is_lists
from gatewise.tasks.classification.losses import error, loss, with_noise, with_unknown
from gatewise.tasks.classification.network import Architecture, Batch, ClassificationNetwork
from gatewise.tasks.classification.preparing import (
    AUTO,
    Prepared,
    batch_size,
    check_lengths,
    padded,
    prepare,
)
from gatewise.tasks.shared import saving
from gatewise.tasks.shared.batches import LengthBatches
from gatewise.tasks.shared.estimator import JobEstimator, check_number, check_whole
from gatewise.tasks.shared.sequences import as_sequences

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch, Job, Summed

Array = NDArray[Any]
EMBEDDING = 64  # width of the vector of a word
MOST = 1 << 20  # channels in a file
FOUND = ("history_", "epochs_", "best_epoch_", "validation_error_")  # of the training with validation
FEW = 1000  # sequences: too few to choose an epoch, or to do without a fifth of them
NOISE, DROPPED = 0.3, 0.1  # the noise of measurements; the share of words that training replaces


class Classifier(ClassifierMixin, JobEstimator):  # type: ignore[misc]
    """Classifies sequences of unequal length: measurements of several channels, or texts.

    A recurrent network reads each sequence, by default beside a convolutional one. It trains on one part of
    the sequences; a validation part, of each class the same share, calibrates the probabilities and measures
    what early decisions cost. Of many sequences, it also chooses the best epoch; with few, it would do so by
    chance, and the network is trained once more, on all sequences.

    Args:
        cell: ``"lstm"``, ``"gru"``, ``"rnn"``, ... (the names in `gatewise.cells`), or any `gatewise.Cell`.
        hidden_size: hidden units in each layer and direction.
        num_layers: recurrent layers.
        bidirectional: whether the layers also read backwards, and convolutions see the steps around, not only
            those before. The network cannot decide early then.
        convolution: channels of the first and the last of three convolutions beside the recurrent layers; the
            one between has twice as many. True for `hidden_size`, False for no convolutions.
        members: networks that are trained at once, from different initial weights, and whose logits are
            averaged. The average depends less on the seed; five take five times as long.
        unit: how texts are read: ``"words"``, ``"characters"``, or ``"auto"``.
        longest: steps (words, characters) of a sequence that are read, from its beginning; None for all.
        class_weight: None, ``"balanced"``, or the weight of each class, as in scikit-learn.
        noise: for measurements, the standard deviation of the noise that training adds to them once they are
            scaled; for texts, the share of words that training replaces by an unknown one. By default 0.3 and
            0.1.
        dropout: share of the features that is dropped in training.
        learning_rate: the largest learning rate of the one-cycle schedule.
        batch_size: sequences in a batch; fewer if an epoch would have fewer than 8 batches, but at least 4.
        max_epochs: the most epochs of training.
        patience: epochs without a better validation error after which training stops.
        validation: share of the sequences in the validation part.
        refit: whether training takes all epochs, and is then repeated on all sequences; ``"auto"`` if there
            are fewer than 1,000. Otherwise the best epoch of the first training is kept.
        seed: the random seed. The same seed gives the same classifier on the same machine.
        trainer: options for Lightning's `Trainer`; None for none.

    Attributes:
        classes_: the classes. For several labels each, these are the labels.
        model_: the trained classifier without torch, a `gatewise.runtime.jobs.classifier.Classifier`.
        network_: the trained network.
        history_: one entry an epoch; best_epoch_ is the one whose weights are kept.
        validation_error_: log loss on the validation part, calibrated.
        temperature_: what logits are divided by, so that probabilities are calibrated.
        checked_: the number of validation sequences; not part of a file.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = [rng.normal(size=(rng.integers(5, 9), 2)).cumsum(0) for _ in range(60)]
        >>> y = ["up" if x[-1, 0] > 0 else "down" for x in X]
        >>> classifier = Classifier(hidden_size=8, max_epochs=15).fit(X, y)
        >>> classifier.score(X, y) > 0.8
        True
    """

    TASK = "classify"
    MODEL = Model
    RECIPE: ClassVar[Mapping[str, Any]] = {"weight_decay": 1e-2}
    LEAST: ClassVar[Mapping[str, int]] = {**JobEstimator.LEAST, "members": 1}
    UNSAVED = ("trainer", "class_weight")
    model_: Model

    def __init__(
        self,
        *,
        cell: str | Cell = "gru",
        hidden_size: int = 32,
        num_layers: int = 1,
        bidirectional: bool = False,
        convolution: bool | int = True,
        members: int = 1,
        unit: str = AUTO,
        longest: int | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        noise: float | None = None,
        dropout: float = 0.3,
        learning_rate: float = 5e-3,
        batch_size: int = 32,
        max_epochs: int = 60,
        patience: int = 20,
        validation: float = 0.2,
        refit: bool | str = AUTO,
        seed: int = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.convolution = convolution
        self.members = members
        self.unit = unit
        self.longest = longest
        self.class_weight = class_weight
        self.noise = noise
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.refit = refit
        self.seed = seed
        self.trainer = trainer

    def check_parameters(self) -> None:
        """Raise a ValueError for the first argument that is out of range."""
        super().check_parameters()
        check_number("validation", self.validation, 0, 1)
        if self.noise is not None:
            check_number("noise", self.noise, 0, np.inf)
        if self.unit not in (AUTO, *UNITS):
            raise ValueError(f"unit must be one of {', '.join((AUTO, *UNITS))}. Got {self.unit!r}")
        if self.longest is not None:
            check_whole("longest", self.longest, 1)
        if not isinstance(self.bidirectional, bool | np.bool_):
            raise ValueError(f"bidirectional must be True or False. Got {self.bidirectional!r}")
        if not isinstance(self.convolution, bool | np.bool_):
            check_whole("convolution", self.convolution, 1)
        if self.refit != AUTO and not isinstance(self.refit, bool | np.bool_):
            raise ValueError(f"refit must be True, False or 'auto'. Got {self.refit!r}")
        weight = self.class_weight
        if weight is not None and weight != "balanced" and not isinstance(weight, Mapping):
            raise ValueError(f"class_weight must be None, 'balanced' or a mapping. Got {weight!r}")

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Classifier:
        """Train on sequences and their classes.

        Args:
            X: arrays ``[T, C]`` of unequal length, an array ``[N, T, C]`` or ``[N, T]``, texts, or a frame
                with a column ``id``. NaN is a missing value.
            y: N classes; or N lists of labels, or an indicator matrix ``[N, K]``, for several labels each.
            on_epoch: called after each epoch.
            checkpoint: a file in which training is saved after each epoch, and from which it continues.

        Raises:
            ValueError: `X`, `y` or a parameter cannot be used.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch. A later one keeps the best weights.
        """
        self.check_parameters()
        sequences = as_sequences(X, estimator=self, reset=True)
        self.as_lists_ = is_lists(y)
        self.labels_ = Labels.fit(y)
        self.classes_ = self.labels_.classes
        targets = self.labels_.encoded(y)
        check_consistent_length(sequences.values, targets)
        rows, checked = split(targets, self.validation, self.seed)
        self.checked_ = len(checked)
        values = sequences.values
        longest = None if self.longest is None else int(self.longest)
        self.preparation_ = prepare([values[row] for row in rows], self.unit, longest)
        inputs = [self.preparation_(value) for value in values]
        check_lengths(inputs, self.preparation_.unit)
        weights = self.labels_.weights(self.class_weight, targets[rows])
        prepared = Prepared(inputs, targets, weights)
        job = self._job(prepared.part(rows), prepared.part(checked))
        self.majority_ = None if self.labels_.several else int(np.bincount(targets[rows]).argmax())
        self.temperature_ = 1.0
        self.deciding_: Deciding | None = None
        refit = len(values) < FEW if self.refit == AUTO else self.refit
        schedule = {"keep": "last", "patience": self.max_epochs} if refit else {}
        self._train(job, on_epoch, checkpoint, **schedule)
        self._calibrate([values[row] for row in checked], targets[checked])
        if refit and not self.interrupted_:
            self._train_again(self._job(prepared, prepared.part(checked)), checkpoint, schedule)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        tags.classifier_tags.multi_label = True
        return tags

    def predict(self, X: Any) -> Any:
        """The class of each sequence ``[N]``; for several labels, N tuples or a matrix, as `y` was in `fit`.

        Raises:
            ValueError: `X` is not like the `X` of `fit`.
        """
        values = self._read(X)
        found = self.model_.predict(values)
        if not (self.labels_.several and self.as_lists_):
            return found
        return [tuple(self.classes_[row == 1].tolist()) for row in found]

    def predict_proba(self, X: Any) -> Array:
        """The calibrated probability of each class, ``[N, K]``. Raises as `predict`."""
        values = self._read(X)
        return self.model_.predict_proba(values)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy: the share of sequences whose class (all of whose labels) is right."""
        truth, found = (self.labels_.encoded(labels) for labels in (y, self.predict(X)))
        return float(accuracy_score(truth, found, sample_weight=sample_weight))

    def running_proba(self, X: Any) -> list[Array]:
        """The probabilities after each step of each sequence, a list of ``[T, K]``.

        Raises:
            ValueError: as in `predict`, or the network reads both ways.
        """
        values = self._read(X)
        return self.model_.running_proba(values)

    def predict_early(
        self, X: Any, accuracy: float | None = None, threshold: float | None = None
    ) -> Decisions:
        """Decide about each sequence as early as possible, with the network as it is.

        Args:
            X: as in `predict`.
            accuracy: the wanted accuracy, from which a threshold follows that kept it on the validation part;
                by default the accuracy at the end of sequences.
            threshold: the probability from which a decision is made, in place of `accuracy`.

        Raises:
            ValueError: as in `running_proba`; there are several labels; or `accuracy` was not reached in
                validation.
        """
        values = self._read(X)
        return self.model_.decide(values, accuracy, threshold)

    def explain(self, X: Any, label: Any = None, against: Any = None) -> list[Explanation]:
        """Which steps decided: what each adds to the difference between the logits of two classes.

        Args:
            X: as in `predict`.
            label: the class to explain, by default the most probable one of each sequence.
            against: the class to compare with, by default the most probable other one.

        Raises:
            ValueError: as in `predict`, or a class is unknown.
        """
        values = self._read(X)
        inputs, lengths = padded([self.preparation_(value) for value in values])
        one, other = compared(self.model_.logits(values), self.classes_, label, against)
        network = self._trained()
        rows = torch.from_numpy(one), torch.from_numpy(other)
        found = explain(network, inputs, lengths, rows, nothing(network, self.preparation_))
        words = None
        if self.preparation_.is_text:
            words = [self.preparation_.units(value) or [""] for value in values]
        labels, rivals = self.classes_[one].tolist(), self.classes_[other].tolist()
        channels = 1 if self.preparation_.scaling is None else self.preparation_.scaling.inputs
        return explanations(found, lengths.tolist(), labels, rivals, words, channels)

    def note_columns(self, columns: dict[str, str | None]) -> None:
        """Store the columns (``id``, ``time``, ``text``) of the training table, to read others alike."""
        self.columns_ = columns_of(columns)
        self._told()

    def evaluate(self, X: Any, y: Any, accuracy: float | None = None) -> Evaluation:
        """Test the classifier on sequences with known classes; `accuracy` is that of `predict_early`.

        An accuracy that whole validation sequences do not reach is lowered to theirs.

        Raises:
            ValueError: as in `predict`, or a class is unknown.
        """
        values, truth = self._read(X), self.labels_.encoded(y)
        logits = self.model_.logits(values)
        plain = sigmoid(logits) if self.labels_.several else softmax(logits)
        early = None
        if self.model_.deciding is not None:
            wanted = None if accuracy is None else min(accuracy, self.model_.deciding.whole)
            early = self.model_.decide(values, wanted)
        probabilities = self.model_.probabilities(logits)
        return Evaluation(self.labels_, truth, probabilities, plain, self.majority_, early)

    def scaled(self, sequence: Any) -> Array:
        """The measurements ``[T, C]`` of a sequence as the network sees them, missing ones NaN."""
        assert self.preparation_.scaling is not None
        values = np.asarray(sequence, np.float64)[: self.preparation_.longest]
        inputs: Array = self.preparation_(values)[:, : values.shape[1]]
        return np.where(np.isnan(values), np.nan, inputs)

    def build(self) -> ClassificationNetwork:
        """Build the untrained network for the parameters and the preparation."""
        vocabulary, scaling = self.preparation_.vocabulary, self.preparation_.scaling
        return ClassificationNetwork(
            Architecture(
                self.equations,
                len(vocabulary) if vocabulary is not None else scaling.outputs if scaling else 0,
                len(self.classes_),
                int(self.hidden_size),
                int(self.num_layers),
                bool(self.bidirectional),
                widths_of(self),
                EMBEDDING if vocabulary is not None else 0,
                self.dropout,
                int(self.members),
            )
        )

    def _job(self, training: Prepared, checks: Prepared) -> Job[Batch]:
        from gatewise.tasks.shared.training import Job  # Lightning takes two seconds to import

        size = batch_size(training.lengths, self.batch_size)
        batches = LengthBatches(training.lengths, size, self.seed, training.batch)
        return Job(self.build, batches, checks.batches, self._loss, error)

    def _train_again(self, job: Job[Batch], checkpoint: Path | None, schedule: Mapping[str, Any]) -> None:
        """Train on all sequences, by the same schedule. Ctrl-C keeps the network as it is."""
        found = {name: getattr(self, name) for name in FOUND}
        file, network = self.file_, self.network_
        again = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-all")
        try:
            self._train(job, None, again, **schedule)
        except KeyboardInterrupt:
            self.interrupted_ = True
        if self.interrupted_:
            self.adopt(file, network)
        for name, value in found.items():
            setattr(self, name, value)

    def _loss(self, network: ClassificationNetwork, batch: Batch) -> Summed:
        """The loss to train on: noise on the inputs, and weights of the classes."""
        if self.preparation_.vocabulary is not None:
            share = DROPPED if self.noise is None else self.noise
            return loss(network, with_unknown(batch, share, self.preparation_.vocabulary.unknown_id or 0))
        assert self.preparation_.scaling is not None
        size = NOISE if self.noise is None else self.noise
        return loss(network, with_noise(batch, size, self.preparation_.scaling.inputs))

    def _calibrate(self, values: Sequence[Any], targets: Array) -> None:
        """Choose the temperature, and measure early decisions, on the validation part."""
        self.temperature_ = temperature(self.model_.logits(values), targets)
        self._told()
        if not (self.bidirectional or self.labels_.several):
            self.deciding_ = Deciding.fit(self.model_.running_proba(values), targets)
            self._told()

    def _told(self) -> None:
        """Renew the model after a change of what `prepared` returns."""
        network = self.network_
        self.adopt(saving.file_of(self, network), network)

    def prepared(self) -> dict[str, Any]:
        """What a prediction needs besides the weights, as JSON data."""
        deciding = None if self.deciding_ is None else self.deciding_.to_dict()
        names = getattr(self, "feature_names_in_", None)
        return {
            "inputs": self.preparation_.to_dict(),
            "classes": self.labels_.to_dict(),
            "temperature": self.temperature_,
            "deciding": deciding,
            "convolutions": len(widths_of(self)),
            "majority": self.majority_,
            "as_lists": self.as_lists_,
            "channels": list(self.channels_in_),
            "features": getattr(self, "n_features_in_", None),
            "columns": getattr(self, "columns_", dict.fromkeys(COLUMNS)),
            "feature_names": None if names is None else [str(name) for name in names],
        }

    def restore(self, prepared: dict[str, Any]) -> None:
        """Set what `fit` sets, from what `prepared` returned."""
        self.preparation_ = Preparation.from_dict(prepared["inputs"])
        self.labels_ = Labels.from_dict(prepared["classes"])
        self.classes_ = self.labels_.classes
        self.temperature_ = real(prepared["temperature"], "temperature")
        deciding, majority = prepared["deciding"], prepared["majority"]
        self.deciding_ = None if deciding is None else Deciding.from_dict(deciding)
        most = len(self.classes_) - 1
        self.majority_ = None if majority is None else number(majority, "majority", 0, most)
        self.as_lists_ = bool(prepared["as_lists"])
        self.channels_in_ = tuple(
            label(name, "channels") for name in items(prepared["channels"], "channels", 0, MOST)
        )
        self.columns_ = columns_of(prepared["columns"])
        if prepared["features"] is not None:
            self.n_features_in_ = number(prepared["features"], "features", 1, MOST)
        if prepared["feature_names"] is not None:
            names = items(prepared["feature_names"], "feature_names", 1, MOST)
            self.feature_names_in_ = np.array([label(name, "feature_names") for name in names], object)

    def _read(self, X: Any) -> Sequence[Any]:
        check_is_fitted(self)
        return as_sequences(X, estimator=self).values

    def _trained(self) -> ClassificationNetwork:
        network = self.network_
        assert isinstance(network, ClassificationNetwork)
        return network


def widths_of(classifier: Classifier) -> tuple[int, ...]:
    """The channels of each convolution."""
    chosen = classifier.convolution
    whether = isinstance(chosen, bool | np.bool_)
    if whether and not chosen:
        return ()
    size = int(classifier.hidden_size if whether else chosen)
    return size, 2 * size, size
