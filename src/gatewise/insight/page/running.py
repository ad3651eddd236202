"""What the page needs to run a model itself: kernels, weights, and what happens between the layers."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import torch
from torch import Tensor, nn

from gatewise.compiler.wasm.target import TARGETS
from gatewise.insight.page.arrays import Cut, packed
from gatewise.insight.page.expressions import recorded
from gatewise.insight.page.layers import Studied
from gatewise.insight.page.run import Run
from gatewise.insight.page.sample import NUMBER, Sample, Size
from gatewise.insight.page.tracing import Signal, traced
from gatewise.insight.page.vocabulary import Vocabulary, vocabulary_of
from gatewise.language import Cell
from gatewise.language.graph import Node
from gatewise.language.rewrites import without_random
from gatewise.web.describing import Editable, bundle, described, editable, kernels_of


@final
@dataclass(frozen=True, eq=False)
class Running:
    """A model that the page can run, or a part of it.

    Attributes:
        run: the model with its input.
        signals: everything that is computed, in order; the first is the input.
        layers: the layers that run in the page, by name.
        output: the output of the model, or None.
        vocabulary: what the reader may type, or None.
    """

    run: Run
    signals: list[Signal]
    layers: Mapping[str, Studied]
    output: Signal | None
    vocabulary: Vocabulary | None

    @property
    def cells(self) -> dict[str, Cell]:
        """The distinct cells by signature."""
        return {layer.cell.signature(): _complete(layer) for layer in self.layers.values()}

    @property
    def weights(self) -> int:
        """The number of weights and other numbers, beside those of each step."""
        weights = sum(tensor.numel() for layer in self.layers.values() for tensor in _weights(layer).values())
        modules = {part.about for part in self.signals if isinstance(part.about, nn.Module)}
        weights += sum(tensor.numel() for part in modules for tensor in part.parameters())
        return weights + (self.vocabulary.numbers if self.vocabulary else 0)

    @property
    def taken(self) -> int:
        """The size of all that, and of engine and kernels, in numbers. This compiles the kernels."""
        code = sum(len(code) for cell in self.cells.values() for code in _kernels(cell).values())
        return self.weights + int((len(bundle()) + code) / NUMBER)

    @property
    def source(self) -> Size:
        """The size of the input and of the output of each step."""
        x = self.run.x
        answers = self.output.values[0].size(-1) if self.output and self.output.by_steps else 0
        return Size((x.size(2) if x.is_floating_point() else 1) + answers, 1)

    def shown(self, sample: Sample, names: Sequence[str] | None, probabilities: bool) -> dict[str, Any]:
        """The data for the page; `names` are those of the outputs."""
        places = {signal: place for place, signal in enumerate(self.signals)}
        x = self.run.x.transpose(0, 1) if self.run.batch_first else self.run.x
        return {
            "cells": {signature: _shown_cell(cell) for signature, cell in self.cells.items()},
            "layers": {name: _shown_layer(layer, sample) for name, layer in self.layers.items()},
            "steps": [_shown_signal(signal, places, sample) for signal in self.signals],
            "output": None if self.output is None else places[self.output],
            "answers": self.output and _answers(self.output, sample),
            "names": None if names is None else list(map(str, names)),
            "probabilities": probabilities,
            "input": packed(x[sample.first : sample.stop, : sample.rows]),
            "ids": not x.is_floating_point(),
            "double": any(
                tensor.dtype == torch.float64
                for layer in self.layers.values()
                for tensor in _weights(layer).values()
            ),
            "vocabulary": self.vocabulary and self.vocabulary.shown(),
        }


def running_of(
    run: Run, layers: Sequence[Studied], words: Sequence[Sequence[str]] | None, notes: list[str]
) -> Running | None:
    """What the page can run of a model; None if that is nothing. `notes` are told why."""
    try:
        found = traced(run)
    except Exception as error:  # whatever the model does with another input than it was written for
        notes.append(f"The page cannot run the model, since it fails on its input in reverse: {error}")
        return None
    known = {layer.values.layer: layer for layer in layers if layer.values.layer in found.layers}
    for layer in layers:
        if layer.values.layer not in known:
            why = found.unknown.get(layer.values.layer, "its input is not known")
            notes.append(f"The page does not run {layer.values.layer}: {why}.")
    if not known:
        return None
    wanted = [found.layers[name] for name in known] + ([found.output] if found.output else [])
    signals = list(dict.fromkeys(part for signal in wanted for part in signal.needs))
    signals = [part for part in signals if part.op != "layer" or part.about in known]
    return Running(run, signals, known, found.output, vocabulary_of(run, signals, words))


def _weights(layer: Studied) -> dict[str, Tensor]:
    """The weights of a layer by the names that the engine has for them."""
    weights = layer.values.passage.walk.weights
    named = weights._asdict() | dict(zip(layer.cell.vectors, weights.vectors, strict=True))
    del named["vectors"]
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _shown_layer(layer: Studied, sample: Sample) -> dict[str, Any]:
    passage = layer.values.passage
    projects = passage.walk.weights.weight_hr
    return {
        "cell": layer.cell.signature(),
        "inputSize": passage.x.size(-1),
        "hiddenSize": passage.units,
        "outputSize": passage.units if projects is None else projects.size(0),
        "reverse": passage.walk.reverse,
        "bias": passage.walk.biased,
        "weights": {name: packed(tensor) for name, tensor in _weights(layer).items()},
        "states": layer.states(Cut(sample, list(range(passage.units)))),
    }


def _complete(layer: Studied) -> Cell:
    """The cell of a layer, with all values that the page needs among those that kernels record."""
    return _with_values(layer.cell, tuple(layer.unwritten.items()))


@lru_cache
def _with_values(cell: Cell, values: tuple[tuple[str, Node], ...]) -> Cell:
    return without_random(replace(cell, values={**cell.values, **dict(values)}))


def _shown_cell(cell: Cell) -> dict[str, Any]:
    """Its kernels in all versions, what they record, and what of that the reader can hold."""
    code = _kernels(cell)
    return {
        "values": recorded(cell),
        "holds": [name for name in _held(cell) if cell.values[name].op != "project"],
        "versions": {
            version: {
                "about": _about(of),
                "code": {target: code[f"{version} {target}"] for target in TARGETS},
            }
            for version, of in _versions(cell).items()
        },
    }


def _about(cell: Cell | Editable) -> dict[str, Any]:
    """What the engine must know to run a cell forward."""
    found = described(cell)
    return found | {"fields": {"forward": found["fields"]["forward"]}}


def _kernels(cell: Cell) -> dict[str, str]:
    """The compressed kernels in base64, by version and target."""
    return {
        f"{version} {name}": _compressed(kernels_of(of, target, ["forward"])["forward"])
        for version, of in _versions(cell).items()
        for name, target in TARGETS.items()
    }


def _versions(cell: Cell) -> dict[str, Cell | Editable]:
    """The cell, and the cell in which values can be held, which is slower."""
    return {"plain": cell, "edited": editable(cell, _held(cell))}


def _held(cell: Cell) -> list[str]:
    """The values that the reader can hold. Those that only the page needs have names with spaces."""
    return [name for name in recorded(cell) if name.isidentifier()]


def _compressed(code: bytes) -> str:
    return b64encode(gzip.compress(code, 9, mtime=0)).decode("ascii")


def _answers(output: Signal, sample: Sample) -> dict[str, Any]:
    """The output of the model, for comparison."""
    values = output.values[0]
    return packed(
        values[sample.first : sample.stop, : sample.rows] if output.by_steps else values[: sample.rows]
    )


def _shown_signal(signal: Signal, places: Mapping[Signal, int], sample: Sample) -> dict[str, Any]:
    found = {"op": signal.op, "of": [places[part] for part in signal.of]}
    if isinstance(signal.about, nn.Module):
        weights = {
            "weight": getattr(signal.about, "weight", None),
            "bias": getattr(signal.about, "bias", None),
        }
        return found | {name: packed(tensor) for name, tensor in weights.items() if tensor is not None}
    if signal.op == "affine":
        factor, summand = signal.about
        outside = bool((summand != 0).any()) and not torch.allclose(summand, summand[:1])
        summand = summand[: sample.rows]
        return found | {"factor": packed(factor), "summand": packed(summand), "outside": outside}
    return found | ({"layer": signal.about} if signal.op == "layer" else {})
