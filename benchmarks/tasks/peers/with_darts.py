from forecasting import Exam

exam = Exam()

import logging
import warnings

import numpy as np
import torch

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
import darts
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import BlockRNNModel, RNNModel

torch.set_num_threads(1)
scaler = Scaler()
train = scaler.fit_transform(TimeSeries.from_series(exam.train)).astype(np.float32)
common = {
    "model": "LSTM",
    "hidden_dim": exam.hidden_size,
    "n_rnn_layers": 1,
    "batch_size": exam.batch_size,
    "random_state": exam.seed,
    "pl_trainer_kwargs": {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_steps": exam.steps,
        "max_epochs": -1,
    },
}
models = {
    "RNNModel": lambda: RNNModel(exam.history, training_length=exam.history + exam.horizon, **common),
    "BlockRNNModel": lambda: BlockRNNModel(exam.history, exam.horizon, **common),
}


def predict(model, histories):
    series = [scaler.transform(TimeSeries.from_series(h)).astype(np.float32) for h in histories]
    made = model.predict(exam.horizon, series=series, verbose=False)
    return np.stack([scaler.inverse_transform(one).values()[:, 0] for one in made])


for name in exam.models:
    exam.begin()
    model = models[name]()
    model.fit(train)
    exam.mark("fit")
    forecasts = predict(model, exam.histories)
    exam.mark("predict")
    predict(model, exam.histories[-1:])
    exam.mark("first")
    for _ in range(10):
        predict(model, exam.histories[-1:])
    exam.mark("ten")
    exam.report(forecasts, version=darts.__version__)
