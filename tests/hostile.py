"""Manipulated files: mutations of valid ones, for hypothesis."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.runtime.model_file import ModelFile

# Values that may replace any other value.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 63, 2**31, 2**53 + 1, 2**63, 10**400, -(10**30)),
    *(0.0, -0.0, 0.5, 1.0, -1.5, 1e308, 1e-320),
    *("", "x", "h", "lstm", "Infinity", "__class__", "\x1b[31m", "\ud800", "é" * 500, "1e999"),
    *([], {}, [[]], [0], [None], ["h", "h"], {"": 0}, {"op": "tanh"}),
)
_DTYPES = ("float16", "float32", "float64", "int64", "uint8", "bool", "complex64")
_SHAPES = ((), (0,), (1,), (2, 0), (3, 3), (1, 1, 1))

Tensors = dict[str, Any]

strange = st.sampled_from(STRANGE).map(copy.deepcopy)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in plain data, with each of its keys, outermost first."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _random(draw: st.DrawFn) -> Random:
    """A generator from one drawn number: each change decides what can be drawn next."""
    return Random(draw(st.integers(0, 2**32 - 1)))


@st.composite
def mutated(draw: st.DrawFn, data: Any) -> Any:
    """As `mutate`."""
    return mutate(data, _random(draw))


@st.composite
def mutated_tensors(draw: st.DrawFn, tensors: Tensors) -> Tensors:
    """As `mutate_tensors`."""
    return mutate_tensors(tensors, _random(draw))


def mutate(data: Any, rng: Random) -> Any:
    """Plain data with one to three changes: a value replaced, removed, duplicated or moved."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            return copy.deepcopy(rng.choice(STRANGE))
        holder, key = rng.choice(places)
        change = rng.choice(("replace", "replace", "nudge", "remove", "copy", "double", "nest"))
        if change == "replace":
            holder[key] = copy.deepcopy(rng.choice(STRANGE))
        elif change == "nudge" and type(holder[key]) is int:
            holder[key] += rng.choice((-1, 1, 2))
        elif change == "remove":
            del holder[key]
        elif change == "copy":
            other, place = rng.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = copy.deepcopy(other[place])
        elif change == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif change == "nest":
            holder[key] = [holder[key]]
    return data


def mutate_tensors(tensors: Tensors, rng: Random) -> Tensors:
    """Tensors, one of which may be missing, new, or have another type or shape."""
    tensors = dict(tensors)
    name = rng.choice([*tensors])
    change = rng.choice(("nothing", "remove", "add", "type", "shape", "values"))
    if change == "remove":
        del tensors[name]
    elif change == "add":
        tensors[rng.choice(("x", "\x1b", name + "_", "weight_ih_l1"))] = tensors[name]
    elif change == "type":
        tensors[name] = tensors[name].astype(rng.choice(_DTYPES))
    elif change == "shape":
        tensors[name] = np.zeros(rng.choice(_SHAPES), tensors[name].dtype)
    elif change == "values" and tensors[name].dtype.kind == "f":
        tensors[name] = np.full_like(tensors[name], rng.choice((np.nan, np.inf, 1e38)))
    return tensors


def manipulated(whole: ModelFile, seed: int) -> ModelFile:
    """A file with another header, except for its layers, and other tensors."""
    rng = Random(seed)
    header = mutate({key: value for key, value in whole.header.items() if key != "layers"}, rng)
    header = {"layers": whole.header["layers"], **(header if isinstance(header, dict) else {})}
    tensors = mutate_tensors(whole.tensors, rng)
    return ModelFile(whole.path, whole.format, whole.task, header, tensors)


def seeds(count: int, **others: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Draw the argument `seed` of a test, and others, this number of times."""

    def decorated(test: Any) -> Any:
        drawn = given(seed=st.integers(0, 2**32 - 1), **others)(test)
        health = [HealthCheck.function_scoped_fixture]
        return settings(max_examples=count, deadline=None, suppress_health_check=health)(drawn)

    return decorated


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that are cut, extended, or changed in some positions."""
    content = content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        if changed:
            changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed) + draw(st.binary(max_size=4))
