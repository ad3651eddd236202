"""Runs a model for `look`: as usual, and as a function from the input to one number per row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewise.insight.watch import layers_of
from gatewise.nn.modules.layer import Layer
from gatewise.nn.walk.packing import Packing, like

SQUARES = "the sum of squares of the last output"

# A sequence: a tensor, packed, or among the arguments of a model.
Inputs: TypeAlias = Tensor | PackedSequence | Sequence[Any] | Mapping[str, Any]


@final
@dataclass(frozen=True)
class Run:
    """A model with its input.

    Attributes:
        model: the model, in evaluation mode.
        x: ``[T, B, I]``, or ``[B, T, I]`` with `batch_first`; token ids ``[T, B]`` or ``[B, T]``.
        lengths: ``[B]``, the steps of each row, if they differ and are known.
        batch_first: whether the batch is the first axis of `x`.
        call: calls the model with an input.
        output: takes the result of `call` and returns one number per row, ``[B]``. By default
            `squares_of_last`.
    """

    model: nn.Module
    x: Tensor
    lengths: Sequence[int] | None
    batch_first: bool
    call: Callable[[Tensor], Any]
    output: Callable[[Any], Tensor] | None

    @property
    def steps(self) -> int:
        """T."""
        return self.x.size(1 if self.batch_first else 0)

    @property
    def rows(self) -> int:
        """B."""
        return self.x.size(0 if self.batch_first else 1)

    def score(self, x: Tensor) -> Tensor:
        """The number to explain for each row, ``[B]``."""
        returned = self.call(x)
        if self.output is None:
            return squares_of_last(returned, self.lengths, self.batch_first)
        return self.output(returned)

    def explained(self) -> tuple[Callable[[Tensor], Tensor], Tensor, bool]:
        """What to attribute the score to: a function of a tensor, that tensor, and whether it is batch-first.

        The tensor is the input. For token ids it is the input of the first recurrent layer, their embedding.

        Raises:
            ValueError: the first layer gets an input without a batch axis.
        """
        if self.x.is_floating_point():
            return self.score, self.x, self.batch_first
        layer, given = self._first_input()
        packing = Packing.of(given) if isinstance(given, PackedSequence) else None
        vectors = packing.pad(given.data, False) if packing else given
        if vectors.dim() != 3:
            raise ValueError("the first recurrent layer got an input without a batch axis")

        def score(vectors: Tensor) -> Tensor:
            with _given(layer, like(given, packing.pack(vectors, False)) if packing else vectors):
                return self.score(self.x)

        return score, vectors.detach(), not packing and bool(getattr(layer, "batch_first", False))

    def _first_input(self) -> tuple[Layer, Any]:
        """The recurrent layer that runs first, and its input."""
        found: list[tuple[Layer, Any]] = []

        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            assert isinstance(module, Layer)
            found.append((module, args[0] if args else kwargs["input"]))

        layers = layers_of(self.model, "look").values()
        hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in layers]
        try:
            with torch.no_grad():
                self.call(self.x)
        finally:
            for hook in hooks:
                hook.remove()
        return found[0]


def run_of(
    model: nn.Module,
    x: Inputs,
    lengths: Sequence[int] | Tensor | None,
    batch_first: bool | None,
    call: Callable[[Tensor], Any] | None,
    output: Callable[[Any], Tensor] | None,
) -> Run:
    """Check the arguments of `look`. An input without a batch axis becomes a batch of one."""
    first = next(iter(layers_of(model, "look").values()))
    rows_first = bool(getattr(first, "batch_first", False)) if batch_first is None else batch_first
    x, called = _sequence(model, x, rows_first)
    dims, came = 3 if x.is_floating_point() else 2, list(x.shape)
    if x.dim() == dims - 1:
        x = x.unsqueeze(0 if rows_first else 1)
    if x.dim() != dims or not x.numel():
        raise ValueError(f"look: x must be [T, B, I], or token ids [T, B], with steps and rows. Got {came}.")
    rows = x.size(0 if rows_first else 1)
    ends = None if lengths is None else [int(length) for length in lengths]
    steps = x.size(1 if rows_first else 0)
    if ends is not None and (len(ends) != rows or not 1 <= max(ends) <= steps or min(ends) < 0):
        wanted = f"one for each of {rows} rows, from 0 to {steps} steps, not all 0"
        raise ValueError(f"look: lengths must be {wanted}. Got {ends}.")
    given = {} if ends is None else {"lengths": ends}
    return Run(model, x.detach(), ends, rows_first, call or (lambda x: called(x, **given)), output)


def _sequence(model: nn.Module, x: Inputs, batch_first: bool) -> tuple[Tensor, Callable[..., Any]]:
    """The sequence among the arguments of a model, and a function that calls the model with another one."""
    if isinstance(x, Tensor):
        return x, model
    if isinstance(x, PackedSequence):
        packing = Packing.of(x)
        return (
            packing.pad(x.data, batch_first),
            lambda other, **more: model(like(x, packing.pack(other, batch_first)), **more),
        )
    if not isinstance(x, tuple | list | Mapping):
        raise TypeError(f"look: x must be a tensor, or inputs with one among them. Got {type(x).__name__}.")
    inputs: dict[Any, Any] = dict(x) if isinstance(x, Mapping) else dict(enumerate(x))
    tensors = {place: value for place, value in inputs.items() if isinstance(value, Tensor)}
    if not tensors:
        raise TypeError("look: x has no tensor in it.")
    sequence = max(tensors, key=lambda place: tensors[place].dim())  # the first with the most dimensions

    def call(other: Tensor, **more: Any) -> Any:
        values = {**inputs, sequence: other}
        if isinstance(x, Mapping):
            return model(**values, **more) if _accepts(model, **values) else model(values, **more)
        spread = tuple(values.values())
        return model(*spread, **more) if _accepts(model, *spread) else model(spread, **more)

    return tensors[sequence], call


def _accepts(model: nn.Module, *args: Any, **kwargs: Any) -> bool:
    """Whether a model can be called with these arguments."""
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@contextmanager
def _given(layer: Layer, new: Any) -> Iterator[None]:
    """Context manager in which the layer gets `new` instead of its input."""

    def replace(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "input": new})

    hook = layer.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context manager for evaluation mode. Afterwards each module is in its old mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def squares_of_last(returned: Any, lengths: Sequence[int] | None, batch_first: bool) -> Tensor:
    """The sum of squares of a model's output for each row; of an output with steps, at the last step."""
    found = _tensor(returned)
    if isinstance(found, PackedSequence):
        (found, ends), batch_first = pad_packed_sequence(found), False
        lengths = ends.tolist()
    if found.dim() == 3:
        found = found if batch_first else found.transpose(0, 1)  # [B, T, O]
        ends = torch.full((len(found),), found.size(1)) if lengths is None else torch.as_tensor(lengths)
        found = found[torch.arange(len(found)), (ends - 1).clamp_min(0)]
    return found.flatten(1).square().sum(1) if found.dim() > 1 else found.square()


def first_output(returned: Any) -> Any:
    """The first of several outputs."""
    while (
        isinstance(returned, tuple | list | Mapping) and returned and not isinstance(returned, PackedSequence)
    ):
        returned = next(iter(returned.values() if isinstance(returned, Mapping) else returned))
    return returned


def _tensor(returned: Any) -> Tensor | PackedSequence:
    """The first of several outputs, which must be a tensor."""
    found = first_output(returned)
    if not isinstance(found, Tensor | PackedSequence):
        kind = type(found).__name__
        raise ValueError(f"look: output must say which number to explain, the model gives a {kind}.")
    return found
