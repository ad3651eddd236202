"""Which cases of a large product always run, and which only run before a release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def with_rest(cases: Iterable[Any], always: Callable[..., bool]) -> list[Any]:
    """The cases for `pytest.mark.parametrize`; those that are not to run `always` are marked exhaustive.

    A case is a value or a tuple of them; `always` is given its values.
    """
    found = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = () if always(*values) else pytest.mark.exhaustive
        found.append(pytest.param(*values, marks=marks))
    return found
