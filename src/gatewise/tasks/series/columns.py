"""Chooses the columns of a table that are the time, the target and the past inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gatewise.tasks.series.inference import breaks
from gatewise.tasks.series.times import TimeError, parse_clock, parse_times, readable
from gatewise.tasks.shared.reading.delimited import NAMELESS
from gatewise.tasks.shared.reading.errors import quoted
from gatewise.tasks.shared.reading.table import Table

NONE = "none"  # instead of the name of a column of times: number the rows


@dataclass(frozen=True)
class Columns:
    """The roles of the columns of a table. `time` is empty if rows are numbered; `known` are inputs too."""

    time: tuple[str, ...]
    target: str
    inputs: tuple[str, ...]
    left_out: tuple[str, ...]
    known: tuple[str, ...] = ()


def choose(
    table: Table,
    target: str | None,
    time: str | Sequence[str] | None,
    id: str | None = None,
    static: Sequence[str] = (),
) -> Columns:
    """Choose columns: by default the only one of times, the only one of numbers, all other numbers as inputs.

    The columns `id` and `static` tell the series of a panel apart, and describe them.

    Raises:
        SeriesError: a named column does not exist or has two roles, or there are several candidates.
    """
    apart = (*((id,) if id is not None else ()), *static)
    times = _named(table, time) if time else _found(table, (target, *apart))
    target = _target(table, (*times, *apart, *(table.reading.known or ()))) if target is None else target
    table.column(target)
    known = _inputs(table, table.reading.known or ())
    past = None if table.reading.inputs is None else _inputs(table, table.reading.inputs)
    _refuse_two_roles(
        table,
        {
            "the target": (target,),
            "the time": times,
            "the id": apart[: len(apart) - len(static)],
            "an attribute": tuple(dict.fromkeys(static)),
            "an input that is known ahead": known,
            "a past input": past or (),
        },
    )
    _refuse_without_use(table, times)
    taken = (target, *times, *apart)
    others = [name for name in table.names if name not in taken]
    inputs = [name for name in others if _usable(table, name)] if past is None else past
    inputs = list(dict.fromkeys([*inputs, *known]))
    left_out = tuple(name for name in others if name not in inputs)
    return Columns(times, target, tuple(inputs), left_out, tuple(known))


def _refuse_two_roles(table: Table, roles: Mapping[str, Sequence[str]]) -> None:
    """Refuse a column that is named for two roles."""
    found: dict[str, str] = {}
    for role, names in roles.items():
        for name in names:
            if name in found:
                raise table.error(f"{found[name]} and {role} must be two different columns", name)
            found[name] = role


def _refuse_without_use(table: Table, times: Sequence[str]) -> None:
    """Refuse options for times where rows are numbered."""
    if times:
        return
    for name in ("time_format", "zone", "repeated", "resample", "irregular"):
        if getattr(table.reading, name):
            option = name.replace("_", "-")
            raise table.error(
                f"rows are numbered, but --{option} is for times; name their column with --time"
            )


def _named(table: Table, time: str | Sequence[str]) -> tuple[str, ...]:
    names = (time,) if isinstance(time, str) else tuple(time)
    if names == (NONE,) and NONE not in table.names:
        return ()
    for name in names:
        table.column(name)
    return names


def _inputs(table: Table, wanted: Sequence[str]) -> list[str]:
    names = [name for name in wanted if name not in ("", NONE) or name in table.names]
    for name in names:
        table.column(name)
    return list(dict.fromkeys(names))


def _found(table: Table, taken: Sequence[str | None]) -> tuple[str, ...]:
    """The only column of times, with that of times of day if there is one; empty to number the rows."""
    free = [name for name in table.names if name not in taken]
    names = [name for name in free if _holds_times(table, name)]
    if not names:
        names = [name for name in free if _counts_time(table, name)]
    if not names:
        _refuse_without_times(table)
        return ()
    if len(names) > 1:
        raise table.error(_several("time", names))
    return (*names, *_of_day(table, names[0], free))


def _holds_times(table: Table, name: str) -> bool:
    values = table.column(name)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return True
    form = table.reading.time_format
    return (form is not None or table.is_words(name)) and readable(values, form)


def _counts_time(table: Table, name: str) -> bool:
    """Whether a column of integers such as 2024013112 increases regularly and can be read as times."""
    values = table.column(name)
    text = values.astype("string").str.strip()
    if values.isna().any() or not text.str.fullmatch(r"[0-9]{4,19}").all():
        return False
    try:
        times = parse_times(values).times
    except TimeError:
        return bool(pd.to_numeric(text).is_monotonic_increasing)
    index = pd.DatetimeIndex(times.drop_duplicates())
    return bool(index.is_monotonic_increasing and len(index) > 2 and breaks(index) < np.inf)


def _of_day(table: Table, time: str, free: Sequence[str]) -> list[str]:
    """The column of times of day, such as 17:24, if the column of times has repeated days."""
    days = table.column(time)
    if not days.duplicated().any():
        return []
    words = [name for name in free if name != time and table.is_words(name)]
    few = {name: table.column(name).dropna().iloc[:3] for name in words}
    found = [name for name, values in few.items() if len(values) and parse_clock(values).notna().all()]
    return found if len(found) == 1 else []


def _refuse_without_times(table: Table) -> None:
    """Raise if each row seems to be a series, or if there seem to be times in an unknown format."""
    numeric = [name for name in table.names if _usable(table, name)]
    words = [name for name in table.names if table.is_words(name)]
    if len(numeric) > max(len(table.frame), 12) and words:
        problem = f"these seem to be {len(table.frame)} series, one in each row of {len(numeric)} columns"
        raise table.error(f"{problem}; turn the table, so that each series is a column with one row per step")
    for name in words:
        values = table.column(name).astype("string")
        if values.str.contains(r"[0-9]", regex=True).mean() > 0.5 and values.nunique() * 2 > len(values):
            problem = f"no column can be read as times; if this one holds them, with {quoted(values.iloc[0])}"
            raise table.error(f"{problem} say, name their form with --time-format; or --time none", name)


def _target(table: Table, times: tuple[str, ...]) -> str:
    names = [name for name in table.names if name not in times and _usable(table, name)]
    if len(names) != 1:
        raise table.error(_several("target", names))
    return names[0]


def _usable(table: Table, name: str) -> bool:
    """Whether a column can be a past input: it has a name, it is not empty, and it does not hold words."""
    return not (name.startswith(NAMELESS) or table.is_empty(name) or table.is_words(name))


def _several(role: str, names: list[str]) -> str:
    found = ", ".join(map(quoted, names[:12])) or "none"
    return f"name the {role} column with --{role}; columns that could be it: {found}"
