"""The equations of the cells that ship with the package."""

from gatewise.cells.classic import gru, lstm, rnn, rnn_relu

__all__ = ["gru", "lstm", "rnn", "rnn_relu"]
