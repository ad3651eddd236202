"""Finds out how the tensors of a model follow from each other: what feeds each layer, and what reads it.

A page can run a model only if it knows what happens between its input, its recurrent layers and its output.
The model is called on two inputs, the given one and the same with its steps in reverse. Every tensor that
goes into a recurrent layer or into a module of a known kind is compared with all tensors known so far. Only
what is equal in both calls, bit by bit, is taken for the same. Nothing is read from the model's code. An
affine map to the output is found from the two calls, and must hold in a third, with the steps moved by one.

Shapes: ``T`` steps, ``B`` rows, ``F`` features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatewise.insight.page.run import Run, first_output
from gatewise.insight.values import Values
from gatewise.insight.watch import layers_of, watch

# What a module computes from one tensor. Identities are followed, not written down.
MODULES: dict[type[nn.Module], str] = {
    nn.Embedding: "embedding",
    nn.Linear: "linear",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.Dropout: "same",
    nn.Identity: "same",
}
_TOLERANCE = 1e-4  # of an affine map that is found from numbers, relative to the largest

_Pair: TypeAlias = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True, eq=False)
class Signal:
    """A known tensor: how it is computed, and its values in both calls.

    Attributes:
        op: ``source`` (the input), a name of `MODULES`, ``layer``, ``cat``, ``last`` and ``first`` (the last
            or first step of each row), ``affine``.
        of: the signals that it is computed from.
        values: ``[T, B, F]``, or ``[B, F]``; token ids ``[T, B]``.
        by_steps: whether it has an axis of steps.
        about: the module; the name of the layer; for ``affine`` the factors ``[F]`` and summands ``[B, F]``.
    """

    op: str
    of: tuple[Signal, ...]
    values: _Pair
    by_steps: bool
    about: Any = None

    @property
    def needs(self) -> Iterator[Signal]:
        """The signals that it is computed from, and those that they are computed from, and itself last."""
        for part in self.of:
            yield from part.needs
        yield self


@final
@dataclass(frozen=True)
class Traced:
    """What was found.

    Attributes:
        layers: the signal of each recurrent layer whose input is known, by name.
        unknown: why the other layers cannot be computed, by name.
        output: the output of the model, or None if it is not known how it follows.
    """

    layers: dict[str, Signal]
    unknown: dict[str, str]
    output: Signal | None


@final
@dataclass(frozen=True)
class _Call:
    """One call of a module in both runs."""

    module: nn.Module
    given: _Pair
    returned: _Pair


@final
@dataclass(frozen=True)
class _Recorded:
    """What one run of the model computed."""

    seen: Mapping[str, Values]
    calls: list[tuple[nn.Module, Any, Any]]
    returned: Any


def traced(run: Run) -> Traced:
    """Call the model twice, and follow its tensors."""
    other = run.x.flip(1 if run.batch_first else 0)
    recorded = _recorded(run, run.x), _recorded(run, other)
    running = next(iter(recorded[0].seen.values())).passage.running
    xs = [x.transpose(0, 1) if run.batch_first else x for x in (run.x, other)]
    tracing = _Tracing(run, running, [Signal("source", (), (xs[0], xs[1]), True)])
    tracing.follow(recorded)
    return Traced(tracing.layers, tracing.unknown, tracing.output(recorded))


def _recorded(run: Run, x: Tensor) -> _Recorded:
    calls: list[tuple[nn.Module, Any, Any]] = []

    def keep(module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        calls.append((module, given[0] if given else None, returned))

    outputs = sorted({layer.cell.states[0] for layer in layers_of(run.model, "look").values()})
    with ExitStack() as stack, torch.no_grad():
        for module in run.model.modules():
            if type(module) in MODULES:
                stack.callback(module.register_forward_hook(keep).remove)
        seen = stack.enter_context(watch(run.model, outputs, device="cpu"))
        returned = run.call(x)
    return _Recorded(seen, calls, returned)


@final
@dataclass
class _Tracing:
    """The known signals, and how tensors are compared with them."""

    run: Run
    running: Tensor  # [T, B]
    known: list[Signal]
    layers: dict[str, Signal] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def follow(self, recorded: tuple[_Recorded, _Recorded]) -> None:
        """Take what follows from known signals for known, until nothing more does."""
        layers = {
            name: (values, recorded[1].seen[name])
            for name, values in recorded[0].seen.items()
            if name in recorded[1].seen and values._passage is not None
        }
        calls = list(_calls(*recorded))
        found = True
        while found:
            found = False
            for name in [name for name in layers if name not in self.layers]:
                found |= self._layer(name, *layers[name])
            for call in list(calls):
                if (signal := self._module(call)) is not None:
                    calls.remove(call)
                    found = True
                    self._know(signal)

    def _layer(self, name: str, values: Values, again: Values) -> bool:
        """Whether the input of a layer is known, so that its output is too."""
        passages = values.passage, again.passage
        pairs = zip(passages[0].initial, passages[1].initial, strict=True)
        if passages[0].edited:
            self.unknown[name] = "it is edited"
        elif any(passage.walk.reset is not None and passage.walk.reset.any() for passage in passages):
            self.unknown[name] = "it is reset within sequences"
        elif not all(torch.equal(first, second) for first, second in pairs):
            self.unknown[name] = "it begins in a state that the model computes"
        else:
            source = self._find((passages[0].x, passages[1].x))
            self.unknown[name] = "its input is computed in a way that this page does not know"
            if source is not None:
                del self.unknown[name]
                output = values.cell.states[0]
                signal = Signal("layer", (source[0],), (values[output], again[output]), True, name)
                self.layers[name] = signal
                self._know(signal)
                self._join(name)
                return True
        return False

    def _join(self, name: str) -> None:
        """Once both directions of a layer are known, know their outputs put end to end."""
        forward = name.removesuffix("_reverse")
        first, second = self.layers.get(forward), self.layers.get(f"{forward}_reverse")
        if first is not None and second is not None:
            self._know(_cat(first, second))
            self._know(_cat(self._ends("last", first), self._ends("first", second)))

    def _module(self, call: _Call) -> Signal | None:
        """The output of a module whose input is known."""
        found = self._find(call.given)
        if found is None:
            return None
        source, read = found
        op = MODULES[type(call.module)]
        first, second = (read(tensor.detach().cpu()) for tensor in call.returned)
        if first is None or second is None:
            return None
        values = (self._filled(first), self._filled(second)) if source.by_steps else (first, second)
        return Signal(op, (source,), values, source.by_steps, call.module)

    def _filled(self, values: Tensor) -> Tensor:
        """``[T, B, F]`` with zeros at the last steps if they are missing, which no row has."""
        return F.pad(values, (0, 0, 0, 0, 0, len(self.running) - len(values)))

    def _know(self, signal: Signal) -> None:
        """Add a signal, and its last and first steps."""
        self.known.append(signal)
        if signal.by_steps and signal.values[0].dim() == 3:
            self.known += [self._ends("last", signal), self._ends("first", signal)]

    def _ends(self, which: str, signal: Signal) -> Signal:
        first, second = (self._end(which, values) for values in signal.values)
        return Signal(which, (signal,), (first, second), False)

    def _end(self, which: str, values: Tensor) -> Tensor:
        """The last or first step of each row of ``[T, B, F]``."""
        lengths = self.running.sum(0)
        steps = (lengths - 1).clamp_min(0) if which == "last" else torch.zeros_like(lengths)
        return values[steps, torch.arange(len(steps))]

    def _find(self, tensors: _Pair) -> tuple[Signal, _Reading] | None:
        """The known signal that both tensors are, and how they are read."""
        for reading, by_steps in _READINGS:
            read = reading(tensors[0]), reading(tensors[1])
            if read[0] is None or read[1] is None:
                continue
            for signal in self.known:
                if signal.by_steps == by_steps and all(
                    self._same(value, tensor, by_steps)
                    for value, tensor in zip(signal.values, read, strict=True)
                ):
                    return signal, reading
        return None

    def _same(self, value: Tensor, tensor: Tensor | None, by_steps: bool) -> bool:
        """Whether two tensors are equal wherever a row has a step."""
        assert tensor is not None
        mask = self.running if by_steps else self.running.any(0)
        if by_steps and len(tensor) < len(mask) and not mask[len(tensor) :].any():
            value, mask = value[: len(tensor)], mask[: len(tensor)]
        if value.shape != tensor.shape or value.is_floating_point() != tensor.is_floating_point():
            return False
        value, tensor = value.cpu()[mask], tensor.detach().cpu()[mask]
        return bool(((value == tensor) | (value.isnan() & tensor.isnan())).all())

    def output(self, recorded: tuple[_Recorded, _Recorded]) -> Signal | None:
        """The output of the model: a known signal, or an affine map of one."""
        found = [first_output(part.returned) for part in recorded]
        if not all(isinstance(part, Tensor) and part.is_floating_point() for part in found):
            return None
        pair = found[0].detach().cpu(), found[1].detach().cpu()
        same = self._find(pair)
        if same is not None:
            return same[0] if any(part.op == "layer" for part in same[0].needs) else None
        for reading, by_steps in _READINGS:
            read = reading(pair[0]), reading(pair[1])
            for signal in reversed(self.known):
                if read[0] is None or read[1] is None or signal.by_steps != by_steps:
                    continue
                if any(part.op == "layer" for part in signal.needs):
                    fitted = self._affine(signal, (read[0], read[1]))
                    if fitted is not None and self._holds(fitted, reading):
                        return fitted
        return None

    def _affine(self, signal: Signal, pair: _Pair) -> Signal | None:
        """The affine map ``factor [F] * signal + summand [B, F]`` that gives both tensors, if one does."""
        if signal.values[0].shape != pair[0].shape:
            return None
        mask = self.running if signal.by_steps else self.running.any(0)
        (s, again), (y, y_again) = ([part.double().cpu() for part in two] for two in (signal.values, pair))
        moved = torch.where(mask[..., None], again - s, 0).flatten(0, -2)
        wanted = torch.where(mask[..., None], y_again - y, 0).flatten(0, -2)
        size = moved.square().sum(0)
        if not bool((size > 0).all()) or not bool(wanted.isfinite().all()):
            return None
        factor = (moved * wanted).sum(0) / size
        rests = [b - factor * a for a, b in ((s, y), (again, y_again))]
        summand = rests[0][0] if signal.by_steps else rests[0]
        off = [torch.where(mask[..., None], rest - summand, 0).abs().max() for rest in rests]
        most = float(torch.where(mask[..., None], y, 0).abs().max())
        if float(max(off)) > _TOLERANCE * max(most, 1e-30):
            return None
        return Signal("affine", (signal,), pair, signal.by_steps, (factor, summand))

    def _holds(self, affine: Signal, reading: _Reading) -> bool:
        """Whether an affine map gives the output in a third call too.

        With one row and no axis of steps, every function of a signal is affine in two calls.
        """
        x, axis = self.run.x, 1 if self.run.batch_first else 0
        moved = x.roll(1, axis)
        if affine.by_steps or self.run.steps > 2:
            given = moved
        elif x.is_floating_point():
            given = 0.5 * x
        else:
            return self.run.rows > 1
        recorded = _recorded(self.run, given)
        source = given.transpose(0, 1) if self.run.batch_first else given
        returned = reading(first_output(recorded.returned).detach().cpu())
        with torch.no_grad():
            s = self._computed(affine.of[0], source, recorded.seen).double().cpu()
        if returned is None or s.shape != returned.shape:
            return False
        factor, summand = affine.about
        mask = self.running if affine.by_steps else self.running.any(0)
        y = torch.where(mask[..., None], returned.double(), 0)
        off = torch.where(mask[..., None], factor * s + summand - returned, 0)
        return float(off.abs().max()) <= _TOLERANCE * max(float(y.abs().max()), 1e-30)

    def _computed(self, signal: Signal, source: Tensor, seen: Mapping[str, Values]) -> Tensor:
        """A signal in another call, from its input and its layers."""
        if signal.op == "source":
            return source
        if signal.op == "layer":
            values = seen[signal.about]
            return values[values.cell.states[0]]
        of = [self._computed(part, source, seen) for part in signal.of]
        if signal.op == "cat":
            return torch.cat(of, -1)
        if signal.op in ("last", "first"):
            return self._end(signal.op, of[0])
        made: Tensor = signal.about(of[0])
        return made


def _cat(first: Signal, second: Signal) -> Signal:
    values = [torch.cat(pair, -1) for pair in zip(first.values, second.values, strict=True)]
    return Signal("cat", (first, second), (values[0], values[1]), first.by_steps)


def _calls(first: _Recorded, second: _Recorded) -> Iterator[_Call]:
    """The calls of modules that both runs made, in their order."""
    if [call[0] for call in first.calls] != [call[0] for call in second.calls]:
        return
    for (module, *one), (_, *two) in zip(first.calls, second.calls, strict=True):
        if all(isinstance(tensor, Tensor) for tensor in (*one, *two)):
            yield _Call(module, (one[0], two[0]), (one[1], two[1]))


_Reading: TypeAlias = Callable[[Tensor], Tensor | None]


def _time_first(tensor: Tensor) -> Tensor | None:
    return tensor if tensor.dim() == 3 or not tensor.is_floating_point() else None


def _rows_first(tensor: Tensor) -> Tensor | None:
    of_steps = tensor.dim() == 3 or (tensor.dim() == 2 and not tensor.is_floating_point())
    return tensor.transpose(0, 1) if of_steps else None


def _of_rows(tensor: Tensor) -> Tensor | None:
    return tensor if tensor.dim() == 2 and tensor.is_floating_point() else None


def _of_one_step(tensor: Tensor) -> Tensor | None:
    if tensor.dim() != 3:
        return None
    return tensor[0] if len(tensor) == 1 else tensor[:, 0] if tensor.size(1) == 1 else None


# How a tensor may hold a signal, and whether such a signal has an axis of steps.
_READINGS: Sequence[tuple[_Reading, bool]] = (
    (_time_first, True), (_rows_first, True), (_of_rows, False), (_of_one_step, False),
)  # fmt: skip
