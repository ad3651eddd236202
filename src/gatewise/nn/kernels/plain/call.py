"""Plain calls: preparing them, checking their tensors, and running them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from gatewise.compiler.run.threads import available
from gatewise.language import Cell
from gatewise.nn.kernels.autograd import again, derivatives
from gatewise.nn.kernels.layout import Sizes
from gatewise.nn.kernels.plain.backward import PlainBackward
from gatewise.nn.kernels.plain.common import Common, Shapes
from gatewise.nn.kernels.plain.forward import PlainForward
from gatewise.nn.walk.obstacles import COMPILED, PLAIN, unseen
from gatewise.nn.walk.storage import is_stored
from gatewise.nn.walk.walk import Walk


class Results(NamedTuple):
    """The results of a call: the output (None for a single step), and the final states."""

    output: Tensor | None
    finals: Sequence[Tensor]


def prepare(
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Mapping[str, Tensor | None],
    names: Sequence[str],
    results: Results,
    batch_first: bool,
) -> Plain | None:
    """Prepare calls like one that has just succeeded. Returns None if it was not a plain call."""
    weights = {name: weight for name in names if (weight := parameters.get(name)) is not None}
    given = [x, *weights.values(), *states]
    whole = all(type(t) in PLAIN and t.is_cpu and t.is_contiguous() for t in given)
    if not whole or len(weights) < len(names) or x.dtype not in COMPILED or not x.numel():
        return None
    output, finals = results
    H, P = weights[names[0]].size(0) // len(cell.input_gates), finals[0].size(-1)
    if output is None:
        T, B = 1, 1 if x.dim() == 1 else len(x)
    else:
        T, B = (len(x), 1) if x.dim() == 2 else x.shape[:2][:: -1 if batch_first else 1]
    biased = any(name.startswith("bias_ih") for name in names)
    walk = Walk.without_tensors(
        cell, biased, bool(states), batch_first=batch_first and x.dim() == 3, inner=output is None
    )
    shapes = Shapes(
        x.shape,
        None if output is None else output.shape,
        tuple(final.shape for final in finals),
        {name: weight.shape for name, weight in weights.items()},
    )
    threads = available(torch.get_num_threads())
    plain = Plain(Common(walk, Sizes(T, B, x.size(-1), H, P), shapes, x.dtype, threads))
    return plain if plain.expected.addresses(given) is not None else None


@final
class Plain:
    """The prepared plain calls of one layer, for certain shapes.

    Attributes:
        common: what forward and backward have in common.
        several: whether the cell has several states.
        expected: the shapes and the type that input, weights and initial states must have.
        trains: whether calls with gradients are prepared too.
        forward, backward: the kernels.
    """

    def __init__(self, common: Common) -> None:
        self.common = common
        cell, shapes, dtype = common.walk.cell, common.shapes, common.dtype
        self.several = len(cell.states) > 1
        given = [shapes.x, *shapes.weights.values(), *shapes.states[: len(common.walk.states or ())]]
        tape = torch.Size((common.tape.size,))
        self.expected = Expected(given, dtype)
        self._expected_tape, self._expected_saved = Expected([tape], dtype), Expected([*given, tape], dtype)
        # Other cells need more gradients than those by the weights and biases of gates.
        self.trains = not (cell.vectors or cell.linears or cell.projects or cell.seen.op != "state")
        self.forward, self.backward = PlainForward(common), PlainBackward(common)

    @property
    def dtype(self) -> torch.dtype:
        """The type of all tensors."""
        return self.common.dtype

    def __call__(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor | None],
        frozen: bool = False,
    ) -> Sequence[Tensor] | None:
        """Run a call. Returns the output (unless it is a single step), and the final states.

        Returns None if a tensor is not as expected, or if gradients are needed that are not prepared. Without
        gradients, `frozen` weights stay packed between calls.
        """
        tensors: list[Any] = [x, *map(parameters.get, self.common.shapes.weights), *states]
        addresses = self.expected.addresses(tensors)
        if addresses is None:
            return None
        if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
            return self.forward(x, addresses, None, tensors if frozen else None)
        if not self.trains:
            return None
        if self.common.walk.batch_first:
            # As in torch, since users may change such an input in place: x += layer(x)[0].
            tensors[0] = x = x.clone()
            addresses[0] = x.data_ptr()
        found: Sequence[Tensor] = _apply(self, addresses, *tensors)
        return found

    def can_go_back(
        self, saved: Sequence[Tensor], addresses: Sequence[int], by_results: Sequence[Tensor | None]
    ) -> bool:
        """Whether the backward kernel can compute the gradient.

        It can unless the gradient is differentiated again or watched, or a tensor has changed its shape or
        type. `saved` are the tensors of the call and the tape, `addresses` their addresses in forward.

        Raises:
            RuntimeError: the tape has another shape or type, as hooks on saved tensors may cause.
        """
        if torch.is_grad_enabled() or not unseen():
            return False
        common = self.common
        if not fit(by_results, common.shapes.results, common.dtype):
            return False
        if self._expected_saved.are_at(saved, addresses):
            return True
        *tensors, tape = saved
        if self.expected.addresses(tensors) is None:
            return False
        if self._expected_tape.addresses([tape]) is None:
            raise RuntimeError(
                f"{common.walk.cell.name}: a tensor saved for backward must come back as {common.dtype} of "
                f"shape {(common.tape.size,)}. Got {tape.dtype} {tuple(tape.shape)}."
            )
        return True

    def again(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Compute the results again, in torch operations."""
        shapes, walk, (T, B, I, _, _) = self.common.shapes, self.common.walk, self.common.sizes
        n = 1 + len(shapes.weights)
        x = tensors[0].view(*((B, T) if walk.batch_first else (T, B)), I)
        states = [state.view(B, -1) for state in tensors[n:]]
        found = again(walk.filled(iter([x, *tensors[1:n], *states])))
        results = found.states if shapes.output is None else found.differentiable
        return [result.view(shape) for result, shape in zip(results, shapes.results, strict=True)]


@final
class Expected:
    """The expected tensors: contiguous, all of one type, each with a certain shape."""

    def __init__(self, shapes: Sequence[torch.Size], dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._shapes = [(shape, prod(shape) * dtype.itemsize) for shape in shapes]  # with bytes

    def addresses(self, tensors: Sequence[Any]) -> list[int] | None:
        """The addresses of tensors, or None if one is not as expected."""
        if len(tensors) != len(self._shapes):
            return None
        dtype, itemsize, strided = self._dtype, self._dtype.itemsize, torch.strided
        found = []
        try:
            for tensor, (shape, nbytes) in zip(tensors, self._shapes, strict=True):
                if not (
                    type(tensor) in PLAIN
                    and tensor.shape == shape
                    and tensor.dtype is dtype
                    and tensor.is_cpu
                    and tensor.layout is strided
                    and tensor.is_contiguous()
                    and not tensor.is_neg()
                    and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                ):
                    return None
                address = tensor.data_ptr()
                if not address and nbytes:  # a tensor of zeros without memory
                    return None
                found.append(address)
        except RuntimeError:  # the tensor has no storage
            return None
        return found

    def are_at(self, tensors: Sequence[Tensor], addresses: Sequence[int]) -> bool:
        """Whether tensors that were as expected still have their memory at these addresses."""
        itemsize = self._dtype.itemsize
        try:
            return all(
                tensor.data_ptr() == address
                and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                for tensor, address, (_, nbytes) in zip(tensors, addresses, self._shapes, strict=True)
            )
        except RuntimeError:  # it is not a plain tensor any more
            return False


def fit(gradients: Sequence[Tensor | None], shapes: Sequence[torch.Size], dtype: torch.dtype) -> bool:
    """Whether kernels can read these gradients of results, contiguous or not."""
    for by, shape in zip(gradients, shapes, strict=True):
        if by is not None and not (
            type(by) in PLAIN
            and by.shape == shape
            and by.dtype is dtype
            and by.is_cpu
            and not by.is_neg()
            and is_stored(by)
        ):
            return False
    return True


@final
class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Plain, addresses: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
        tape = plain.common.new_tape(tensors[0])
        results = plain.forward(tensors[0], addresses, tape)
        ctx.plain, ctx.addresses = plain, [*addresses, tape.data_ptr()]
        ctx.save_for_backward(*tensors, tape)
        ctx.set_materialize_grads(False)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *by_results: Tensor | None) -> tuple[Tensor | None, ...]:
        plain: Plain = ctx.plain
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        *tensors, tape = saved
        if not plain.can_go_back(saved, ctx.addresses, by_results):
            return None, None, *derivatives(plain.again, tensors, needed, by_results)
        return None, None, *plain.backward(tensors, tape, needed, by_results)


# `Function.apply` without its work for transforms of torch.func, because no transform is active here.
_apply: Any = super(torch.autograd.Function, _Plain).apply
