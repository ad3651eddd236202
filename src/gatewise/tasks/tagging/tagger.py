"""`Tagger`: fit, predict, score, stream, save and load, with the interface of scikit-learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from gatewise.language import Cell
from gatewise.runtime.jobs.spelling import Spelling
from gatewise.runtime.jobs.tag_stream import TagStream
from gatewise.runtime.jobs.tagger import Tagger as Model
from gatewise.runtime.jobs.tags import (
    MOST_LOOK_AHEAD,
    Preparation,
    TableNames,
    Tagged,
    sentences_of,
)
from gatewise.tasks.shared.batches import LengthBatches
from gatewise.tasks.shared.estimator import JobEstimator, check_number
from gatewise.tasks.shared.saving import plain
from gatewise.tasks.tagging.inputs import sentences_in, tags_in
from gatewise.tasks.tagging.network import Batch, Encoded, TaggingNetwork, loss_of, wrong_of
from gatewise.tasks.tagging.targets import SentenceTags, Targets, best_temperature, learn_columns

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch, Summed

OTHERS = 0.5  # weight of the loss of each column but the first
CHECKED = 64  # sentences in a batch of validation


class Tagger(JobEstimator):
    """Tags the words of sentences: parts of speech, features, names; in one or several columns at once.

    A recurrent network reads a representation of each word (the word, its characters, its beginnings and
    endings) in both directions; every column of tags has a linear map of its own. With `look_ahead` the
    network reads in one direction and tags a word that many words later, so it can tag a stream.

    Args:
        cell: ``"lstm"``, ``"gru"``, ``"rnn"``, ... (the names in `gatewise.cells`), or any `gatewise.Cell`.
        hidden_size: hidden units in each layer and direction.
        num_layers: recurrent layers.
        look_ahead: words that are read past a word before it is tagged; by default the whole sentence.
        columns: the names of the columns of tags; by default ``tag``, or ``tag1``, ``tag2``, ....
        dropout: share of the inputs and outputs of each layer that is dropped in training.
        word_dropout: how readily training replaces rare words by the unknown word: one that occurs n times,
            with probability ``word_dropout / (word_dropout + n)``.
        smoothing: share of label smoothing.
        learning_rate: the largest learning rate of the one-cycle schedule.
        batch_size: sentences in a batch.
        max_epochs: the most epochs of training.
        patience: epochs without a better validation error after which training stops.
        validation: share of the sentences in the validation part. It chooses the best epoch, and calibrates
            the probabilities.
        seed: the random seed. The same seed gives the same tagger on the same machine.
        trainer: options for Lightning's `Trainer`; None for none.

    Attributes:
        columns_: the columns, with their tags in the order of `predict_proba`.
        model_: the trained tagger without torch, a `gatewise.runtime.jobs.tagger.Tagger`.
        network_: the trained network.
        padding_: the share of the steps of the first epoch's batches that is padding.
        epochs_, best_epoch_: epochs trained, and the one whose weights are kept.
        validation_error_: the share of wrong tags in the validation part, averaged over columns.

    Example:
        >>> X = [["the", "cat", "sat"], ["a", "dog", "ran"], ["the", "dog", "sat"], ["a", "cat", "ran"]] * 5
        >>> y = [["DET", "NOUN", "VERB"]] * 20
        >>> tagger = Tagger(hidden_size=8, num_layers=1, max_epochs=10, learning_rate=0.03).fit(X, y)
        >>> tagger.predict([["the", "cat", "ran"]])
        [['DET', 'NOUN', 'VERB']]
    """

    TASK = "tag"
    MODEL = Model
    model_: Model
    RECIPE: ClassVar[Mapping[str, Any]] = {"schedule": "one-cycle", "clip": 5.0}

    def __init__(
        self,
        *,
        cell: str | Cell = "lstm",
        hidden_size: int = 128,
        num_layers: int = 2,
        look_ahead: int | None = None,
        columns: Sequence[str] | None = None,
        dropout: float = 0.4,
        word_dropout: float = 0.25,
        smoothing: float = 0.1,
        learning_rate: float = 3e-3,
        batch_size: int = 32,
        max_epochs: int = 12,
        patience: int = 4,
        validation: float = 0.1,
        seed: int = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.look_ahead = look_ahead
        self.columns = columns
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.smoothing = smoothing
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.seed = seed
        self.trainer = trainer

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Tagger:
        """Train on sentences and their tags.

        Args:
            X: sentences, each a list of words (empty ones are ignored); or a frame of any library with a word
                on each row, and a column such as ``sentence`` or ``id`` that tells sentences apart.
            y: for each sentence a tag for each word: a text, or a tuple of texts for several columns. For a
                frame, a tag for each row, or a frame of columns of tags.
            on_epoch: called after each epoch.
            checkpoint: a file in which training is saved after each epoch, and from which it continues.

        Raises:
            TypeError: a word or a tag is not a text.
            ValueError: `X` and `y` do not fit together, or a parameter is out of range.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch. A later one keeps the best weights.
        """
        self.check_parameters()
        sentences = sentences_of(sentences_in(X))
        targets = Targets.of(sentences, tags_in(y, X, sentences))
        self.several_ = targets.several
        self.columns_ = tuple(learn_columns(targets, self._names(len(targets.columns))))
        rows, checked = self._split(sentences)
        self.spelling_ = Spelling.learn(sentences[row] for row in rows)
        counts = Counter(word for row in rows for word in sentences[row])
        alpha = self.word_dropout
        rarity = {word: alpha / (alpha + count) for word, count in counts.items()}
        numbers = targets.numbers(self.columns_)
        encoded = Encoded.of(self.spelling_, sentences, numbers, plain(self.look_ahead) or 0, rarity)
        self._train(self._job(encoded, rows, checked), on_epoch, checkpoint)
        self._calibrate([sentences[row] for row in checked], [numbers[row] for row in checked])
        return self

    def predict(
        self, X: Any, *, least: float | None = None, otherwise: str = "_"
    ) -> list[list[str]] | list[list[tuple[str, ...]]]:
        """The tags of the words of each sentence, in the form of the `y` of `fit`.

        With `least`, a tag whose probability is smaller is replaced by `otherwise`.
        """
        made = self.fitted.predict(sentences_in(X), least=least, otherwise=otherwise)
        if self.several_:
            return SentenceTags(made)
        return SentenceTags([[tag for (tag,) in tags] for tags in made])

    def predict_proba(self, X: Any) -> list[NDArray[np.float64]] | list[tuple[NDArray[np.float64], ...]]:
        """The probabilities of the tags of each word, ``[T, K]`` for each sentence.

        The order of the K tags is that of ``columns_[0].tags``. For several columns each sentence has a tuple
        of arrays.
        """
        made = self.fitted.predict_proba(sentences_in(X))
        return made if self.several_ else [chances for (chances,) in made]

    def tagged(self, X: Any) -> list[list[Tagged]]:
        """Each word with its tags and their probabilities."""
        return list(self.fitted.tagged(sentences_in(X)))

    def score(self, X: Any, y: Any) -> float:
        """The accuracy: the share of words whose tag in the first column is right."""
        sentences = sentences_of(sentences_in(X))
        truth = Targets.of(sentences, tags_in(y, X, sentences))
        made = self.fitted.predict(sentences)
        pairs = [
            (tag, other[0])
            for tags, others in zip(truth.columns[0], made, strict=True)
            for tag, other in zip(tags, others, strict=True)
        ]
        if not pairs:
            raise ValueError("X must have a word.")
        return float(np.mean([tag == other for tag, other in pairs]))

    def stream(self, look_ahead: int | None = None) -> TagStream:
        """A stream that tags word by word; see `gatewise.runtime.jobs.tagger.Tagger.stream`."""
        return self.fitted.stream(look_ahead)

    @property
    def fitted(self) -> Model:
        """The trained tagger without torch.

        Raises:
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        return self.model_

    def build(self) -> TaggingNetwork:
        """Build the untrained network for the parameters and the vocabulary."""
        return TaggingNetwork(
            self.equations, self.spelling_.sizes, [len(column.tags) for column in self.columns_],
            hidden_size=int(self.hidden_size), num_layers=int(self.num_layers),
            look_ahead=plain(self.look_ahead), dropout=self.dropout,
        )  # fmt: skip

    def prepared(self) -> dict[str, Any]:
        """What a prediction needs besides the weights, as JSON data."""
        table = getattr(self, "table_", TableNames())
        ahead = plain(self.look_ahead)
        return Preparation(self.spelling_, self.columns_, ahead, self.several_, table).to_dict()

    def restore(self, prepared: dict[str, Any]) -> None:
        """Set the vocabulary and the columns from what `prepared` returned.

        Raises:
            ValueError: the data is not what `prepared` returns, or not of this look-ahead.
        """
        told = Preparation.from_dict(prepared)
        self.spelling_, self.columns_, self.several_ = told.spelling, told.columns, told.several
        self.table_ = told.table
        if told.look_ahead != self.look_ahead:
            raise ValueError(f"look_ahead must be {self.look_ahead}. Got {told.look_ahead!r:.60}")

    def note_table(self, table: TableNames) -> None:
        """Store the columns of the table of training, so that other tables are read alike."""
        self.table_ = table

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn may assume: X holds sentences of words, not a matrix, and y is needed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    def check_parameters(self) -> None:
        """Raise a ValueError for the first parameter that is out of range."""
        super().check_parameters()
        ahead = plain(self.look_ahead)
        if ahead is not None and (type(ahead) is not int or not 0 <= ahead <= MOST_LOOK_AHEAD):
            raise ValueError(f"look_ahead must be None, or from 0 to {MOST_LOOK_AHEAD}. Got {ahead!r}")
        check_number("smoothing", self.smoothing, 0, 1)
        check_number("validation", self.validation, 0, 1, open_below=True)
        check_number("word_dropout", self.word_dropout, 0, inf)

    def _names(self, count: int) -> Sequence[str]:
        names = [] if self.columns is None else [str(name) for name in self.columns]
        names = names or (["tag"] if count == 1 else [f"tag{k}" for k in range(1, count + 1)])
        if len(names) != count or len(set(names)) != count:
            raise ValueError(
                f"columns must be {count} different names, as y has columns. Got {list(names)!r}"
            )
        return names

    def _split(self, sentences: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sentences of the training and of the validation part. Of a single one both parts are made."""
        rows = np.array([row for row, words in enumerate(sentences) if words], np.int64)
        if len(rows) < 2:
            if not len(rows):
                raise ValueError("X must have a sentence with a word.")
            return rows, rows
        count = min(max(round(self.validation * len(rows)), 1), len(rows) - 1)
        trained, checked = train_test_split(rows, test_size=count, random_state=self.seed)
        return np.sort(trained), np.sort(checked)

    def _job(self, encoded: Encoded, rows: NDArray[np.int64], checked: NDArray[np.int64]) -> Any:
        from gatewise.tasks.shared.training import Job

        lengths = encoded.lengths
        batches = LengthBatches(
            lengths[rows], self.batch_size, self.seed, lambda chosen: encoded.batch(rows[chosen])
        )
        self.padding_ = batches.padding(0)
        ordered = checked[np.argsort(lengths[checked], kind="stable")]
        checks = [ordered[first : first + CHECKED] for first in range(0, len(ordered), CHECKED)]
        return Job(
            self.build,
            batches,
            lambda: map(encoded.batch, checks),
            partial(_loss, smoothing=self.smoothing),
            _error,
        )

    def _calibrate(self, sentences: Sequence[Sequence[str]], numbers: Sequence[NDArray[np.int64]]) -> None:
        """Choose the temperature of each column on the validation part."""
        scores = self.model_.scores(sentences)
        tags = np.concatenate(numbers)
        every = [np.concatenate([each[k] for each in scores]) for k in range(len(self.columns_))]
        temperatures = [best_temperature(values, tags[:, k]) for k, values in enumerate(every)]
        both = zip(self.columns_, temperatures, strict=True)
        self.columns_ = tuple(replace(column, temperature=value) for column, value in both)
        header = {**self.file_.header, "preparation": self.prepared()}
        self.adopt(replace(self.file_, header=header), self._network)


def _loss(network: TaggingNetwork, batch: Batch, smoothing: float) -> Summed:
    return loss_of(network(batch), batch.tags, smoothing, OTHERS)


def _error(network: TaggingNetwork, batch: Batch) -> Summed:
    return wrong_of(network(batch), batch.tags)
