"""Why a call cannot run in a compiled kernel, in words, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

from gatewise.nn.walk.storage import is_stored
from gatewise.nn.walk.under_compile import constant

COMPILED = {torch.float32: "float32", torch.float64: "float64"}
PLAIN = {Tensor, torch.nn.Parameter}
_INSTEAD = {"vmap": "call the layer outside of it, on one batch", "grad": "use torch.autograd.grad"}


class Obstacle(NamedTuple):
    """A reason why a call is not compiled.

    Attributes:
        reason: the reason, as part of a sentence.
        remedy: what to do about it.
        torch_serves: whether torch's own operators can compute the call.
    """

    reason: str
    remedy: str
    torch_serves: bool = False


GRADIENT_OF_GRADIENT = Obstacle(
    "its gradient is differentiated again (create_graph=True)", "leave create_graph=True out"
)


WATCHED = Obstacle(
    "a dispatch mode of torch is active, and its rows are packed",
    "call the layer outside of it, or pad the rows",
)


def unseen() -> bool:
    """Whether no tracer, transform, dispatch mode or forward-mode differentiation is active."""
    return (
        _get_tracing_state() is None
        and peek_interpreter_stack() is None
        and forward_ad._current_level < 0
        and not _len_torch_dispatch_stack()
    )


def serves(tensors: Sequence[Tensor]) -> bool:
    """Whether kernels can read all these tensors: the fast form of `obstacles`.

    They can read plain CPU tensors of one type, float32 or float64, outside of transforms.

    Raises:
        RuntimeError: a storage is smaller than its tensor.
    """
    if _get_tracing_state() or peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        return False
    return readable(tensors)


def readable(tensors: Sequence[Tensor]) -> bool:
    """Whether these are plain CPU tensors of one type, float32 or float64, and boolean masks.

    Raises:
        RuntimeError: a storage is smaller than its tensor.
    """
    dtype = tensors[0].dtype
    if dtype not in COMPILED:
        return False
    for tensor in tensors:
        if type(tensor) not in PLAIN or not tensor.is_cpu or not is_stored(tensor):
            return False
        if tensor.dtype is not dtype and tensor.dtype is not torch.bool:  # a mask
            return False
    return True


def watched() -> bool:
    """Whether a dispatch mode of torch is active (a tracer, a FLOP counter). It must see all operators."""
    return bool(_len_torch_dispatch_stack())


def obstacles(tensors: Sequence[Tensor]) -> Iterator[Obstacle]:
    """All reasons why a call with these tensors (the input first) cannot be compiled."""
    if {t.is_cpu for t in tensors} != {True}:
        devices = _listed(t.device for t in tensors)
        remedy = 'move the model and its input to "cpu"'
        yield Obstacle(f"its tensors are on {devices}", remedy, torch_serves=True)
    types = {t.dtype for t in tensors} - {torch.bool}  # of a mask
    if len(types) > 1 or tensors[0].dtype not in COMPILED:
        remedy = "use model.float() and an input of that type"
        yield Obstacle(f"its tensors are {_listed(types)}", remedy, torch_serves=len(types) == 1)
    # torch.export without Dynamo traces with its own tensor subclasses.
    exporting = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
    if not exporting and not {type(t) for t in tensors} <= PLAIN:
        kinds = _listed(type(t).__name__ for t in tensors if type(t) not in PLAIN)
        yield Obstacle(f"its tensors are of a subclass ({kinds})", "pass plain tensors")
    around = transform()
    if traced():
        remedy = "call it outside, or use torch.export"
        yield Obstacle("it runs under torch.jit.trace", remedy, torch_serves=True)
    elif around:
        remedy = _INSTEAD.get(around, "call the layer outside of it")
        yield Obstacle(f"it runs under a transform of torch.func ({around})", remedy)
    elif not torch.compiler.is_compiling() and not all(
        is_stored(t) for t in tensors if type(t) in PLAIN and t.is_cpu
    ):
        yield Obstacle("a tensor has no memory of its own", "pass plain tensors")
    if _differentiates_forwards():
        yield Obstacle("it runs under forward-mode differentiation", "call the layer outside of it")


@constant  # while tracing, the tracer itself runs under the same transform
def transform() -> str:
    """The active transform of `torch.func`, or ""."""
    transform = peek_interpreter_stack()
    return "" if transform is None else str(transform.key().name.lower())


@constant
def _differentiates_forwards() -> bool:
    return forward_ad._current_level >= 0


@constant
def traced() -> bool:
    """Whether `torch.jit.trace` is active."""
    return _get_tracing_state() is not None


def _listed(things: Iterable[object]) -> str:
    return ", ".join(sorted({str(thing) for thing in things}))
