"""How a forecaster is fitted: to the training part of a panel, and then again to all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch

from gatewise.runtime.jobs.anomalies import Calibration
from gatewise.runtime.jobs.distributions import SIZES
from gatewise.runtime.jobs.lags import NOTHING
from gatewise.tasks.forecast.backtesting import MOST_TESTED
from gatewise.tasks.forecast.heads import (
    EXCESS,
    USUAL,
    SpreadPart,
    calibrated,
    correlation_of,
    excess_of,
    sizes_of,
    widths_of,
)
from gatewise.tasks.forecast.linear import (
    Linear,
    Regression,
    centred,
    choose,
    errors_of,
    fit,
    may_centre,
    reads_of,
)
from gatewise.tasks.forecast.naive import Numbers, Whole, future
from gatewise.tasks.forecast.network import ForecastNetwork, LinearPart
from gatewise.tasks.forecast.predicting import made_of, missed_of
from gatewise.tasks.forecast.preparation import Preparation, refuse_negative
from gatewise.tasks.forecast.selection import Missed, blocks_of, clearly_better
from gatewise.tasks.forecast.windows import Batch, OrderedBatches, Windows
from gatewise.tasks.series import Panel
from gatewise.tasks.shared import saving
from gatewise.tasks.shared.estimator import JobEstimator

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch, Job

MOST_WIDENED = 48  # most origins by which the spread of sampled futures is judged
FOUND = ("history_", "epochs_", "best_epoch_", "validation_error_")  # of the training with validation


class Fitting(JobEstimator):
    """The part of a `Forecaster` that fits it.

    Its arguments and attributes are those of `Forecaster`.
    """

    horizon: int
    refit: bool
    output: str
    members: int
    mode: str
    prepared_: Preparation
    _start: Mapping[str, torch.Tensor] | None = None  # the weights that an update begins at

    def _learn(
        self, panel: Panel, rows: Whole, on_epoch: Callable[[Epoch], None] | None, checkpoint: Path | None
    ) -> Self:
        """Train on the first `rows` steps of each series, then on all."""
        means = self.output == "negative-binomial"
        if means:
            refuse_negative(panel, "no count")
        windows = self.prepared_.windows(panel, self.steps)
        folds = self.prepared_.folds(windows, rows)
        regressions = choose(windows, folds, means)
        reads = reads_of(regressions) if regressions else None
        self.prepared_ = replace(self.prepared_, reads=reads, widths=None)
        windows = replace(windows, reads=reads or NOTHING)
        check = self.prepared_.validation(windows, rows)
        centre = bool(regressions) and not means and may_centre(windows, folds, regressions)
        job = partial(self._job, panel, windows, regressions, check, centre)
        first = job(rows)
        self._train(first, on_epoch, checkpoint)
        self._temper(first, check)
        self._calibrate(panel, windows, check.origins)
        usual = self._usual_errors(panel, rows)
        if self.refit and not self.interrupted_:
            self._train_again(job(panel.rows), checkpoint)
        self._store(usual)
        self.validation_error_ *= self.prepared_.encoding.scale[0]
        return self

    def _job(
        self,
        panel: Panel,
        windows: Windows,
        regressions: Sequence[Regression],
        check: OrderedBatches,
        centre: bool,
        rows: Whole,
    ) -> Job[Batch]:
        """Training on the first `rows` steps of each series, after a linear part fitted to them."""
        from gatewise.tasks.forecast.training import job_of

        origins = self.prepared_.origins(windows, rows)
        linear = fit(windows, origins, regressions) if regressions else None
        errors = errors_of(windows, origins, linear)
        if linear is not None and centre:
            linear, errors = centred(linear, errors)
        if linear is not None:
            windows = windows.straight(LinearPart.of(linear))
            check = replace(check, windows=windows)
        batches = self.prepared_.training(windows, rows, int(self.batch_size), self.seed)
        sizes = sizes_of(errors, self.output) if SIZES[self.output] and len(errors) else None
        begin = partial(self._begin, linear, sizes)
        return job_of(begin, batches, check, (panel, self.prepared_.encoding))

    def _begin(self, linear: Linear | None, sizes: Numbers | None) -> ForecastNetwork:
        """The untrained network with its linear part, and the sizes of its errors.

        torch's random state stays as it is.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.build()
        if network.linear is not None and linear is not None:
            network.linear.set(linear)
        if network.spread is not None and sizes is not None:
            network.spread.begin(sizes)
        if self._start is not None:
            learned = {name: value for name, value in self._start.items() if not name.startswith("linear.")}
            network.load_state_dict(learned, strict=False)
        return network

    def _calibrate(self, panel: Panel, windows: Windows, origins: Whole) -> None:
        """Choose factors of the distributions' sizes in the validation part, at some origins."""
        spread = self.network_.spread
        if spread is None:
            return
        origins = self._varying(panel, windows, origins)
        places = np.searchsorted(windows.starts, origins, side="right") - 1
        errors, sizes, truths, points = [], [], [], []
        for place in np.unique(places):
            at = origins[places == place] - windows.starts[place]
            found = made_of(self.model_.single, panel, int(place), at)
            truth = panel.series[place].values[future(at, self.steps)]
            truths.append(truth)
            points.append(found.unscaled)
            errors.append(found.encoding.scaled(truth) - found.point)
            sizes.append(found.sizes)
        missed = np.concatenate(errors)
        if self.output == "negative-binomial":
            excess = excess_of(np.concatenate(truths), np.concatenate(points))
            factors, freedom = np.array([excess / EXCESS]), USUAL
        else:
            blocks = blocks_of(origins, self.steps)
            factors, freedom = calibrated(self.output, missed, np.concatenate(sizes), blocks)
        spread.factors.copy_(torch.from_numpy(factors))
        spread.freedom.fill_(freedom)
        spread.correlation.fill_(correlation_of(missed))
        self.adopt(saving.file_of(self, self.network_), self.network_)
        if self.mode == "recursive" and self.output != "negative-binomial":
            self._widen(panel, windows, origins)

    def _varying(self, panel: Panel, windows: Windows, origins: Whole) -> Whole:
        """Origins in series that are not constant in training; all if there are no others."""
        constant = np.array([self.prepared_.encoding.is_constant(id) for id in panel.ids])
        of = np.searchsorted(windows.starts, origins, side="right") - 1
        return origins if constant[of].all() else origins[~constant[of]]

    def _widen(self, panel: Panel, windows: Windows, origins: Whole) -> None:
        """Choose how far sampled futures spread at each step ahead, in the validation part."""
        stops = windows.starts[np.searchsorted(windows.starts, origins, side="right")]
        origins = origins[origins + self.horizon < stops]
        origins = origins[:: -(-len(origins) // MOST_WIDENED) or 1]
        places = np.searchsorted(windows.starts, origins, side="right") - 1
        errors, bands = [np.empty((0, self.horizon))], [np.empty((0, self.horizon, 2))]
        for place in np.unique(places):
            at = origins[places == place] - windows.starts[place]
            found, truth = made_of(self.model_, panel, int(place), at), panel.series[place].values
            point = found.encoding.scaled(found.forecasts)
            errors.append(found.encoding.scaled(truth[future(at, self.horizon)]) - point)
            bands.append(found.encoding.scaled(found.quantiles([0.1, 0.9])) - point[..., None])
        blocks = blocks_of(origins, self.horizon)
        widths = widths_of(np.concatenate(errors), np.concatenate(bands), blocks)
        self.prepared_ = replace(self.prepared_, widths=widths)
        self.adopt(saving.file_of(self, self.network_), self.network_)

    def _temper(self, job: Job[Batch], check: OrderedBatches) -> None:
        """Halve what the network corrects; or keep the untrained network if this is not clearly better.

        An `update` begins with a trained network, and keeps the better one.
        """
        network = self.network_
        network.temper()
        untrained = cast(ForecastNetwork, job.build().eval())
        before, after = Missed.of(untrained, check), Missed.of(network, check)
        gains = before.blocks(check.origins, self.steps) - after.blocks(check.origins, self.steps)
        better = after.mean < before.mean
        if not (better and (self._start is not None or clearly_better(gains))):
            self.best_epoch_, network, after = 0, untrained, before
        self.validation_error_ = after.mean
        self.adopt(saving.file_of(self, network), network)

    def _train_again(self, job: Job[Batch], checkpoint: Path | None) -> None:
        """Train on all steps, for as many epochs as were best. Ctrl-C keeps the network as it is."""
        spread = self.network_.spread
        if self.best_epoch_ == 0:
            network = self._spread_of(job.build().eval(), spread)
            self.adopt(saving.file_of(self, network), network)
            return
        found = {name: getattr(self, name) for name in FOUND}
        file, network = self.file_, self.network_
        again = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-all")
        settings = {"keep": "last", "checks": False, "epochs": self.best_epoch_}
        try:
            self._train(job, None, again, **settings)
        except KeyboardInterrupt:
            self.interrupted_ = True
        if not self.interrupted_:
            network = self._spread_of(self.network_, spread)
            network.temper()
            file = saving.file_of(self, network)
        self.adopt(file, network)
        for name, value in found.items():
            setattr(self, name, value)

    def _spread_of(self, network: Any, spread: SpreadPart | None) -> ForecastNetwork:
        """A network that is trained again, with what the validation part chose for the spread."""
        if spread is not None and network.spread is not None:
            for name, value in spread.named_buffers():
                network.spread.get_buffer(name).copy_(value)
        return cast(ForecastNetwork, network)

    def _usual_errors(self, panel: Panel, rows: Whole) -> Calibration | None:
        """How far forecasts of the validation part miss, by which `anomalies` are scored."""
        most = max(MOST_TESTED // len(panel), self.horizon + 1)
        found = []
        for place in range(0, len(panel), -(-len(panel) // MOST_TESTED)):
            first = max(int(rows[place]), self.prepared_.least)
            if first < len(panel.series[place]):
                one = panel.part([place])
                found.append(missed_of(self.model_, one.head([first + most]), 0, first - 1)[first:])
        return Calibration.of(np.concatenate(found)) if found else None

    def _store(self, usual: Calibration | None) -> None:
        """Put the usual errors into the model and its file."""
        if usual is not None:
            header = {**self.file_.header, "anomalies": usual.to_dict()}
            self.adopt(replace(self.file_, header=header), self._network)

    @property
    def network_(self) -> ForecastNetwork:
        """The trained network in torch, in evaluation mode."""
        return cast(ForecastNetwork, super().network_)

    @property
    def steps(self) -> int:
        """The steps that the network forecasts at once."""
        return 1 if self.mode == "recursive" else self.horizon

    def build(self) -> ForecastNetwork:
        """Build the untrained network for the parameters and the preparation."""
        encoding, reads = self.prepared_.encoding, self.prepared_.reads
        return ForecastNetwork(
            self.equations,
            encoding.input_size,
            int(self.hidden_size),
            int(self.num_layers),
            self.steps,
            self.dropout,
            None if reads is None else reads.size(encoding.input_size),
            len(encoding.known),
            (len(encoding.numbers), encoding.sizes),
            self.output,
            int(self.members),
        )
