from forecasting import Exam

exam = Exam()

import logging
import warnings

import pandas as pd
import torch

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
import neuralforecast
from neuralforecast import NeuralForecast
from neuralforecast.models import GRU, LSTM, DeepAR

torch.set_num_threads(1)
common = {
    "h": exam.horizon,
    "input_size": exam.history,
    "max_steps": exam.steps,
    "batch_size": min(len(exam.train), 32),  # series; 32 is the default
    "windows_batch_size": exam.batch_size,
    "random_seed": exam.seed,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
size = {"encoder_n_layers": 1, "encoder_hidden_size": exam.hidden_size}
models = {
    "LSTM": lambda: LSTM(**common, **size),
    "GRU": lambda: GRU(**common, **size),
    "DeepAR": lambda: DeepAR(
        **common, lstm_n_layers=1, lstm_hidden_size=exam.hidden_size, scaler_type="standard"
    ),
}


def frame(parts):
    rows = [pd.DataFrame({"unique_id": k, "ds": p.index, "y": p.to_numpy()}) for k, p in enumerate(parts)]
    return pd.concat(rows, ignore_index=True)


train, histories, one = frame(exam.train), frame(exam.histories), frame(exam.histories[-1:])
for name in exam.models:
    exam.begin()
    forecaster = NeuralForecast([models[name]()], freq=exam.step)
    forecaster.fit(train)
    exam.mark("fit")
    made = forecaster.predict(histories)
    exam.mark("predict")
    forecaster.predict(one)
    exam.mark("first")
    for _ in range(10):
        forecaster.predict(one)
    exam.mark("ten")
    median = next(column for column in (f"{name}-median", name) if column in made.columns)
    forecasts = made[median].to_numpy().reshape(len(exam.histories), exam.horizon)
    exam.report(forecasts, version=neuralforecast.__version__)
