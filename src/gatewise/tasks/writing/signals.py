"""What a unit may keep track of in a text: quotes, brackets, columns. And the unit that follows it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch

from gatewise.insight.units import Probe, probe
from gatewise.insight.watch import watch
from gatewise.runtime.arrays import Array
from gatewise.tasks.writing.network import WritingNetwork

OPENING, CLOSING = "([{", ")]}"
COUNTED = ("being inside double quotes", "being inside double backquotes", "the depth of brackets")
_BOTH = 2  # values that a signal must have


class Followed(NamedTuple):
    """A signal, and the unit that follows it best.

    Attributes:
        name: of the signal.
        unit: the number of the unit.
        correlation: with the signal, on steps that were not used to choose the unit.
        probe: what all units together say about the signal.
        values: ``[T]``, the values of the unit.
        signal: ``[T]``.
    """

    name: str
    unit: int
    correlation: float
    probe: Probe
    values: Array
    signal: Array


def signals(text: str) -> dict[str, Array]:
    """Signals of a text by name, each with a number for every character: what is true after it."""
    found = {
        **dict(zip(COUNTED, (_inside(text, '"'), _inside(text, "``"), _depth(text)), strict=True)),
        "the column in the line": _since(text, lambda c: c == "\n"),
        "the indentation of the line": _indentation(text),
        "the letters of the word so far": _since(text, lambda c: not c.isalnum()),
    }
    return {name: np.array(values, np.float64) for name, values in found.items()}


def followed(network: WritingNetwork, tokens: Sequence[str], ids: Array) -> list[Followed]:
    """For each signal of a text, the unit of the first layer that follows it best.

    Signals of quotes and brackets, for which a memory is needed, come first; among them the best one.

    Units are chosen on the first half of the text, and their correlations are those on the second half.
    Values are the hyperbolic tangent of the cell's last state: what an LSTM would show of its whole memory.

    Args:
        network: a trained `WritingNetwork`.
        tokens: ``[T]``, the characters or words of the text.
        ids: ``[T]``, their ids.
    """
    with torch.no_grad(), watch(network) as seen:
        network.recurrent(network.embedding(torch.from_numpy(ids)[:, None]))
    layer = seen["recurrent.l0"]
    values = getattr(layer, network.recurrent.cell.states[-1]).tanh()
    ends = np.cumsum([len(token) for token in tokens]) - 1
    half = len(ends) // 2
    found = []
    for name, every in signals("".join(tokens)).items():
        signal = every[ends]
        if any(len(np.unique(part)) < _BOTH for part in (signal[:half], signal[half:])):
            continue
        first = _correlations(values[:half, 0].double().numpy(), signal[:half])
        unit = int(np.abs(first).argmax())
        own = values[:, 0, unit].double().numpy()
        held = float(_correlations(own[half:, None], signal[half:])[0])
        judged = probe(values, torch.from_numpy(signal)[:, None], held_out=0.5)
        found.append(Followed(name, unit, held, judged, own, signal))
    return sorted(found, key=lambda each: (each.name not in COUNTED, -abs(each.correlation)))


def _correlations(values: Array, signal: Array) -> Array:
    """The correlation of each column of ``values [T, H]`` with ``signal [T]``; 0 for a constant one."""
    a, b = values - values.mean(0), signal - signal.mean()
    found: Array = (b @ a) / np.maximum(np.linalg.norm(a, axis=0) * np.linalg.norm(b), 1e-300)
    return found


def _inside(text: str, mark: str) -> list[int]:
    """1 between the first and second mark, the third and fourth, and so on; each blank line starts again."""
    inside, found = 0, []
    for at, character in enumerate(text):
        if text.startswith("\n\n", at):
            inside = 0
        elif text.endswith(mark, 0, at + 1) and character == mark[-1]:
            inside = 1 - inside
        found.append(inside)
    return found


def _depth(text: str) -> list[int]:
    """The number of brackets that are open; each blank line starts again."""

    def after(depth: int, at: int) -> int:
        if text.startswith("\n\n", at):
            return 0
        return max(depth + (text[at] in OPENING) - (text[at] in CLOSING), 0)

    return list(accumulate(range(len(text)), after, initial=0))[1:]


def _since(text: str, ends: Callable[[str], bool]) -> list[int]:
    """Characters since the last one that ends a count."""
    return list(accumulate(text, lambda count, c: 0 if ends(c) else count + 1, initial=0))[1:]


def _indentation(text: str) -> list[int]:
    """The spaces at the beginning of the line, as far as they have been read."""
    found, spaces, counting = [], 0, True
    for character in text:
        if character == "\n":
            spaces, counting = 0, True
        elif character == " " and counting:
            spaces += 1
        else:
            counting = False
        found.append(spaces)
    return found
