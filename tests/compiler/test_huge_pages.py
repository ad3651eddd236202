"""Advice about huge pages does not change the contents of memory."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise.compiler.run.huge_pages import prefer_huge_pages


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 22, (1 << 22) + 12345, 9_999_999])
@pytest.mark.parametrize("offset", [0, 8, 4096])
def test_the_contents_stay_and_the_memory_stays_usable(size: int, offset: int) -> None:
    whole = np.arange((size + offset) // 8 + 1, dtype=np.int64)
    expected = whole.copy()
    prefer_huge_pages(whole.ctypes.data + offset, size)
    np.testing.assert_array_equal(whole, expected)
    whole += 1
    np.testing.assert_array_equal(whole, expected + 1)
