from forecasting import Exam

exam = Exam()

import lightning.pytorch  # noqa: F401  `fit` imports it otherwise
import pandas as pd
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import gatewise
from gatewise.tasks import Forecaster, Panel, TimeSeries

torch.set_num_threads(1)


def data(parts, places):
    frames = [part.to_frame().assign(id=place) for part, place in zip(parts, places, strict=True)]
    if len(exam.series) == 1:
        return TimeSeries.from_frame(frames[0], "y")
    return Panel.from_frame(pd.concat(frames), "y", "id")


places = range(len(exam.series))
whole = data(exam.series, places)
train = data([one.iloc[:count] for one, count in zip(exam.series, exam.rows, strict=True)], places)
last = int(exam.places[-1])
one = data([exam.series[last].iloc[: exam.origins[-1] + 1]], [last])
steps = []  # an entry for each step of training
register_optimizer_step_post_hook(lambda *_: steps.append(None))
for model in exam.models:
    cell, _, without = model.partition(", no ")
    steps.clear()
    exam.begin()
    forecaster = Forecaster(exam.horizon, cell=cell, seed=exam.seed, refit=without != "refit").fit(train)
    exam.mark("fit")
    tested = forecaster.backtest(whole, first=exam.rows if len(exam.series) > 1 else exam.rows[0])
    exam.mark("predict")
    whose = [0] * len(tested.origins) if tested.series is None else [tested.ids[n] for n in tested.series]
    found = {found: row for row, found in enumerate(zip(map(int, whose), tested.origins, strict=True))}
    rows = [found[key] for key in zip(exam.places.tolist(), exam.origins, strict=True)]
    forecaster.predict(one)
    exam.mark("first")
    for _ in range(10):
        forecaster.predict(one)
    exam.mark("ten")
    about = {
        "version": gatewise.__version__,
        "steps": len(steps),
        "all_origins": len(tested.origins),
    }
    exam.report(tested.forecasts["model"][rows], **about)
