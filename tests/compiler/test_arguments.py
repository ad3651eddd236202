"""The arguments of kernels: fields are passed in an array, in the order of their names."""

from __future__ import annotations

import pytest

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.plan.plan import plan
from tests.compiler.examples import Example, examples


def test_fields_are_in_order_and_missing_ones_are_zero() -> None:
    arguments = Arguments(["T", "w_ih", "B"])
    assert list(arguments.fill({"B": 2**62, "T": -3})) == [-3, 0, 2**62]
    assert arguments.names == ("T", "w_ih", "B")


@examples
def test_no_two_fields_of_a_kernel_have_one_name(example: Example) -> None:
    for kernel in (ForwardKernel(plan(example.cell)), BackwardKernel(plan(example.cell))):
        names = kernel.arguments.names
        assert sorted(names) == sorted(set(names))
    assert len(weight_gradients.ARGUMENTS.names) == len(set(weight_gradients.ARGUMENTS.names))


def test_an_unknown_field_name_is_refused() -> None:
    arguments = Arguments(["T", "w_ih", "B"])
    for values in ({"t": 1}, {"T": 2, "t": 1}):
        with pytest.raises(KeyError, match="unknown field: t"):
            arguments.blank(values)
        with pytest.raises(KeyError, match="unknown field: t"):
            arguments.fill(values)
    blank = arguments.blank({"T": 1})
    blank["t"] = 2
    with pytest.raises(KeyError, match="unknown field: t"):
        arguments.fill(blank)


def test_a_number_that_is_not_a_64_bit_integer_is_refused_by_name() -> None:
    arguments = Arguments(["T", "B"])
    with pytest.raises(ValueError, match=r"^B must be an integer of 64 bits. Got 9223372036854775808."):
        arguments.fill({"T": 1, "B": 2**63})


def test_a_copy_of_a_blank_does_not_change_the_blank() -> None:
    arguments = Arguments(["T", "B"])
    blank = arguments.blank({"T": 1})
    copy = arguments.blank(blank)
    copy["B"] = 5
    assert list(arguments.fill(blank)) == [1, 0]
    assert list(arguments.fill(copy)) == [1, 5]
