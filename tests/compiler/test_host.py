"""The vector widths of the machine, and a width that the user forces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatewise import cells
from gatewise.compiler.emit.number import FLOAT32, FLOAT64, NUMBERS, Number
from gatewise.compiler.emit.target import Target
from gatewise.compiler.run.host import WIDTHS, forced, host
from gatewise.compiler.run.program import compiled

NUMBERS_ = pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)


@pytest.fixture(autouse=True)
def _asked_again() -> Iterator[None]:
    forced.cache_clear()
    yield
    forced.cache_clear()


@NUMBERS_
@pytest.mark.parametrize("bits", [128, 256, 512])
def test_a_vector_fills_the_widest_registers(
    bits: int, number: Number, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWISE_WIDTH", raising=False)
    assert Target("", "", "", bits, 16).width(number) * number.bits == bits


@NUMBERS_
@pytest.mark.parametrize("width", WIDTHS)
def test_a_width_is_forced(width: int, number: Number, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWISE_WIDTH", str(width))
    assert host().width(number) == width
    assert compiled(cells.rnn, number.name).width == width


@pytest.mark.parametrize("nonsense", ["", "0", "3", "-4", "4.0", " 8", "eight", "1000"])
def test_a_wrong_width_is_refused(nonsense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWISE_WIDTH", nonsense)
    with pytest.raises(ValueError, match=r"^GATEWISE_WIDTH must be one of \(1, 4, 8, 16\)\. Got '.*'\.$"):
        compiled(cells.rnn, "float32")


def test_the_machine_is_inspected_once_and_has_vectors() -> None:
    assert host() is host()
    assert host().cpu
    assert host().vector_bits >= 2 * FLOAT64.bits >= 4 * FLOAT32.bits
    assert host().registers in (16, 32)
