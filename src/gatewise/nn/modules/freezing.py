"""`freeze` and `unfreeze`: keep weights packed between calls."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gatewise.nn.modules.layer import Layer

_Model = TypeVar("_Model", bound=nn.Module)


def freeze(model: _Model) -> _Model:
    """Keep the weights of recurrent layers packed between calls, for faster inference on few rows.

    Kernels read weights in an order of their own, so weights are packed at every call. This takes as long as
    some steps of one row. In a frozen model, weights are packed once, and again after a weight has changed:
    after it was replaced by another tensor, or its version counter changed (an optimiser and
    `load_state_dict` change it). The results have the same bits. Packed weights need as much memory as the
    weights, for each shape of input and for each thread.

    Only these calls are faster: layers with one direction and one layer, and single steps, without gradients
    (`torch.no_grad`), whose work is too little for several threads. Other calls compute as before.

    Args:
        model: any module with layers of `gatewise.nn` or accelerated ones inside, changed in place.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.

    Note:
        A change through ``weight.data`` does not change the version counter. Call `freeze` again after it.

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
    """Undo `freeze`, and free the memory of packed weights.

    Args:
        model: any module, changed in place.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.

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
            module._frozen = frozen  # this also drops prepared calls, with their packed weights
    return model
