"""A target decides what is written; nothing about the host enters the text for another one."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from gatewise import cells
from gatewise.compiler.emit.number import FLOAT32, FLOAT64
from gatewise.compiler.emit.target import Flush, Fma, Target
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.run.host import host

OTHER: dict[str, Any] = {
    "triple": "elsewhere", "cpu": "other", "features": "+none", "vector_bits": 64, "registers": 5,
    "fma": Fma.APART, "flush": Flush.INSTRUCTIONS, "threads": False, "prefetches": False, "lanes": 3,
}  # fmt: skip


@pytest.mark.parametrize("field", [field.name for field in fields(Target)])
def test_targets_that_differ_have_different_keys(field: str) -> None:
    assert replace(host(), **{field: OTHER[field]}).key != host().key


def test_the_lanes_of_a_vector() -> None:
    target = Target("", "", "", 256, 16)
    assert (target.width(FLOAT32), target.width(FLOAT64)) == (8, 4)
    assert replace(target, lanes=2).width(FLOAT32) == 2


@pytest.mark.parametrize(
    ("flush", "mode"), [(Flush.MXCSR, "x86.sse.ldmxcsr"), (Flush.FPCR, "aarch64.set.fpcr"), (Flush.NEVER, "")]
)
def test_the_text_is_of_the_target_alone(flush: Flush, mode: str) -> None:
    target = Target("aarch64-elsewhere", "", "", 128, 32, flush=flush)
    text = ForwardKernel(plan(cells.rnn)).write(FLOAT32, target)
    assert 'target triple = "aarch64-elsewhere"' in text
    assert "<4 x float>" in text
    assert [name for name in ("x86.sse.ldmxcsr", "aarch64.set.fpcr", "sse2.pause") if name in text] == (
        [mode] if mode else []
    )
