"""A limit on the memory and time for computing the constants of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from gatewise.interop.onnx import OnnxError

_MOST_OPERATIONS = 20_000  # torch operations; they take some 10 s


class Limit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that limits the memory of the results of torch operations to `size` bytes in all.

    Each operation runs first on the device "meta", whose tensors have sizes but no memory. It is refused if
    its result would exceed what is left of `size`, or if there have been too many operations.
    """

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size = self.left = size
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation if its result fits."""
        kwargs = kwargs or {}
        self.operations += 1
        if self.operations > _MOST_OPERATIONS:
            raise OnnxError(f"the constants of the file take more than {_MOST_OPERATIONS} operations")
        self.left -= _needed(func, args, kwargs)
        if self.left < 0:
            raise OnnxError(f"the constants computed from those of the file need more than {self.size} bytes")
        return func(*args, **kwargs)


def _needed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """The bytes that the results of an operation need, apart from memory shared with its inputs."""
    args, kwargs = tree_map(_without_memory, (list(args), dict(kwargs)))
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not given and "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        found = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
    except (NotImplementedError, RuntimeError):
        return 0  # the size depends on values, or the operation fails anyway
    old = {x.untyped_storage()._cdata for x in given}
    new = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in found}
    return sum(size for storage, size in new.items() if storage not in old)


def _without_memory(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf
