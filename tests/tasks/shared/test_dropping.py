"""Dropout with fast random numbers."""

from __future__ import annotations

import pytest
import torch

from gatewise.tasks.shared.dropping import Dropout


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.99])
def test_the_share_of_zeros_is_p_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 999)
    found = Dropout(p)(x)
    dropped = float((found == 0).double().mean())
    assert dropped == pytest.approx(p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-17)
    kept = found[found != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-3, atol=0)
    rows = (found == 0).double().mean(0)
    assert float(rows.std()) == pytest.approx((p * (1 - p) / 1000) ** 0.5, rel=0.1)  # each by itself


def test_the_seed_of_torch_decides_and_gradients_are_masked_alike() -> None:
    x = torch.randn(7, 5, requires_grad=True)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(Dropout(0.5)(x))
    assert torch.equal(made[0], made[1])
    (gradient,) = torch.autograd.grad(made[0].sum(), x)
    torch.testing.assert_close(gradient * x, made[0])
    assert not torch.equal(Dropout(0.5)(x), made[0])


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_ends_and_evaluation_are_those_of_torch(p: float) -> None:
    x = torch.randn(7, 5)
    assert torch.equal(Dropout(p).eval()(x), x)
    if p != 0.5:
        assert torch.equal(Dropout(p)(x), torch.nn.Dropout(p)(x))
