"""The eager interpreter: the graph of a cell, node by node, in torch operations.

It runs on any device and element type and is differentiable any number of times. Tests hold the compiled
kernels to it.
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


# What an operation is in torch, given its node and the values of its arguments.
Operation = Callable[..., Tensor]


def evaluate(
    nodes: Sequence[Node], leaves: Mapping[Node, Tensor], more: Mapping[str, Operation] | None = None
) -> tuple[Tensor, ...]:
    """The values of `nodes`, given those of the leaves they need (constants excepted).

    Every leaf has a shape that broadcasts with the others, usually ``[B, H]``; all have one type and device.
    `more` are operations of the scan by name: those with weights, and those by chance.

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
    """Tensors of one shape."""
    return tuple(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]


def _mean(node: Node, *args: Tensor) -> Tensor:
    """The mean of all units of all arguments, as wide as they are."""
    args = _alike(*args)
    return torch.stack([arg.mean(-1, keepdim=True) for arg in args]).mean(0).expand_as(args[0])


def _norm(node: Node, *args: Tensor) -> Tensor:
    """One of the arguments, normalised over the units of all of them."""
    args = _alike(*args)
    mean = _mean(node, *args)
    variance = _mean(node, *((arg - mean) ** 2 for arg in args))
    return (args[int(node.name)] - mean) / torch.sqrt(variance + node.value)


def scan(walk: Walk) -> Scanned:
    """Run the cell of a walk over ``x [T, B, I]`` (``[B, T, I]`` with `batch_first`, as the output is then).

    The initial `states` are each ``[B, H]`` (the first ``[B, P]`` under projection); None stands for zeros.
    `reverse` walks from the last step to the first. `record` names values of ``cell.values`` to be kept at
    every step, always time first. The input product is one product over all steps, before the loop.

    `reset`, as many steps and rows as `x`, is true where a row enters a step of the walk from `restart`, its
    initial state if that is left out. `batch_sizes [T]` makes all sequences packed: x ``[N, I]``, output and
    recorded values ``[N, H]``, `reset` ``[N]``; states then have a row for each of the first step's. With
    `padding` x, output and recorded values are padded all the same. `chance` decides what is random in the
    cell; None stands for `without_random`.
    """
    if walk.padding is not None:
        return scan(walk.packed()).padded(walk)
    cell, weights, reverse = walk.cell, walk.weights, walk.reverse
    cell = without_random(cell) if walk.chance is None and cell.is_random else cell
    from_input = F.linear(walk.x, weights.weight_ih, weights.bias_ih)
    for unread in _unread(cell, weights):
        from_input = from_input + unread.flatten()[:0].sum()  # nothing, with a gradient of zeros
    steps = _by_step(walk, from_input)
    resets = len(steps) * [None] if walk.reset is None else _by_step(walk, walk.reset)
    states = walk.states or initial_states(cell, steps[0], weights)
    restart = walk.restart or states
    outputs: list[Tensor] = []
    recorded: list[tuple[Tensor, ...]] = []
    in_time = list(zip(steps, resets, strict=True))
    for t, (step, anew) in enumerate(reversed(in_time) if reverse else in_time):
        entered = entering(states, restart, step.size(0), anew)
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
    """The weights that no result depends on but want a gradient, which the kernels give too."""
    found = [] if cell.state_gates else [weights.weight_hh, weights.bias_hh]
    unread = _vectors_of_conditions(cell)
    found += [vector for name, vector in zip(cell.vectors, weights.vectors, strict=True) if name in unread]
    return [w for w in found if w is not None and w.requires_grad] if torch.is_grad_enabled() else []


@constant
def _vectors_of_conditions(cell: Cell) -> tuple[str, ...]:
    """The vectors that nothing but comparisons read."""
    read: set[Node] = set()
    stack = [*cell.next_states, cell.seen]
    while stack:
        node = stack.pop()
        if node not in read and node.op not in ("less", "less_equal"):
            read.add(node)
            stack += node.args
    return tuple(name for name in cell.vectors if cell.leaf("vector", name) not in read)


def _by_step(walk: Walk, sequence: Tensor) -> Sequence[Tensor]:
    """What each step has for the rows that take part in it."""
    if walk.batch_sizes is not None:
        return torch.split(sequence, walk.batch_sizes.tolist())
    return sequence.unbind(1 if walk.batch_first else 0)


def entering(
    states: tuple[Tensor, ...], restart: tuple[Tensor, ...], rows: int, anew: Tensor | None
) -> tuple[Tensor, ...]:
    """The states with which the first `rows` rows enter a step."""
    if anew is None:
        return tuple(state[:rows] for state in states)
    pairs = zip(restart, states, strict=True)
    return tuple(torch.where(anew[:, None], first[:rows], state[:rows]) for first, state in pairs)


def first_rows_replaced(states: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """`states [B, H]` with the rows of `new` in the place of the first; rows that do not run keep theirs."""
    rows = new[0].size(0)
    if rows == states[0].size(0):
        return new
    return tuple(torch.cat([after, state[rows:]]) for after, state in zip(new, states, strict=True))


def initial_states(cell: Cell, like: Tensor, weights: Weights) -> tuple[Tensor, ...]:
    """Zeros for each state over the rows of ``like [B, ...]``: ``[B, P]`` if projected, else ``[B, H]``."""
    H = weights.weight_ih.size(0) // len(cell.input_gates)
    widths = [H if weights.weight_hr is None else weights.weight_hr.size(0)] + [H] * (len(cell.states) - 1)
    return tuple(like.new_zeros(like.size(0), width) for width in widths)


def _shape(cell: Cell, from_input: Tensor) -> tuple[int, int]:
    """``[B, H]`` of a step, by ``from_input [B, Gx*H]``."""
    return from_input.size(0), from_input.size(1) // len(cell.input_gates)


def _operations(
    weights: Weights,
    shape: tuple[int, int],
    chance: Chance | None = None,
    t: int = 0,
    rows: Tensor | None = None,
) -> dict[str, Operation]:
    """The operations of step t that have weights or are random, on values of this shape, for ``rows [B]``."""
    H = shape[1]

    def whole(v: Tensor) -> Tensor:
        """``[B, H]``, also of a constant ``[]`` and a vector ``[H]``."""
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
    """What the gates see of ``outputs [..., B, P]`` whose ``rows [B]`` are given; the same at every step."""
    leaf = cell.leaf("state", cell.states[0])
    operations = _operations(weights, (rows.size(0), outputs.size(-1)), chance, 0, rows)
    return evaluate([cell.seen], {leaf: outputs}, operations)[0]


def step(
    cell: Cell, from_input: Tensor, weights: Weights, states: tuple[Tensor, ...], record: Sequence[str] = ()
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The next states, and the values that `record` names, of a cell in which nothing is random.

    ``from_input [B, Gx*H]`` is the part of the gates that comes from the input.
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
    """The next states, and the values that `record` names; ``from_input [B, Gx*H]``."""
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
    """The values of the leaves of one step: the states as they enter it, vectors and pre-activations."""
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
    """The part of each gate that comes from the state: ``R h + b_h``, each ``[B, H]``."""
    if not cell.state_gates:
        return {}
    product = F.linear(state, weights.weight_hh, weights.bias_hh)
    return dict(zip(cell.state_gates, product.chunk(len(cell.state_gates), -1), strict=True))


def _join(steps: Iterable[Tensor], reverse: bool, packed: bool, dim: int = 0) -> Tensor:
    """Steps in the order of the walk as one sequence."""
    in_order = list(steps)[:: -1 if reverse else 1]
    return torch.cat(in_order) if packed else torch.stack(in_order, dim)
