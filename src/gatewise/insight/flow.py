"""Gradients through time: of the loss by every state, and of every output by every input.

Shapes: ``T`` steps, ``B`` rows, ``H`` units; steps are in the order of time, NaN past the end of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatewise.insight.finding import Finding
from gatewise.insight.passage import Passage, each_weight
from gatewise.insight.threads import one_thread
from gatewise.insight.watch import full_name, layers_of
from gatewise.language import Cell
from gatewise.language.graph import Graph, Node
from gatewise.language.rewrites import rebuilt, without_random
from gatewise.nn.modules.layer import Recorded
from gatewise.nn.modules.step import Step
from gatewise.nn.scan import scan_together
from gatewise.nn.walk import eager

_TINY = 1e-300
_NUMBERS = 1 << 22  # in the shares that are computed at a time


@final
@dataclass(frozen=True, repr=False, eq=False)
class Flow(Finding):
    """The gradient of a loss inside one layer.

    Attributes:
        layer: the name of the layer.
        derivatives: by state, ``[T, B, H]``: the total derivative of the loss by the state after each step,
            through everything that uses it, in the same step (an LSTM's h uses c) and in later steps.
        partials: by state, ``[T, B, H]``: the derivative with the other states after the step held fixed, so
            only through what this state hands to the next step. (The path from c through h counts for h.)
        effects: by state, ``[H]``: minus the sum of derivative times state over steps and rows. To first
            order, this is the change of the loss if the unit is removed.
        jacobians: ``[T, B]``, the largest singular value of the Jacobian of each step (states after by states
            before), 0 at the first step of a row. None if not asked for.
        weights: by parameter, ``[T]``: the norm of each step's contribution to the gradient, summed over
            rows.
        shares: by parameter, ``[T, ...]``, the contributions themselves. None if not asked for.
        residual: the largest difference between the sum of the contributions and autograd's gradient, over
            all parameters, relative to the largest entry of the gradient.
    """

    layer: str
    derivatives: dict[str, Tensor]
    partials: dict[str, Tensor]
    effects: dict[str, Tensor]
    jacobians: Tensor | None
    weights: dict[str, Tensor]
    shares: dict[str, Tensor] | None
    residual: float

    @property
    def states(self) -> dict[str, Tensor]:
        """The norm of the derivative at each step, ``[T, B]``, by state."""
        return {name: derivative.norm(dim=2) for name, derivative in self.derivatives.items()}

    def __str__(self) -> str:
        parts = []
        for name, norms in self.states.items():
            mean = norms.nanmean(1)
            first, last, most = float(mean[0]), float(mean[-1]), int(mean.argmax())
            parts.append(
                f"|dL/d{name}| is {first:.1e} at the first step, {last:.1e} at the last, most at {most}"
            )
        if self.jacobians is not None:
            parts.append(f"a step stretches states by at most {self.jacobians.nanmean():.2f} on average")
        return (
            f"{self.layer}: {'; '.join(parts)}; "
            f"the steps' shares sum to the gradient by the weights (residual {self.residual:.1e})."
        )


@torch.enable_grad()
def gradient_flow(
    model: nn.Module, loss: Callable[[], Tensor], jacobians: bool = False, shares: bool = False
) -> dict[str, Flow]:
    """The gradients of backpropagation through time at each step, layer by layer.

    The model runs as usual. Then, for each layer, the gradient of its output is propagated through its steps
    again by the eager interpreter. If cells are random in training, the model must be in evaluation mode.

    Args:
        model: any torch module that contains gatewise layers.
        loss: calls the model and returns a number, as ``lambda: criterion(model(x), y)``.
        jacobians: whether to compute `jacobians`, which cost far more than everything else.
        shares: whether to store each step's contribution to every weight gradient.

    Returns:
        The flow by name of the layer. Of a layer called twice, the last call counts.

    Raises:
        TypeError: `model` is not a module.
        ValueError: the model has no gatewise layer, or the loss does not depend on one.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks".

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.flow import gradient_flow
        >>> layer, x = gatewise.nn.GRU(3, 8), torch.randn(20, 4, 3)
        >>> flow = gradient_flow(layer, lambda: layer(x)[0][-1].square().sum())["l0"]
        >>> flow.states["h"].shape, flow.residual < 1e-5
        (torch.Size([20, 4]), True)
    """
    calls, value = _called(model, loss)
    outputs = [tensor for call in calls.values() for tensor in call.results if tensor.requires_grad]
    if not outputs or not value.requires_grad:
        raise ValueError("gradient_flow: the loss does not depend on a parameter through a gatewise layer.")
    found = torch.autograd.grad(value, outputs, allow_unused=True)
    by_result = {id(tensor): by for tensor, by in zip(outputs, found, strict=True) if by is not None}
    return {
        name: _flow(call, [by_result.get(id(tensor)) for tensor in call.results], jacobians, shares)
        for name, call in calls.items()
        if any(id(tensor) in by_result for tensor in call.results)
    }


@final
@dataclass(frozen=True, repr=False, eq=False)
class Connectivity(Finding):
    """How strongly each output depends on each input.

    Attributes:
        steps: the K steps of the output.
        norms: ``[K, T, B]``, the Frobenius norm of the derivative of the output at each of K steps by the
            input at each of T steps.
        residual: the relative error of the derivative in a random direction, compared with a central
            difference.
    """

    steps: tuple[int, ...]
    norms: Tensor
    residual: float

    def __str__(self) -> str:
        mean = self.norms.nanmean(2)
        t, row = self.steps[-1], mean[-1]
        if not row.isfinite().any():
            return f"The derivatives of the output at step {t} are not numbers."
        row = row.nan_to_num(0.0)
        far = (row >= row.max() / 2).nonzero().flatten()
        reach = int((far - t).abs().max())
        return (
            f"The output at step {t} depends most on the input at step {int(row.argmax())}, "
            f"by {row.max():.2e}; inputs up to {reach} steps away have at least half of that "
            f"(residual against differences {self.residual:.1e})."
        )


@torch.enable_grad()
def connectivity(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    steps: Sequence[int] | None = None,
    batch_first: bool = False,
) -> Connectivity:
    """The norms ``|d y_t / d x_s|`` for all input steps s and the output steps t in `steps`.

    The derivatives are exact. They take one backward pass for each number of an output step. Rows must not
    depend on each other (as through batch statistics), and the model must not be random: `model.eval()`.

    Args:
        function: returns the output ``[T, B, O]`` for the input, as ``lambda x: layer(x)[0]``.
        x: the input ``[T, B, I]``; or ``[T, I]`` with an output ``[T, O]`` for one row. In float64 the
            residual is a sharper check.
        steps: the steps of the output; by default all.
        batch_first: whether input and output are ``[B, T, ...]``.

    Raises:
        ValueError: the output has no axis of steps, or another number of rows than the input.

    Source: Madsen 2019, "Visualizing memorization in RNNs", Distill.

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.flow import connectivity
        >>> layer = gatewise.nn.GRU(3, 8)
        >>> norms = connectivity(lambda x: layer(x)[0], torch.randn(5, 2, 3)).norms
        >>> norms.shape, bool((norms[0, 1:] == 0).all())
        (torch.Size([5, 5, 2]), True)
    """
    if x.dim() == 2:
        return connectivity(lambda x: function(x.squeeze(1)).unsqueeze(1), x.unsqueeze(1), steps)
    time, batch = (1, 0) if batch_first else (0, 1)
    x = x.detach().clone().requires_grad_()
    y = function(x)
    if y.dim() != 3 or y.size(batch) != x.size(batch):
        shape = "[B, T, O]" if batch_first else "[T, B, O]"
        raise ValueError(
            f"connectivity: function must return {shape} with {x.size(batch)} rows. Got {tuple(y.shape)}. "
            "batch_first says which axis of x and of the output is time."
        )
    chosen = tuple(range(y.size(time)) if steps is None else [range(y.size(time))[t] for t in steps])
    direction = torch.randn_like(x)
    norms, along = [], []
    for t in chosen:
        rows = torch.stack([_pulled(unit.sum(), x) for unit in y.select(time, t).unbind(-1)])  # [O, *x]
        norms.append(rows.square().sum((0, -1)).sqrt())
        along.append((rows * direction).sum((time + 1, -1)).T)
    found = torch.stack(norms).cpu().double()
    found = found.transpose(1, 2) if batch_first else found
    differences = _differences(function, x.detach(), direction).index_select(
        time, torch.tensor(chosen, device=x.device)
    )
    differences = differences.transpose(0, 1) if batch_first else differences
    off = (torch.stack(along) - differences).abs().max() / differences.abs().max().clamp_min(_TINY)
    return Connectivity(chosen, found, float(off))


def _pulled(number: Tensor, x: Tensor) -> Tensor:
    found = torch.autograd.grad(number, x, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.as_tensor(found[0])


def _differences(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """The derivative of the output in a direction, by central differences."""
    h = float(torch.finfo(x.dtype).eps ** (1 / 3))
    with torch.no_grad():
        return (function(x + h * direction) - function(x - h * direction)) / (2 * h)


@dataclass(frozen=True)
class _Call:
    """The record of the last call of a layer."""

    recorded: Recorded
    passage: Passage

    @property
    def results(self) -> list[Tensor]:
        assert self.recorded.scanned is not None
        return [self.recorded.scanned.output, *self.recorded.scanned.states]


def _called(model: nn.Module, loss: Callable[[], Tensor]) -> tuple[dict[str, _Call], Tensor]:
    """Run the loss. Returns the calls of the layers, in the order in which they ran, and the loss."""
    calls: dict[str, _Call] = {}

    def keeper(path: str) -> Callable[[Recorded], None]:
        def keep(recorded: Recorded) -> None:
            passage = Passage.of(full_name(path, recorded.layer), recorded)
            calls[passage.layer] = _Call(recorded, passage.without_random("gradient_flow", edited=True))

        return keep

    with ExitStack() as stack:
        for path, module in layers_of(model, "gradient_flow").items():
            if not isinstance(module, Step):
                stack.enter_context(module.recording(keeper(path), ()))
        value = loss()
    return calls, value


def _flow(call: _Call, by_results: Sequence[Tensor | None], jacobians: bool, shares: bool) -> Flow:
    passage = call.passage.exact()
    by_output, *by_finals = _by_results(call, passage, by_results)
    states = passage.states()
    entering = passage.entering(states)
    whole, carried = _by_states(passage, entering, by_output, by_finals)
    sums, norms, kept = _by_weights(passage, entering, carried, shares)
    past = ~passage.running[..., None]
    derivatives, partials = (
        {n: by.masked_fill(past, torch.nan) for n, by in zip(passage.cell.states, found, strict=True)}
        for found in (whole, carried)
    )
    stretched = _stretches(passage, entering) if jacobians else None
    pairs = zip(derivatives.items(), states, strict=True)
    effects = {name: -(derivative * state).nansum((0, 1)) for (name, derivative), state in pairs}
    residual = _residual(call, sums, by_results)
    return Flow(passage.layer, derivatives, partials, effects, stretched, norms, kept, residual)


def _by_results(call: _Call, passage: Passage, by_results: Sequence[Tensor | None]) -> list[Tensor]:
    """The derivatives of the loss by output ``[T, B, H]`` and final states ``[B, H]``; zeros if unused."""
    walk, packing = call.recorded.walk, passage.packing
    assert walk is not None
    full = [
        torch.zeros_like(result) if by is None else by
        for result, by in zip(call.results, by_results, strict=True)
    ]
    output = full[0].transpose(0, 1) if walk.batch_first else full[0]
    if packing and walk.padding is None:
        output = packing.pad(output, False)
    return [part.cpu().double() for part in (output, *passage.of_all_rows(tuple(full[1:])))]


@lru_cache
def _with_offsets(cell: Cell) -> Cell:
    """The cell with an offset, a new state, added to the next value of each state wherever the step uses it.

    The derivative by an offset (which is 0) is the total derivative by the state, including paths through
    other states of the same step (from an LSTM's c through its h).
    """
    pairs = zip(cell.states, cell.next_states, strict=True)
    offsets = {node: f"offset {name}" for name, node in pairs if node.op != "project"}

    def change(graph: Graph, node: Node, args: Sequence[Node]) -> Node:
        again = graph.node(node.op, *args, name=node.name, part=node.part, value=node.value)
        return graph.node("add", again, graph.leaf("state", offsets[node])) if node in offsets else again

    other = rebuilt(cell, change)
    zeros = len(offsets) * [other.graph().constant(0)]
    return replace(other, states=(*cell.states, *offsets.values()), next_states=(*other.next_states, *zeros))


@one_thread()
def _by_states(
    passage: Passage, entering: tuple[Tensor, ...], by_output: Tensor, by_finals: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The derivatives of the loss by the states after each step, ``[T, B, H]`` for each state.

    Returns the total ones, and those with the other states held fixed. They are 0 past the end of a row.
    """
    walk = passage.walk
    step = replace(passage, walk=walk._replace(cell=without_random(_with_offsets(passage.cell))))
    from_input = F.linear(passage.x, walk.weights.weight_ih, walk.weights.bias_ih)
    whole, carried = ([torch.empty_like(state) for state in entering] for _ in range(2))
    carry = [torch.zeros_like(state) for state in passage.initial]
    for t in reversed(passage.order):
        runs, ends = passage.running[t][:, None], passage.ends[t][:, None]
        carry = [c + torch.where(ends, by, 0.0) for c, by in zip(carry, by_finals, strict=True)]
        carry = [torch.where(runs, c, 0.0) for c in (carry[0] + by_output[t], *carry[1:])]
        before, found = _step_back(step, from_input[t], tuple(state[t] for state in entering), carry)
        for derivative, by in zip((*whole, *carried), (*found, *carry), strict=True):
            derivative[t] = by
        carry = [torch.where(passage.begins[t][:, None], 0.0, c) for c in before]
    return whole, carried


def _step_back(
    step: Passage, from_input: Tensor, entering: tuple[Tensor, ...], by_after: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """One step of backpropagation.

    From the derivatives by the states after a step that come from elsewhere, it computes the derivatives by
    the states before it, by those after it, and by the weights.
    """
    n, offsets = len(entering), step.cell.states[len(entering) :]
    zeros = [entering[-1].new_zeros(len(entering[0]), step.units) for _ in offsets]
    leaves = [state.clone().requires_grad_() for state in (*entering, *zeros)]
    after = eager.step(step.cell, from_input, step.walk.weights, tuple(leaves))[0][:n]
    found = list(torch.autograd.grad(after, leaves, by_after, allow_unused=True, materialize_grads=True))
    whole = dict(zip(offsets, found[n:], strict=True))
    names = [f"offset {name}" for name in step.cell.states[:n]]
    return found[:n], [whole.get(name, by) for name, by in zip(names, by_after, strict=True)]


def _by_weights(
    passage: Passage, entering: tuple[Tensor, ...], carried: Sequence[Tensor], keep: bool
) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor] | None]:
    """The contribution of each step to the gradients of the weights, computed several steps at a time.

    Returns their sums, their norms, and the contributions themselves if asked for.
    """
    weights = _parameters(passage)
    sums = [torch.zeros_like(weight) for weight in weights.values()]
    norms: dict[str, list[Tensor]] = {name: [] for name in weights}
    kept: dict[str, list[Tensor]] = {name: [] for name in weights}
    at_once = max(1, _NUMBERS // max(1, sum(weight.numel() for weight in weights.values())))
    chunks = (torch.split(tensor, at_once) for tensor in (passage.x, *entering, *carried))
    for x, *others in zip(*chunks, strict=True):
        before, after = tuple(others[: len(entering)]), tuple(others[len(entering) :])
        shares = torch.func.vmap(partial(_shares, passage))(x, before, after)
        sums = [total + share.sum(0) for total, share in zip(sums, shares, strict=True)]
        for name, share in zip(weights, shares, strict=True):
            own = passage.own(name, share)
            norms[name].append(own.flatten(1).norm(dim=1))
            kept[name] += [own.clone()] if keep else []
    joined = {name: torch.cat(parts) for name, parts in norms.items()}
    return sums, joined, {name: torch.cat(parts) for name, parts in kept.items()} if keep else None


def _shares(
    passage: Passage, x: Tensor, before: tuple[Tensor, ...], by_after: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """One step's shares in the derivatives by the weights, in the order of `Weights.flat`."""

    def after(*flat: Tensor) -> tuple[Tensor, ...]:
        weights = passage.walk.weights.filled(iter(flat))
        return replace(passage, walk=passage.walk._replace(weights=weights)).step(x, before)

    found: tuple[Tensor, ...] = torch.func.vjp(after, *passage.walk.weights.flat)[1](by_after)
    return found


def _stretches(passage: Passage, entering: tuple[Tensor, ...]) -> Tensor:
    """``[T, B]``: the largest singular value of each step's Jacobian."""
    jacobians = passage.jacobians(entering, range(passage.steps))
    norms = torch.stack([torch.linalg.matrix_norm(jacobian, 2) for jacobian in jacobians])
    norms = norms.masked_fill(passage.begins, 0)
    return norms.masked_fill(~passage.running, torch.nan)


def _residual(call: _Call, sums: Sequence[Tensor], by_results: Sequence[Tensor | None]) -> float:
    """The relative error of the summed contributions, compared with autograd through a rerun of the layer."""
    walk = call.recorded.walk
    assert walk is not None
    weights = each_weight(lambda weight: weight.detach().clone().requires_grad_(), walk.weights)
    states = None if walk.states is None else tuple(state.detach() for state in walk.states)
    (again,) = scan_together([walk._replace(x=walk.x.detach(), weights=weights, states=states)])
    pairs = zip((again.output, *again.states), by_results, strict=True)
    results, by = zip(*((result, by) for result, by in pairs if by is not None), strict=True)
    found = torch.autograd.grad(results, weights.flat, by, allow_unused=True, materialize_grads=True)
    both = [(s, f.cpu()) for s, f in zip(sums, found, strict=True) if f.numel()]
    off = max(float((f - s).abs().max()) for s, f in both)
    return off / max(_TINY, *(float(f.abs().max()) for _, f in both))


def _parameters(passage: Passage) -> dict[str, Tensor]:
    """The weights by name, in the order of `Weights.flat`."""
    weights = passage.walk.weights
    named: dict[str, Tensor | None] = {
        name: getattr(weights, name) for name in weights._fields if name != "vectors"
    }
    vectors = dict(zip(passage.cell.vectors, weights.vectors, strict=True))
    ordered = {id(tensor): name for name, tensor in (named | vectors).items() if tensor is not None}
    return {ordered[id(tensor)]: tensor for tensor in weights.flat}
