"""The eager interpreter: the graph of a cell, node by node, in torch operations.

It runs on any device and element type, and is differentiable any number of times. Tests compare the compiled
kernels with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise.language import Cell, Kind
from gatewise.language.graph import Node, topological
from gatewise.language.rewrites import without_random
from gatewise.nn.walk.random import Chance, decide
from gatewise.nn.walk.under_compile import constant
from gatewise.nn.walk.walk import Scanned, Walk, Weights

_TORCH: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    # torch's own softplus is linear above 20, which is wrong in float64; this one is exact in both tails.
    "softplus": lambda a: -F.logsigmoid(-a),
    "relu": torch.relu,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "less": torch.lt,
    "less_equal": torch.le,
    "where": torch.where,
}


# Computes an operation in torch, from its node and the values of its arguments.
Operation = Callable[..., Tensor]


def evaluate(
    nodes: Sequence[Node], leaves: Mapping[Node, Tensor], more: Mapping[str, Operation] | None = None
) -> tuple[Tensor, ...]:
    """Compute the values of `nodes`.

    Args:
        nodes: the nodes of a cell.
        leaves: the values of all leaves that they need, except constants. Their shapes broadcast, usually
            ``[B, H]``; all have the same type and device.
        more: further operations by name: those with weights, and random ones.

    Raises:
        KeyError: a leaf or an operation is missing.
    """
    operations = {"norm": _norm, "mean": _mean, **(more or {})}
    values = dict(leaves)
    like = next(iter(leaves.values()))
    for node in topological(nodes):
        if node.op == "constant":
            values[node] = like.new_full((), node.value)
        elif node.args and node not in values:
            args = [values[arg] for arg in node.args]
            plain = _TORCH.get(node.op)
            values[node] = plain(*args) if plain else operations[node.op](node, *args)
    return tuple(values[node] for node in nodes)


def _alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Broadcast tensors to the same shape."""
    return tuple(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]


def _mean(node: Node, *args: Tensor) -> Tensor:
    """The mean of all units of all arguments, broadcast to their shape."""
    args = _alike(*args)
    return torch.stack([arg.mean(-1, keepdim=True) for arg in args]).mean(0).expand_as(args[0])


def _norm(node: Node, *args: Tensor) -> Tensor:
    """One of the arguments, normalised over the units of all of them."""
    args = _alike(*args)
    mean = _mean(node, *args)
    variance = _mean(node, *((arg - mean) ** 2 for arg in args))
    return (args[int(node.name)] - mean) / torch.sqrt(variance + node.value)


def scan(walk: Walk) -> Scanned:
    """Run the cell of a walk, step by step.

    The fields of the walk:

    - x: the input ``[T, B, I]``, ``[B, T, I]`` with `batch_first`; the output has the same layout.
    - states: the initial states, each ``[B, H]`` (the first ``[B, P]`` with a projection); None for zeros.
    - reverse: whether to go from the last step to the first.
    - record: the names of values of ``cell.values`` to return for every step, always time first.
    - reset: with the steps and rows of `x`, true where a row starts a step from `restart`, by default its
      initial state.
    - batch_sizes: ``[T]``, for packed sequences: x ``[N, I]``, output and recorded values ``[N, H]``, `reset`
      ``[N]``. States have the rows of the first step. With `padding`, x, output and recorded values are
      padded nevertheless.
    - chance: the random seed; with None the cell runs as in evaluation mode.

    The input product is computed for all steps before the loop.
    """
    if walk.padding is not None:
        return scan(walk.packed()).padded(walk)
    cell, weights, reverse = walk.cell, walk.weights, walk.reverse
    cell = without_random(cell) if walk.chance is None and cell.is_random else cell
    from_input = F.linear(walk.x, weights.weight_ih, weights.bias_ih)
    for unread in _unread(cell, weights):
        from_input = from_input + unread.flatten()[:0].sum()  # adds nothing, but gives a gradient of zeros
    steps = _by_step(walk, from_input)
    resets = len(steps) * [None] if walk.reset is None else _by_step(walk, walk.reset)
    states = walk.states or initial_states(cell, steps[0], weights)
    restart = walk.restart or states
    outputs: list[Tensor] = []
    recorded: list[tuple[Tensor, ...]] = []
    in_time = list(zip(steps, resets, strict=True))
    for t, (step, reset) in enumerate(reversed(in_time) if reverse else in_time):
        entered = entering(states, restart, step.size(0), reset)
        rows = torch.arange(step.size(0), device=step.device)
        operations = _operations(weights, _shape(cell, step), walk.chance, t, rows)
        after, kept = _step(cell, step, weights, entered, walk.record, operations)
        states = first_rows_replaced(states, after)
        outputs.append(after[0])
        recorded.append(kept)
    columns = zip(walk.record, zip(*recorded, strict=True), strict=True)
    packed = walk.batch_sizes is not None
    return Scanned(
        _join(outputs, reverse, packed, dim=1 if walk.batch_first else 0),
        states,
        {name: _join(column, reverse, packed) for name, column in columns},
    )


def _unread(cell: Cell, weights: Weights) -> list[Tensor]:
    """The weights that require a gradient although no result depends on them. Kernels give them zeros too."""
    found = [] if cell.state_gates else [weights.weight_hh, weights.bias_hh]
    unread = _vectors_of_conditions(cell)
    found += [vector for name, vector in zip(cell.vectors, weights.vectors, strict=True) if name in unread]
    return [w for w in found if w is not None and w.requires_grad] if torch.is_grad_enabled() else []


@constant
def _vectors_of_conditions(cell: Cell) -> tuple[str, ...]:
    """The vectors that only comparisons read."""
    read: set[Node] = set()
    stack = [*cell.next_states, cell.seen]
    while stack:
        node = stack.pop()
        if node not in read and node.op not in ("less", "less_equal"):
            read.add(node)
            stack += node.args
    return tuple(name for name in cell.vectors if cell.leaf("vector", name) not in read)


def _by_step(walk: Walk, sequence: Tensor) -> Sequence[Tensor]:
    """Split a sequence into steps, each with the rows that have this step."""
    if walk.batch_sizes is not None:
        return torch.split(sequence, walk.batch_sizes.tolist())
    return sequence.unbind(1 if walk.batch_first else 0)


def entering(
    states: tuple[Tensor, ...], restart: tuple[Tensor, ...], rows: int, reset: Tensor | None
) -> tuple[Tensor, ...]:
    """The states before a step, for the first `rows` rows; rows in `reset` get `restart`."""
    if reset is None:
        return tuple(state[:rows] for state in states)
    pairs = zip(restart, states, strict=True)
    return tuple(torch.where(reset[:, None], first[:rows], state[:rows]) for first, state in pairs)


def first_rows_replaced(states: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """`states [B, H]` with the first rows replaced by `new`. Rows that have ended keep their states."""
    rows = new[0].size(0)
    if rows == states[0].size(0):
        return new
    return tuple(torch.cat([after, state[rows:]]) for after, state in zip(new, states, strict=True))


def initial_states(cell: Cell, like: Tensor, weights: Weights) -> tuple[Tensor, ...]:
    """Zeros for each state, ``[B, H]`` (``[B, P]`` if projected), with the rows of ``like [B, ...]``."""
    H = weights.weight_ih.size(0) // len(cell.input_gates)
    widths = [H if weights.weight_hr is None else weights.weight_hr.size(0)] + [H] * (len(cell.states) - 1)
    return tuple(like.new_zeros(like.size(0), width) for width in widths)


def _shape(cell: Cell, from_input: Tensor) -> tuple[int, int]:
    """The shape ``[B, H]`` of a step, from ``from_input [B, Gx*H]``."""
    return from_input.size(0), from_input.size(1) // len(cell.input_gates)


def _operations(
    weights: Weights,
    shape: tuple[int, int],
    chance: Chance | None = None,
    t: int = 0,
    rows: Tensor | None = None,
) -> dict[str, Operation]:
    """The operations with weights and the random ones, at step t for ``rows [B]``, on values of `shape`."""
    H = shape[1]

    def whole(v: Tensor) -> Tensor:
        """Broadcast a constant ``[]`` or a vector ``[H]`` to ``[B, H]``."""
        return v if v.dim() > 1 else v.expand(shape)

    def linear(node: Node, v: Tensor) -> Tensor:
        of = slice(int(node.name) * H, (int(node.name) + 1) * H)
        weight, bias = weights.weight_linear, weights.bias_linear
        assert weight is not None
        return F.linear(whole(v), weight[of], None if bias is None else bias[of])

    def project(node: Node, v: Tensor) -> Tensor:
        assert weights.weight_hr is not None
        return F.linear(whole(v), weights.weight_hr)

    def strikes(node: Node, like: Tensor) -> Tensor:
        assert chance is not None
        assert rows is not None
        return decide(node, chance, t, rows, torch.arange(like.size(-1), device=like.device))

    def dropout(node: Node, v: Tensor) -> Tensor:
        v = whole(v)
        return torch.where(strikes(node, v), 0, v * (1 / (1 - node.value)))

    def zoneout(node: Node, old: Tensor, new: Tensor) -> Tensor:
        old, new = _alike(whole(old), whole(new))
        return torch.where(strikes(node, old), old, new)

    return {"linear": linear, "project": project, "dropout": dropout, "zoneout": zoneout}


def seen(cell: Cell, outputs: Tensor, weights: Weights, chance: Chance, rows: Tensor) -> Tensor:
    """What the gates see of ``outputs [..., B, P]`` of these ``rows [B]``. The mask is that of all steps."""
    leaf = cell.leaf("state", cell.states[0])
    operations = _operations(weights, (rows.size(0), outputs.size(-1)), chance, 0, rows)
    return evaluate([cell.seen], {leaf: outputs}, operations)[0]


def step(
    cell: Cell, from_input: Tensor, weights: Weights, states: tuple[Tensor, ...], record: Sequence[str] = ()
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Take one step of a cell without random operations.

    ``from_input [B, Gx*H]`` is the input part of the gates. Returns the next states, and the values that
    `record` names.
    """
    return _step(cell, from_input, weights, states, record, _operations(weights, _shape(cell, from_input)))


def _step(
    cell: Cell,
    from_input: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...],
    record: Sequence[str],
    operations: Mapping[str, Operation],
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Take one step. Returns the next states, and the values that `record` names."""
    nodes = [*cell.next_states, *(cell.values[name] for name in record)]
    leaves = _leaves(cell, from_input, weights, states, operations)
    values = evaluate(nodes, leaves, operations)
    rows, H = _shape(cell, from_input)
    pairs = zip(nodes, values, strict=True)
    whole = [v.expand(rows, v.size(-1) if node.op == "project" else H) for node, v in pairs]
    n = len(cell.states)
    return tuple(whole[:n]), tuple(whole[n:])


def _leaves(
    cell: Cell,
    from_input: Tensor,
    weights: Weights,
    states: tuple[Tensor, ...],
    operations: Mapping[str, Operation],
) -> dict[Node, Tensor]:
    """The values of the leaves of one step: previous states, vectors and pre-activations."""
    leaf = cell.leaf
    x = dict(zip(cell.input_gates, from_input.chunk(len(cell.input_gates), -1), strict=True))
    leaves = {leaf("state", name): state for name, state in zip(cell.states, states, strict=True)}
    leaves |= {leaf("vector", name): v for name, v in zip(cell.vectors, weights.vectors, strict=True)}
    (seen,) = evaluate([cell.seen], leaves, operations)
    h = _from_state(cell, seen, weights)
    for p in cell.parameters:
        if p.kind is Kind.GATE:
            leaves[leaf("gate", p.name)] = x[p.name] + h[p.name]
        elif p.sees_input:
            leaves[leaf("gate", p.name, "x")] = x[p.name]
        if p.kind is Kind.SPLIT:
            leaves[leaf("gate", p.name, "h")] = h[p.name]
    return leaves


def _from_state(cell: Cell, state: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The recurrent part of each gate, ``R h + b_h``, ``[B, H]``."""
    if not cell.state_gates:
        return {}
    product = F.linear(state, weights.weight_hh, weights.bias_hh)
    return dict(zip(cell.state_gates, product.chunk(len(cell.state_gates), -1), strict=True))


def _join(steps: Iterable[Tensor], reverse: bool, packed: bool, dim: int = 0) -> Tensor:
    """Join steps, which are in the order of the walk, to one sequence."""
    in_order = list(steps)[:: -1 if reverse else 1]
    return torch.cat(in_order) if packed else torch.stack(in_order, dim)
