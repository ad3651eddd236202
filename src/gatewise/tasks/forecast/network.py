"""The forecasting network.

Shapes: ``T`` steps of history, ``B`` windows, ``I`` inputs, ``H`` hidden units, ``S`` forecasts per window
(one at each of its last ``S`` steps), ``K`` steps of the horizon. Time first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent
from gatewise.runtime.jobs.distributions import SIZES
from gatewise.tasks.forecast.heads import SpreadPart
from gatewise.tasks.forecast.linear import Linear
from gatewise.tasks.forecast.parts import AheadPart, AttributePart
from gatewise.tasks.forecast.windows import Batch
from gatewise.tasks.shared.dropping import Dropout


class ForecastNetwork(nn.Module):
    """A recurrent network that corrects a linear forecast.

    The forecast for each of the ``K`` steps ahead is the last known value, moved by a learned share towards
    the seasonal naive forecast, plus a linear map of values of the past, plus a linear map of the network's
    output. The first map is fitted in closed form and stays as it is; see `gatewise.tasks.forecast.linear`.
    The shares and the second map start at zero, so the untrained network is the linear forecast. (A recurrent
    part beside a linear one: Lai et al. 2018.)

    Args:
        cell, input_size, hidden_size, num_layers: of the recurrent layers.
        horizon: K.
        dropout: share of the layers' outputs that is dropped in training.
        read: L, how many values the linear map reads; None without a linear map.
        known: F, how many inputs are known for the steps that are forecast.
        attributes: Z, how many numbers describe a series, and the number of classes of each category.
        output: what is forecast: "point", "quantiles" or another kind of `distributions.SIZES`.
        members: networks that are trained at once, and whose corrections are averaged.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        horizon: int,
        dropout: float,
        read: int | None = None,
        known: int = 0,
        attributes: tuple[int, tuple[int, ...]] = (0, ()),
        output: str = "point",
        members: int = 1,
    ) -> None:
        super().__init__()
        alike = cell, input_size, hidden_size, num_layers, horizon, dropout, None, known, attributes
        described = AttributePart(*attributes)
        self.attributes = described if described.size else None
        input_size += described.size
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = Recurrent(cell, input_size, hidden_size, num_layers, dropout=between)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden_size, horizon)
        self.share = nn.Parameter(torch.zeros(horizon))
        self.linear = None if read is None else LinearPart(read, horizon)
        self.spread = SpreadPart(output, hidden_size, horizon) if SIZES[output] else None
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.ahead = AheadPart(hidden_size, known) if known else None
        self.others = nn.ModuleList(ForecastNetwork(*alike) for _ in range(members - 1))

    @property
    def further(self) -> dict[str, str]:
        """The recurrent layers beside the main ones: for a name in the file, their path in the network."""
        return {f"member_{k + 2}": f"others.{k}.recurrent" for k in range(len(self.others))}

    @property
    def forecasts_means(self) -> bool:
        """Whether forecasts are means, as for counts, or medians."""
        return self.spread is not None and self.spread.output == "negative-binomial"

    def temper(self) -> None:
        """Halve all corrections. The forecast is then the mean of the linear and the corrected one.

        A network that corrects what a regression misses follows the noise of the past, too. The mean of both
        is better on most series.
        """
        with torch.no_grad():
            for correction in (self.head.weight, self.head.bias, self.share):
                correction *= 0.5
            if self.ahead is not None:
                self.ahead.out.weight *= 0.5
        for other in self._others:
            other.temper()

    def forward(self, batch: Batch) -> Tensor:
        """The forecasts at the last ``S`` steps of each window, ``[S, B, K]`` in scaled units."""
        return self.with_output(batch)[0]

    def with_output(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The forecasts, and the output of the first member's layers ``[S, B, H]``."""
        forecasts, output = self.each(batch)
        return (torch.stack(forecasts).mean(0) if len(forecasts) > 1 else forecasts[0]), output

    def each(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The forecasts of each member, and the output of the first one's layers."""
        first, output = self._corrected(batch)
        forecasts = [first, *(other._corrected(batch)[0] for other in self._others)]
        if self.linear is not None:
            line = batch.line if batch.line.shape[-1] else self.linear(batch.lags)
            forecasts = [forecast + line for forecast in forecasts]
        return forecasts, output

    @property
    def _others(self) -> list[ForecastNetwork]:
        return [other for other in self.others if isinstance(other, ForecastNetwork)]

    def _corrected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The forecasts of the first member without the linear part, and the output of its layers."""
        inputs = batch.inputs
        if self.attributes is not None:
            described = self.attributes(batch.numbers, batch.categories)
            inputs = torch.cat([inputs, described.expand(len(inputs), *described.shape)], -1)
        output = self.dropout(self.recurrent(inputs)[0][-len(batch.last) :])
        level = batch.last[..., None]
        forecast: Tensor = level + self.share * (batch.seasonal - level) + self.head(output)
        if self.ahead is not None:
            forecast = forecast + self.ahead(output, batch.ahead)
        return forecast, output


class LinearPart(nn.Module):
    """A linear map that is not trained."""

    weight: Tensor
    bias: Tensor

    def __init__(self, read: int, horizon: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(horizon, read))
        self.register_buffer("bias", torch.zeros(horizon))

    @classmethod
    def of(cls, linear: Linear) -> LinearPart:
        """A fitted map."""
        part = cls(*linear.weight.T.shape)
        part.set(linear)
        return part

    def set(self, linear: Linear) -> None:
        """Take over a fitted map."""
        self.weight.copy_(torch.from_numpy(linear.weight))
        self.bias.copy_(torch.from_numpy(linear.bias))

    def forward(self, read: Tensor) -> Tensor:
        """The map of ``[..., L]``, ``[..., K]``."""
        return nn.functional.linear(read, self.weight, self.bias)
