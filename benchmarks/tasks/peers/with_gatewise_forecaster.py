from forecasting import Exam

exam = Exam()

import lightning.pytorch  # noqa: F401  `fit` imports it otherwise
import numpy as np
import torch

import gatewise
from gatewise.tasks import Forecaster, TimeSeries

torch.set_num_threads(1)
exam.mark("import")
train = TimeSeries.from_frame(exam.train.to_frame(), "y")
forecaster = Forecaster(exam.horizon, cell=exam.model, seed=exam.seed).fit(train)
exam.mark("fit")
whole = TimeSeries.from_frame(exam.series.to_frame(), "y")
tested = forecaster.backtest(whole, first=len(train))
rows = [int(np.flatnonzero(tested.origins == origin)[0]) for origin in exam.origins]
exam.mark("predict")
one = TimeSeries.from_frame(exam.series.iloc[: exam.origins[-1] + 1].to_frame(), "y")
forecaster.predict(one)
exam.mark("first")
for _ in range(10):
    forecaster.predict(one)
exam.mark("ten")
version = gatewise.__version__
exam.report(tested.forecasts["model"][rows], version=version, all_origins=len(tested.origins))
