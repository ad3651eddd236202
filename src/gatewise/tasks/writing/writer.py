"""`Writer`: a language model that is fitted to texts, scores texts, and writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from gatewise.language import Cell
from gatewise.runtime.jobs.units import CHARACTERS, UNITS
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.jobs.writer import Scored
from gatewise.runtime.jobs.writer import Writer as Model
from gatewise.tasks.shared.estimator import JobEstimator, check_number
from gatewise.tasks.shared.sequences import as_sequences
from gatewise.tasks.writing.corpus import MOST_ENTRIES, VALIDATION, Corpus
from gatewise.tasks.writing.network import Windows, WritingNetwork, checked, error, loss

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch

Array = NDArray[Any]


class Writer(JobEstimator):
    """A language model: the probability of each character, byte or word of a text, given all before it.

    A recurrent network reads the texts in windows, with the state carried from one to the next (truncated
    backpropagation through time). It trains on the first part of each text, and stops when the bits per token
    of the last part no longer fall. Of at least 20 texts whole ones are held out instead, and the network
    also learns where texts end. The weights or their moving average are kept (Polyak & Juditsky
    1992), whichever is better in the validation part.

    Args:
        unit: what is predicted: ``"characters"``, ``"bytes"`` or ``"words"``.
        cell: ``"lstm"``, ``"gru"``, ``"rnn"``, ... (the names in `gatewise.cells`), or any `gatewise.Cell`.
        hidden_size: hidden units in each layer.
        num_layers: recurrent layers.
        embedding_size: numbers that stand for a token.
        vocabulary_size: the most words (or characters). Others are unknown, also those that occur once.
        dropout: share of the network's outputs that is dropped in training.
        weight_drop: share of the recurrent weights that is dropped in training (Merity et al. 2018).
        window: steps of truncated backpropagation through time.
        learning_rate: the largest learning rate of the one-cycle schedule.
        batch_size: pieces of text that are read side by side; fewer for a short text.
        max_epochs: the most epochs of training.
        patience: epochs without a better validation error after which training stops.
        validation: share of the text in the validation part.
        keep_text: whether the model file contains the training text, so that copies can be found later.
        seed: the random seed. The same seed gives the same writer on the same machine.
        trainer: options for Lightning's `Trainer`; None for none.

    Attributes:
        model_: the trained model without torch, a `gatewise.runtime.jobs.writer.Writer`.
        network_: the trained network.
        classes_: ``[V]``, the token of each column of `predict_proba`.
        history_: the progress after each epoch.
        best_epoch_: the epoch whose weights are kept.
        validation_error_: bits per token in the validation part, read in pieces.

    Example:
        >>> writer = Writer(hidden_size=12, max_epochs=6, window=16, learning_rate=0.03)
        >>> writer = writer.fit("Twinkle, twinkle, little star. " * 30)
        >>> writer.write(20, prompt="Twinkle, t", temperature=0)
        ['winkle, little star.']
        >>> writer.score("little star") > writer.score("startle lit")
        True
    """

    TASK = "write"
    MODEL = Model
    model_: Model
    RECIPE: ClassVar[Mapping[str, Any]] = {"average": 0.998, "weight_decay": 0.01}
    LEAST: ClassVar[Mapping[str, int]] = {
        **JobEstimator.LEAST,
        **dict.fromkeys(("embedding_size", "vocabulary_size", "window"), 1),
    }

    def __init__(
        self,
        *,
        unit: str = CHARACTERS,
        cell: str | Cell = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
        embedding_size: int = 32,
        vocabulary_size: int = MOST_ENTRIES,
        dropout: float = 0.35,
        weight_drop: float = 0.0,
        window: int = 64,
        learning_rate: float = 5e-3,
        batch_size: int = 32,
        max_epochs: int = 30,
        patience: int = 8,
        validation: float = VALIDATION,
        keep_text: bool = False,
        seed: int = 0,
        trainer: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.keep_text = keep_text
        self.seed = seed
        self.trainer = trainer
        self.unit = unit
        self.embedding_size = embedding_size
        self.vocabulary_size = vocabulary_size
        self.weight_drop = weight_drop
        self.window = window

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
    ) -> Writer:
        """Train on a text, or on several.

        Args:
            X: a text; a list of texts; or a frame with a column of texts.
            y: ignored.
            on_epoch: called after each epoch.
            checkpoint: a file in which training is saved after each epoch, and from which it continues.

        Raises:
            ValueError: the texts have fewer than 100 characters, or a parameter is out of range.
            KeyboardInterrupt: Ctrl-C before the end of the first epoch. A later one keeps the best weights.
        """
        from gatewise.tasks.shared.training import Job

        self.check_parameters()
        texts = self._texts(X)
        corpus = Corpus.of(texts, self.unit, self.validation, self.vocabulary_size, self.seed)
        self.vocabulary_, self.ends_ = corpus.vocabulary, corpus.ends
        self._text = "\n".join(corpus.train) if self.keep_text else None
        train, check = (corpus.ids(part) for part in (corpus.train, corpus.check))
        windows = Windows(train, int(self.batch_size), int(self.window), self.seed)
        self._train(Job(self.build, windows, partial(checked, check), loss, error), on_epoch, checkpoint)
        self.validation_error_ /= log(2)
        return self

    def build(self) -> WritingNetwork:
        """Build the untrained network for the parameters and the vocabulary."""
        return WritingNetwork(
            self.equations, len(self.vocabulary_), int(self.embedding_size), int(self.hidden_size),
            int(self.num_layers),
            self.dropout, self.weight_drop,
        )  # fmt: skip

    @property
    def classes_(self) -> Array:
        """``[V]``, the token of each column of `predict_proba`; "" for the end of a text, and the unknown."""
        return np.array(self.model_.tokens, dtype=object)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each token to be the next one after each text, ``[N, V]``."""
        check_is_fitted(self)
        return np.stack([self.model_.next(text) for text in self._texts(X)])

    def predict(self, X: Any) -> Array:
        """The most likely next token after each text, ``[N]``; "" if it is the end of the text."""
        found: Array = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def score(self, X: Any, y: Any = None) -> float:
        """The mean logarithm to base 2 of the probability of a character: minus the bits per character."""
        found = self.score_texts(X)
        return sum(each.total for each in found) / log(2) / max(sum(each.characters for each in found), 1)

    def score_texts(self, X: Any) -> list[Scored]:
        """The exact probability of every token of each text."""
        check_is_fitted(self)
        return self.model_.score_all(self._texts(X))

    def write(
        self, length: int = 500, *, prompt: str = "", temperature: float = 1.0, top_k: int | None = None,
        top_p: float | None = None, stop: str | Sequence[str] = (), seed: int = 0, count: int = 1,
    ) -> list[str]:  # fmt: skip
        """Write texts that continue a prompt. The same seed gives the same texts, whatever their number.

        Args:
            length: the most tokens of a text, without the prompt.
            prompt: the beginning of the texts, which is not repeated in them.
            temperature: 1 draws from the model's own distribution, less makes likely tokens more likely, 0
                always takes the most likely one.
            top_k: draws among the k most likely tokens.
            top_p: draws among the fewest tokens whose probabilities sum to p.
            stop: a text ends before this string, or the first of these strings.
            seed: text k is drawn from the seed and k alone.
            count: the number of texts.

        Raises:
            ValueError: a number is out of range.
        """
        check_is_fitted(self)
        return self.model_.write(
            length,
            prompt=prompt,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop=stop,
            seed=seed,
            count=count,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    def check_parameters(self) -> None:
        """Raise a ValueError for the first parameter that is out of range."""
        super().check_parameters()
        if self.unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}. Got {self.unit!r}")
        check_number("weight_drop", self.weight_drop, 0, 1)
        check_number("validation", self.validation, 0, 0.9, open_below=True)

    def prepared(self) -> dict[str, Any]:
        """What a prediction needs besides the weights, as JSON data."""
        return {
            "unit": self.unit,
            "ends": self.ends_,
            "vocabulary": self.vocabulary_.to_dict(),
            "text": self._text,
        }

    def restore(self, prepared: dict[str, Any]) -> None:
        """Set what `fit` sets from what `prepared` returned. Raises a ValueError if it is something else."""
        self.vocabulary_ = Vocabulary.from_dict(prepared["vocabulary"])
        self.ends_, self._text = prepared["ends"], prepared["text"]

    def _texts(self, X: Any) -> list[str]:
        return [X] if isinstance(X, str) else as_sequences(X).texts
