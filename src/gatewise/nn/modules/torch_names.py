"""The recurrent layers of `torch.nn`: same arguments, same parameters, same results."""

from __future__ import annotations

from gatewise import cells
from gatewise.nn.modules.arguments import LayerArguments, RNNArguments, takes
from gatewise.nn.modules.recurrent import Recurrent


class _Classic(Recurrent):
    """Base class of layers whose class determines the cell."""

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, as `torch.nn` prints them."""
        return self._sizes()


class LSTM(_Classic):
    """Long short-term memory, a replacement for `torch.nn.LSTM`: gates ``i f g o``, states ``h, c``.

    Arguments (also the keyword-only ones), shapes and errors are those of `Recurrent`. ``hx`` is
    ``(h_0, c_0)``.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, (h_n, c_n) = nn.LSTM(10, 20)(torch.randn(5, 3, 10))
        >>> output.shape, c_n.shape
        (torch.Size([5, 3, 20]), torch.Size([1, 3, 20]))
    """

    @takes(LayerArguments)
    def __init__(self, given: LayerArguments) -> None:
        self._set_up(cells.lstm, given)


class GRU(_Classic):
    """Gated recurrent unit, a replacement for `torch.nn.GRU`: gates ``r z n``, state ``h``.

    Arguments (also the keyword-only ones), shapes and errors are those of `Recurrent`, without a projection.

    Source: Cho et al. 2014, with the reset after the product.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, h_n = nn.GRU(10, 20, bidirectional=True)(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    @takes(LayerArguments)
    def __init__(self, given: LayerArguments) -> None:
        _no_projection(given.proj_size)
        self._set_up(cells.gru, given)


class RNN(_Classic):
    """Elman network, a replacement for `torch.nn.RNN`: one gate ``a``, state ``h``.

    Arguments (also the keyword-only ones), shapes and errors are those of `Recurrent`, without a projection.
    `nonlinearity` is ``"tanh"`` or ``"relu"``.

    Source: Elman 1990; rectified: Le, Jaitly & Hinton 2015.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, h_n = nn.RNN(10, 20, nonlinearity="relu")(torch.randn(5, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 20]), torch.Size([1, 20]))
    """

    @takes(RNNArguments)
    def __init__(self, given: RNNArguments) -> None:
        _no_projection(given.proj_size)
        if given.nonlinearity not in RNN_CELLS:
            raise ValueError(f"Unknown nonlinearity '{given.nonlinearity}'. Select from 'tanh' or 'relu'.")
        self._set_up(RNN_CELLS[given.nonlinearity], given)
        self.nonlinearity = given.nonlinearity


RNN_CELLS = {"tanh": cells.rnn, "relu": cells.rnn_relu}


def _no_projection(proj_size: int) -> None:
    if proj_size:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
