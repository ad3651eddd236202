"""Plain calls, prepared: one layer, rows of one length, nothing random, recorded or reset.

All that follows from equations, shapes, types and flags is found once, up to the array of fields that the
kernels read. A call compares its tensors with what was prepared for, copies the array, writes addresses into
it, and runs. Kernels and bits are those of `gatewise.nn.kernels.autograd`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from ctypes import Array, c_int64
from math import prod
from typing import Any, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from gatewise.compiler.run.program import CompiledCell, compiled, room, split
from gatewise.compiler.run.threads import available
from gatewise.language import Cell
from gatewise.nn.kernels.autograd import again, derivatives
from gatewise.nn.kernels.backward import Backward, graph_is_kept
from gatewise.nn.kernels.forward import Forward
from gatewise.nn.kernels.layout import Key, Layout, Sizes, layout
from gatewise.nn.kernels.prepared import Prepared
from gatewise.nn.kernels.weight_sums import WeightSums
from gatewise.nn.walk.obstacles import COMPILED, PLAIN, unseen
from gatewise.nn.walk.storage import is_stored
from gatewise.nn.walk.walk import Walk

_Expected: TypeAlias = tuple[torch.Size, int]  # the shape of a tensor, and its bytes


@final
class Shapes(NamedTuple):
    """Of the tensors that go in and come out.

    Attributes:
        x: the input as it is given.
        output: the output; None for a single step, which gives its states alone.
        states: the final states, and the initial ones where they are given.
        weights: by the names of the parameters, in the order of `Weights.flat`.
    """

    x: torch.Size
    output: torch.Size | None
    states: tuple[torch.Size, ...]
    weights: Mapping[str, torch.Size]


class Results(NamedTuple):
    """What a call gave: the output, None for a single step, and the final states."""

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
    """The plain calls like one that went well; None if that was not plain."""
    weights = {name: weight for name in names if (weight := parameters.get(name)) is not None}
    given = [x, *weights.values(), *states]
    whole = all(type(t) in PLAIN and t.is_cpu and t.is_contiguous() for t in given)
    if not whole or len(weights) < len(names) or x.dtype not in COMPILED or not x.numel():
        return None
    shapes = {name: weight.shape for name, weight in weights.items()}
    output, finals = results
    H, P = shapes[names[0]][0] // len(cell.input_gates), finals[0].size(-1)
    if output is None:
        T, B = 1, 1 if x.dim() == 1 else len(x)
    else:
        T, B = (len(x), 1) if x.dim() == 2 else x.shape[:2][:: -1 if batch_first else 1]
    sizes = Sizes(T, B, x.size(-1), H, P)
    biased = any(name.startswith("bias_ih") for name in names)
    walk = Walk.without_tensors(
        cell, biased, bool(states), batch_first=batch_first and x.dim() == 3, inner=output is None
    )
    of_output = None if output is None else output.shape
    plain = Plain(
        walk, sizes, Shapes(x.shape, of_output, tuple(f.shape for f in finals), shapes), x.dtype,
        available(torch.get_num_threads()),
    )  # fmt: skip
    return plain if plain.addresses(given, plain.expected) is not None else None


@final
class Plain:
    """The plain calls of one layer for some shapes.

    Args:
        walk: what is asked, without tensors.
        sizes: T, B, I, H and P.
        shapes: of the tensors.
        dtype: of all of them.
        threads: how many the kernels may use.

    Attributes:
        several: whether the cell has several states.
        expected: the shape and the bytes of each tensor.
        trains: whether gradients are computed here too.
    """

    def __init__(self, walk: Walk, sizes: Sizes, shapes: Shapes, dtype: torch.dtype, threads: int) -> None:
        self.walk, self.shapes, self.dtype = walk, shapes, dtype
        self.several = len(walk.cell.states) > 1
        self._sizes, self._single = sizes, shapes.output is None
        self._kernels = kernels = compiled(walk.cell, COMPILED[dtype])
        T, B, I, H, P = sizes
        strides = (T * I, I, 1) if walk.batch_first else (B * I, I, 1)
        self._key = Key(
            (), sizes, strides, threads, walk.reverse, walk.batch_first,
            packed=False, padded=False, biased=walk.biased, given=walk.states is not None, resets=False,
        )  # fmt: skip
        # Read for every row where the initial states, or the gradient of the output, are not given.
        self._zeros = torch.zeros(kernels.padded(max(I, H, P)), dtype=dtype, device="cpu")
        given = [shapes.x, *shapes.weights.values(), *shapes.states[: len(walk.states or ())]]
        self.expected = [(shape, prod(shape) * dtype.itemsize) for shape in given]
        self._tape = _tape_of(walk.cell, sizes, kernels)
        self._in_thread = threading.local()
        self._forwards: dict[bool, tuple[Prepared, _Places]] = {}
        self._backwards: dict[tuple[bool, bool], tuple[Prepared, _BackwardPlaces]] = {}
        self._results = ([] if shapes.output is None else [shapes.output]) + list(shapes.states)
        self._sums = WeightSums(kernels, self._key, self._zeros)
        # Others have more gradients than those by the weights and biases of the gates.
        cell = walk.cell
        self.trains = not (cell.vectors or cell.linears or cell.projects or cell.seen.op != "state")

    def __call__(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor | None],
        frozen: bool = False,
    ) -> Sequence[Tensor] | None:
        """The output, unless the call is a single step, and the final states.

        None unless all tensors are as they were prepared for, and where a gradient is wanted by more than the
        weights of gates. Where none is wanted, weights that are `frozen` stay packed from call to call.
        """
        tensors: list[Any] = [x, *map(parameters.get, self.shapes.weights), *states]
        addresses = self.addresses(tensors, self.expected)
        if addresses is None:
            return None
        if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
            return self.forward(x, addresses, None, tensors if frozen else None)
        if not self.trains:
            return None
        if self.walk.batch_first:
            # As in torch, whose users change such an input in place: x += layer(x)[0].
            tensors[0] = x = x.clone()
            addresses[0] = x.data_ptr()
        found: Sequence[Tensor] = _apply(self, addresses, *tensors)
        return found

    def addresses(self, tensors: Sequence[Any], expected: Sequence[_Expected]) -> list[int] | None:
        """Where tensors lie; None unless all have their shapes and type, and their memory in one piece."""
        if len(tensors) != len(expected):
            return None
        dtype, itemsize, strided = self.dtype, self.dtype.itemsize, torch.strided
        found = []
        try:
            for tensor, (shape, nbytes) in zip(tensors, expected, strict=True):
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
                if not address and nbytes:  # of zeros that have no memory, though they say so
                    return None
                found.append(address)
        except RuntimeError:  # of tensors that have no storage to ask
            return None
        return found

    def can_go_back(
        self, saved: Sequence[Tensor], addresses: Sequence[int], by_results: Sequence[Tensor | None]
    ) -> bool:
        """Whether the kernels may compute a gradient: nobody has to see how, and everything saved fits still.

        `saved` are the tensors of the call and the tape, `addresses` theirs in forward.

        Raises:
            RuntimeError: the tape does not fit; hooks on saved tensors may return what they like.
        """
        if torch.is_grad_enabled() or not unseen():
            return False
        for by, shape in zip(by_results, self._results, strict=True):
            if by is not None and not (
                type(by) in PLAIN
                and by.shape == shape
                and by.dtype is self.dtype
                and by.is_cpu
                and not by.is_neg()
                and is_stored(by)
            ):
                return False
        if self._are_there(saved, addresses):
            return True
        *tensors, tape = saved
        if self.addresses(tensors, self.expected) is None:
            return False
        if self.addresses([tape], [self._tape.expected]) is None:
            raise RuntimeError(
                f"{self.walk.cell.name}: a tensor saved for backward must come back as {self.dtype} of "
                f"shape {tuple(self._tape.expected[0])}. Got {tape.dtype} {tuple(tape.shape)}."
            )
        return True

    def _are_there(self, saved: Sequence[Tensor], addresses: Sequence[int]) -> bool:
        """Whether tensors that fitted once still have all of their memory, where they had it."""
        itemsize, expected = self.dtype.itemsize, (*self.expected, self._tape.expected)
        try:
            return all(
                tensor.data_ptr() == address
                and tensor.untyped_storage().nbytes() - tensor.storage_offset() * itemsize >= nbytes
                for tensor, address, (_, nbytes) in zip(saved, addresses, expected, strict=True)
            )
        except RuntimeError:  # of what is no plain tensor any more
            return False

    def forward(
        self,
        x: Tensor,
        addresses: Sequence[int],
        tape: Tensor | None,
        frozen: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Run the forward kernel on the tensors at `addresses`; what backward reads goes to `tape`.

        `frozen` are these tensors, where the weights stay packed from call to call.
        """
        prepared, places = self._forwards.get(tape is not None) or self._prepare_forward(tape is not None)
        packed = (
            None if frozen is None or not prepared.is_alone else self._packed(prepared, addresses, frozen)
        )
        if packed is None:
            array, memory = prepared.array(x)
        else:
            array, memory = prepared.array_on(packed.memory), packed.memory
        for place, address in zip(places.given, addresses, strict=True):
            if place is not None:
                array[place] = address
        results = [x.new_empty(*shape) for shape in self.shapes.states]  # faster than of one argument
        if tape is None:
            for place, final in zip(places.kept, results, strict=True):
                array[place] = final.data_ptr()  # but for the output of a layer, which is set below
        else:
            at = tape.data_ptr()
            for place, offset in zip(places.tape, self._tape.offsets, strict=True):
                array[place] = at + offset
        if tape is not None or not self._single:
            for place, final in zip(places.passed, results, strict=True):
                array[place] = final.data_ptr()
        if self.shapes.output is not None:
            output = x.new_empty(*self.shapes.output)
            array[places.shown if tape is not None else places.kept[0]] = output.data_ptr()
            results.insert(0, output)
        if packed is None:
            prepared.run(array)
        else:
            packed.run(prepared, array)
        del memory
        return results

    def _packed(
        self, prepared: Prepared, addresses: Sequence[int], tensors: Sequence[Tensor]
    ) -> _Packed | None:
        """The packed weights of this thread; None for tensors that count no versions."""
        n = 1 + len(self.shapes.weights)
        if any(tensor.is_inference() for tensor in tensors[1:n]):
            return None
        packed: _Packed | None = getattr(self._in_thread, "packed", None)
        if packed is None:
            packed = self._in_thread.packed = _Packed(prepared.own_memory(tensors[0]))
        packed.wanted = [*addresses[1:n], *(tensor._version for tensor in tensors[1:n])]
        return packed

    def _prepare_forward(self, keep: bool) -> tuple[Prepared, _Places]:
        found = layout(self._kernels, self._key._replace(options=(keep,)), Forward.find)
        T, B, _, _, P = self._sizes
        fields = {"every": T if keep or not self._single else 0}
        if keep and not self._single:
            strides = (P, T * P) if self.walk.batch_first else (B * P, P)
            fields |= dict(zip(("shown.t", "shown.b"), strides, strict=True))
        prepared = self._prepare(found, fields)
        place, states = prepared.place, self.walk.cell.states
        tape = [place[name] for name in self._tape.names]
        ready = (
            prepared,
            _Places(
                [place["x"], *(None if name is None else place[name] for name in found.given)],
                [place[f"out_{state}"] for state in states],
                [place[f"passed_{state}"] for state in states],
                place["shown"],
                tape,
            ),
        )
        self._forwards[keep] = ready
        return ready

    def _prepare(self, found: Layout, more: Mapping[str, int]) -> Prepared:
        fields = {**found.fields, **more}
        if self.walk.states is None:
            fields |= {f"init_{name}": self._zeros.data_ptr() for name in self.walk.cell.states}
        return Prepared(found.program, fields, found.scratch, found.room, found.team.threads)

    def new_tape(self, like: Tensor) -> Tensor:
        """Memory for what backward reads."""
        return like.new_empty(*self._tape.expected[0])

    def gradients(
        self, tensors: Sequence[Tensor], tape: Tensor, needed: Sequence[bool], by: Sequence[Tensor | None]
    ) -> Iterator[Tensor | None]:
        """By x, weights and initial states, where they are needed, from the gradients of the results."""
        by_output, *by_finals = (None, *by) if self._single else by
        x, weight_ih, weight_hh = tensors[:3]
        states = tensors[1 + len(self.shapes.weights) :]
        plan, (T, B, _, H, _) = self._kernels.plan, self._sizes
        in_place, by_x = plan.overwrites and not graph_is_kept(), needed[0]
        prepared, places = self._backwards.get((in_place, by_x)) or self._prepare_backward(in_place, by_x)
        array, memory = prepared.array(x)
        at = tape.data_ptr()
        for place, offset in places.tape:
            array[place] = at + offset
        apart = None if in_place else x.new_empty(T * B * plan.derivatives * H)
        derivatives_at = at if apart is None else apart.data_ptr()  # gates are the first on the tape
        array[places.derivatives] = derivatives_at
        array[places.weight_ih], array[places.weight_hh] = weight_ih.data_ptr(), weight_hh.data_ptr()
        for place, state in zip(places.initial, states, strict=False):
            array[place] = state.data_ptr()
        if by_output is not None:
            by_output = by_output.contiguous()
            array[places.by_output] = by_output.data_ptr()
            array[places.by_output + 1], array[places.by_output + 2] = self._strides(self._sizes.P)
        carries = [
            x.new_zeros(*shape) if by is None else by.contiguous().clone()
            for shape, by in zip(self.shapes.states, by_finals, strict=True)
        ]
        for place, carry in zip(places.carries, carries, strict=True):
            array[place] = carry.data_ptr()
        dx = torch.empty_like(x) if by_x else None
        if dx is not None:
            array[places.dx] = dx.data_ptr()
        prepared.run(array)
        del memory
        outputs, initial = at + self._tape.outputs, states[0] if states else None
        sums = self._sums(x, tensors[1:3], initial, derivatives_at, outputs, needed[1:3], in_place)
        found = [dx, *sums, *(carries if states else ())]
        return (gradient if need else None for gradient, need in zip(found, needed, strict=True))

    def _strides(self, width: int) -> tuple[int, int]:
        """Of time and batch, of a sequence in one piece of memory, so wide."""
        T, B = self._sizes[:2]
        return (width, T * width) if self.walk.batch_first else (B * width, width)

    def _prepare_backward(self, in_place: bool, by_x: bool) -> tuple[Prepared, _BackwardPlaces]:
        found = layout(self._kernels, self._key._replace(options=(in_place, by_x)), Backward.find)
        strides = dict(zip(("dx.t", "dx.b"), self._strides(self._sizes.I), strict=True))
        # A gradient of zeros by the output, until one is given.
        nothing = {"zeros": self._zeros.data_ptr(), "dout": self._zeros.data_ptr(), "dout.t": 0, "dout.b": 0}
        prepared = self._prepare(found, nothing | strides)
        place, states = prepared.place, self.walk.cell.states
        assert place["dout.t"] == place["dout"] + 1
        assert place["dout.b"] == place["dout"] + 2
        tape = zip(self._tape.names, self._tape.offsets, strict=True)
        ready = prepared, _BackwardPlaces(
            [(place[name], offset) for name, offset in tape if name in place],
            place["derivatives"], place["w_ih"], place["w_hh"],
            [place[f"init_{name}"] for name in states], place["dout"],
            [place[f"carry_{name}"] for name in states], place["dx"],
        )  # fmt: skip
        self._backwards[in_place, by_x] = ready
        return ready

    def again(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The results once more, in torch operations."""
        T, B, I, _, _ = self._sizes
        n = 1 + len(self.shapes.weights)
        x = tensors[0].view(*((B, T) if self.walk.batch_first else (T, B)), I)
        states = [state.view(B, -1) for state in tensors[n:]]
        walk = self.walk.filled(iter([x, *tensors[1:n], *states]))
        output, *finals = again(walk).differentiable
        results = [final.view(shape) for final, shape in zip(finals, self.shapes.states, strict=True)]
        return results if self.shapes.output is None else [output.view(self.shapes.output), *results]


@final
class _Packed:
    """Weights of one thread that stay packed, in scratch memory of their own.

    Attributes:
        memory: the scratch memory.
        wanted: addresses and versions of the weights of the next call.
    """

    def __init__(self, memory: Tensor) -> None:
        self.memory = memory
        self.wanted: list[int] = []
        self._there: list[int] = []  # those of the weights that are packed

    def run(self, prepared: Prepared, array: Array[c_int64]) -> None:
        """Run a call, after packing weights that have changed."""
        if self._there != self.wanted:
            self._there = []
            prepared.pack(array)
            self._there = self.wanted
        prepared.run_packed(array)


class _Places(NamedTuple):
    """Where the addresses of a forward call go in its array."""

    given: list[int | None]
    kept: list[int]
    passed: list[int]
    shown: int
    tape: list[int]


class _BackwardPlaces(NamedTuple):
    """Where the addresses of a backward call go in its array."""

    tape: list[tuple[int, int]]
    derivatives: int
    weight_ih: int
    weight_hh: int
    initial: list[int]
    by_output: int
    carries: list[int]
    dx: int


class _Tape(NamedTuple):
    """What backward reads, in one piece of memory.

    Attributes:
        names: the fields of its arrays.
        offsets: where the arrays begin, in bytes.
        outputs: where the outputs begin, in bytes.
        expected: the shape of the whole, and its bytes.
    """

    names: list[str]
    offsets: list[int]
    outputs: int
    expected: _Expected


def _tape_of(cell: Cell, sizes: Sizes, kernels: CompiledCell) -> _Tape:
    plan, (T, B, _, H, P) = kernels.plan, sizes
    output, *behind = cell.states
    widths = {"gates": plan.gates * H, "means": len(plan.forward.means)} if plan.keeps else {}
    widths |= {f"out_{output}": P} | {f"out_{state}": H for state in behind}
    elements = {name: T * B * width for name, width in widths.items()}
    itemsize = kernels.number.bytes
    offsets = split(0, elements, itemsize)
    size = room(elements, itemsize)
    expected = torch.Size((size,)), size * itemsize
    return _Tape(list(offsets), list(offsets.values()), offsets[f"out_{output}"], expected)


@final
class _Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Plain, addresses: list[int], *tensors: Tensor) -> tuple[Tensor, ...]:
        tape = plain.new_tape(tensors[0])
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
        return None, None, *plain.gradients(tensors, tape, needed, by_results)


# `Function.apply` without what it does for transforms of torch.func, of which there is none here.
_apply: Any = super(torch.autograd.Function, _Plain).apply
