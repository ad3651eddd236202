"""A recurrent layer as a dynamical system: its fixed points, and how fast nearby states diverge.

The state of the system is the concatenation of all states of the cell, ``N`` numbers. F is one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gatewise.insight.finding import Finding
from gatewise.insight.passage import Passage, rows_at_once
from gatewise.insight.values import Values

_TINY = 1e-300
_STILL, _STUCK = 1e-14, 1e6  # stop below this speed, or above this damping


@final
@dataclass(frozen=True, repr=False, eq=False)
class FixedPoints(Finding):
    """States that a step does not change (or hardly), under one constant input.

    Attributes:
        layer: the name of the layer.
        points: ``[K, N]``, the states of the cell side by side, slowest first.
        speeds: ``[K]``, the residual ``|F(s) - s|``: 0 at a fixed point, small at a slow point.
        eigenvalues: ``[K, N]``, complex, of the Jacobian at each point, largest magnitude first.
        visits: ``[K]``, the number of starts that ended at each point.
        starts: the number of all starts. Those not counted in `visits` did not reach the tolerance.
    """

    layer: str
    points: Tensor
    speeds: Tensor
    eigenvalues: Tensor
    visits: Tensor
    starts: int

    @property
    def stable(self) -> Tensor:
        """``[K]``: whether a point attracts nearby states: all eigenvalues are inside the unit circle."""
        return self.eigenvalues.abs().amax(1) < 1

    def __str__(self) -> str:
        if not len(self.points):
            return f"{self.layer}: none of {self.starts} starts came to rest."
        rest = int(self.visits.sum())
        return (
            f"{self.layer}: {rest} of {self.starts} starts came to rest at {len(self.points)} points, "
            f"{int(self.stable.sum())} of them stable; a step moves them by at most {self.speeds.max():.1e}, "
            f"and the largest eigenvalue has magnitude {self.eigenvalues.abs().max():.3f}."
        )


def fixed_points(
    values: Values,
    x: Tensor | None = None,
    starts: int = 256,
    tolerance: float = 1e-6,
    apart: float = 1e-3,
    iterations: int = 200,
    seed: int = 0,
) -> FixedPoints:
    """Find fixed and slow points of a layer, starting from states that it visited.

    From each start, ``|F(s) - s|^2 / 2`` is minimised by damped Gauss-Newton steps (Levenberg-Marquardt), in
    float64, for all starts at once.

    Args:
        values: the recording of a layer from `gatewise.watch`, with its weights and the visited states.
        x: the constant input ``[I]``; by default the mean of the recorded input.
        starts: the number of visited states to start from, drawn at random.
        tolerance: the largest ``|F(s) - s|`` of a result. Larger tolerances admit slow points.
        apart: points closer than this in every coordinate count as one.
        iterations: the most steps of minimisation.
        seed: the seed of the random choice.

    Raises:
        ValueError: a single step was recorded, or the layer is random (in training mode).

    Source: Sussillo & Barak 2013, "Opening the black box". Minimiser: Marquardt 1963.

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.dynamics import fixed_points
        >>> _ = torch.manual_seed(0)
        >>> layer = gatewise.nn.RNN(1, 1, bias=False, dtype=torch.float64)
        >>> _ = torch.nn.init.constant_(layer.weight_hh_l0, 2.0)  # h' = tanh(2 h)
        >>> with gatewise.watch(layer) as seen:
        ...     _ = layer(torch.randn(20, 8, 1, dtype=torch.float64))
        >>> found = fixed_points(seen["l0"], x=torch.zeros(1))
        >>> sorted(round(abs(float(p)), 3) for p in found.points), int(found.stable.sum())
        ([0.0, 0.958, 0.958], 2)
    """
    passage = values.passage.without_random("fixed_points").exact()
    x = passage.x[passage.running].mean(0) if x is None else x.detach().double()
    system = _System(passage, x)
    visited = torch.cat(passage.states(), -1)[passage.running]
    draw = torch.randperm(len(visited), generator=torch.Generator().manual_seed(seed))[:starts]
    parts = torch.split(visited[draw], rows_at_once(passage.initial))
    ends, moves = zip(*(_minimised(system, part, iterations) for part in parts), strict=True)
    found, speeds = torch.cat(ends), torch.cat(moves)
    order = speeds.argsort()
    order = order[speeds[order] <= tolerance]
    points, kept, visits = _distinct(found[order], apart)
    eigenvalues = (
        torch.linalg.eigvals(system.jacobian(points)) if len(points) else points.to(torch.complex128)
    )
    largest = eigenvalues.abs().argsort(1, descending=True)
    return FixedPoints(
        passage.layer, points, speeds[order][kept], eigenvalues.gather(1, largest), visits, len(draw)
    )


@final
@dataclass(frozen=True, repr=False, eq=False)
class Lyapunov(Finding):
    """How fast nearby states diverge, per step, in K directions.

    Attributes:
        layer: the name of the layer.
        exponents: ``[B, K]``, natural logarithms per step, largest first; NaN for rows without steps.
        residual: for a whole spectrum (K = N), the largest relative difference between its sum and the mean
            of ``ln |det J|``, which should be equal; NaN for a part of the spectrum.
    """

    layer: str
    exponents: Tensor
    residual: float

    @property
    def dimension(self) -> Tensor:
        """``[B]``: the dimension of the attractor (Kaplan & Yorke 1979). It needs the whole spectrum."""
        sums = self.exponents.cumsum(1)
        whole = (sums >= 0).sum(1)
        last = torch.nn.functional.pad(sums, (1, 0)).gather(1, whole[:, None])[:, 0]
        following = torch.nn.functional.pad(self.exponents, (0, 1), value=-torch.inf)
        return whole + last / following.gather(1, whole[:, None])[:, 0].abs()

    def __str__(self) -> str:
        mean = self.exponents.nanmean(0)
        first = float(mean[0])
        verb = "diverge" if first > 0 else "approach each other"
        checked = "" if self.residual != self.residual else f" (sum against ln |det J|: {self.residual:.1e})"
        return (
            f"{self.layer}: the largest Lyapunov exponent is {first:+.4f} per step, so nearby states {verb}; "
            f"{int((mean > 0).sum())} of {len(mean)} are positive{checked}."
        )


def lyapunov(values: Values, count: int | None = None, skip: int = 0, seed: int = 0) -> Lyapunov:
    """The Lyapunov spectrum of a layer along the sequences that it ran over.

    An orthonormal frame is multiplied by the Jacobian of each step and made orthonormal again by a QR
    decomposition. The exponents are the mean logarithms of the diagonal of R. The first step of a row does
    not change its frame.

    Args:
        values: the recording of a layer from `gatewise.watch`.
        count: K, the number of (largest) exponents; by default all N.
        skip: the number of first steps that turn the frame but are not counted.
        seed: the seed of the first frame.

    Raises:
        ValueError: a single step was recorded, the layer is random (in training mode), or `count` or `skip`
            is out of range.

    Source: Benettin et al. 1980; for recurrent networks Engelken, Wolf & Abbott 2023, "Lyapunov spectra of
    chaotic recurrent neural networks".

    Example:
        >>> import gatewise, torch
        >>> from gatewise.insight.dynamics import lyapunov
        >>> layer = gatewise.nn.GRU(3, 8)
        >>> with gatewise.watch(layer) as seen:
        ...     _ = layer(torch.randn(100, 4, 3))
        >>> lyapunov(seen["l0"]).exponents.shape
        torch.Size([4, 8])
    """
    passage = values.passage.without_random("lyapunov").exact()
    entering = passage.entering(passage.states())
    N = sum(state.size(-1) for state in entering)
    K = N if count is None else count
    if not 0 < K <= N:
        raise ValueError(f"lyapunov: count must be from 1 to {N}, the numbers of the state. Got {count}.")
    if not 0 <= skip < passage.steps:
        raise ValueError(f"lyapunov: skip must be from 0 to {passage.steps - 1}. Got {skip}.")
    if not (passage.running & ~passage.begins).any():
        raise ValueError(f"lyapunov: no row of {passage.layer!r} has more than one step.")
    random = torch.randn(N, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    frame = torch.linalg.qr(random).Q.expand(passage.rows, -1, -1)
    sums, determinants = torch.zeros(passage.rows, K).double(), torch.zeros(passage.rows).double()
    steps = torch.zeros(passage.rows)
    jacobians = passage.jacobians(entering, passage.order)
    for number, (t, jacobian) in enumerate(zip(passage.order, jacobians, strict=True)):
        moves = passage.running[t] & ~passage.begins[t]
        turned, stretch = torch.linalg.qr(jacobian @ frame)
        frame = torch.where(moves[:, None, None], turned, frame)
        if number >= skip:
            logs = stretch.diagonal(dim1=1, dim2=2).abs().log()
            sums += torch.where(moves[:, None], logs, 0)
            determinants += torch.where(moves, torch.linalg.slogdet(jacobian).logabsdet, 0)
            steps += moves
    exponents = (sums / steps[:, None]).sort(1, descending=True).values
    off = ((sums.sum(1) - determinants).abs() / determinants.abs().clamp_min(_TINY))[steps > 0]
    whole = K == N and len(off)
    return Lyapunov(passage.layer, exponents, float(off.max()) if whole else float("nan"))


@dataclass(frozen=True)
class _System:
    """One step of a layer under a constant input ``x [I]``, as a function of states ``[K, N]``."""

    passage: Passage
    x: Tensor

    def split(self, states: Tensor) -> tuple[Tensor, ...]:
        return torch.split(states, [state.size(1) for state in self.passage.initial], 1)

    def rest(self, states: Tensor) -> Tensor:
        """``F(s) - s``."""
        after = self.passage.step(self.x.expand(len(states), -1), self.split(states))
        return torch.cat(after, 1) - states

    def jacobian(self, states: Tensor) -> Tensor:
        return self.passage.jacobian(self.x.expand(len(states), -1), self.split(states))


def _minimised(system: _System, states: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """The result of the minimisation from each start, and its speed."""
    one = torch.eye(states.size(1), dtype=states.dtype)
    damping = torch.ones(len(states), dtype=states.dtype)
    rest = system.rest(states)
    for _ in range(iterations):
        slope = system.jacobian(states) - one
        normal = slope.mT @ slope + damping[:, None, None] * one
        step = torch.linalg.solve(normal, -(slope.mT @ rest[..., None]))[..., 0]
        there = system.rest(states + step)
        better = there.norm(dim=1) < rest.norm(dim=1)
        states = torch.where(better[:, None], states + step, states)
        rest = torch.where(better[:, None], there, rest)
        damping = torch.where(better, damping / 3, damping * 2).clamp_min(1e-15)
        if ((rest.norm(dim=1) < _STILL) | (damping > _STUCK)).all():
            break
    return states, rest.norm(dim=1)


def _distinct(points: Tensor, apart: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points that are not within `apart` of an earlier point, their indices, and the size of each cluster."""
    kept: list[int] = []
    counts: list[int] = []
    for place, point in enumerate(points):
        near = [n for n, k in enumerate(kept) if (points[k] - point).abs().max() < apart]
        if near:
            counts[near[0]] += 1
        else:
            kept.append(place)
            counts.append(1)
    places = torch.tensor(kept, dtype=torch.int64)
    return points[places], places, torch.tensor(counts, dtype=torch.int64)
