"""Trains the LSTM of the lesson that forecasts the temperature of the next 24 hours from those before.

It reads the temperature hour by hour and nothing else: neither the date nor the hour of the day. What it
knows of the time of day it must have kept from the hours before.

    python examples/lesson_weather.py [FILE]

It trains for two minutes on one core, on the hours before November; the lesson shows it the hours after.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

import gatewise
from gatewise import cells
from gatewise.nn import Recurrent

DATA = Path(gatewise.__file__).parent / "data" / "newark_weather_2013.csv"
UNITS, AHEAD, ROWS, STEPS, ITERATIONS, RATE = 24, 24, 32, 240, 400, 0.01
WARM_UP = 36  # hours of each sequence that are not marked: the network must first see a day
FIRST_NEW, DAYS_BEFORE = "2013-11-01", 7


def main(file: Path) -> None:
    """Train; write the weights and the hours that the network has not seen, with a week before them."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    series = temperatures()
    new = int(series.index.get_loc(FIRST_NEW + " 00:00"))  # type: ignore[arg-type]
    values: NDArray[np.float64] = series.to_numpy()
    mean, deviation = values[:new].mean(), values[:new].std()
    hours = torch.tensor((values - mean) / deviation, dtype=torch.float32)
    layer, readout = Recurrent(cells.lstm, 1, UNITS), nn.Linear(UNITS, AHEAD)
    with torch.no_grad():  # gates that begin with memories of 2 to 100 hours
        layer.get_parameter("bias_ih_l0")[UNITS : 2 * UNITS] += torch.logspace(0.2, 2, UNITS).sub(0.9).log()
    train(layer, readout, hours[:new])
    for name, error in errors(layer, readout, hours[new - 24 * DAYS_BEFORE :]).items():
        print(f"{name}: {error * deviation:.2f} °C of mean error over the next {AHEAD} hours")
    weights = {name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()}
    weights |= {"readout.weight": readout.weight, "readout.bias": readout.bias}
    weights |= {
        "series": torch.tensor(values[new - 24 * DAYS_BEFORE :]),
        "scale": torch.tensor([mean, deviation]),
    }
    about = {
        "gates": " ".join(cells.lstm.input_gates),
        "first": series.index[new - 24 * DAYS_BEFORE].isoformat(),
    }
    save_file({name: weight.detach().float().contiguous() for name, weight in weights.items()}, file, about)
    print(f"wrote {file}")


def temperatures() -> pd.Series:
    """The temperature in °C of each hour; missing ones lie on a line between their neighbours."""
    table = pd.read_csv(DATA, index_col="time", parse_dates=True)
    return table["temperature (°C)"].asfreq("h").interpolate()


def train(layer: nn.Module, readout: nn.Module, hours: Tensor) -> None:
    """Train on random stretches of the hours. After each hour the network says the next 24."""
    generator = np.random.default_rng(1)
    weights = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.AdamW(weights, RATE, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ITERATIONS)
    after = hours.unfold(0, AHEAD, 1)[1:]  # [hour, AHEAD]: what follows each hour
    for _ in range(ITERATIONS):
        starts = generator.integers(0, len(after) - STEPS, ROWS)
        x, target = (torch.stack([part[at : at + STEPS] for at in starts], 1) for part in (hours, after))
        forecast = readout(layer(x[..., None])[0])
        loss = F.smooth_l1_loss(forecast[WARM_UP:], target[WARM_UP:], beta=0.3)
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()


@torch.no_grad()
def errors(layer: nn.Module, readout: nn.Module, hours: Tensor) -> dict[str, float]:
    """The mean absolute error of the network after the first week, and of two forecasts without a network."""
    first = 24 * DAYS_BEFORE
    after = hours.unfold(0, AHEAD, 1)[1:][first:]
    now = slice(first, first + len(after))
    forecast = readout(layer(hours[:, None, None])[0])[now, 0]
    yesterday = hours.unfold(0, AHEAD, 1)[first - AHEAD + 1 :][: len(after)]
    forecasts = {"network": forecast, "as the day before": yesterday, "as now": hours[now, None]}
    return {name: float((values - after).abs().mean()) for name, values in forecasts.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "weather.safetensors"))
