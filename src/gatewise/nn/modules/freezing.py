"""`freeze` and `unfreeze`: weights that stay packed between calls."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gatewise.nn.modules.layer import Layer

_Model = TypeVar("_Model", bound=nn.Module)


def freeze(model: _Model) -> _Model:
    """Keep the weights of recurrent layers packed from call to call, for inference on few rows.

    Kernels read weights in an order of their own. Packing them takes as long as some steps of one row, and is
    done at every call. In a frozen model it is done once, and again when a weight has changed: when it is
    another tensor, or its version counter has moved, as by an optimiser or `load_state_dict`. Results are the
    same bits. Packed weights take as much memory again, for each shape of input and each thread that calls.

    It matters for layers of one direction that are not stacked, and for single steps, where no gradient is
    wanted (`torch.no_grad`) and the work is too little for several threads. Other calls compute as before.

    Args:
        model: any module with layers of `gatewise.nn` or accelerated ones inside, changed in place.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is no module.

    Note:
        A weight that is changed through ``weight.data`` moves no version counter. Call `freeze` again then.

    Example:
        >>> import torch, gatewise
        >>> layer = gatewise.freeze(gatewise.nn.LSTM(3, 8))
        >>> x = torch.randn(5, 1, 3)
        >>> with torch.no_grad():
        ...     output, _ = layer(x)
        >>> output.shape
        torch.Size([5, 1, 8])
    """
    return _set(model, True)


def unfreeze(model: _Model) -> _Model:
    """Undo `freeze`, and give the memory of packed weights back.

    Args:
        model: any module, changed in place.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is no module.

    Example:
        >>> import gatewise
        >>> layer = gatewise.unfreeze(gatewise.freeze(gatewise.nn.GRU(3, 8)))
    """
    return _set(model, False)


def _set(model: _Model, frozen: bool) -> _Model:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module. Got {type(model).__name__}.")
    for module in model.modules():
        if isinstance(module, Layer):
            module._frozen = frozen  # which drops what was prepared, packed weights among it
    return model
