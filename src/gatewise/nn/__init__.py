"""Recurrent layers as torch modules."""

from gatewise.extras import needed_by

with needed_by("gatewise.nn"):
    from gatewise.nn.classic import GRU, LSTM, RNN
    from gatewise.nn.recurrent import Recurrent
    from gatewise.nn.step import GRUCell, LSTMCell, RNNCell, Step

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell", "Recurrent", "Step"]
