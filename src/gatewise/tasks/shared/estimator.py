"""`JobEstimator`: interface of scikit-learn, training and file, shared by the estimators of all jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import inf, nan
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from gatewise.language import Cell
from gatewise.runtime.model_file import ModelFile, read_model, write_model
from gatewise.tasks.shared import saving
from gatewise.tasks.shared.cells import CELLS

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch, Job

ABBREVIATIONS = ("lstm", "gru", "rnn")


class Model(Protocol):
    """A trained model that predicts without torch, from `gatewise.runtime.jobs`."""

    @classmethod
    def from_file(cls, file: ModelFile) -> Self:
        """Make the model of a file. Raises a ModelFileError if the file does not fit."""


class JobEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """What the estimators of all jobs share.

    A job states its arguments in ``__init__``, among them those below, and implements `build`, `prepared`
    and ``fit``, which calls `_train`. Predictions come from `model_`, which needs no torch, so that they are
    the same with and without it.

    Args:
        cell: a name in `gatewise.cells`, or any `gatewise.Cell`.
        hidden_size, num_layers: units of a layer, and layers.
        dropout: share of the network's outputs that is dropped in training.
        learning_rate: the largest learning rate.
        batch_size: sequences in a batch.
        max_epochs, patience: the most epochs, and epochs without improvement after which training stops.
        seed: the random seed.
        trainer: options for `lightning.pytorch.Trainer`, or None.

    Attributes:
        model_: the trained model, without torch.
        network_: the trained network, in torch.
        file_: the content of the file that `save` writes.
        history_: what each epoch of training reached.
        epochs_, best_epoch_: epochs trained, and the one whose weights are kept.
        validation_error_: the validation error of the best epoch.
        interrupted_: whether Ctrl-C stopped training. The weights are then the best so far.
        metrics_: metrics to store in the file; empty after ``fit``.
    """

    TASK: ClassVar[str]  # the name of the job in a file
    MODEL: ClassVar[type[Model]]
    RECIPE: ClassVar[Mapping[str, Any]] = {}  # fields of `training.Settings` that are not arguments
    LEAST: ClassVar[Mapping[str, int]] = {  # arguments that are whole numbers, and the least of each
        **dict.fromkeys(("hidden_size", "num_layers", "batch_size", "max_epochs", "patience"), 1),
        "seed": 0,
    }
    UNSAVED: ClassVar[tuple[str, ...]] = ("trainer",)  # arguments that a file does not contain

    cell: str | Cell
    hidden_size: int
    num_layers: int
    dropout: float
    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int
    seed: int
    trainer: Mapping[str, Any] | None
    model_: Any
    _network: nn.Module | None

    @abstractmethod
    def build(self) -> nn.Module:
        """The untrained network, for the arguments and what `fit` found in the data.

        Its main layers are its attribute ``recurrent``.
        """

    @abstractmethod
    def prepared(self) -> dict[str, Any]:
        """What a prediction needs besides the weights (vocabulary, scales, classes), as JSON data."""

    @abstractmethod
    def restore(self, prepared: dict[str, Any]) -> None:
        """Set the attributes that `fit` sets from what `prepared` returned; the file is not trusted.

        Raises:
            ValueError, KeyError, TypeError: the data is not what `prepared` returns.
        """

    @property
    def equations(self) -> Cell:
        """The cell, also if it was given by name."""
        return self.cell if isinstance(self.cell, Cell) else CELLS[self.cell]

    @property
    def cell_name(self) -> str:
        """The name of the cell for people to read: ``"LSTM"``, or its own name."""
        name = self.equations.name
        return name.upper() if self.cell in ABBREVIATIONS else name

    @property
    def network_(self) -> nn.Module:
        """The trained network in torch, in evaluation mode. That of a file is built when it is first used."""
        check_is_fitted(self)
        if self._network is None:
            self._network = saving.network_of(self, self.file_)
        return self._network

    def check_parameters(self) -> None:
        """Raise a ValueError for the first argument that is out of range."""
        for name, least in self.LEAST.items():
            check_whole(name, getattr(self, name), least)
        if not isinstance(self.cell, Cell) and self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, or a Cell. Got {self.cell!r}")
        if self.equations.projects:
            raise ValueError(f"cell must project nothing. Got {self.equations.name!r}")
        check_number("dropout", self.dropout, 0, 1)
        check_number("learning_rate", self.learning_rate, 0, inf, open_below=True)
        if self.trainer is not None and not isinstance(self.trainer, Mapping):
            raise ValueError(f"trainer must be options of Lightning's Trainer by name. Got {self.trainer!r}")

    def save(self, path: str | Path) -> None:
        """Write the model to a ``.safetensors`` file, completely or not at all."""
        check_is_fitted(self)
        header = {**self.file_.header, "metrics": self.metrics_}
        write_model(path, self.TASK, header, self.file_.tensors)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimator from a file that `save` wrote. Nothing in the file is executed.

        Raises:
            ModelFileError: the file is damaged, not gatewise's, or of another job.
            FileNotFoundError: the file does not exist.
        """
        return saving.estimator_of(cls, read_model(path, cls.TASK))

    def _train(
        self,
        job: Job[Any],
        on_epoch: Callable[[Epoch], None] | None = None,
        checkpoint: Path | None = None,
        **settings: Any,
    ) -> None:
        """Train, and set the attributes of a fitted estimator.

        `settings` are fields of `training.Settings` that differ from the arguments and the recipe.
        """
        from gatewise.tasks.shared.training import Settings, train  # Lightning takes two seconds to import

        names = ("learning_rate", "max_epochs", "patience", "seed")
        ours = {name: saving.plain(getattr(self, name)) for name in names}
        chosen = Settings(
            **{**ours, "trainer": self.trainer or {}, "checkpoint": checkpoint, **self.RECIPE, **settings}
        )
        network, outcome = train(job, chosen, on_epoch or _ignored)
        self.history_ = outcome.history
        self.epochs_, self.best_epoch_ = len(outcome.history), outcome.best_epoch
        self.validation_error_ = outcome.best_error
        self.interrupted_ = outcome.interrupted
        self.adopt(saving.file_of(self, network), network)

    def adopt(self, file: ModelFile, network: nn.Module | None = None) -> None:
        """Take over a trained model."""
        self.metrics_: dict[str, Any] = file.header.get("metrics", {})
        self.file_ = file
        self._network = network
        self.model_ = self.MODEL.from_file(file)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "file_")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        return {name: value for name, value in state.items() if name not in ("model_", "_network")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "file_" in state:
            metrics = self.metrics_
            self.adopt(self.file_)
            self.metrics_ = metrics


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse an argument that is not a whole number of at least `least`.

    Raises:
        ValueError: the message names the argument.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}. Got {value!r}")


def check_number(name: str, value: object, least: float, below: float, *, open_below: bool = False) -> None:
    """Refuse an argument that is not a number from `least` (or above it) to below `below`.

    Raises:
        ValueError: the message names the argument.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    if not least <= number < below or (open_below and number == least):
        lowest = f"above {least}" if open_below else f"of at least {least}"
        most = "" if below == inf else f" and below {below}"
        raise ValueError(f"{name} must be a number {lowest}{most}. Got {value!r}")


def _ignored(_: Epoch) -> None:
    pass
