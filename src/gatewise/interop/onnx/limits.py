"""A limit on what the constants of a file may cost, checked before they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from gatewise.interop.onnx import OnnxError

_MOST_OPERATIONS = 20_000  # of torch, some 10 s


class Limit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, every operator of torch is first asked how much memory its result needs.

    It is asked on torch's device "meta", on which tensors have sizes and no memory. One whose result would
    exceed what is left of `size` bytes is an error in place of a result. So is one too many of them.
    """

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size = self.left = size
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator whose result fits."""
        kwargs = kwargs or {}
        self.operations += 1
        if self.operations > _MOST_OPERATIONS:
            raise OnnxError(f"the constants of the file take more than {_MOST_OPERATIONS} operations")
        self.left -= _needed(func, args, kwargs)
        if self.left < 0:
            raise OnnxError(f"the constants computed from those of the file need more than {self.size} bytes")
        return func(*args, **kwargs)


def _needed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """The bytes that the results of an operator need beyond those of its inputs."""
    args, kwargs = tree_map(_without_memory, (list(args), dict(kwargs)))
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not given and "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        found = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
    except (NotImplementedError, RuntimeError):
        return 0  # its size depends on the values, or it fails for real, too
    old = {x.untyped_storage()._cdata for x in given}
    new = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in found}
    return sum(size for storage, size in new.items() if storage not in old)


def _without_memory(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf
