"""Trains the network of any job with Lightning: early stopping, resuming, several processes.

A loss is a sum over items (steps, words, rows) and their number, so that the mean over a batch, an epoch or
several processes weighs every item the same.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.profilers import PassThroughProfiler
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gatewise.tasks.shared.batches import Batches
from gatewise.tasks.shared.checkpoints import is_whole

B = TypeVar("B")
Summed = tuple[Tensor, int]  # the sum of a loss over the items of a batch, and the number of items

SCHEDULES = ("one-cycle", "cosine", "constant")
OURS = (
    "max_epochs",
    "gradient_clip_val",
)  # options of Lightning's Trainer that are parameters of an estimator


@dataclass(frozen=True)
class Job(Generic[B]):
    """What training needs of a job. ``B`` is the type of its batches: a tensor, or a named tuple of tensors.

    Attributes:
        build: builds the untrained network. The seed is set before.
        batches: the training batches.
        check: the validation batches, always the same.
        loss: the loss of a batch, to train on.
        error: the error of a batch, to judge an epoch by. Lower is better.
        groups: parameter groups for the optimiser, whose ``lr`` is a factor of the learning rate.
        where: describes where the loss of a batch is not finite. If it is given, training stops at the first
            such batch, and the description is part of the error or the warning.
    """

    build: Callable[[], nn.Module]
    batches: Batches[B]
    check: Callable[[], Iterable[B]]
    loss: Callable[[Any, B], Summed]
    error: Callable[[Any, B], Summed]
    groups: Callable[[Any], list[dict[str, Any]]] | None = None
    where: Callable[[Any, B], str] | None = None


@dataclass(frozen=True)
class Settings:
    """Settings for training with AdamW (Loshchilov & Hutter 2019).

    Attributes:
        learning_rate: the largest learning rate.
        max_epochs: the most epochs.
        patience: epochs without a better validation error after which training stops.
        seed: the random seed.
        schedule: ``"one-cycle"`` (Smith & Topin 2019), ``"cosine"`` or ``"constant"``.
        weight_decay: the weight decay.
        clip: the norm to which larger gradients are scaled down (Pascanu, Mikolov & Bengio 2013).
        average: the decay of a moving average of the weights; 0 for none. Both the weights and their average
            are validated after each epoch, and the better ones may be kept.
        keep: the weights to keep: ``"best"``, those of the best epoch, or ``"last"``.
        checks: whether the validation error is computed after each epoch. If not, the last weights are kept.
        epochs: the epochs after which training ends, on the schedule of `max_epochs`; None for all of them.
        trainer: options for `lightning.pytorch.Trainer`, such as ``{"devices": 2, "strategy": "ddp"}``.
        checkpoint: a file in which training is saved after each epoch, and from which it continues.
    """

    learning_rate: float
    max_epochs: int
    patience: int
    seed: int
    schedule: str = "one-cycle"
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.0
    keep: str = "best"
    checks: bool = True
    epochs: int | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Epoch:
    """The progress after an epoch: the mean training loss, the validation error, and the best one so far."""

    number: int
    most: int
    loss: float
    error: float
    best: float


@dataclass(frozen=True)
class Outcome:
    """The result of training: all epochs, the best of them, its validation error, whether Ctrl-C came."""

    history: tuple[Epoch, ...]
    best_epoch: int
    best_error: float
    interrupted: bool


def train(job: Job[B], settings: Settings, on_epoch: Callable[[Epoch], None]) -> tuple[nn.Module, Outcome]:
    """Build and train a network. It is returned with the weights of the best epoch, in evaluation mode.

    The same job and settings give the same weights on one machine, also if training was killed in between and
    continued from ``settings.checkpoint``. Ctrl-C stops after the current batch and keeps the best weights so
    far. torch's random state, Lightning's loggers and signal handlers are as before afterwards.

    Raises:
        KeyboardInterrupt: Ctrl-C before the end of the first epoch, or a second Ctrl-C.
        FloatingPointError: training diverged in its first epoch. In a later one the best weights are kept.
        ValueError: an option of the trainer is a parameter of the estimator; or the checkpoint is of training
            with other data or other settings.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(settings.seed)
        network = job.build()
        keeper = _Keeper(on_epoch, settings)
        trainer = _trainer(settings, keeper)
        with _stop_on_interrupt(trainer) as interrupted:
            origin = _origin(network, job, settings) if settings.checkpoint else ""
            module = _Training(network, job, settings, origin)
            _run(trainer, module, settings.checkpoint, interrupted)
    network.cpu()
    if module.diverged:
        if not keeper.weights:
            raise FloatingPointError(module.diverged)
        warnings.warn(
            f"{module.diverged} The weights of epoch {keeper.best_epoch} are kept.", RuntimeWarning, 2
        )
    return network, keeper.restore(network, interrupted=interrupted.is_set())


def part_of(checkpoint: Path) -> Path:
    """The name of a checkpoint while it is written. It is not random, so that the next run replaces it."""
    return checkpoint.with_name(f"{checkpoint.name}.part")


def _origin(network: nn.Module, job: Job[B], settings: Settings) -> str:
    """A digest of what training begins with: settings, the untrained network, the first epoch's batches."""
    given = {each.name: getattr(settings, each.name) for each in fields(settings)}
    plain = {name: value for name, value in given.items() if name not in ("trainer", "checkpoint")}
    digest = hashlib.sha256(repr(plain).encode())
    weights = tuple(network.state_dict().values())
    for part in chain.from_iterable(map(_flat, chain([weights], job.batches.at(0), job.check()))):
        digest.update(repr(getattr(part, "shape", part)).encode())
        if isinstance(part, Tensor):
            digest.update(part.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _flat(value: Any) -> Iterator[Any]:
    """The parts of nested tuples."""
    if isinstance(value, tuple):
        for part in value:
            yield from _flat(part)
    else:
        yield value


def _trainer(settings: Settings, keeper: Callback) -> Trainer:
    for name in OURS:
        if name in settings.trainer:
            raise ValueError(f"trainer must leave {name} out, which the estimator has parameters for")
    ours: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if not settings.checks:
        ours["limit_val_batches"] = 0
    more = {**ours, **settings.trainer}
    more.setdefault("profiler", _NoProfiler())
    return Trainer(
        **{**more, "callbacks": [keeper, *more.get("callbacks", ())]},
        max_epochs=settings.epochs or settings.max_epochs,
        gradient_clip_val=settings.clip,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _run(
    trainer: Trainer, module: _Training[B], checkpoint: Path | None, interrupted: threading.Event
) -> None:
    resumed = checkpoint if checkpoint and checkpoint.exists() else None
    if resumed:
        _refuse_damaged(resumed)
    try:
        trainer.fit(
            module, _Training.Loader(module), _Training.Checks(module), ckpt_path=resumed, weights_only=True
        )
    except SystemExit:  # Lightning exits like this at a second Ctrl-C
        if not interrupted.is_set():
            raise
        raise KeyboardInterrupt from None


def _refuse_damaged(checkpoint: Path) -> None:
    """Refuse a file that Lightning cannot continue from, with what to do."""
    problem = "the file is damaged"
    if is_whole(checkpoint):
        try:
            found = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # torch raises what its parts do: KeyError, RuntimeError, UnpicklingError, ...
            found = None
        if isinstance(found, dict) and "origin" in found:
            return
        problem = "the file is not a checkpoint of fit"
    raise ValueError(f"checkpoint: {problem}; remove {checkpoint} to begin training again")


class _Training(LightningModule, Generic[B]):
    """The network of a job with its losses, optimiser and learning rates."""

    @dataclass(frozen=True)
    class Loader:
        """The training batches of this process, in the current epoch."""

        module: _Training[Any]

        def __len__(self) -> int:
            return self.module.job.batches.count(self.module.trainer.world_size)

        def __iter__(self) -> Iterator[Any]:
            # A generator, since a resumed trainer calls `iter` before it knows the epoch, but takes the first
            # batch afterwards.
            trainer = self.module.trainer
            batches = self.module.job.batches
            yield from batches.at(trainer.current_epoch, trainer.global_rank, trainer.world_size)

    @dataclass(frozen=True)
    class Checks:
        """The validation batches of this process, each with whether it counts.

        Processes wait for one another in each batch (DDP copies buffers), so all have the same number of
        batches: in the last round the last batch is repeated where there are too few, without counting.
        """

        module: _Training[Any]

        def __iter__(self) -> Iterator[tuple[Any, bool]]:
            rank, world = self.module.trainer.global_rank, self.module.trainer.world_size
            batches = iter(self.module.job.check())
            while batch := list(islice(batches, world)):
                yield batch[min(rank, len(batch) - 1)], rank < len(batch)

    def __init__(self, network: nn.Module, job: Job[B], settings: Settings, origin: str) -> None:
        super().__init__()
        self.origin = origin
        self.network = network
        self.job = job
        self.settings = settings
        self.average = AveragedModel(network, multi_avg_fn=self._averaged) if settings.average else None
        if self.average:
            self.average.requires_grad_(False)  # DDP waits for the gradients of all other parameters
        self.losses, self.errors = _Sum(), [_Sum()]
        self.best = 0  # which of `validated` had the smallest error in this epoch
        self.error = float("nan")  # in validation, after the last epoch
        self.diverged = ""  # where the loss was not finite

    def __setattr__(self, name: str, value: Any) -> None:
        """As usual, but Lightning's name of the current hook, set 20 times in a batch, is no module."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @property
    def validated(self) -> list[nn.Module]:
        """The networks that are validated: that of the averaged weights, if there is one, and the trained."""
        return [self.average.module, self.network] if self.average else [self.network]

    @property
    def judged(self) -> nn.Module:
        """The better one of the validated networks, which may be kept."""
        return self.validated[self.best]

    @property
    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(bool(value.isfinite().all()) for value in self.judged.parameters())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """As usual; but batches are in the memory of the CPU already."""
        if device.type == "cpu":
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what training began with."""
        checkpoint["origin"] = self.origin

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the checkpoint of other training."""
        if checkpoint.get("origin") != self.origin:
            path = self.settings.checkpoint
            raise ValueError(f"{path}: the checkpoint is of training with other data or other arguments")

    def on_train_epoch_start(self) -> None:
        """Seed dropout by seed, epoch and process, so that a resumed run draws the same."""
        seeds = np.random.SeedSequence([self.settings.seed, self.current_epoch, self.global_rank])
        seed = int(seeds.generate_state(1, np.uint64)[0])
        if self.device.type == "cpu":  # half a millisecond less
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        self.losses = _Sum()

    def training_step(self, batch: B, _: int) -> Tensor | None:
        """The mean loss over the items of this batch in all processes; None if it is not finite."""
        total, items = self.job.loss(self.network, batch)
        world = self.trainer.world_size
        if world == 1 and not self._finite(self.network, total, batch):
            self.trainer.should_stop = True
            return None
        self.losses.add(total.detach(), items)
        if world > 1:  # DDP takes the mean of the gradients over processes, which may have unequal items
            items = int(self.trainer.strategy.reduce(torch.tensor(items), reduce_op="sum"))
        return total * (world / max(items, 1))

    def _finite(self, network: nn.Module, total: Tensor, batch: B) -> bool:
        """Whether a loss is finite. If it is not, and the job can tell where, this is noted."""
        if self.job.where is None or bool(total.isfinite()):
            return True
        with torch.no_grad():
            where = self.job.where(network, batch)
        epoch = f"epoch {self.current_epoch + 1}" if self.current_epoch else "its first epoch"
        self.diverged = self.diverged or f"training diverged in {epoch}: {where}"
        return False

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the average of the weights."""
        if self.average:
            self.average.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        """Begin a new sum for each network."""
        self.errors = [_Sum() for _ in self.validated]

    def validation_step(self, checked: tuple[B, bool], _: int) -> None:
        """Add the errors of a batch."""
        batch, counts = checked
        if counts:
            for network, errors in zip(self.validated, self.errors, strict=True):
                total, items = self.job.error(network, batch)
                self._finite(network, total, batch)
                errors.add(total, items)

    def on_validation_epoch_end(self) -> None:
        """Note the smallest mean error over all processes, and log it if something may read it."""
        means = [errors.mean(self.trainer) for errors in self.errors]
        self.best = min(range(len(means)), key=lambda n: math.inf if math.isnan(means[n]) else means[n])
        self.error = means[self.best]
        if self.settings.trainer:
            self.log("error", self.error)
            self.log("loss", self.losses.mean(self.trainer))

    def configure_optimizers(self) -> Any:
        """AdamW, and the schedule of the learning rate."""
        rate = self.settings.learning_rate
        every: list[dict[str, Any]] = [{"params": list(self.network.parameters())}]
        groups = self.job.groups(self.network) if self.job.groups else every
        groups = [{**group, "lr": rate * group.get("lr", 1.0)} for group in groups]
        # Lightning cannot clip gradients of a fused optimiser in mixed precision.
        fused = self.device.type == "cpu" and not isinstance(self.trainer.precision_plugin, MixedPrecision)
        optimizer = torch.optim.AdamW(
            groups, lr=rate, weight_decay=self.settings.weight_decay, fused=fused or None
        )
        steps = self.settings.max_epochs * self.job.batches.count(self.trainer.world_size)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if self.settings.schedule == "constant":
            return optimizer
        if self.settings.schedule == "one-cycle" and steps > 1:
            rates = [group["lr"] for group in groups]
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=rates, total_steps=steps, pct_start=max(0.2, 1.5 / steps)
            )
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def _averaged(self, averaged: Any, current: Any, updates: Any) -> None:
        """Move the average towards the weights, faster in the first updates."""
        decay = min(self.settings.average, (1 + int(updates)) / (10 + int(updates)))
        torch._foreach_lerp_(averaged, current, 1 - decay)


class _Sum:
    """The mean of a loss over items, summed in float64."""

    def __init__(self) -> None:
        self.total, self.items = torch.zeros((), dtype=torch.float64), 0

    def add(self, total: Tensor, items: int) -> None:
        self.total = self.total.to(total.device) + total
        self.items += items

    def mean(self, trainer: Trainer) -> float:
        """The mean over all processes."""
        both = torch.stack([self.total, torch.tensor(float(self.items)).to(self.total)])
        if trainer.world_size > 1:
            both = trainer.strategy.reduce(both, reduce_op="sum")
        return float(both[0] / both[1]) if both[1] else float("nan")


class _NoProfiler(PassThroughProfiler):
    """Lightning's default, without making a context manager for each of the 30 hooks of a batch."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


class _Keeper(Callback):
    """Stores the weights of the best complete epoch, reports each epoch, and writes checkpoints."""

    state_key = "keeper"  # Lightning's own is formatted several times in each batch

    def __init__(self, on_epoch: Callable[[Epoch], None], settings: Settings) -> None:
        self.on_epoch = on_epoch
        self.settings = settings
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.weights: dict[str, Tensor] = {}

    @property
    def best(self) -> float:
        return self.history[-1].best if self.history else float("inf")

    @property
    def is_done(self) -> bool:
        """Whether the last epochs were no better than one before, or the last error is not finite."""
        if not self.history or not self.settings.checks:
            return False
        reached = next((epoch.number for epoch in self.history if epoch.error == self.best), 0)
        waited = len(self.history) - reached
        return waited >= self.settings.patience or not math.isfinite(self.history[-1].error)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop a run that is continued from the checkpoint of its last epoch."""
        trainer.should_stop = trainer.should_stop or self.is_done

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, _Training)
        if trainer.should_stop:  # Ctrl-C: this epoch is incomplete
            return
        self._add(trainer, module, module.error)
        trainer.should_stop = self.is_done

    def _add(self, trainer: Trainer, module: _Training[Any], error: float) -> None:
        """Note an epoch, and its weights if they are to be kept."""
        number = len(self.history) + 1
        best = error if error < self.best else self.best  # NaN, where training diverges, is not better
        keeps_last = self.settings.keep == "last" and math.isfinite(error)
        if error < self.best or keeps_last or not self.settings.checks:
            self.best_epoch = number
            self.weights = deepcopy(module.judged.state_dict())
        most = trainer.max_epochs or number
        loss = module.losses.mean(trainer)
        self.history.append(Epoch(number, most, loss, error, best))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, _Training)
        if not self.settings.checks and not trainer.should_stop and module.is_finite:
            self._add(trainer, module, float("nan"))
        if len(self.history) != trainer.current_epoch + 1:
            return
        if self.settings.checkpoint:
            part = part_of(self.settings.checkpoint)
            trainer.save_checkpoint(part)
            if trainer.is_global_zero:
                os.replace(part, self.settings.checkpoint)
        if trainer.is_global_zero:
            self.on_epoch(self.history[-1])

    def state_dict(self) -> dict[str, Any]:
        history = [asdict(epoch) for epoch in self.history]
        return {"history": history, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best_epoch, self.weights = state["best_epoch"], state["weights"]

    def restore(self, network: nn.Module, *, interrupted: bool) -> Outcome:
        if not self.weights:
            raise (
                KeyboardInterrupt
                if interrupted
                else FloatingPointError("training diverged in its first epoch")
            )
        network.load_state_dict(self.weights)
        network.eval()
        return Outcome(tuple(self.history), self.best_epoch, self.best, interrupted)


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
