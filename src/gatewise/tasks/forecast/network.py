"""The forecasting network.

Shapes: ``T`` steps of history, ``B`` windows, ``I`` inputs, ``H`` hidden units, ``S`` forecasts per window
(one at each of its last ``S`` steps), ``K`` steps of the horizon. Time first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatewise.language import Cell
from gatewise.nn.modules.recurrent import Recurrent


class ForecastNetwork(nn.Module):
    """A recurrent network that corrects the naive forecasts.

    The forecast for each of the ``K`` steps ahead is the last known value, moved by a learned share towards
    the seasonal naive forecast, plus a linear map of the network's output. The shares and the map start at
    zero, so the untrained network is the persistence forecast. (A recurrent part beside a linear one: Lai et
    al. 2018.)
    """

    def __init__(
        self, cell: Cell, input_size: int, hidden_size: int, num_layers: int, horizon: int, dropout: float
    ) -> None:
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = Recurrent(cell, input_size, hidden_size, num_layers, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, horizon)
        self.share = nn.Parameter(torch.zeros(horizon))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Tensor, last: Tensor, seasonal: Tensor) -> Tensor:
        """The forecasts at the last ``S`` steps of each window, ``[S, B, K]`` in scaled units."""
        output = self.recurrent(inputs)[0][-len(last) :]
        level = last[..., None]
        forecast: Tensor = level + self.share * (seasonal - level) + self.head(self.dropout(output))
        return forecast
