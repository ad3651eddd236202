"""Runs layers by the engine in a browser, and by Python."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gatewise
from gatewise import Cell
from gatewise.compiler.emit.target import Target
from gatewise.compiler.wasm.target import RELAXED
from gatewise.nn import Recurrent
from gatewise.web.describing import bundle, described, kernels_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

Results = dict[str, Any]

_HELPERS = """
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
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
const flat = (results) => each(results, textOf);
const runOf = async ({ key, about, code, kind, options, weights, x, call, states, by }) => {
  const kernels = await kernelsOf(key, about, code, { kind });
  const layer = new gatewise.Layer(kernels, options);
  for (const name in weights) layer.weights[name].set(numbersOf(weights[name]));
  const given = { ...call, ...(states ? { states: each(states, numbersOf) } : {}) };
  const run = layer.forward(numbersOf(x), given);
  const found = { output: run.output, ...named("final", run.states), ...named("value", run.values) };
  if (by) {
    const { states, ...output } = by;
    const by_results = { ...each(output, numbersOf), states: each(states, numbersOf) };
    Object.assign(found, gradients(run.backward(by_results)));
  }
  return flat(found);
};
const gradients = ({ x, weights, states }) =>
  ({ "by x": x, ...named("by", weights), ...named("by initial", states) });
const named = (word, values) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${word} ${name}`, value]));
"""


@dataclass
class Engine:
    """A page with the engine."""

    page: Page
    sent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.add_script_tag(content=bundle() + _HELPERS)

    def run(self, problem: Problem, target: Target = RELAXED, **call: Any) -> Results:
        """The results of a call, flat arrays by name."""
        return problem.shaped(self.page.evaluate("runOf", problem.sent(target, call)))


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
    reset: Any = None
    given: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.layer = Recurrent(self.cell, self.I, self.H, **self.options).eval()
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

    def sent(self, target: Target, call: Mapping[str, Any]) -> dict[str, Any]:
        equations = self.layer._equations()
        arguments: dict[str, Any] = {"rows": self.B, "watch": True, "keep": True, **call}
        if self.lengths is not None:
            arguments["lengths"] = list(self.lengths)
        if self.reset is not None:
            arguments["reset"] = self.reset.flatten().int().tolist()
        key = f"{target.key} {equations.signature()} {' '.join(equations.values)}"
        sent: dict[str, Any] = {
            "key": key,
            "about": described(equations),
            "code": {n: base64.b64encode(c).decode() for n, c in kernels_of(equations, target).items()},
            "kind": "relaxed" if target is RELAXED else "plain",
            "options": {
                "inputSize": self.I,
                "hiddenSize": self.H,
                "outputSize": self.P,
                "bias": self.layer.bias,
            },
            "weights": {n.removesuffix("_l0"): _text(p) for n, p in self.layer.named_parameters()},
            "x": _text(self.x),
            "call": arguments,
        }
        sent["states"] = {s: _text(v) for s, v in self.states.items()} if self.given else None
        if arguments["keep"]:
            by_states = {s: _text(v) for s, v in self.by_states.items()}
            sent["by"] = {"output": _text(self.by), "states": by_states}
        return sent

    def shaped(self, found: Mapping[str, str]) -> Results:
        """Arrays of the page, as Python's are shaped."""
        return {name: np.frombuffer(base64.b64decode(text), np.float32) for name, text in found.items()}

    def run(self, backward: bool = True) -> Results:
        """The same by Python, with all values watched."""
        x = self.x.clone().requires_grad_()
        states = {name: value[None].clone().requires_grad_() for name, value in self.states.items()}
        hx: Any = tuple(states.values()) if self.given else None
        hx = hx[0] if self.given and len(hx) == 1 else hx
        self.layer.zero_grad()
        with gatewise.watch(self.layer) as recording:
            output, finals = self.layer(x, hx, lengths=self.lengths, reset=self.reset)
        finals = finals if isinstance(finals, tuple) else (finals,)
        found = {"output": output}
        found |= {f"final {name}": value for name, value in zip(self.cell.states, finals, strict=True)}
        found |= {f"value {name}": recording["l0"][name] for name in self.cell.values}
        if backward:
            loss = (output * self.by).sum()
            pairs = zip(finals, self.by_states.values(), strict=True)
            torch.autograd.backward([output, *finals], [self.by, *[v[None] for _, v in pairs]])
            del loss
            found |= {"by x": x.grad}
            found |= {f"by {n.removesuffix('_l0')}": p.grad for n, p in self.layer.named_parameters()}
            if self.given:
                found |= {f"by initial {name}": state.grad for name, state in states.items()}
        return {name: value.detach().numpy().ravel() for name, value in found.items()}


def _text(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.detach().contiguous().numpy().tobytes()).decode()


def assert_same_bits(found: Results, expected: Results) -> None:
    """Assert that all results of Python are found, with the same bits."""
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)
        same = np.signbit(found[name]) == np.signbit(values)
        assert (same | np.isnan(values)).all(), name
