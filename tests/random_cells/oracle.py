"""The correct results of a layer of a random cell: its text, run on torch tensors row by row, step by step.

No code of gatewise is used, except for the masks of dropout and zoneout. With `noise` every intermediate
value is changed a little, as rounding may change it. The change of the results is the difference that other
implementations may have.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from gatewise import Input, Split, Vector
from gatewise.nn.walk.random import Chance, decide
from tests.random_cells.drawing import Drawn

Parameters = dict[str, Tensor]  # the parameters of one layer and direction, by name without suffix
# For the number, the period and the rate of a draw: which units are dropped; None in evaluation mode.
Masks = Callable[[int, str, float], Tensor | None]


class _Rounded(ast.NodeTransformer):
    """Wraps every operation and every function call in ``rounded(...)``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, ast.Pow):
            return self._wrapped(ast.Call(ast.Name("power", ast.Load()), [node.left, node.right], []))
        return self._wrapped(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self._wrapped(node)

    def _wrapped(self, node: ast.expr) -> ast.AST:
        self.generic_visit(node)
        return ast.Call(ast.Name("rounded", ast.Load()), [node], [])


@dataclass
class Step:
    """The step of a random cell in torch: ``step(x, states, ...)`` for one row."""

    drawn: Drawn
    parameters: Parameters
    noise: float = 0.0
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0
    largest: float = math.inf
    zeros: bool = False

    def __post_init__(self) -> None:
        tree = ast.parse(self.drawn.source("return ({returned}), locals()"))
        tree.body[0].body = [_Rounded().visit(line) for line in tree.body[0].body]  # type: ignore[attr-defined]
        names: dict[str, Any] = self._language()
        exec(compile(ast.fix_missing_locations(tree), "<oracle>", "exec"), names)
        self._function: Callable[..., Any] = names["drawn"]
        self._kinds = self.drawn.kinds
        self._H = parameters_width(self.parameters, self._kinds)

    def __call__(
        self, x: Tensor, states: Sequence[Tensor], masks: Masks
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The next states, and every value by name."""
        self._count: Counter[str] = Counter()
        self._masks = masks
        # Draws of options come after those of the cell: one for the zoneout of each state, then dropout.
        draws = self.drawn.source().count("dropout(") + self.drawn.source().count("zoneout(")
        seen = states[0]
        if self.recurrent_dropout:
            draw = draws + (len(states) if self.zoneout else 0)
            mask = masks(draw, "sequence", self.recurrent_dropout)
            seen = self._dropped(seen, mask, self.recurrent_dropout)
        self._fed: list[Tensor] = []
        gates = self._gates(x, seen)
        returned, values = self._function(*states, **gates)
        pairs = zip(returned, states, strict=True)
        after = [self._vector(value).expand(state.shape) for value, state in pairs]
        if self.zoneout:
            after = [
                self._zoned_out(old, new, masks(draws + n, "step", self.zoneout), self.zoneout)
                for n, (old, new) in enumerate(zip(states, after, strict=True))
            ]
        if self.zeros:
            after = list(_WithZeros.apply(*after, *self._fed))[: len(after)]  # type: ignore[no-untyped-call]
        return after, {name: self._vector(values[name]).expand(self._H) for name in self.drawn.values}

    def _gates(self, x: Tensor, h: Tensor) -> dict[str, Any]:
        p, H = self.parameters, self._H
        from_x, from_h = p["weight_ih"] @ x, p["weight_hh"] @ h
        if "bias_ih" in p:
            from_x, from_h = from_x + p["bias_ih"], from_h + p["bias_hh"]
        gates: dict[str, Any] = {}
        row_x = row_h = 0
        for name, kind in self._kinds:
            if kind == "Vector":
                gates[name] = p[name]
                continue
            part_x = self._rounded(from_x[row_x : row_x + H])
            row_x += H
            self._fed.append(part_x)
            if kind == "Input":
                gates[name] = part_x
                continue
            part_h = self._rounded(from_h[row_h : row_h + H])
            row_h += H
            self._fed.append(part_h)
            gates[name] = SimpleNamespace(x=part_x, h=part_h) if kind == "Split" else part_x + part_h
        return gates

    def _rounded(self, value: Any) -> Any:
        if not self.noise or not isinstance(value, Tensor):
            return value
        moved = value * (1 + self.noise * torch.randn_like(value))
        return _InRange.apply(moved, self.largest)  # type: ignore[no-untyped-call]

    def _vector(self, value: Any) -> Tensor:
        return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)

    @staticmethod
    def _dropped(v: Tensor, mask: Tensor | None, rate: float) -> Tensor:
        return v if mask is None else torch.where(mask[: v.size(0)], 0.0, v * (1 / (1 - rate)))

    @staticmethod
    def _zoned_out(old: Tensor, new: Tensor, mask: Tensor | None, rate: float) -> Tensor:
        return rate * old + (1 - rate) * new if mask is None else torch.where(mask, old, new)

    def _number(self, of: str) -> int:
        self._count[of] += 1
        return self._count[of] - 1

    def _language(self) -> dict[str, Any]:
        def on(function: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args: function(*map(self._vector, args))

        def where(condition: Tensor, a: Any, b: Any) -> Tensor:
            return torch.where(condition, self._vector(a), self._vector(b))

        def power(a: Any, b: Any) -> Any:
            if isinstance(b, (int, float)) and (float(b).is_integer() or b == 0.5):
                return a**b
            # As defined in docs/cells.md. Its parts leave the range of float32 before their product does.
            return torch.exp(self._rounded(b * self._rounded(torch.log(self._vector(a)))))

        def linear(v: Any) -> Tensor:
            H, n = self._H, self._number("linear")
            of = slice(n * H, (n + 1) * H)
            product = self.parameters["weight_linear"][of] @ self._vector(v).expand(H)
            return (
                product + self.parameters["bias_linear"][of] if "bias_linear" in self.parameters else product
            )

        def project(v: Any) -> Tensor:
            return self.parameters["weight_hr"] @ self._vector(v).expand(self._H)

        def layer_norm(*vectors: Any, eps: float = 1e-5) -> Any:
            together = torch.stack([self._vector(v).expand(self._H) for v in vectors])
            # A mean is rounded, and so is its derivative. With one unit the differences are only rounding.
            centred = together - self._rounded(together.mean())
            normal = centred / torch.sqrt(self._rounded(centred**2).mean() + eps)
            found = []
            for one in normal:
                n = self._number("norm")
                found.append(
                    self._rounded(one) * self.parameters[f"norm_gain_{n}"] + self.parameters[f"norm_bias_{n}"]
                )
            return found[0] if len(found) == 1 else tuple(found)

        def dropout(v: Any, rate: float, per: str = "step") -> Tensor:
            mask = self._masks(self._number("random"), per, rate)
            return self._dropped(self._vector(v).expand(self._H), mask, rate)

        def zoneout(old: Any, new: Any, rate: float) -> Tensor:
            mask = self._masks(self._number("random"), "step", rate)
            return self._zoned_out(
                self._vector(old).expand(self._H), self._vector(new).expand(self._H), mask, rate
            )

        return {
            "sigmoid": on(torch.sigmoid), "tanh": on(torch.tanh), "relu": on(torch.relu),
            "exp": on(torch.exp), "log": on(torch.log), "sqrt": on(torch.sqrt), "abs": on(torch.abs),
            "softplus": on(lambda v: torch.logaddexp(v, torch.zeros_like(v))),
            "minimum": on(torch.minimum), "maximum": on(torch.maximum), "where": where,
            "power": power, "linear": linear,
            "project": project, "layer_norm": layer_norm, "dropout": dropout, "zoneout": zoneout,
            "rounded": self._rounded, "Split": Split, "Input": Input, "Vector": Vector,
        }  # fmt: skip


def parameters_width(parameters: Parameters, kinds: Sequence[tuple[str, str]]) -> int:
    return parameters["weight_ih"].size(0) // sum(kind != "Vector" for _, kind in kinds)


def _in_range(value: Tensor, largest: float) -> Tensor:
    """Infinity for values beyond `largest`, and 0 for values below its inverse."""
    near = torch.where(value.abs() < 1 / largest, 0.0, value)
    return torch.where(value.abs() > largest, value.sign() * torch.inf, near)


class _InRange(torch.autograd.Function):
    """Applies `_in_range` to a value, and to its derivative in backward."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, largest: float) -> Tensor:
        ctx.largest = largest
        return _in_range(value, largest)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, None]:
        return _in_range(d, ctx.largest), None


class _WithZeros(torch.autograd.Function):
    """Returns tensors unchanged. In backward, if any of them has a derivative, all have: zeros by default."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *derivatives: Tensor) -> tuple[Tensor, ...]:
        return derivatives


@dataclass
class Call:
    """One call of a layer of a random cell: all its arguments. Sequences are time first."""

    drawn: Drawn
    x: Tensor  # [T, B, I]
    parameters: list[Parameters]  # one for each direction
    states: list[Tensor] | None  # each [D, B, H]
    lengths: list[int] | None
    reset: Tensor | None  # [T, B]
    chances: list[Chance] | None  # one for each direction; None in evaluation mode
    widths: list[int] = field(default_factory=list)  # the widths of the states
    zoneout: float = 0.0
    recurrent_dropout: float = 0.0

    def leaves(self) -> dict[str, Tensor]:
        """The tensors with a gradient."""
        named = {
            f"{name} {d}": p for d, parameters in enumerate(self.parameters) for name, p in parameters.items()
        }
        states = {f"initial {k}": state for k, state in enumerate(self.states or ())}
        return {"x": self.x, **named, **states}

    def results(
        self, noise: float = 0.0, zeros: bool = False, largest: float = math.inf, cut: bool = False
    ) -> dict[str, Tensor]:
        """``output [T, B, D*P]``, ``final k [D, B, H]``, each value ``[T, B, H]`` by name and direction, and
        the derivatives of a random sum of output and final states by all leaves.

        With `zeros` every state and every gate has a derivative at every step, 0 where nothing depends on it,
        such as a gate that only comparisons read: a layer multiplies all gates with one matrix. With `noise`,
        intermediate values and derivatives beyond `largest` are infinite, below its inverse 0. With `cut`, a
        state that a reset replaces has no derivative; else it is 0.
        """
        torch.manual_seed(5)
        directions = [self._direction(d, noise, zeros, largest, cut) for d in range(len(self.parameters))]
        found = {"output": torch.cat([outputs for outputs, _, _ in directions], -1)}
        for k in range(len(self.widths)):
            found[f"final {k}"] = torch.stack([finals[k] for _, finals, _ in directions])
        found |= derivatives(found, self.leaves())
        for d, (_, _, values) in enumerate(directions):
            found |= {f"{name} {d}": value for name, value in values.items()}
        return {name: value.detach() for name, value in found.items()}

    def _direction(
        self, d: int, noise: float, zeros: bool, largest: float, cut: bool
    ) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
        T, B, _ = self.x.shape
        step = Step(
            self.drawn, self.parameters[d], noise, self.zoneout, self.recurrent_dropout, largest, zeros
        )
        lengths = self.lengths or [T] * B
        order = sorted(range(B), key=lambda row: -lengths[row])  # the order of packed rows
        output = [[torch.zeros(self.widths[0], dtype=self.x.dtype)] * B for _ in range(T)]
        values: dict[str, list[list[Tensor]]] = {}
        finals: list[list[Tensor]] = [[] for _ in self.widths]
        for row in range(B):
            given = [state[d, row] for state in self.states or ()]
            states = initial = given or [self.x.new_zeros(width) for width in self.widths]
            times = range(lengths[row])
            for t in reversed(times) if d else times:
                begins = t + 1 if d else t  # in reverse, a reset at t + 1 takes effect at t
                if self.reset is not None and begins < lengths[row]:
                    # By torch.where the derivative of a value not chosen is 0, and 0 times NaN is NaN.
                    if not cut:
                        pairs = zip(initial, states, strict=True)
                        states = [torch.where(self.reset[begins, row], *pair) for pair in pairs]
                    elif self.reset[begins, row]:
                        states = initial
                number = max(lengths) - 1 - t if d else t
                states, here = step(self.x[t, row], states, self._masks(d, order.index(row), number))
                output[t][row] = states[0]
                for name, value in here.items():
                    nothing = torch.full_like(value, torch.nan)
                    values.setdefault(name, [[nothing] * B for _ in range(T)])[t][row] = value
            for k, state in enumerate(states):
                finals[k].append(state)
        stacked = {name: torch.stack([torch.stack(rows) for rows in steps]) for name, steps in values.items()}
        return torch.stack([torch.stack(rows) for rows in output]), [torch.stack(f) for f in finals], stacked

    def _masks(self, d: int, row: int, step: int) -> Masks:
        def masks(draw: int, per: str, rate: float) -> Tensor | None:
            if self.chances is None:
                return None
            node: Any = SimpleNamespace(name=str(draw), part=per, value=rate)
            units = torch.arange(parameters_width(self.parameters[d], self.drawn.kinds))
            return decide(node, self.chances[d], step, torch.tensor([row]), units)[0]

        return masks


def derivatives(results: dict[str, Tensor], leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The derivatives of a random sum of results, zeros for leaves that it does not depend on."""
    needed = [(r, by) for r, by in zip(results.values(), _factors(results), strict=True) if r.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if needed:
        outputs, seeds = zip(*needed, strict=True)
        found = torch.autograd.grad(outputs, list(leaves.values()), seeds, allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {f"by {name}": torch.zeros_like(leaf) if d is None else d for (name, leaf), d in pairs}


def weighted(results: dict[str, Tensor]) -> float:
    """The random sum of output and final states whose derivatives `derivatives` computes."""
    of_it = {name: r for name, r in results.items() if name == "output" or name.startswith("final ")}
    return sum(float((r * by).sum()) for r, by in zip(of_it.values(), _factors(of_it), strict=True))


def _factors(results: dict[str, Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randn(r.shape, dtype=torch.float64, generator=generator).to(r.dtype) for r in results.values()
    ]
