"""Parses delimited text (CSV and similar) into a frame of texts."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import pandas as pd

from gatewise.tasks.shared.reading.errors import TableError

NAMELESS = "(no name, column"
SEPARATORS = "\t;|,"  # tried in this order; the comma last, as it may be the decimal mark
LOOKED_AT = 50  # lines that are used to choose the separator
MOST_COLUMNS = 4096


def parse_delimited(
    path: Path, text: str, skip: int | None, *, words: bool = False
) -> tuple[pd.DataFrame, str, list[str]]:
    """Parse the text. Returns a frame of texts, the separator, and notes on skipped lines.

    The index counts the rows under the header from 1. Empty fields are missing values; so are `NA`, `null`
    and the like, unless the fields hold `words`.

    Raises:
        TableError: the lines are not a table.
    """
    text, notes = _without_preamble(path, text.lstrip("\r\n"), skip)
    text, separator = _separator(text)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    if len(header) > MOST_COLUMNS:
        problem = f"the file has {len(header):,} columns; at most {MOST_COLUMNS:,} are read"
        raise TableError(path, problem)
    if len(header) > 1 and not any(re.search(r"[^\W\d_]", name) for name in header):
        raise TableError(path, "the first line holds values, not names; put a line of names above it")
    lines = _parsed(path, text, separator, words)
    frame = lines.iloc[1:].set_axis(_names(header, lines.shape[1]), axis="columns")
    return frame.dropna(how="all"), separator, notes


def _without_preamble(path: Path, text: str, skip: int | None) -> tuple[str, list[str]]:
    """Skip the lines above the header: `skip` lines, or else the comments, which begin with #."""
    if skip is not None:
        lines = text.split("\n", skip)
        if len(lines) <= skip:
            raise TableError(path, f"the file has no {skip} lines to skip")
        return lines[skip].lstrip("\r\n"), [f"{skip} lines above the header"] if skip else []
    skipped = 0
    while text.startswith("#"):
        line, _, rest = text.partition("\n")
        if not rest.startswith("#") and _is_header(line, rest.partition("\n")[0]):
            return line.lstrip("# ") + "\n" + rest, _comments(skipped)
        text, skipped = rest.lstrip("\r\n"), skipped + 1
    return text, _comments(skipped)


def _comments(lines: int) -> list[str]:
    return [f"{lines} lines above the header that begin with #"] if lines else []


def _is_header(line: str, below: str) -> bool:
    """Whether a line that begins with # is the header: it has as many fields as the line below it."""
    starts = below.lstrip(" \"'+-")[:1].isdigit()
    return starts and any(line.count(mark) == below.count(mark) > 0 for mark in SEPARATORS)


def _separator(text: str) -> tuple[str, str]:
    told = re.match(r"sep=(.)\r?\n", text)  # written by Excel
    if told:
        return text[told.end() :], told[1]
    sample = text[:1_000_000].splitlines(keepends=True)[:LOOKED_AT]
    counts = {mark: _fields(sample, mark) for mark in SEPARATORS}
    even = next((mark for mark, found in counts.items() if len({*found}) == 1 and found[0] > 1), None)
    return text, even or max(SEPARATORS[::-1], key=lambda mark: _commonest(counts[mark])[1])


def _fields(sample: list[str], separator: str) -> list[int]:
    try:
        return [len(row) for row in islice(csv.reader(sample, delimiter=separator), LOOKED_AT) if row]
    except csv.Error:
        return []


def _commonest(counts: list[int]) -> tuple[int, int]:
    """The most common number of fields above 1, and how often it occurs."""
    several = Counter(count for count in counts if count > 1)
    return several.most_common(1)[0] if several else (1, 0)


def _parsed(path: Path, text: str, separator: str, words: bool) -> pd.DataFrame:
    """Read all lines as text. The header is line 0, so data row k is line k."""
    try:
        return pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=str, skip_blank_lines=False,
            keep_default_na=not words, na_values=[""],
        )  # fmt: skip
    except pd.errors.ParserError as error:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if ragged:
            wanted, line, got = (int(number) for number in ragged.groups())
            hint = _preamble_hint(text, separator)
            problem = f"there are {got} fields where the header has {wanted}{hint}"
            raise TableError(path, problem, row=line - 1) from error
        raise TableError(path, "the file is not readable as CSV (a quote may never be closed)") from error
    except (pd.errors.EmptyDataError, OverflowError) as error:
        raise TableError(path, "the file is empty") from error


def _preamble_hint(text: str, separator: str) -> str:
    """A hint at --skip-rows, if the first line has another number of fields than most lines."""
    counts = [len(row) for row in csv.reader(text[:100_000].splitlines()[:LOOKED_AT], delimiter=separator)]
    most = _commonest(counts)[0]
    above = next((number for number, count in enumerate(counts) if count == most), 0)
    return f"; if lines stand above the header, --skip-rows {above} passes over them" if above else ""


def _names(header: list[str], columns: int) -> list[str]:
    """The names in a header. A column without a name gets one from its position."""
    names = [name.strip() for name in header] + [""] * (columns - len(header))
    return [name or f"{NAMELESS} {place})" for place, name in enumerate(names, start=1)]
