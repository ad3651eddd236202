"""Selects the cases of a large product that always run; the rest only run before a release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def with_rest(cases: Iterable[Any], always: Callable[..., bool]) -> list[Any]:
    """Cases for `pytest.mark.parametrize`. Those for which `always` is false are marked exhaustive.

    A case is a value, or a tuple of values. `always` is called with these values.
    """
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = () if always(*values) else pytest.mark.exhaustive
        found.append(pytest.param(*values, marks=marks))
    return found
