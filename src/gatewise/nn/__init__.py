"""Recurrent layers as torch modules."""

from gatewise.extras import needed_by

with needed_by("gatewise.nn"):
    from gatewise.nn.modules.recurrent import Recurrent
    from gatewise.nn.modules.step import GRUCell, LSTMCell, RNNCell, Step
    from gatewise.nn.modules.torch_names import GRU, LSTM, RNN

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "Recurrent", "Step"]
