from forecasting import Exam

exam = Exam()

import lightning.pytorch  # noqa: F401  `fit` imports it otherwise
import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import gatewise
from gatewise.tasks import Forecaster, TimeSeries

torch.set_num_threads(1)
train = TimeSeries.from_frame(exam.train.to_frame(), "y")
whole = TimeSeries.from_frame(exam.series.to_frame(), "y")
one = TimeSeries.from_frame(exam.series.iloc[: exam.origins[-1] + 1].to_frame(), "y")
steps = []  # an entry for each step of training
register_optimizer_step_post_hook(lambda *_: steps.append(None))
for model in exam.models:
    cell, _, without = model.partition(", no ")
    steps.clear()
    exam.begin()
    forecaster = Forecaster(exam.horizon, cell=cell, seed=exam.seed, refit=without != "refit").fit(train)
    exam.mark("fit")
    tested = forecaster.backtest(whole, first=len(train))
    exam.mark("predict")
    rows = [int(np.flatnonzero(tested.origins == origin)[0]) for origin in exam.origins]
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
