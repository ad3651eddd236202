"""Turns the columns of a series into the inputs of a forecaster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gatewise.runtime.jobs.naive import Numbers, Whole, hold, varies

FAR = 1e12  # most standard deviations that a value may lie from the mean
_SMALLEST, _LARGEST = 1e-300, 1e300  # limits of numbers that are safe to divide by
_MOST_LOG = 230.0  # most that a logarithm is taken back from; e^230 is 1e100


@dataclass(frozen=True)
class Scales:
    """The level and the spread of the target in each series of a panel.

    Attributes:
        name: the name of the ids, that of their column in a table in long format.
        wide: whether tables have a column for each series instead.
        ids: the id of each series that was trained on, as text.
        mean: the mean of the target in each.
        scale: the standard deviation of the target in each.
        constant: the ids of the series that were constant in training. Their scale is a usual one.
    """

    name: str
    wide: bool
    ids: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    constant: tuple[str, ...] = ()

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each id."""
        return {name: place for place, name in enumerate(self.ids)}


@dataclass(frozen=True)
class Described:
    """How the attributes of a series become inputs.

    Attributes:
        numbers: the attributes that are numbers.
        mean, scale: the mean and the standard deviation of each.
        categories: the attributes that are texts.
        classes: the texts of each, of which the first has the number 1. An unknown text has the number 0.
    """

    numbers: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    classes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Encoding:
    """Scalers, masks and seasons of a series or a panel, for its target and its inputs.

    The inputs ``[N, I]`` of the network are, in this order: every column, scaled, with missing values
    replaced by the last known one, but of the target, if there is a `step_scale`, the change over one step,
    whose size does not grow with a trend; a mask of the observed values, for columns with missing ones; if
    `elapsed`, the time since the last observation, for the same columns; with a `gap`, the time since the row
    before; the change of the target over one season; the phase within each season, as two sines and two
    cosines.

    Attributes:
        columns: the columns used, the target first. Columns that never change in training are not used.
        mean: the mean of each column.
        scale: the standard deviation of each column.
        masked: the columns that have a mask. Columns with the same missing steps share that of the first.
        season: the season, in steps (1: none).
        change_scale: the standard deviation of the scaled target's change over one season.
        phases: the seasons whose phase is an input, in steps.
        known: the columns whose future is known.
        log: whether the target is replaced by ``log(1 + target)`` before it is scaled.
        elapsed: whether the time since the last observation is an input.
        gap: the usual time between two rows, in seconds, if the time since the row before is an input, or 0.
        scales: for a panel, the mean and scale of the target of each series.
        described: how the attributes of a series become inputs.
        step_scale: the standard deviation of the scaled target's change over one step, if this change is an
            input in place of the target itself.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    masked: tuple[str, ...]
    season: int
    change_scale: float
    phases: tuple[int, ...]
    known: tuple[str, ...] = ()
    log: bool = False
    elapsed: bool = False
    gap: float = 0.0
    scales: Scales | None = None
    described: Described = Described()
    step_scale: float | None = None

    @property
    def target(self) -> str:
        """The column that is forecast."""
        return self.columns[0]

    @property
    def input_size(self) -> int:
        """The number ``I`` of inputs at every step."""
        masks = len(self.masked) * (2 if self.elapsed else 1)
        return len(self.columns) + masks + (self.gap > 0) + 1 + 4 * len(self.phases)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The attributes of a series that are numbers."""
        return self.described.numbers

    @property
    def categories(self) -> tuple[str, ...]:
        """The attributes of a series that are texts."""
        return self.described.categories

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of classes of each category, that of unknown ones included."""
        return tuple(len(classes) + 1 for classes in self.described.classes)

    def of_series(self, id: Any, values: Numbers) -> Encoding:
        """The encoding with the level and spread of one series of a panel.

        Level and spread were measured in the training part of this series. For a series that was not
        trained on, they are measured in its past.

        Args:
            id: the id of the series.
            values: ``[N]``, the past of its target.
        """
        if self.scales is None:
            return self
        place = self.scales.places.get(id_of(id))
        if place is not None:
            mean, scale = self.scales.mean[place], self.scales.scale[place]
        else:
            self.check_log(values)
            mean, scale = level_of(self._logged(values), (self.mean[0], self.scale[0]))
        return replace(self, mean=(mean, *self.mean[1:]), scale=(scale, *self.scale[1:]), scales=None)

    def is_constant(self, id: Any) -> bool:
        """Whether a series of the panel was constant in training."""
        return self.scales is not None and id_of(id) in self.scales.constant

    def attributes(self, values: Mapping[str, Any]) -> tuple[NDArray[np.float32], Whole]:
        """The attributes of a series: scaled numbers ``[Z]``, and categories ``[C]`` as whole numbers.

        A missing number is the mean of those in training; a missing or new text is the category 0.

        Raises:
            ValueError: an attribute is missing altogether, or is not a number.
        """
        how = self.described
        for name in (*how.numbers, *how.categories):
            if name not in values:
                raise ValueError(f"static must have {name!r}. Got {', '.join(map(repr, values)) or 'none'}")
        found = np.zeros(len(how.numbers), np.float32)
        for place, name in enumerate(how.numbers):
            number = float(values[name])
            if np.isfinite(number):
                found[place] = np.clip((number - how.mean[place]) / how.scale[place], -FAR, FAR)
        classes = zip(how.categories, how.classes, strict=True)
        numbers = [
            texts.index(name) + 1 if (name := str(values[key])) in texts else 0 for key, texts in classes
        ]
        return found, np.array(numbers, np.int64)

    def scaled(self, values: Numbers) -> Numbers:
        """Scale values of the target."""
        return (self._logged(values) - self.mean[0]) / self.scale[0]

    def unscaled(self, values: Numbers) -> Numbers:
        """Convert scaled values back to the unit of the target."""
        found = values * self.scale[0] + self.mean[0]
        return np.expm1(np.minimum(found, _MOST_LOG)) if self.log else found

    def held(self, values: Numbers) -> Numbers:
        """The scaled target ``[N]``, missing values replaced by the last known one (0 before the first)."""
        return np.nan_to_num(hold(self.scaled(values)), nan=0.0)

    def ahead(self, columns: Mapping[str, Numbers]) -> NDArray[np.float32]:
        """The inputs ``[N + A, F]`` whose future is known, scaled, at every step and at ``A`` later ones."""
        if not self.known:
            return np.empty((len(columns[self.target]), 0), np.float32)
        return np.column_stack([self._column(name, columns) for name in self.known]).astype(np.float32)

    def encoded(
        self, columns: Mapping[str, Numbers], positions: Numbers, first: int = 0
    ) -> NDArray[np.float32]:
        """The inputs ``[N - first, I]``. Each row depends only on its own step and earlier ones.

        Args:
            columns: float64 ``[N]`` for each of the columns, missing values as NaN; those whose future is
                known may be longer.
            positions: ``[N]``, the positions of the steps on the clock, seconds with a `gap`.
            first: the first row that is returned. The change over one season is right after one season.

        Raises:
            ValueError: a column has values that are far from those in training.
        """
        self.check(columns)
        stop = len(positions)
        held = self._column(self.target, columns, first, stop)
        level = held if self.step_scale is None else np.diff(held, prepend=held[:1]) / self.step_scale
        parts: list[NDArray[Any]] = [level[:, None]]
        parts += [self._column(name, columns, first, stop)[:, None] for name in self.columns[1:]]
        before = held[np.maximum(np.arange(len(held)) - self.season, 0)]
        parts += [~np.isnan(columns[name][first:stop, None]) for name in self.masked]
        if self.elapsed:
            parts += [since_known(columns[name][:stop])[first:, None] for name in self.masked]
        if self.gap:
            passed = np.diff(positions, prepend=positions[:1] - self.gap)[first:] / self.gap
            parts += [np.log1p(np.maximum(passed, 0.0))[:, None]]
        parts += [((held - before) / self.change_scale)[:, None]]
        parts += [_phase(positions[first:], season) for season in self.phases]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def check(self, columns: Mapping[str, Numbers]) -> None:
        """Refuse values that are far from those in training.

        Raises:
            ValueError: a column has some.
        """
        self.check_log(columns[self.target])
        for name, mean, scale in zip(self.columns, self.mean, self.scale, strict=True):
            with np.errstate(over="ignore"):
                if (np.abs((columns[name] - mean) / scale) > FAR).any():
                    away = f"{FAR:g} times as far from their mean as those in training"
                    raise ValueError(f"series: {name!r} has values {away}")

    def check_log(self, values: Numbers) -> None:
        """Refuse a negative target if its logarithm is taken.

        Raises:
            ValueError: there is one.
        """
        if self.log and (values < 0).any():
            raise ValueError(
                f"series: {self.target!r} has negative values, but the model takes its logarithm"
            )

    def _logged(self, values: Numbers) -> Numbers:
        return np.log1p(values) if self.log else values

    def _column(
        self, name: str, columns: Mapping[str, Numbers], first: int = 0, stop: int | None = None
    ) -> Numbers:
        """A scaled column from row `first` on, missing values replaced by the last known one."""
        place = self.columns.index(name)
        if place == 0:
            return self.held(cut(columns[name][:stop], first))
        scaled = (cut(columns[name][:stop], first) - self.mean[place]) / self.scale[place]
        return np.nan_to_num(hold(scaled), nan=0.0)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The encoding in a header.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        columns, masked = _strings(data["columns"], "columns"), _strings(data["masked"], "masked")
        mean, scale = numbers(data["mean"], "mean"), _scales(data["scale"], "scale")
        change = _scales([data["change_scale"]], "change_scale")
        if not 0 < len(columns) == len(mean) == len(scale):
            raise ValueError("columns must each have a mean and a scale")
        if not set(masked) <= set(columns):
            raise ValueError(f"masked must be among the columns. Got {masked!r:.60}")
        phases = tuple(whole(phase, "phases") for phase in _list(data["phases"], "phases"))
        known = _strings(data.get("known", []), "known")
        if not set(known) <= set(columns[1:]):
            raise ValueError(f"known must be among the inputs. Got {known!r:.60}")
        flags = {name: data.get(name, False) for name in ("log", "elapsed")}
        for name, flag in flags.items():
            if type(flag) is not bool:
                raise ValueError(f"{name} must be true or false. Got {flag!r:.60}")
        scales = _scales_of(data["scales"]) if data.get("scales") is not None else None
        described = _described_of(data["described"]) if "described" in data else Described()
        season, gap = whole(data["season"], "season"), numbers([data.get("gap", 0.0)], "gap")[0]
        step = data.get("step_scale")
        if gap < 0:
            raise ValueError(f"gap must be at least 0. Got {gap}")
        return cls(
            columns, mean, scale, masked, season, change[0], phases, known, **flags, gap=gap, scales=scales,
            described=described, step_scale=None if step is None else _scales([step], "step_scale")[0],
        )  # fmt: skip


def id_of(id: Any) -> str:
    """An id of a series as text. Whole numbers are written without a decimal point.

    >>> id_of(7), id_of(7.0), id_of("007")
    ('7', '7', '007')
    """
    if isinstance(id, float | np.floating) and float(id).is_integer():
        return str(int(id))
    return str(id)


def level_of(values: Numbers, usual: tuple[float, float]) -> tuple[float, float]:
    """The mean and the standard deviation of known values; the usual ones where there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return usual
    return float(known.mean()), float(known.std()) if varies(known) else usual[1]


def since_known(values: Numbers) -> Numbers:
    """The logarithm of 1 + the number of steps since the last known value, ``[N]``.

    >>> np.expm1(since_known(np.array([np.nan, 1.0, np.nan, np.nan, 2.0]))).round().tolist()
    [1.0, 0.0, 1.0, 2.0, 0.0]
    """
    steps = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, steps))
    return np.log1p(np.asarray(steps - last, np.float64))


def cut(values: Numbers, first: int) -> Numbers:
    """The values from row `first` on, of which the first one is the last known one."""
    after, before = values[first:], values[:first]
    if first and np.isnan(after[:1]).any() and not np.isnan(before).all():
        after = after.copy()
        after[0] = before[~np.isnan(before)][-1]
    return after


def _phase(positions: Numbers, season: int) -> Numbers:
    """The phase of each step within the season: two sines and two cosines, ``[N, 4]``."""
    angle = 2 * np.pi * (positions % season) / season
    return np.column_stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)])


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list. Got {values!r:.60}")
    return values


def _strings(values: Any, name: str) -> tuple[str, ...]:
    for value in _list(values, name):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be texts. Got {value!r:.60}")
        value.encode("utf-8")  # raises a ValueError for a name that cannot be encoded
    if len(set(values)) < len(values):
        raise ValueError(f"{name} must differ. Got {values!r:.60}")
    return tuple(values)


def numbers(values: Any, name: str) -> tuple[float, ...]:
    """Check that a value from a file is a list of finite numbers."""
    for value in _list(values, name):
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:
            raise ValueError(f"{name} must be finite numbers. Got {value!r:.60}")
    return tuple(map(float, values))


def _scales(values: Any, name: str) -> tuple[float, ...]:
    scales = numbers(values, name)
    if not all(scale >= _SMALLEST for scale in scales):
        raise ValueError(f"{name} must be above 0. Got {values!r:.60}")
    return scales


def _scales_of(data: Any) -> Scales:
    ids, mean, scale = (
        _strings(data["ids"], "ids"),
        numbers(data["mean"], "mean"),
        _scales(data["scale"], "scale"),
    )
    if not len(ids) == len(mean) == len(scale):
        raise ValueError("ids must each have a mean and a scale")
    (name,), wide = _strings([data["name"]], "name"), data["wide"]
    if type(wide) is not bool:
        raise ValueError(f"wide must be true or false. Got {wide!r:.60}")
    constant = _strings(data.get("constant", []), "constant")
    if not set(constant) <= set(ids):
        raise ValueError(f"constant must be among the ids. Got {constant!r:.60}")
    return Scales(name, wide, ids, mean, scale, constant)


def _described_of(data: Any) -> Described:
    names, texts = _strings(data["numbers"], "numbers"), _strings(data["categories"], "categories")
    mean, scale = numbers(data["mean"], "mean"), _scales(data["scale"], "scale")
    classes = tuple(_strings(found, "classes") for found in _list(data["classes"], "classes"))
    if not len(names) == len(mean) == len(scale) or len(texts) != len(classes):
        raise ValueError("attributes must each have a mean and a scale, or classes")
    return Described(names, mean, scale, texts, classes)


def whole(value: Any, name: str) -> int:
    """Check that a value from a file is a whole number of at least 1."""
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{name} must be a whole number of at least 1. Got {value!r:.60}")
    return value
