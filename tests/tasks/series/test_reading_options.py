"""Options of reading: any text is an option that works, or is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.tasks import Reading

TEXTS = ("time_format", "zone", "repeated", "resample", "where", "decimal", "thousands", "encoding")


@given(st.sampled_from(TEXTS), st.text(max_size=8))
@example("zone", "")
@example("encoding", "")
@example("resample", "")
@example("resample", "b")
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_or_refused(name: str, text: str) -> None:
    options: dict[str, Any] = {name: text}
    try:
        Reading(**options)
    except ValueError as error:
        assert str(error).startswith(f"{name} must be ")  # noqa: PT017


@pytest.mark.parametrize("zone", ["", " ", "+", "-", "+x", "dateutil/nowhere", "../x", "\0", "."])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="zone must be the name of a time zone"):
        Reading(zone=zone)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "dateutil/Europe/Berlin", "+02:00"])
def test_a_zone_that_is_taken_has_an_offset(zone: str) -> None:
    assert Reading(zone=zone).zone == zone
    assert pd.Timestamp("2024-01-01").tz_localize(zone).utcoffset() is not None
