"""Browsers as targets of the compiler.

Vectors have 128 bits. There are no threads (a page opened from a file cannot have them), no prefetching, and
no mode in which subnormal numbers are zero.
"""

from __future__ import annotations

from dataclasses import replace

from gatewise.compiler.emit.target import Flush, Fma, Target

_TRIPLE = "wasm32-unknown-unknown"

# On machines that round a product and its sum once (most do), the results are those of the host.
RELAXED = Target(
    _TRIPLE, "mvp", "+simd128,+relaxed-simd,+bulk-memory", 128, 16,
    fma=Fma.RELAXED, flush=Flush.INSTRUCTIONS, threads=False, prefetches=False,
)  # fmt: skip
# For browsers without relaxed SIMD: the last bits differ from the host's.
PLAIN = replace(RELAXED, features="+simd128,+bulk-memory", fma=Fma.APART)
TARGETS = {"relaxed": RELAXED, "plain": PLAIN}
