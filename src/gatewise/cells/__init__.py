"""The equations of the cells that ship with the package."""

from gatewise.cells.classic import gru, lstm, rnn, rnn_relu
from gatewise.cells.variants import (
    gru_d,
    gru_layer_norm,
    gru_reset_before,
    indrnn,
    janet,
    lstm_clipped,
    lstm_coupled,
    lstm_hard_sigmoid,
    lstm_layer_norm,
    lstm_peephole,
    lstm_projected,
    mgu,
    min_gru,
    min_lstm,
    slstm,
    sru,
    ugrnn,
)

__all__ = [
    "gru", "lstm", "rnn", "rnn_relu",
    "lstm_peephole", "lstm_coupled", "lstm_projected", "lstm_layer_norm", "lstm_clipped", "lstm_hard_sigmoid",
    "gru_reset_before", "gru_layer_norm", "gru_d", "mgu", "janet", "ugrnn", "indrnn", "sru",
    "min_lstm", "min_gru", "slstm",
]  # fmt: skip
