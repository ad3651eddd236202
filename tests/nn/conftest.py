"""Helpers for tests of layers: all results of a call, and the comparison of two modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

# A function of the module and of new leaves, which returns any nesting of results.
Call: TypeAlias = Callable[..., Any]
Everything: TypeAlias = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def flat(results: Any) -> Iterator[Tensor]:
    """The floating-point tensors in any nesting of tuples. (A packed sequence is one.)"""
    if isinstance(results, Tensor):
        yield from [results] if results.is_floating_point() else []
    elif isinstance(results, tuple):
        for result in results:
            yield from flat(result)


def everything(module: torch.nn.Module, call: Call, *inputs: Tensor) -> Everything:
    """Results of ``call(module, *inputs)``, and the gradients of a random function of them for all leaves."""
    leaves = [
        tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in inputs
    ]
    module.zero_grad()
    torch.manual_seed(2)
    results = list(flat(call(module, *leaves)))
    torch.manual_seed(3)
    torch.autograd.backward(results, [torch.randn(r.shape, dtype=r.dtype) for r in results])
    found = {f"result {k}": result.detach() for k, result in enumerate(results)}
    named = [*((f"input {k}", leaf) for k, leaf in enumerate(leaves)), *module.named_parameters()]
    return found | {f"gradient of {name}": leaf.grad.clone() for name, leaf in named if leaf.grad is not None}


@pytest.fixture(name="everything")
def _everything() -> Callable[..., Everything]:
    return everything


@pytest.fixture
def assert_same() -> Callable[..., None]:
    """Compare all results of two float64 modules, to the last digits."""

    def check(mine: torch.nn.Module, theirs: torch.nn.Module, call: Call, *inputs: Tensor) -> None:
        ours, expected = everything(mine, call, *inputs), everything(theirs, call, *inputs)
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(
                ours[name], value, rtol=1e-11, atol=1e-12, msg=lambda text: f"{name}: {text}"
            )

    return check
