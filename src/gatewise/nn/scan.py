"""Scans of layers: by compiled kernels if possible, else by torch's operators or the eager interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch

from gatewise.language.rewrites import without_random
from gatewise.nn.kernels import autograd, native, operators, ragged
from gatewise.nn.kernels import overlap as overlapping
from gatewise.nn.walk import eager, under_compile
from gatewise.nn.walk.listening import INTERPRETER, KERNEL, TORCH, here
from gatewise.nn.walk.obstacles import WATCHED, Obstacle, obstacles, serves, watched
from gatewise.nn.walk.walk import Scanned, Walk


def scan_together(walks: Sequence[Walk]) -> list[Scanned]:
    """Run independent scans of one cell. Compiled ones run side by side if that is faster."""
    walks = [as_outside_of_training(walk) for walk in walks]
    in_the_way = [_in_the_way(walk) for walk in walks]
    if walks[0].lengths is not None:
        return ragged.scan(walks, walks[0].lengths, chain(*in_the_way))
    if not any(in_the_way):
        _tell(walks, KERNEL)
        seen = torch.compiler.is_compiling() or watched()
        return operators.scan(walks) if seen else autograd.scan(walks)
    if len(walks) > 1 and not all(in_the_way):
        return [scan_together([walk])[0] for walk in walks]
    if all(obstacle.torch_serves for obstacle in chain(*in_the_way)) and native.serves(walks):
        _tell(walks, TORCH, in_the_way)
        return native.scan(walks)
    _tell(walks, INTERPRETER, in_the_way)
    return [eager.scan(walk) for walk in walks]


def _in_the_way(walk: Walk) -> tuple[Obstacle, ...]:
    """The reasons why a walk cannot be compiled."""
    if torch.compiler.is_compiling():
        return tuple(obstacles(walk.tensors))
    if not serves(walk.tensors):
        return tuple(obstacles(walk.tensors))
    return (WATCHED,) if watched() and walk.batch_sizes is not None else ()


def _tell(walks: Sequence[Walk], way: str, in_the_way: Sequence[tuple[Obstacle, ...]] = ()) -> None:
    for listener in here.listeners:
        for walk, some in zip(walks, in_the_way or [()] * len(walks), strict=True):
            listener.scan(walk.cell, walk.x, walk.weights, some, way)


def overlaps(walks: Sequence[Walk]) -> bool:
    """Whether the layers of a stack, with these walks, should overlap in time (`scan_stack`)."""
    return not watched() and all(serves(walk.tensors) for walk in walks) and overlapping.pays(walks)


def scan_stack(walks: Sequence[Walk]) -> list[Scanned]:
    """Run the layers of a stack that `overlaps`. Each reads the output of the one before, not its x."""
    walks = [as_outside_of_training(walk) for walk in walks]
    for walk in walks:
        shape = *walk.x.shape[:-1], walk.weights.weight_ih.size(1)
        for listener in here.listeners:
            listener.scan(walk.cell, walk.x[..., :1].expand(shape), walk.weights, (), KERNEL)
    return overlapping.scan_stack(walks)


def as_outside_of_training(walk: Walk) -> Walk:
    """The walk with its cell in evaluation mode, if it has no random seed."""
    if torch.compiler.is_compiling():
        return walk._replace(cell=under_compile.prepared(walk.cell, random=walk.chance is not None))
    without = without_random(walk.cell) if walk.chance is None else walk.cell
    return walk if without is walk.cell else walk._replace(cell=without)
