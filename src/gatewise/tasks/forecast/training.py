"""Trains a forecasting network with Lightning, with early stopping."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from gatewise.tasks.forecast.network import Batch, ForecastNetwork, OrderedBatches, RandomBatches

SHARE_RATE = 10.0  # factor for the learning rate of the naive shares, which must get from 0 to 1


@dataclass(frozen=True)
class Epoch:
    """The progress after an epoch. `error` and `best` are validation MAE in scaled units."""

    number: int
    most: int
    error: float
    best: float


@dataclass(frozen=True)
class Settings:
    """Settings for training. `patience`: epochs without improvement after which to stop."""

    learning_rate: float
    max_epochs: int
    patience: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """The result of training: epochs done, the best epoch, its validation error, whether Ctrl-C came."""

    epochs: int
    best_epoch: int
    best_error: float
    interrupted: bool


def train(
    build: Callable[[], ForecastNetwork],
    batches: RandomBatches,
    check: OrderedBatches,
    settings: Settings,
    on_epoch: Callable[[Epoch], None],
) -> tuple[ForecastNetwork, Outcome]:
    """Build and train a network. It is returned with the weights of the best epoch on `check`.

    Ctrl-C stops after the current batch and keeps the best weights so far.

    Raises:
        KeyboardInterrupt: Ctrl-C before the end of the first epoch, or a second Ctrl-C.
        FloatingPointError: training diverged.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(settings.seed)
        network = build()
        keeper = _Keeper(on_epoch)
        trainer = _trainer(settings, keeper)
        with _stop_on_interrupt(trainer) as interrupted:
            _run(trainer, _Training(network, settings, len(batches)), batches, check, interrupted)
    return network, keeper.restore(network, interrupted=interrupted.is_set())


def _trainer(settings: Settings, keeper: Callback) -> Trainer:
    stopper = EarlyStopping("error", patience=settings.patience, check_finite=True)
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=settings.max_epochs,
        gradient_clip_val=1.0,
        callbacks=[keeper, stopper],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _run(
    trainer: Trainer,
    module: LightningModule,
    batches: RandomBatches,
    check: OrderedBatches,
    interrupted: threading.Event,
) -> None:
    try:
        trainer.fit(module, batches, check)
    except SystemExit:  # Lightning exits like this at a second Ctrl-C
        if not interrupted.is_set():
            raise
        raise KeyboardInterrupt from None


class _Training(LightningModule):
    """Mean absolute error over known values, AdamW, one cycle of the learning rate (Smith & Topin 2019)."""

    def __init__(self, network: ForecastNetwork, settings: Settings, batches: int) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.batches = batches

    def training_step(self, batch: Batch, _: int) -> Tensor:
        return self._missed(batch).mean()

    def validation_step(self, batch: Batch, _: int) -> None:
        missed = self._missed(batch)
        if missed.numel():
            self.log("error", missed.mean(), batch_size=missed.numel())

    def configure_optimizers(self) -> Any:
        rate = self.settings.learning_rate
        weights = [value for name, value in self.network.named_parameters() if name != "share"]
        share = {"params": [self.network.share], "weight_decay": 0.0}
        optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 1e-4}, share], lr=rate)
        steps = self.settings.max_epochs * self.batches
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=[rate, SHARE_RATE * rate], total_steps=steps, pct_start=0.2
        )
        return [optimizer], [{"scheduler": cycle, "interval": "step"}]

    def _missed(self, batch: Batch) -> Tensor:
        known = ~batch.truth.isnan()
        forecast: Tensor = self.network(batch.inputs, batch.last, batch.seasonal)
        return (forecast[known] - batch.truth[known]).abs()


class _Keeper(Callback):
    """Stores the weights of the best complete epoch, and reports each epoch."""

    def __init__(self, on_epoch: Callable[[Epoch], None]) -> None:
        self.on_epoch = on_epoch
        self.best = float("inf")
        self.best_epoch = 0
        self.epochs = 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, _Training)
        if trainer.should_stop:  # Ctrl-C: this epoch is incomplete
            return
        error = float(trainer.callback_metrics["error"])
        self.epochs += 1
        if error < self.best:
            self.best, self.best_epoch = error, self.epochs
            self.weights = deepcopy(module.network.state_dict())
        self.on_epoch(Epoch(self.epochs, trainer.max_epochs or self.epochs, error, self.best))

    def restore(self, network: ForecastNetwork, *, interrupted: bool) -> Outcome:
        if not self.weights:
            raise (
                KeyboardInterrupt
                if interrupted
                else FloatingPointError("training diverged in its first epoch")
            )
        network.load_state_dict(self.weights)
        network.eval()
        return Outcome(self.epochs, self.best_epoch, self.best, interrupted)


@contextmanager
def _stop_on_interrupt(trainer: Trainer) -> Iterator[threading.Event]:
    """Context manager: the first Ctrl-C stops training in order, a second one interrupts as usual."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def stop(*_: object) -> None:
        interrupted.set()
        trainer.should_stop = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Context manager that silences Lightning's messages, and restores loggers and filters afterwards."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        logger.setLevel(level)
