"""What keeps a call from the compiled kernels, in words, and what would let it through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.nn.tracing import constant
from gatewise.nn.weights import Weights

COMPILED = {torch.float32: "float32", torch.float64: "float64"}
_PLAIN = {Tensor, torch.nn.Parameter}
_INSTEAD = {"vmap": "call the layer outside of it, on one batch", "grad": "use torch.autograd.grad"}


class Obstacle(NamedTuple):
    """Why a call goes to the eager interpreter, and what to do about it."""

    reason: str
    remedy: str


GRADIENT_OF_GRADIENT = Obstacle(
    "its gradient is to be differentiated again (create_graph=True)", "leave create_graph=True out"
)


def obstacles(x: Tensor, weights: Weights, states: Sequence[Tensor]) -> Iterator[Obstacle]:
    """Everything that keeps the kernels from this call; nothing where they serve it.

    They serve plain CPU tensors of one type, float32 or float64, with no transform around them.
    """
    tensors = [x, *states, *weights.flat]
    if {t.is_cpu for t in tensors} != {True}:
        devices = _listed(t.device for t in tensors)
        yield Obstacle(f"its tensors lie on {devices}", 'move the model and its input to "cpu"')
    types = {t.dtype for t in tensors}
    if len(types) > 1 or x.dtype not in COMPILED:
        yield Obstacle(f"its tensors are {_listed(types)}", "use model.float() and an input of that type")
    # torch.export without Dynamo traces with subclasses of its own.
    exporting = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
    if not exporting and not {type(t) for t in tensors} <= _PLAIN:
        kinds = _listed(type(t).__name__ for t in tensors if type(t) not in _PLAIN)
        yield Obstacle(f"its tensors are of a subclass ({kinds})", "pass plain tensors")
    transform = _transform()
    if transform:
        remedy = _INSTEAD.get(transform, "call the layer outside of it")
        yield Obstacle(f"a transform of torch.func is around it ({transform})", remedy)
    if _differentiates_forwards():
        yield Obstacle("forward-mode differentiation is around it", "call the layer outside of it")


@constant  # a tracer of what a transform is around is under it too
def _transform() -> str:
    """The transform of `torch.func` that is around us, if any."""
    transform = torch._C._functorch.peek_interpreter_stack()
    return "" if transform is None else str(transform.key().name.lower())


@constant
def _differentiates_forwards() -> bool:
    return torch.autograd.forward_ad._current_level >= 0


def _listed(things: Iterable[object]) -> str:
    return ", ".join(sorted({str(thing) for thing in things}))
