"""Fields travel in an array, in the order of their names."""

from __future__ import annotations

from gatewise.compiler.emit.arguments import Arguments
from gatewise.compiler.kernels import weight_gradients
from gatewise.compiler.kernels.backward import BackwardKernel
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.plan.plan import plan
from tests.compiler.examples import Example, examples


def test_fields_lie_in_order_and_what_is_not_given_is_zero() -> None:
    arguments = Arguments(["T", "w_ih", "B"])
    assert list(arguments.fill({"B": 2**62, "T": -3})) == [-3, 0, 2**62]
    assert arguments.names == ("T", "w_ih", "B")


@examples
def test_no_two_fields_of_a_kernel_have_one_name(example: Example) -> None:
    for kernel in (ForwardKernel(plan(example.cell)), BackwardKernel(plan(example.cell))):
        names = kernel.arguments.names
        assert sorted(names) == sorted(set(names))
    assert len(weight_gradients.ARGUMENTS.names) == len(set(weight_gradients.ARGUMENTS.names))
