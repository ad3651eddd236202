"""The analyses give the same result for every layout: batch first, packed, lengths, no batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import gatewise
from gatewise import nn as ours

T, B, I, H = 6, 3, 3, 4
LENGTHS = [2, 6, 4]


class Layout(NamedTuple):
    """A layout: how a layer gets ``[T, B, I]``, and how its output becomes ``[T, B, O]``."""

    batch_first: bool
    give: Callable[[Tensor], Any]
    take: Callable[[Any], Tensor]
    like: str = "plain"  # the layout with the same results
    call: Mapping[str, Any] = {}


def swapped(x: Tensor) -> Tensor:
    return x.transpose(0, 1)


def packed(x: Tensor) -> PackedSequence:
    return pack_padded_sequence(x, torch.tensor(LENGTHS), enforce_sorted=False)


LAYOUTS = {
    "plain": Layout(False, lambda x: x, lambda y: y),
    "batch first": Layout(True, swapped, swapped),
    "one row": Layout(False, lambda x: x[:, :1], lambda y: y),
    "unbatched": Layout(False, lambda x: x[:, 0], lambda y: y.unsqueeze(1), "one row"),
    "unbatched, batch first": Layout(True, lambda x: x[:, 0], lambda y: y.unsqueeze(1), "one row"),
    "lengths": Layout(False, lambda x: x, lambda y: y, call={"lengths": LENGTHS}),
    "lengths, batch first": Layout(True, swapped, swapped, "lengths", {"lengths": LENGTHS}),
    "packed": Layout(False, packed, lambda y: pad_packed_sequence(y)[0], "lengths"),
    "packed, batch first": Layout(True, packed, lambda y: pad_packed_sequence(y)[0], "lengths"),
}
STACKS = {"one": {}, "two both ways": {"num_layers": 2, "bidirectional": True}}


@dataclasses.dataclass
class Given:
    """A layer with its input in one layout."""

    layout: Layout
    layer: Any
    x: Any
    folder: Path

    def score(self, x: Any = None) -> Tensor:
        """A score ``[B]``: one number for each row."""
        output, _ = self.layer(self.x if x is None else x, **self.layout.call)
        return self.layout.take(output).square().sum((0, 2))

    @property
    def axis(self) -> dict[str, Any]:
        return {"batch_first": self.layout.batch_first and self.x.dim() == 3}

    def seen(self) -> Any:
        with gatewise.watch(self.layer) as seen:
            self.score()
        return seen

    @staticmethod
    def each(function: str, given: Given) -> Any:
        return {name: getattr(gatewise, function)(values) for name, values in given.seen().items()}

    @staticmethod
    def attributed(method: str, self: Given) -> Any:
        found = gatewise.attribute(
            self.score, self.x, method=method, points=8, **self.layout.call, **self.axis
        )
        return found.time_first, found.by_step(), found.residual

    def connected(self) -> Any:
        torch.manual_seed(4)
        return gatewise.connectivity(
            lambda x: self.layer(x, **self.layout.call)[0], self.x, **self.axis
        ).norms

    def page(self) -> Any:
        page = gatewise.look(self.layer, self.x, self.folder / "page.html", **self.layout.call)
        return [sentence.split("(the s")[0] for sentence in (*page.findings, *page.notes)]


FINDINGS: dict[str, Callable[[Given], Any]] = {
    "watch": lambda given: {n: dict(v._values) for n, v in given.seen().items()},
    **{
        name: partial(Given.each, name)
        for name in ("ledger", "half_life", "time_scale", "saturation", "lyapunov", "fixed_points")
    },
    "gradient_flow": lambda given: gatewise.gradient_flow(
        given.layer, lambda: given.score().sum(), jacobians=True, shares=True
    ),
    "rank_units": lambda given: [
        gatewise.rank_units(given.layer, lambda: given.score().sum(), by=by)
        for by in ("effect", "silenced", "activity")
    ],
    "edit": lambda given: given.layout.take(
        gatewise.edit(given.layer, "l0", f=0.3, steps=[1], rows=[0])(given.x, **given.layout.call)[0]
    ),
    "decompose": lambda given: gatewise.decompose(given.layer, given.x, slice(1, 3), **given.layout.call),
    "connectivity": Given.connected,
    **{
        f"attribute, {method}": partial(Given.attributed, method)
        for method in ("saliency", "input_x_gradient", "integrated_gradients", "occlusion")
    },
    "look": Given.page,
}
PADDED_ONLY = {"connectivity", *(name for name in FINDINGS if name.startswith("attribute"))}


def given_in(layout: Layout, stack: dict[str, Any], folder: Path) -> Given:
    torch.manual_seed(1)
    layer = ours.LSTM(I, H, batch_first=layout.batch_first, dtype=torch.float64, **stack)
    return Given(layout, layer, layout.give(torch.randn(T, B, I, dtype=torch.float64)), folder)


def parts(found: Any) -> Iterator[Any]:
    """All tensors and numbers of a result, without text."""
    if dataclasses.is_dataclass(found):
        found = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if isinstance(found, Mapping):
        found = [*found.values()]
    if isinstance(found, tuple | list):
        for part in found:
            yield from parts(part)
    else:
        yield found


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("plain", "one row", "lengths")])
@pytest.mark.parametrize("finding", FINDINGS)
def test_results_are_the_same_in_every_layout(
    finding: str, layout: str, stack: dict[str, Any], tmp_path: Path
) -> None:
    if layout.startswith("packed") and finding in PADDED_ONLY:
        return  # their function takes a padded tensor
    found, expected = (
        [*parts(FINDINGS[finding](given_in(LAYOUTS[name], stack, tmp_path)))]
        for name in (layout, LAYOUTS[layout].like)
    )
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9, equal_nan=True)
        elif isinstance(one, float):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-9, nan_ok=True)
        else:
            assert one == other


def test_the_last_step_of_a_row_is_at_its_length() -> None:
    layer, head = ours.LSTM(I, H, dtype=torch.float64), torch.nn.Linear(H, 2, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    output, (h_n, _) = layer(x, lengths=LENGTHS)
    parts = gatewise.decompose(layer, x, slice(1, 3), lengths=LENGTHS)
    torch.testing.assert_close(sum(parts.through(head)), head(h_n[0]) - head.bias)
    torch.testing.assert_close(sum(parts.through(head, 1)), head(output[1]) - head.bias)


def test_the_wrong_axis_is_named() -> None:
    layer, x = ours.GRU(I, H, batch_first=True), torch.randn(B, T, I)
    with pytest.raises(ValueError, match=rf"\[{T}\]. Got \[{B}\]. x is \[T, B, I\] with batch_first=False"):
        gatewise.attribute(lambda x: layer(x)[0][:, -1].sum(1), x)
    with pytest.raises(ValueError, match="batch_first says which axis"):
        gatewise.connectivity(lambda x: layer(x)[0].transpose(0, 1), x)


@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "occlusion"])
@pytest.mark.parametrize("layout", ["batch first", "unbatched", "lengths, batch first"])
def test_initial_states_are_attributed_in_every_layout(layout: str, method: str, tmp_path: Path) -> None:
    found = []
    for name in (layout, LAYOUTS[layout].like):
        given = given_in(LAYOUTS[name], STACKS["two both ways"], tmp_path)
        rows = 1 if LAYOUTS[layout].like == "one row" else B
        torch.manual_seed(2)
        states: tuple[Tensor, ...] = (torch.randn(4, rows, H).double(), torch.randn(4, rows, H).double())
        states = tuple(state[:, 0] for state in states) if given.x.dim() == 2 else states

        def score(x: Tensor, *states: Tensor, given: Given = given) -> Tensor:
            output, _ = given.layer(x, states, **given.layout.call)
            return given.layout.take(output).square().sum((0, 2))

        found.append(
            gatewise.attribute(
                score, given.x, *states, method=method, points=8, **given.layout.call, **given.axis
            )
        )
    one, other = found
    torch.testing.assert_close(one.time_first, other.time_first, equal_nan=True)
    torch.testing.assert_close(one.states, other.states)
    torch.testing.assert_close(one.scores, other.scores)
    assert one.residual == pytest.approx(other.residual, rel=1e-3, abs=1e-9)
