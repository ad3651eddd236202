"""Random masks: the hash against a reference in NumPy, its uniformity, and the masks of layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gatewise import Input, cell, cells
from gatewise import nn as ours
from gatewise.compiler.emit.random import threshold
from gatewise.language.graph import Graph, Node
from gatewise.nn.walk.random import Chance, decide, drawn

pytestmark = pytest.mark.usefixtures("quickly")

recurrent: Any = ours.Recurrent
_GRAPH = Graph()


def draw(which: int, rate: float, per: str = "step") -> Node:
    return _GRAPH.node("dropout", _GRAPH.leaf("state", "h"), name=str(which), part=per, value=rate)


def triple32(x: int) -> int:
    """The hash of one number, in Python's integers."""
    x ^= x >> 17
    x = x * 0xED5AD4BB % 2**32
    x ^= x >> 11
    x = x * 0xAC4C1B51 % 2**32
    x ^= x >> 15
    x = x * 0x31848BAB % 2**32
    return x ^ x >> 14


def number(seed: int, draw: int, step: int, row: int, unit: int) -> int:
    """The 32 random bits for one unit of one row at one step."""
    low, high = seed % 2**32, seed >> 32
    key = triple32((low + draw) % 2**32)
    key = triple32(key ^ high)
    key = triple32((key + step) % 2**32)
    return triple32((triple32((key + row) % 2**32) + unit) % 2**32)


def struck(seed: int, draw: int, rate: float, step: int, rows: int, units: int) -> NDArray[np.bool_]:
    """The mask ``[rows, units]``, true where a unit is dropped."""
    bound = rate * 2**32
    return np.array(
        [[number(seed, draw, step, row, unit) < bound for unit in range(units)] for row in range(rows)]
    )


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63 - 2])
@pytest.mark.parametrize(("which", "rate"), [(0, 0.25), (3, 0.5), (2, 0.9)])
def test_every_decision_is_the_hash_of_its_numbers(seed: int, which: int, rate: float) -> None:
    rows, units = torch.arange(5), torch.arange(7)
    for step in (0, 1, 12345):
        found = decide(draw(which, rate), Chance(seed), step, rows, units)
        np.testing.assert_array_equal(found.numpy(), struck(seed, which, rate, step, 5, 7))


def test_steps_are_counted_from_the_first() -> None:
    rows, units, node = torch.arange(3), torch.arange(4), draw(0, 0.5)
    whole = decide(node, Chance(9), 7, rows, units)
    assert torch.equal(whole, decide(node, Chance(9, first_step=5), 2, rows, units))


def test_the_mask_of_a_sequence_is_that_of_its_first_step() -> None:
    rows, units, node = torch.arange(3), torch.arange(16), draw(0, 0.5, "sequence")
    first = decide(draw(0, 0.5), Chance(9), 0, rows, units)
    for chance, step in ((Chance(9), 0), (Chance(9), 8), (Chance(9, first_step=5), 8)):
        assert torch.equal(decide(node, chance, step, rows, units), first)


def test_rates_of_zero_and_one() -> None:
    assert (threshold(0), threshold(0.5), threshold(1)) == (0, 2**31, 2**32)
    rows, units = torch.arange(50), torch.arange(50)
    assert not decide(draw(0, 0.0), Chance(1), 0, rows, units).any()


def hashes(seeds: Any, steps: Any, rows: Any, units: Any) -> NDArray[np.uint32]:
    """The random numbers of draw 0, for arrays that broadcast."""

    def scramble(x: Any) -> Any:
        x = x % 2**32
        for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
            x = (x ^ x >> shift) * factor % 2**32
        return x ^ x >> 14

    seeds, steps, rows, units = (np.asarray(v, np.uint64) for v in (seeds, steps, rows, units))
    key = scramble(scramble(seeds) ^ seeds >> 32)
    found: NDArray[np.uint32] = scramble(scramble(scramble(key + steps) + rows) + units).astype(np.uint32)
    return found


def test_both_implementations_of_the_hash_agree() -> None:
    drawn = np.random.default_rng(0).integers(0, [2**63, 2**20, 2**20, 2**12], (50, 4))
    found = hashes(*drawn.T)
    assert found.tolist() == [number(seed, 0, step, row, unit) for seed, step, row, unit in drawn.tolist()]


AXES = {
    "units": (7, 3, 2, np.arange(4096)),
    "rows": (7, 3, np.arange(4096), 5),
    "steps": (7, np.arange(4096), 2, 5),
    "seeds": (np.arange(4096), 3, 2, 5),
    "high halves of seeds": (np.arange(4096) << 32, 3, 2, 5),
    "all of a sequence": (
        7, np.arange(16)[:, None, None], np.arange(16)[:, None], np.arange(16),
    ),
}  # fmt: skip


def chi_square(counts: NDArray[Any]) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("axis", AXES)
def test_numbers_are_uniform(axis: str) -> None:
    """In 64 bins, by the high bits and by the low bits, within six standard deviations."""
    found = hashes(*AXES[axis]).ravel()
    for bins in (found >> 26, found & 63):
        assert chi_square(np.bincount(bins, minlength=64)) < 63 + 6 * (2 * 63) ** 0.5


@pytest.mark.parametrize("axis", ["units", "rows", "steps", "seeds"])
def test_neighbours_are_independent(axis: str) -> None:
    """The pairs of neighbours in 8 x 8 bins."""
    found = hashes(*AXES[axis]) >> 29
    pairs = np.bincount(found[:-1] * 8 + found[1:], minlength=64)
    assert chi_square(pairs) < 63 + 6 * (2 * 63) ** 0.5


@cell
def sums(h, *, a):  # type: ignore[no-untyped-def]
    """The sum of the input part and the recurrent part."""
    return a + 0 * h


@cell
def fed(h, *, a: Input):  # type: ignore[no-untyped-def]
    """The input part alone."""
    return a + 0 * h


WIDE = 64


def passing(cell: Any, **options: Any) -> Any:
    """A layer whose units pass their input on: weights 1 on the diagonal, no bias."""
    layer = recurrent(cell, WIDE, WIDE, bias=False, dtype=torch.float64, **options)
    for weight in layer.parameters():
        with torch.no_grad():
            weight.copy_(torch.eye(*weight.shape, dtype=torch.float64))
    return layer


def test_recurrent_dropout_has_one_mask_for_each_sequence_and_row() -> None:
    rate, rows, steps = 0.25, 32, 6
    layer = passing(sums, recurrent_dropout=rate)
    start = torch.ones(1, rows, WIDE, dtype=torch.float64)
    output, _ = layer(torch.zeros(steps, rows, WIDE, dtype=torch.float64), start)
    kept = (output[0] != 0).double()
    for t in range(steps):
        torch.testing.assert_close(output[t], kept / (1 - rate) ** (t + 1))
    assert abs(float(kept.mean()) - 0.75) < 0.05  # 2048 units: five standard deviations
    assert len({tuple(row) for row in kept.tolist()}) == rows


def test_zoneout_keeps_units_at_its_rate() -> None:
    rate, rows, steps = 0.25, 8, 40
    layer = passing(fed, zoneout=rate)
    x = torch.randn(steps, rows, WIDE, dtype=torch.float64)
    output, _ = layer(x)
    before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
    kept = output != x
    assert torch.equal(output[kept], before[kept])
    assert abs(float(kept.double().mean()) - rate) < 0.02  # 20480 units: six standard deviations
    # Steps are independent: a unit is kept at two steps in a row with the product of the rates.
    assert abs(float((kept[1:] & kept[:-1]).double().mean()) - rate**2) < 0.02


def test_each_state_has_its_own_rate() -> None:
    layer = recurrent(cells.lstm, 3, WIDE, zoneout=(0.0, 0.5), dtype=torch.float64)
    seen: dict[str, Any] = {}
    with layer.recording(lambda recorded: seen.update(recorded.values)):
        layer(torch.randn(20, 8, 3, dtype=torch.float64))
    stays = {name: float((v[1:] == v[:-1]).double().mean()) for name, v in seen.items()}
    assert stays["h"] == 0
    assert abs(stays["c"] - 0.5) < 0.03


def test_weight_drop_zeroes_recurrent_weights_and_scales_the_rest() -> None:
    rate = 0.25
    layer = recurrent(sums, WIDE, WIDE, bias=False, dtype=torch.float64, weight_drop=rate)
    x = torch.zeros(1, WIDE, WIDE, dtype=torch.float64)
    start = torch.eye(WIDE, dtype=torch.float64)[None]
    output, _ = layer(x, start)
    dropped = output[0].T  # the result for each weight
    kept = dropped != 0
    torch.testing.assert_close(dropped, kept * layer.weight_hh_l0.detach() / (1 - rate))
    assert abs(float(kept.double().mean()) - 0.75) < 0.05  # 4096 weights: seven standard deviations
    output.sum().backward()
    assert torch.equal(layer.weight_hh_l0.grad != 0, kept)
    torch.testing.assert_close(layer.eval()(x, start)[0][0].T, layer.weight_hh_l0.detach())


@pytest.mark.parametrize("option", ["zoneout", "recurrent_dropout"])
def test_layers_directions_and_calls_have_different_masks(option: str) -> None:
    options: dict[str, Any] = {option: 0.5, "num_layers": 2, "bidirectional": True}
    layer = passing(sums if option == "recurrent_dropout" else fed, **options)
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            weight.mul_("weight_hh" in name)  # the initial state with its dropped units
    masks: list[tuple[bool, ...]] = []
    start = torch.ones(4, 1, WIDE, dtype=torch.float64)
    for _ in range(2):
        with layer.recording(
            lambda recorded: masks.append(tuple((recorded.values["h"] != 0).view(-1).tolist()))
        ):
            layer(torch.zeros(1, 1, WIDE, dtype=torch.float64), start)
    assert len(masks) == len(set(masks)) == 8


def test_under_vmap_samples_are_random_as_its_randomness_option_says() -> None:
    """Each of three equal samples returns which of 64 units are dropped, for a seed drawn under vmap."""

    def asked(x: torch.Tensor) -> torch.Tensor:
        return decide(draw(0, 0.5), drawn(), 0, torch.arange(1), torch.arange(64)) | (x > 0)

    samples = torch.zeros(3)
    same = torch.func.vmap(asked, randomness="same")(samples)
    assert torch.equal(same[0], same[1])
    different = torch.func.vmap(asked, randomness="different")(samples)
    assert len({tuple(row.flatten().tolist()) for row in different}) == 3
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(asked)(samples)


def test_a_seed_in_a_tensor_gives_the_same_masks_as_a_number() -> None:
    rows, units, seed = torch.arange(5), torch.arange(7), 2**62 + 12345
    number, tensor = (decide(draw(1, 0.5), Chance(s), 3, rows, units) for s in (seed, torch.tensor(seed)))
    assert torch.equal(number, tensor)


@pytest.mark.parametrize("option", ["zoneout", "recurrent_dropout", "weight_drop"])
def test_masks_follow_the_seed_of_torch(option: str) -> None:
    layer = recurrent(cells.gru, 3, 8, **{option: 0.5})
    x = torch.randn(5, 2, 3)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(layer(x)[0])
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_in_evaluation_mode_no_random_number_is_drawn() -> None:
    layer = recurrent(cells.gru, 3, 8, zoneout=0.5, recurrent_dropout=0.5, weight_drop=0.5).eval()
    state = torch.get_rng_state()
    layer(torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
