"""Runs layers by the engine in a browser, and by Python."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gatewise
from gatewise import Cell
from gatewise.compiler.emit.target import Target
from gatewise.compiler.wasm.target import RELAXED
from gatewise.nn import Recurrent
from gatewise.web.describing import KERNELS, Editable, bundle, described, kernels_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

Results = dict[str, Any]

_HELPERS = """
const bytesOf = (text) => {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = letters.charCodeAt(n);
  return bytes;
};
const numbersOf = (text) => new Float32Array(bytesOf(text).buffer);
const textOf = (numbers) => {
  let text = "";
  for (const byte of new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength))
    text += String.fromCharCode(byte);
  return btoa(text);
};
const each = (object, change) =>
  Object.fromEntries(Object.entries(object ?? {}).map(([name, value]) => [name, change(value)]));
const known = new Map();
const kernelsOf = async (key, about, code, options) => {
  if (!known.has(key)) known.set(key, await gatewise.kernels(about, each(code, bytesOf), options));
  return known.get(key);
};
const layerOf = async ({ key, about, code, kind, options, weights }) => {
  const kernels = await kernelsOf(key, about, code, { kind });
  const layer = new gatewise.Layer(kernels, options);
  for (const name in weights) layer.weights[name].set(numbersOf(weights[name]));
  return layer;
};
const forward = (layer, { x, call, states }) =>
  layer.forward(numbersOf(x), { ...call, ...(states ? { states: each(states, numbersOf) } : {}) });
const backward = (run, { by: { states, ...by } }) => {
  const found = run.backward({ ...by, output: numbersOf(by.output), states: each(states, numbersOf) });
  const initial = named("by initial", found.states);
  return { "by x": found.x, ...named("by", found.weights), ...initial, ...named("by each", run.derivatives) };
};
const runOf = async (sent) => {
  const run = forward(await layerOf(sent), sent);
  const found = { output: run.output, ...named("final", run.states), ...named("value", run.values) };
  if (sent.by) Object.assign(found, backward(run, sent));
  return each(found, textOf);
};
const named = (word, values) =>
  Object.fromEntries(Object.entries(values ?? {}).map(([name, value]) => [`${word} ${name}`, value]));
"""


@dataclass
class Engine:
    """A page with the engine."""

    page: Page
    _known: set[str] = field(default_factory=set)  # keys of kernels that the page has

    def __post_init__(self) -> None:
        self.page.add_script_tag(content=bundle() + _HELPERS)

    def run(self, problem: Problem, target: Target = RELAXED, **call: Any) -> Results:
        """The results of a call, flat arrays by name."""
        return self.results("runOf", problem.sent(target, call))

    def results(self, function: str, sent: Mapping[str, Any]) -> Results:
        """What a function of JavaScript makes of a problem that is sent to the page."""
        key = sent["key"]
        found = self.page.evaluate(function, {**sent, "code": None} if key in self._known else sent)
        self._known.add(key)
        return {name: np.frombuffer(b64decode(text), np.float32) for name, text in found.items()}


@dataclass
class Problem:
    """A layer with its input, its initial states, and derivatives by its results."""

    cell: Cell
    T: int
    B: int
    I: int
    H: int
    options: Mapping[str, Any] = field(default_factory=dict)
    lengths: Sequence[int] | None = None
    reset: torch.Tensor | None = None
    given: bool = True
    reverse: bool = False
    seed: int = 0
    editable: Editable | None = None

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.layer = Recurrent(self.cell, self.I, self.H, bidirectional=self.reverse, **self.options).eval()
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.uniform_(-0.6, 0.6)
        self.P = self.layer.proj_size or self.H
        widths = [self.P, *[self.H] * (len(self.cell.states) - 1)]
        self.widths = dict(zip(self.cell.states, widths, strict=True))
        self.x = torch.randn(self.T, self.B, self.I)
        self.states = {s: torch.randn(self.B, w) * 0.5 for s, w in self.widths.items()}
        self.by = torch.randn(self.T, self.B, self.P)
        self.by_states = {s: torch.randn(self.B, w) for s, w in self.widths.items()}

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The weights of the direction, by their names in the engine."""
        suffix = "_l0" + "_reverse" * self.reverse
        named = self.layer.named_parameters()
        return {name.removesuffix(suffix): weight for name, weight in named if name.endswith(suffix)}

    def sent(self, target: Target = RELAXED, call: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The problem for the page."""
        equations = self.editable or self.layer._equations()
        cell = self.editable.cell if self.editable else self.layer._equations()
        names = ["forward"] if self.editable else KERNELS
        arguments: dict[str, Any] = {"rows": self.B, "watch": True, "keep": True, **(call or {})}
        if self.lengths is not None:
            arguments["lengths"] = list(self.lengths)
        if self.reset is not None:
            arguments["reset"] = self.reset.flatten().int().tolist()
        sizes = {"inputSize": self.I, "hiddenSize": self.H, "outputSize": self.P}
        by_states = {name: _text(values) for name, values in self.by_states.items()}
        return {
            "key": f"{target.key} {cell.signature()} {' '.join(cell.values)}",
            "about": described(equations),
            "code": {n: b64encode(c).decode() for n, c in kernels_of(equations, target, names).items()},
            "kind": "relaxed" if target is RELAXED else "plain",
            "options": {**sizes, "bias": self.layer.bias, "reverse": self.reverse},
            "weights": {name: _text(weight) for name, weight in self.parameters.items()},
            "x": _text(self.x),
            "call": arguments,
            "states": {n: _text(v) for n, v in self.states.items()} if self.given else None,
            "by": {"output": _text(self.by), "states": by_states} if arguments["keep"] else None,
        }

    def run(self, backward: bool = True) -> Results:
        """The same by Python, with all values watched."""
        x = self.x.clone().requires_grad_()
        states = {name: value[None].clone().requires_grad_() for name, value in self.states.items()}
        both = [torch.cat([torch.zeros_like(s), s]) if self.reverse else s for s in states.values()]
        hx: Any = None if not self.given else both[0] if len(both) == 1 else tuple(both)
        self.layer.zero_grad()
        with gatewise.watch(self.layer) as recording:
            output, finals = self.layer(x, hx, lengths=self.lengths, reset=self.reset)
        output = output[..., -self.P :]
        finals = [value[-1] for value in (finals if isinstance(finals, tuple) else (finals,))]
        watched = recording["l0" + "_reverse" * self.reverse]
        found = {"output": output}
        found |= {f"final {name}": value for name, value in zip(self.cell.states, finals, strict=True)}
        found |= {f"value {name}": watched[name] for name in self.cell.values}
        if backward:
            torch.autograd.backward([output, *finals], [self.by, *self.by_states.values()])
            found |= {"by x": x.grad}
            found |= {f"by {name}": weight.grad for name, weight in self.parameters.items()}
            if self.given:
                found |= {f"by initial {name}": state.grad for name, state in states.items()}
        return {name: value.detach().numpy().ravel() for name, value in found.items()}


def _text(tensor: torch.Tensor) -> str:
    return b64encode(tensor.detach().contiguous().numpy().tobytes()).decode()


def assert_same_bits(found: Results, expected: Results, apart: Collection[str] = ()) -> None:
    """Assert that all results of Python are found, with the same bits, except those in `apart`."""
    for name, values in expected.items():
        if name not in apart:
            np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)
