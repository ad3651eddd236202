"""Which columns of a table can be the time, the target and the past inputs."""

from __future__ import annotations

import pandas as pd

from gatewise.tasks.table import Table
from gatewise.tasks.times import parse_times


def usable(table: Table, name: str) -> bool:
    """Say whether a column can be a past input: it has a name, values, and not words."""
    named = not name.startswith("Unnamed: ")
    return named and bool(table.column(name).notna().any()) and not table.is_text(name)


def time_column(table: Table) -> str:
    """Give the one column of times; none or several raise ``SeriesError``."""
    return _only(table, [name for name in table.frame.columns if _holds_times(table, name)], "time")


def _holds_times(table: Table, name: str) -> bool:
    values = table.column(name)
    dated = pd.api.types.is_datetime64_any_dtype(values.dtype)
    return dated or (_is_words(table, name) and _first_is_time(table, name))


def _is_words(table: Table, name: str) -> bool:
    return not pd.api.types.is_numeric_dtype(table.column(name).dtype) and table.is_text(name)


def _first_is_time(table: Table, name: str) -> bool:
    """Judge by the first value, so that a bad time further down is reported as a bad time."""
    values = table.column(name)
    first = parse_times(values[values.notna()].iloc[:1])
    return first is None or bool(first.notna().all())


def target_column(table: Table, time: str) -> str:
    """Give the one column of numbers; none or several raise ``SeriesError``."""
    names = [name for name in table.frame.columns if name != time and usable(table, name)]
    return _only(table, names, "target")


def _only(table: Table, names: list[str], role: str) -> str:
    if len(names) == 1:
        return names[0]
    found = ", ".join(repr(name) for name in names) or "none"
    raise table.error(f"name the {role} column with --{role}; columns that could be it: {found}")
