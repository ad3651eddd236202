"""Contextual decomposition: what a phrase (a span of steps) contributes to the output.

Every value of the network is written as a sum ``beta + gamma + constant``: the part that comes from the
phrase alone, the part from everything else, including its interaction with the phrase, and the part from
biases alone. The rules are those of Murdoch, Liu & Yu 2018, "Beyond word importance". They are stated for
every operation of the language, so they hold for any cell:

- sums: part by part. Products: ``beta beta' + beta constant' + constant beta'`` goes to beta, ``constant
  constant'`` stays constant, all other terms go to gamma.
- functions: the mean over both orders of adding beta and gamma to the constant (equation 13 ff.).
- A constant that goes into a state counts as beta at steps in the phrase, and as gamma at other steps.
- A gate that only reads a state (the LSTM's o) is not split; it multiplies both parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatewise.insight.finding import Finding
from gatewise.insight.keeping import kept_states
from gatewise.insight.passage import Passage
from gatewise.language import Cell, Kind
from gatewise.language.graph import Graph, Node, topological
from gatewise.language.rewrites import without_random
from gatewise.nn.modules.layer import Hidden, Layer, Recorded
from gatewise.nn.walk import eager
from gatewise.nn.walk.walk import Weights

_TINY = 1e-300


@final
@dataclass(frozen=True, repr=False, eq=False)
class Decomposition(Finding):
    """The output of recurrent layers as the sum of two parts.

    Attributes:
        phrase: the steps of the phrase.
        beta: ``[T, B, D*H]``, the part of the output that comes from the phrase.
        gamma: ``[T, B, D*H]``, the part that comes from everything else.
        residual: the largest error of ``beta + gamma`` as the output, relative to the largest output.
        last: ``[B]``, the last step of each row.
    """

    phrase: range
    beta: Tensor
    gamma: Tensor
    residual: float
    last: Tensor

    def through(self, head: nn.Linear, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The two parts ``[B, O]`` of ``head(output[step])``, by default at the last step of each row.

        Their sum is the result of the head without its bias.
        """
        weight = head.weight.detach().to(self.beta)
        beta, gamma = (self._at(part, step) for part in (self.beta, self.gamma))
        return F.linear(beta, weight), F.linear(gamma, weight)

    def _at(self, part: Tensor, step: int | None) -> Tensor:
        return part[self.last, torch.arange(len(self.last))] if step is None else part[step]

    def __str__(self) -> str:
        beta, gamma = (self._at(part, None).norm() for part in (self.beta, self.gamma))
        share = float(beta / (beta + gamma).clamp_min(_TINY))
        return (
            f"Steps {self.phrase.start} to {self.phrase.stop - 1} have {share:.0%} of the output at the last "
            "step of each row, by the norms of the parts "
            f"(they sum to the output within {self.residual:.1e})."
        )


def decompose(
    layer: nn.Module,
    x: Tensor | PackedSequence,
    phrase: slice,
    hx: Hidden | None = None,
    lengths: Sequence[int] | None = None,
    reset: Tensor | None = None,
) -> Decomposition:
    """Split the output of recurrent layers into the contribution of a phrase and that of everything else.

    This works for any cell, any number of layers and both directions, and is computed in float64. The scale
    of a `layer_norm` is not split.

    Args:
        layer: a `gatewise.nn.Recurrent` (`LSTM`, `GRU`, ...).
        x: the input in a form that the layer takes: ``[T, B, I]``, ``[B, T, I]`` if the layer says so, ``[T,
            I]`` for one row, or a `PackedSequence`.
        phrase: the steps of the phrase.
        hx: the initial states, by default zeros. They count as part of gamma.
        lengths: ``[B]``, the steps of each row. Both parts are 0 past its end.
        reset: where rows are reset to their initial states, as for the layer.

    Raises:
        TypeError: `layer` is not a gatewise layer over sequences.
        ValueError: the layer is random (in training mode), or has an operation without a rule.

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.decomposition import decompose
        >>> layer, head = gatewise.nn.LSTM(3, 8, num_layers=2), torch.nn.Linear(8, 2)
        >>> x = torch.randn(20, 4, 3)
        >>> parts = decompose(layer, x, slice(5, 9))
        >>> beta, gamma = parts.through(head)
        >>> torch.allclose((beta + gamma).float(), head(layer(x)[0][-1]) - head.bias, atol=1e-5)
        True
    """
    passages, output = _run(layer, x, (hx, lengths, reset))
    steps = range(*phrase.indices(output.size(0)))
    in_phrase = torch.zeros(output.size(0), 1, 1, dtype=torch.bool)
    in_phrase[steps.start : steps.stop] = True
    first = passages[0][0].x
    parts = _Parts(torch.where(in_phrase, first, 0), torch.where(in_phrase, 0, first), None)
    for directions in passages:
        found = [_walk(passage, parts, steps) for passage in directions]
        parts = _Parts(torch.cat([f.beta for f in found], -1), torch.cat([f.gamma for f in found], -1), None)
    off = (parts.beta + parts.gamma - output).abs().max() / output.abs().max().clamp_min(_TINY)
    last = (passages[0][0].running.sum(0) - 1).clamp_min(0)
    return Decomposition(steps, parts.beta, parts.gamma, float(off), last)


class _Parts(NamedTuple):
    """A value as the sum of its parts. `constant` may be None."""

    beta: Tensor
    gamma: Tensor
    constant: Tensor | None

    @property
    def total(self) -> Tensor:
        sum_ = self.beta + self.gamma
        return sum_ if self.constant is None else sum_ + self.constant


def _run(
    layer: nn.Module, x: Tensor | PackedSequence, others: tuple[Any, ...]
) -> tuple[list[list[Passage]], Tensor]:
    """Run the layers. Returns the passages of each layer, and the output ``[T, B, D*H]``."""
    if not isinstance(layer, Layer) or not hasattr(layer, "num_layers"):
        kind = type(layer).__name__
        raise TypeError(f"decompose: layer must be a gatewise layer over sequences. Got {kind}.")
    if layer.training and layer.dropout:
        raise ValueError("decompose: the layer drops some of its outputs. Call layer.eval() first.")
    passages: list[Passage] = []

    def keep(recorded: Recorded) -> None:
        passage = Passage.of(recorded.layer, recorded)
        passages.append(passage.without_random("decompose").exact())

    with layer.recording(keep, ()), torch.no_grad():
        output, _ = layer(x, *others)
    directions = 2 if layer.bidirectional else 1
    stacked = [passages[k : k + directions] for k in range(0, len(passages), directions)]
    return stacked, _time_first(output, bool(layer.batch_first), passages[0].steps).cpu().double()


def _time_first(output: Tensor | PackedSequence, batch_first: bool, steps: int) -> Tensor:
    """The output of a layer as ``[T, B, D*H]``."""
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output, total_length=steps)[0]
    if output.dim() == 2:
        return output.unsqueeze(1)
    return output.transpose(0, 1) if batch_first else output


def _walk(passage: Passage, x: _Parts, phrase: range) -> _Parts:
    """The parts of the output ``[T, B, H]`` of one layer in one direction, from those of its input."""
    cell = without_random(passage.cell)
    kept = kept_states(cell)
    order = sorted(cell.states, key=lambda name: name not in kept)  # kept states first
    outputs: dict[int, tuple[Tensor, Tensor]] = {}
    initial = [_Parts(torch.zeros_like(state), state, None) for state in passage.initial]
    states = initial
    for t in passage.order:
        entering = [_chosen(passage.begins[t][:, None], *pair) for pair in zip(initial, states, strict=True)]
        leaves = _leaves(cell, passage.walk.weights, _Parts(x.beta[t], x.gamma[t], None), entering)
        found: dict[str, _Parts] = {}
        for name in order:
            node = cell.next_states[cell.states.index(name)]
            _evaluate(node, leaves, passage.walk.weights, name not in kept)
            found[name] = leaves[node] = _settled(leaves[node], t in phrase, (passage.rows, passage.units))
        runs = passage.running[t][:, None]
        after = [found[name] for name in cell.states]
        states = [_Parts(torch.where(runs, p.beta, 0), torch.where(runs, p.gamma, 0), None) for p in after]
        outputs[t] = states[0][:2]
    beta, gamma = zip(*(outputs[t] for t in range(passage.steps)), strict=True)
    return _Parts(torch.stack(beta), torch.stack(gamma), None)


def _evaluate(node: Node, values: dict[Node, _Parts], weights: Weights, reads: bool) -> None:
    """Compute the parts of a node, and of all nodes that it needs, and add them to `values`."""
    for inner in topological([node]):
        if inner not in values:
            values[inner] = _value(inner, [values[arg] for arg in inner.args], weights, reads)


def _settled(value: _Parts, in_phrase: bool, shape: tuple[int, int]) -> _Parts:
    """The value with its constant moved to beta (in the phrase) or gamma."""
    beta, gamma, constant = value
    if constant is not None:
        beta, gamma = (beta + constant, gamma) if in_phrase else (beta, gamma + constant)
    widths = (shape[0], beta.size(-1) if beta.dim() == 2 else shape[1])
    return _Parts(beta.expand(widths), gamma.expand(widths), None)


def _leaves(cell: Cell, weights: Weights, x: _Parts, states: Sequence[_Parts]) -> dict[Node, _Parts]:
    """The parts of all leaves: states, vectors and pre-activations."""
    leaf = cell.leaf
    zero = x.beta.new_zeros(())
    leaves = {leaf("state", name): parts for name, parts in zip(cell.states, states, strict=True)}
    leaves |= {
        leaf("vector", name): _Parts(zero, zero, v)
        for name, v in zip(cell.vectors, weights.vectors, strict=True)
    }
    from_x = _affine(x, weights.weight_ih, weights.bias_ih, cell.input_gates)
    from_h = _affine(states[0], weights.weight_hh, weights.bias_hh, cell.state_gates)
    for p in cell.parameters:
        if p.kind is Kind.GATE:
            leaves[leaf("gate", p.name)] = _sum(from_x[p.name], from_h[p.name])
        elif p.sees_input:
            leaves[leaf("gate", p.name, "x")] = from_x[p.name]
        if p.kind is Kind.SPLIT:
            leaves[leaf("gate", p.name, "h")] = from_h[p.name]
    return leaves


def _affine(v: _Parts, weight: Tensor, bias: Tensor | None, names: Sequence[str]) -> Mapping[str, _Parts]:
    """``W v + b`` for each gate; the bias is constant."""
    if not names:
        return {}
    columns = [F.linear(part, weight).chunk(len(names), -1) for part in v[:2]]
    biases = len(names) * [None] if bias is None else list(bias.chunk(len(names)))
    return {name: _Parts(*parts) for name, *parts in zip(names, *columns, biases, strict=True)}


def _value(node: Node, args: Sequence[_Parts], weights: Weights, reads: bool) -> _Parts:
    """The parts of a node, from the parts of its arguments."""
    if node.op == "constant":
        zero = weights.weight_ih.new_zeros(())
        return _Parts(zero, zero, weights.weight_ih.new_tensor(node.value))
    if node.op in _RULES:
        return _RULES[node.op](*args)
    if node.op == "mul":
        gates = [arg.op == "sigmoid" for arg in node.args]
        if reads and any(gates):
            return _read(*args) if gates[0] else _read(*reversed(args))
        return _product(*args)
    if node.op == "div":
        return _product(args[0], _function(lambda v: 1 / v, args[1]))
    if node.op in ("less", "less_equal"):
        truth = _elementwise(node.op, *(arg.total for arg in args))
        zero = weights.weight_ih.new_zeros(())
        return _Parts(zero, zero, truth)
    if node.op == "linear":
        return _multiplied(args[0], *_matrix(int(node.name), weights, args[0].beta.size(-1)))
    if node.op == "project":
        assert weights.weight_hr is not None
        return _multiplied(args[0], weights.weight_hr, None)
    if node.op == "norm":
        return _normalised(node, args)
    if len(args) == 1:
        return _function(lambda v: _elementwise(node.op, v), args[0])
    raise ValueError(f"decompose: the operation {node.op!r} has no rule.")


def _matrix(number: int, weights: Weights, H: int) -> tuple[Tensor, Tensor | None]:
    """The weights of a `linear`."""
    assert weights.weight_linear is not None
    rows, bias = slice(number * H, (number + 1) * H), weights.bias_linear
    return weights.weight_linear[rows], None if bias is None else bias[rows]


def _sum(a: _Parts, b: _Parts) -> _Parts:
    if a.constant is None or b.constant is None:
        constant = b.constant if a.constant is None else a.constant
    else:
        constant = a.constant + b.constant
    return _Parts(a.beta + b.beta, a.gamma + b.gamma, constant)


def _negative(a: _Parts) -> _Parts:
    return _Parts(-a.beta, -a.gamma, None if a.constant is None else -a.constant)


def _product(a: _Parts, b: _Parts) -> _Parts:
    k, l = _constant(a), _constant(b)
    beta = a.beta * (b.beta + l) + k * b.beta
    gamma = a.gamma * b.total + (a.beta + k) * b.gamma
    return _Parts(beta, gamma, None if a.constant is None or b.constant is None else k * l)


def _read(gate: _Parts, v: _Parts) -> _Parts:
    """The product of a value and a gate that is not split."""
    whole = gate.total
    return _Parts(whole * v.beta, whole * v.gamma, None if v.constant is None else whole * v.constant)


def _function(f: Callable[[Tensor], Tensor], v: _Parts) -> _Parts:
    """A function of a value: the mean contribution of each part over both orders of adding them."""
    k = _constant(v)
    nothing, one, other, all_ = f(k), f(v.beta + k), f(v.gamma + k), f(v.total)
    beta, gamma = (one - nothing + all_ - other) / 2, (other - nothing + all_ - one) / 2
    return _Parts(beta, gamma, None if v.constant is None and not nothing.any() else nothing)


def _chosen(truth: Tensor, a: _Parts, b: _Parts) -> _Parts:
    parts = [torch.where(truth, p, q) for p, q in zip(a[:2], b[:2], strict=True)]
    if a.constant is None and b.constant is None:
        return _Parts(parts[0], parts[1], None)
    return _Parts(parts[0], parts[1], torch.where(truth, _constant(a), _constant(b)))


def _multiplied(v: _Parts, weight: Tensor, bias: Tensor | None) -> _Parts:
    constant = bias if v.constant is None else F.linear(v.constant, weight, bias)
    return _Parts(F.linear(v.beta, weight), F.linear(v.gamma, weight), constant)


def _normalised(node: Node, args: Sequence[_Parts]) -> _Parts:
    """A result of `norm`: minus the mean, part by part, times a scale that is not split."""

    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([value.expand_as(values[0]) for value in values]).mean((0, -1))[..., None]

    wholes = [arg.total for arg in args]
    centre = mean(wholes)
    scale = torch.sqrt(mean([(whole - centre) ** 2 for whole in wholes]) + node.value)
    parts = []
    for column in zip(*((arg.beta, arg.gamma, _constant(arg)) for arg in args), strict=True):
        wide = [part.expand_as(whole) for part, whole in zip(column, wholes, strict=True)]
        parts.append((wide[int(node.name)] - mean(wide)) / scale)
    return _Parts(*parts)


def _constant(v: _Parts) -> Tensor:
    return v.beta.new_zeros(()) if v.constant is None else v.constant


def _elementwise(op: str, *values: Tensor) -> Tensor:
    """An operation of the language on tensors."""
    graph = Graph()
    leaves = {graph.leaf("state", str(k)): value for k, value in enumerate(values)}
    return eager.evaluate([graph.node(op, *leaves)], leaves)[0]


_RULES: dict[str, Callable[..., _Parts]] = {
    "add": _sum,
    "sub": lambda a, b: _sum(a, _negative(b)),
    "neg": _negative,
    "where": lambda condition, a, b: _chosen(condition.constant, a, b),
    "maximum": lambda a, b: _chosen(a.total >= b.total, a, b),
    "minimum": lambda a, b: _chosen(a.total <= b.total, a, b),
}
