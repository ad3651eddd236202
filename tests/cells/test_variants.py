"""Every variant: against its paper, its own derivatives, the eager interpreter, and a task to learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gatewise import Cell, cells, nn
from gatewise.nn.walk.walk import Weights
from gatewise.runtime.weights import shapes
from tests.cells.statements import VARIANTS, Variant, stated
from tests.nn.scanning import interpreted, scan
from tests.random_cells.quickly import compiling_quickly

variants = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.cell.name)
# T, B, I, H: rows of different lengths; H below, equal to and above the width of a vector.
SHAPES = [(1, 1, 1, 2), (5, 3, 2, 7), (9, 4, 11, 16), (33, 5, 3, 19)]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _quickly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Without optimisation in float64, unless exhaustive tests run too; in float32 as users compile."""
    in_float32 = (
        "float32" in request.node.name or request.function is test_an_slstm_stays_finite_for_any_gates
    )
    with nullcontext() if in_float32 or not request.config.option.markexpr else compiling_quickly():
        yield


def layer_of(cell: Cell, I: int, H: int, dtype: torch.dtype) -> Any:
    """A layer of one cell with random parameters, gains, biases and vectors included."""
    layer = nn.Recurrent(cell, I, H, dtype=dtype, proj_size=max(1, H // 2) if cell.projects else 0)
    for name, parameter in layer.named_parameters():
        spread = 0.7 / parameter.size(-1) ** 0.5 if name.startswith("weight") else 0.4
        torch.nn.init.normal_(parameter, float(name.startswith("norm_gain")), spread)
    return layer


def states_of(layer: Any, B: int) -> list[Tensor]:
    """Possible initial states: memories of any size, the normaliser n of the sLSTM positive."""
    widths = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (len(layer.cell.states) - 1)
    found = [torch.randn(1, B, width, dtype=layer.weight_ih_l0.dtype) for width in widths]
    named = zip(layer.cell.states, found, strict=True)
    change = {"c": lambda state: 8 * state, "n": lambda state: state.abs() + 0.1}
    return [change[name](state) if name in change else state for name, state in named]


def given(states: list[Tensor]) -> Any:
    return states[0] if len(states) == 1 else tuple(states)


def in_numpy(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


def test_every_cell_has_a_reference_or_is_torchs() -> None:
    classic = {"rnn", "rnn_relu", "lstm", "gru"}
    assert sorted(cells.__all__) == sorted({variant.cell.name for variant in VARIANTS} | classic)
    assert all(getattr(cells, name).name == name for name in cells.__all__)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@variants
def test_it_computes_what_its_paper_says(variant: Variant, dtype: torch.dtype) -> None:
    """A sum of K terms of size 1 is rounded K times. Steps pass the error on without making it larger."""
    for T, B, I, H in SHAPES:
        layer = layer_of(variant.cell, I, H, dtype)
        x, states = torch.randn(T, B, I, dtype=dtype), states_of(layer, B)
        lengths = torch.randint(0, T + 1, (B,))
        reset = torch.rand(T, B) < 0.2
        output, finals = layer(x, given(states), lengths=lengths, reset=reset)
        arrays = {name.removesuffix("_l0"): in_numpy(p) for name, p in layer.named_parameters()}
        expected, ends = stated(
            variant, arrays, in_numpy(x), [in_numpy(s[0]) for s in states], lengths.numpy(), reset.numpy()
        )
        found = [finals] if isinstance(finals, Tensor) else list(finals)
        for mine, theirs in zip([output, *(s[0] for s in found)], [expected, *ends], strict=True):
            assert mine.dtype == dtype
            bound = 4 * (I + H + 8) * torch.finfo(dtype).eps * max(1, np.abs(theirs).max())
            np.testing.assert_allclose(in_numpy(mine), theirs, rtol=0, atol=bound)


@variants
def test_without_initial_states_it_starts_from_zeros(variant: Variant) -> None:
    T, B, I, H = 4, 2, 3, 5
    layer = layer_of(variant.cell, I, H, torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    zeros = [np.zeros(state[0].shape) for state in states_of(layer, B)]
    arrays = {name.removesuffix("_l0"): in_numpy(p) for name, p in layer.named_parameters()}
    whole = np.full(B, T), np.zeros((T, B), bool)
    expected, _ = stated(variant, arrays, in_numpy(x), zeros, *whole)
    np.testing.assert_allclose(in_numpy(layer(x)[0]), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_an_slstm_stays_finite_for_any_gates(size: float) -> None:
    layer: Any = nn.Recurrent(cells.slstm, 4, 4)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.cat([torch.eye(4) * factor for factor in (size, 500, 1, 1)]))
    x = torch.randn(20, 8, 4, requires_grad=True)
    output, states = layer(x)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert all(bool(value.isfinite().all()) for value in (output, *states, gradient))
    assert bool((states[2] >= 1).all())


def leaves_of(cell: Cell, T: int, B: int, I: int, H: int) -> dict[str, Tensor]:
    """All tensors that a scan depends on, by name."""
    P = max(1, H // 2) if cell.projects else 0
    layer = layer_of(cell, I, H, torch.float64)
    named = {name: getattr(layer, f"{name}_l0").detach() for name in shapes(cell, I, H, True, P)}
    states = zip(cell.states, states_of(layer, B), strict=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    everything = {"x": x, **named, **{f"initial {name}": state[0] for name, state in states}}
    return {name: tensor.clone().requires_grad_() for name, tensor in everything.items()}


def scanned(by: Any, cell: Cell, leaves: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Output and final states of a scan, compiled or eager."""
    get = leaves.get
    weights = Weights(
        leaves["weight_ih"], leaves["weight_hh"], get("bias_ih"), get("bias_hh"),
        tuple(leaves[name] for name in cell.vectors),
        get("weight_hr"), get("weight_linear"), get("bias_linear"),
    )  # fmt: skip
    found = by(cell, leaves["x"], weights, tuple(leaves[f"initial {name}"] for name in cell.states))
    return found.output, *found.states


@variants
def test_its_compiled_derivatives_are_those_of_its_values(variant: Variant) -> None:
    leaves = leaves_of(variant.cell, 3, 2, 2, 3)

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        return scanned(scan, variant.cell, dict(zip(leaves, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, tuple(leaves.values()))


@variants
def test_it_is_the_same_compiled_and_eager(variant: Variant) -> None:
    leaves = leaves_of(variant.cell, 6, 3, 4, 9)
    found, expected = (scanned(by, variant.cell, leaves) for by in (scan, interpreted))
    seeds = [torch.randn_like(tensor) for tensor in expected]
    mine, theirs = (
        torch.autograd.grad(results, list(leaves.values()), seeds, allow_unused=True)
        for results in (found, expected)
    )
    close: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-11}
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **close)
    for name, one, other in zip(leaves, mine, theirs, strict=True):
        other = torch.zeros_like(leaves[name]) if other is None else other
        one = torch.zeros_like(other) if one is None else one
        torch.testing.assert_close(one, other, **close, msg=lambda text: f"{name}: {text}")


@variants
def test_it_learns_to_remember_a_sign_over_eight_steps(variant: Variant) -> None:
    """From about log 2 (guessing) to well below."""
    torch.manual_seed(1)
    cell, P = variant.cell, 4 if variant.cell.projects else 0
    layer: Any = nn.Recurrent(cell, 1, 8, dtype=torch.float64, proj_size=P)
    if cell is cells.indrnn:
        torch.nn.init.ones_(layer.u_l0)  # the initialisation of the paper for long memories
    read = torch.nn.Linear(P or 8, 1, dtype=torch.float64)
    optimiser = torch.optim.Adam([*layer.parameters(), *read.parameters()], lr=0.03)
    x = torch.zeros(8, 8, 1, dtype=torch.float64)
    x[0, :4], x[0, 4:] = 1, -1
    losses = []
    for _ in range(100):
        loss = F.binary_cross_entropy_with_logits(read(layer(x)[0][-1]), (x[0] > 0).double())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 0.6
    assert losses[-1] < 0.3
