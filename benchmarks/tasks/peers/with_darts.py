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
scalers = [Scaler() for _ in exam.train]
train = [
    scaler.fit_transform(TimeSeries.from_series(one)).astype(np.float32)
    for scaler, one in zip(scalers, exam.train, strict=True)
]
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


def predict(model, some):
    own = [scalers[place] for place in exam.places[some]]
    histories = [TimeSeries.from_series(history) for history in exam.histories[some]]
    series = [s.transform(one).astype(np.float32) for s, one in zip(own, histories, strict=True)]
    made = model.predict(exam.horizon, series=series, verbose=False)
    return np.stack([s.inverse_transform(one).values()[:, 0] for s, one in zip(own, made, strict=True)])


for name in exam.models:
    exam.begin()
    model = models[name]()
    model.fit(train)
    exam.mark("fit")
    forecasts = predict(model, slice(None))
    exam.mark("predict")
    predict(model, slice(-1, None))
    exam.mark("first")
    for _ in range(10):
        predict(model, slice(-1, None))
    exam.mark("ten")
    exam.report(forecasts, version=darts.__version__)
