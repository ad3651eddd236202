"""The recurrent layers of `torch.nn`: same arguments, same parameters, same results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch

from gatewise import cells
from gatewise.nn.modules.recurrent import Recurrent


class Options(TypedDict, total=False):
    """What every layer takes besides the arguments of `torch.nn`, as `Recurrent` explains it."""

    checkpoint: int
    zoneout: float | Sequence[float]
    recurrent_dropout: float
    weight_drop: float
    init: str
    forget_bias: float | None
    max_steps: int | None
    learn_initial_state: bool


class _Classic(Recurrent):
    """A layer whose class says which cell it runs."""

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, as `torch.nn` prints them."""
        return self._sizes()


class LSTM(_Classic):
    """Long short-term memory, in place of `torch.nn.LSTM`: gates ``i f g o``, states ``h, c``.

    Arguments, shapes and errors are those of `Recurrent`, those by name (``zoneout=0.1``) too; ``hx`` is
    ``(h_0, c_0)``.

    Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000; projection: Sak et al. 2014.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, (h_n, c_n) = nn.LSTM(10, 20)(torch.randn(5, 3, 10))
        >>> output.shape, c_n.shape
        (torch.Size([5, 3, 20]), torch.Size([1, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **more: Unpack[Options],
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__(cells.lstm, input_size, hidden_size, *options, **more)


class GRU(_Classic):
    """Gated recurrent unit, in place of `torch.nn.GRU`: gates ``r z n``, state ``h``.

    Arguments, shapes and errors are those of `Recurrent`, those by name too, without projection.

    Source: Cho et al. 2014, with the reset after the product.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, h_n = nn.GRU(10, 20, bidirectional=True)(torch.randn(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **more: Unpack[Options],
    ) -> None:
        _no_projection(proj_size)
        options = (num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__(cells.gru, input_size, hidden_size, *options, **more)


class RNN(_Classic):
    """Elman network, in place of `torch.nn.RNN`: one gate ``a``, state ``h``.

    Arguments, shapes and errors are those of `Recurrent`, those by name too, without projection;
    `nonlinearity` is ``"tanh"`` or ``"relu"``.

    Source: Elman 1990; rectified: Le, Jaitly & Hinton 2015.

    Example:
        >>> import torch
        >>> from gatewise import nn
        >>> output, h_n = nn.RNN(10, 20, nonlinearity="relu")(torch.randn(5, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 20]), torch.Size([1, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **more: Unpack[Options],
    ) -> None:
        _no_projection(proj_size)
        if nonlinearity not in RNN_CELLS:
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        options = (num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__(RNN_CELLS[nonlinearity], input_size, hidden_size, *options, **more)
        self.nonlinearity = nonlinearity


RNN_CELLS = {"tanh": cells.rnn, "relu": cells.rnn_relu}


def _no_projection(proj_size: int) -> None:
    if proj_size:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
