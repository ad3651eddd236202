"""Which columns of a table can be the time, the target and the past inputs."""

from __future__ import annotations

import pandas as pd

from gatewise.tasks.table import NAMELESS, Table
from gatewise.tasks.times import parse_times


def usable(table: Table, name: str) -> bool:
    """Say whether a column can be a past input: it has a name, values, and not words."""
    return (
        not name.startswith(NAMELESS) and bool(table.column(name).notna().any()) and not table.is_text(name)
    )


def time_column(table: Table) -> str:
    """Give the one column of times; none or several raise ``SeriesError``."""
    return _only(table, [name for name in table.frame.columns if _holds_times(table, name)], "time")


def _holds_times(table: Table, name: str) -> bool:
    values = table.column(name)
    dated = pd.api.types.is_datetime64_any_dtype(values.dtype)
    return dated or (_is_words(table, name) and _some_are_times(table, name))


def _is_words(table: Table, name: str) -> bool:
    return not pd.api.types.is_numeric_dtype(table.column(name).dtype) and table.is_text(name)


def _some_are_times(table: Table, name: str) -> bool:
    """Judge by a few values alone, so that a bad time among them is reported as a bad time."""
    values = table.column(name)
    few = values[values.notna()].iloc[:3]
    parsed = [parse_times(few.iloc[[place]]) for place in range(len(few))]
    return any(times is None or bool(times.notna().all()) for times in parsed)


def target_column(table: Table, time: str) -> str:
    """Give the one column of numbers; none or several raise ``SeriesError``."""
    names = [name for name in table.frame.columns if name != time and usable(table, name)]
    return _only(table, names, "target")


def _only(table: Table, names: list[str], role: str) -> str:
    if len(names) == 1:
        return names[0]
    found = ", ".join(repr(name) for name in names) or "none"
    raise table.error(f"name the {role} column with --{role}; columns that could be it: {found}")
