"""`Forecaster`: the forecasts of a trained model, without torch and pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewise.language.form import same
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs import clock
from gatewise.runtime.jobs.affine import Affine, Repeated
from gatewise.runtime.jobs.anomalies import MOST_AHEAD, Calibration, errors
from gatewise.runtime.jobs.carried import Carried
from gatewise.runtime.jobs.constant import narrowed, unchanged
from gatewise.runtime.jobs.correction import Correction, affine, tensor
from gatewise.runtime.jobs.distributions import SIZES, softplus
from gatewise.runtime.jobs.encoding import Encoding, cut, id_of, numbers, whole
from gatewise.runtime.jobs.lags import Reads
from gatewise.runtime.jobs.made import Head, Made
from gatewise.runtime.jobs.naive import Numbers, Whole, future, seasonal_naive
from gatewise.runtime.jobs.recursive import Begun, Rolled, Walker
from gatewise.runtime.layers_file import StoredLayers, stored_layers, stored_stacks
from gatewise.runtime.model_file import ModelFile

MOST_HORIZON = 10_000  # steps
MODES = ("direct", "recursive")
_BATCH = 256  # windows that are computed together


@final
class Forecaster:
    """A trained forecaster of one column from the past of several.

    Attributes:
        horizon: K, the steps ahead that it forecasts.
        history: the steps that it reads before a forecast.
        encoding: the columns, their scales, and the seasons.
        clock: the step between rows.
        least: the fewest rows that a forecast needs. A shorter past than `need` is filled with its first row.
        calibration: the usual errors, by which `anomalies` scores; None if the file has none.

    Example:
        >>> import numpy as np, pandas as pd, tempfile
        >>> from gatewise import runtime, tasks
        >>> days = pd.date_range("2024-01-01", periods=120, freq="D")
        >>> frame = pd.DataFrame({"sold": np.sin(np.arange(120.0)) + np.arange(120) % 7}, index=days)
        >>> series = tasks.TimeSeries.from_frame(frame, "sold")
        >>> fitted = tasks.Forecaster(7, hidden_size=8, max_epochs=1).fit(series)
        >>> path = tempfile.mkdtemp() + "/model.safetensors"
        >>> fitted.save(path)
        >>> model = runtime.load(path)  # needs neither torch nor pandas
        >>> made = model.predict({"sold": frame["sold"].to_numpy()}, days.to_numpy())
        >>> bool((made == fitted.predict(series).to_numpy()).all())
        True
    """

    TASK: ClassVar[str] = "forecast"
    calibration: Calibration | None = None
    recursive: bool = False  # whether the network forecasts one step, and is fed with its own forecasts
    widths: Numbers | None = None  # of sampled futures, one for each step ahead

    def __init__(
        self, horizon: int, history: int, encoding: Encoding, steps: clock.Steps,
        corrections: Sequence[Correction], least: int | None = None,
        linear: tuple[Reads, Affine] | None = None, spread: Spread | None = None,
    ) -> None:  # fmt: skip
        self.horizon, self.history, self.encoding, self.clock = horizon, history, encoding, steps
        self._corrections, self._linear, self._spread = corrections, linear, spread or Spread()
        self.least = self.need if least is None else least

    @classmethod
    def from_file(cls, file: ModelFile) -> Forecaster:
        """The forecaster of a file.

        Raises:
            ValueError, KeyError, TypeError: the file does not hold one.
        """
        if file.format == 1:
            raise ValueError("format 1 has no equations: load it with gatewise.tasks, and save it again")
        data = file.header.get("preparation", file.header)
        horizon = whole(file.header["parameters"]["horizon"], "horizon")
        if horizon > MOST_HORIZON:
            raise ValueError(f"horizon must be at most {MOST_HORIZON:,} steps. Got {horizon}")
        encoding = Encoding.from_dict(data["encoding"])
        stored = stored_layers(file)
        mode = file.header["parameters"].get("mode", "direct")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}. Got {mode!r:.60}")
        steps_made = horizon if mode == "direct" else 1
        corrections = _corrections(file, stored, encoding, steps_made)
        steps = clock.from_dict(small(data["clock"]), clock.KINDS, clock.known_zone)
        history = whole(data["history"], "history")
        least = whole(data.get("least", history + encoding.season), "least")
        linear = None
        if "reads" in data:
            reads = Reads.from_dict(data["reads"])
            if reads.reach > history + encoding.season:
                raise ValueError(f"lags must be at most {history + encoding.season}. Got {reads.reach}")
            linear = reads, affine(file, "linear", steps_made, reads.size(encoding.input_size))
            if reads.ahead not in (0, steps_made * len(encoding.known)):
                raise ValueError(f"ahead must be all values of the known inputs. Got {reads.ahead}")
        spread = _spread(file, steps_made, stored.options["hidden_size"])
        model = cls(horizon, history, encoding, steps, corrections, least, linear, spread)
        model.recursive = mode == "recursive"
        if "widths" in data:
            model.widths = _widths(data["widths"], horizon)
        if "anomalies" in file.header:
            model.calibration = Calibration.from_dict(file.header["anomalies"])
        return model

    @property
    def need(self) -> int:
        """The rows that a forecast reads: the history, and one season before its first step."""
        return self.history + self.encoding.season

    @property
    def single(self) -> Forecaster:
        """The model of one step that a recursive forecaster feeds with its own forecasts; else itself."""
        if not self.recursive:
            return self
        model = copy(self)
        model.horizon, model.recursive = 1, False
        return model

    def straight(self) -> Forecaster | None:
        """The linear part as a forecaster of its own, a ridge regression on the past; None without one."""
        if self._linear is None:
            return None
        line = copy(self)
        line._corrections = [self._corrections[0].nothing]
        return line

    def predict(
        self,
        columns: Mapping[str, ArrayLike],
        times: ArrayLike,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """Forecast the `horizon` steps after the last row of a series, ``[K]``.

        Args:
            columns: ``[N]`` numbers for each of ``encoding.columns``; NaN where missing. Columns
                of ``encoding.known`` have `horizon` more rows. Other columns are ignored.
            times: ``[N]``, the regular times of the rows as ``datetime64``, in UTC if the clock has a time
                zone; row numbers if the model was trained without times.
            id: for a model of a panel, the id of the series; one that was not trained on is scaled by its
                past.
            static: for a model of a panel, the attributes of the series.

        Raises:
            ValueError: a column or an attribute is missing, a column is too short or of another length; the
                times are not on the clock.
        """
        arrays = self._arrays(columns)
        rows, need = len(arrays[self.encoding.target]), self.least
        if rows < need:
            raise ValueError(f"columns must have at least {need} rows, for history and season. Got {rows}.")
        positions = self._positions(np.asarray(times), rows)
        made: Numbers = self.forecast(arrays, positions, np.array([rows - 1]), id, static)[0]
        return made

    def anomalies(
        self,
        columns: Mapping[str, ArrayLike],
        times: ArrayLike,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """The score of each row, ``[N]``; a row above ``calibration.threshold()`` is an anomaly.

        NaN for the first rows, which are not forecast, and for rows without a value of the target.

        Raises:
            ValueError: as for `predict`; the file has no usual errors.
        """
        arrays = self._arrays(columns)
        positions = self._positions(np.asarray(times), len(arrays[self.encoding.target]))
        return self.scores(arrays, positions, id, static)

    def scores(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """As `anomalies`, with positions on the clock in place of times."""
        if self.calibration is None:
            raise ValueError("the model's file has no usual errors to score by; train the model again")
        if len(columns[self.encoding.target]) <= self.least:
            rows = len(columns[self.encoding.target])
            raise ValueError(f"columns must have at least {self.least + 1} rows. Got {rows}")
        return self.calibration.scores(self.missed(columns, positions, self.least - 1, id, static))

    def missed(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        first: int,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """The absolute errors, in scaled units, of the forecasts for each row, ``[N, J]``.

        Entry ``[n, j]`` is the error of the forecast that was made ``j + 1`` rows before row n; NaN if the
        row has no value, or if that forecast begins before row `first`.
        """
        truth = columns[self.encoding.target]
        encoding = self.encoding.of_series(id, truth[: first + 1])

        def forecasts(origins: Whole) -> Numbers:
            return encoding.scaled(self.forecast(columns, positions, origins, id, static))

        return errors(encoding.scaled(truth), forecasts, first, MOST_AHEAD)

    def carry(
        self,
        columns: Mapping[str, ArrayLike],
        times: ArrayLike,
        before: Carried | None = None,
        id: Any = None,
    ) -> Carried:
        """The state after some rows, from which `predict_next` forecasts.

        Args:
            columns, times, id: new rows, as for `predict`.
            before: the state that the rows follow; by default they are the first rows.

        Raises:
            ValueError: as for `predict`; the rows are too few; they repeat rows of the state, or leave a gap
                after it; the series was not trained on, so that all of its past is needed.
        """
        arrays = self._arrays(columns)
        rows = len(arrays[self.encoding.target])
        state = self.carried(arrays, self._positions(np.asarray(times), rows), before, id)
        self.check_state(state)
        return state

    def carried(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        before: Carried | None = None,
        id: Any = None,
    ) -> Carried:
        """As `carry`, with positions on the clock in place of times; the rows may still be too few."""
        if self.encoding.scales is not None and id_of(id) not in self.encoding.scales.places:
            raise ValueError(
                f"the series {id!r} was not trained on: its scale comes from all of its past, "
                "which no state carries"
            )
        rows = len(positions)
        state = Carried({name: columns[name][:rows] for name in self.encoding.columns}, positions)
        if before is not None:
            regular = not isinstance(self.clock, clock.IrregularSteps)
            state = before.extended(state, regular=regular)
        return state.cut(self.need + 1)

    def check_state(self, state: Carried) -> None:
        """Raise a ValueError if a state has too few rows for a forecast."""
        if state.rows < self.least:
            raise ValueError(f"a state needs at least {self.least} rows. Got {state.rows}")

    def predict_next(
        self,
        state: Carried,
        ahead: Mapping[str, ArrayLike] | None = None,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """Forecast the `horizon` steps after a state, ``[K]``, with the bits of `predict` for all rows.

        Args:
            state: the state.
            ahead: ``[K]`` for each of ``encoding.known``, the inputs whose future is known.
            id, static: as for `predict`.
        """
        forecast: Numbers = self.made_next(state, ahead, id, static).forecasts[0]
        return forecast

    def made_next(
        self,
        state: Carried,
        ahead: Mapping[str, ArrayLike] | None = None,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Made:
        """The forecast after a state with its distributions. Arguments as for `predict_next`."""
        self.check_state(state)
        columns = {
            name: np.concatenate([values, np.asarray((ahead or {})[name], np.float64)])
            if name in self.encoding.known
            else values
            for name, values in state.columns.items()
        }
        return self.made(columns, state.positions, np.array([state.rows - 1]), id, static)

    def forecast(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        origins: Whole,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """Forecast at rows ``origins [S]``, ``[S, K]`` in the unit of the target.

        Args:
            columns: float64 ``[N]`` for each column; those whose future is known also for later rows.
            positions: ``[N]``, the positions of the rows on the clock.
            origins: the last row that each forecast knows.
            id: for a model of a panel, the id of the series.
            static: for a model of a panel, the attributes of the series.
        """
        return self.made(columns, positions, origins, id, static).forecasts

    def quantiles(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        origins: Whole,
        levels: Sequence[float] | None = None,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Numbers:
        """Quantiles at rows ``origins [S]``, ``[S, K, Q]`` in the unit of the target. They never cross.

        Args:
            columns, positions, origins, id, static: as for `forecast`.
            levels: Q numbers between 0 and 1; by default `distributions.LEVELS`.

        Raises:
            ValueError: a level is out of range; the model forecasts points.
        """
        return self.made(columns, positions, origins, id, static).quantiles(levels)

    def made(
        self,
        columns: Mapping[str, Numbers],
        positions: Numbers,
        origins: Whole,
        id: Any = None,
        static: Mapping[str, Any] | None = None,
    ) -> Made:
        """The forecasts at rows ``origins [S]``, with their distributions. Arguments as for `forecast`."""
        target = columns[self.encoding.target]
        encoding = self.encoding.of_series(id, target[: int(origins.min()) + 1])
        still = unchanged(target, origins, self.need) if self.encoding.is_constant(id) else None
        if self.recursive:
            begun = Begun.at(encoding, columns, positions, origins, self.need + 1, self.horizon)
            described = encoding.attributes(static or {})
            walk = partial(Walker, self._corrections, self._linear, self._spread, encoding, described)
            begin = partial(walk, self.history)
            return Rolled.of(self._spread.head, encoding, begun, begin, self.horizon, self.widths, still)
        first = max(int(origins.min()) - self.need, 0)  # no forecast reads a row before it, or its mask
        inputs = encoding.encoded(columns, positions, first)
        held = encoding.held(cut(target, first))
        ahead = encoding.ahead(columns)[first:]
        described = encoding.attributes(static or {})
        origins = origins - first
        made = [
            self._batch(inputs, held, ahead, described, origins[first : first + _BATCH])
            for first in range(0, len(origins), _BATCH)
        ]
        point, sizes = (np.concatenate(parts).astype(np.float64) for parts in zip(*made, strict=True))
        if still is not None:
            point[still] = held[origins[still]][:, None]
            sizes[still] = narrowed(self._spread.head.output, sizes[still])
        return Made(self._spread.head, encoding, point, sizes)

    def _batch(
        self, inputs: Array, held: Numbers, ahead: Array, described: tuple[Array, Whole], ends: Whole
    ) -> tuple[Array, Numbers]:
        """The forecasts at some rows, ``[B, K]`` in scaled units, and the sizes of their distributions."""
        windows = inputs[np.maximum(ends + np.arange(1 - self.history, 1)[:, None], 0)]
        seasonal = seasonal_naive(held, ends, self.horizon, self.encoding.season).astype(np.float32)
        level = held[ends].astype(np.float32)[:, None]
        coming = ahead[np.minimum(future(ends, self.horizon), len(ahead) - 1)]
        made = [correct(windows, described, level, seasonal, coming) for correct in self._corrections]
        forecast = made[0][0] if len(made) == 1 else np.mean([each for each, _ in made], axis=0)
        if self._linear is not None:
            reads, linear = self._linear
            forecast = forecast + linear(reads.at(ends, held, inputs, coming))
        return forecast, self._spread(made[0][1], self.horizon)

    def _arrays(self, columns: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        missing = [name for name in self.encoding.columns if name not in columns]
        if missing:
            raise ValueError(
                f"columns must hold {missing[0]!r}. Got {', '.join(map(repr, columns)) or 'none'}."
            )
        arrays = {name: np.asarray(columns[name], np.float64) for name in self.encoding.columns}
        target = arrays[self.encoding.target]
        for name, array in arrays.items():
            more = self.horizon if name in self.encoding.known else 0
            shape = (len(target) + more,) if target.ndim == 1 else target.shape
            if array.ndim != 1 or array.shape != shape:
                raise ValueError(f"columns: {name!r} must have shape {shape}, one axis. Got {array.shape}.")
            if more and np.isnan(array[-more:]).any():
                raise ValueError(f"columns: {name!r} must have a value at each of the {more} steps ahead.")
        return arrays

    def _positions(self, times: Array, N: int) -> Numbers:
        """The positions of all rows. The rows that a forecast reads are checked."""
        if times.shape != (N,):
            raise ValueError(f"times must have shape {(N,)}. Got {times.shape}.")
        dated = isinstance(self.clock, clock.DatedSteps)
        if dated != (times.dtype.kind == "M"):
            raise ValueError(f"times must be {'datetime64' if dated else 'row numbers'}. Got {times.dtype}.")
        if isinstance(self.clock, clock.IrregularSteps):
            exact: Numbers = self.clock.positions(times)
            if (np.diff(exact) <= 0).any():
                raise ValueError("times must increase.")
            return exact
        found = np.rint(self.clock.positions(times[-self.need :]))
        if (np.diff(found) != 1).any():
            raise ValueError(f"times must be regular, one row for each {self.clock.span(1)}.")
        positions: Numbers = found[-1] + np.arange(1.0 - N, 1)
        return positions


def _corrections(file: ModelFile, stored: StoredLayers, encoding: Encoding, horizon: int) -> list[Correction]:
    """The networks of a file: the main one, with the given layers, and the further members."""
    stacks = stored_stacks(file)
    if {*stacks} != {f"member_{k + 2}" for k in range(len(stacks))}:
        raise ValueError(f"stacks must be member_2 and so on. Got {[*stacks]!r:.60}")
    found = [Correction.from_file(file, stored, encoding, horizon)]
    for k in range(len(stacks)):
        other = stacks[f"member_{k + 2}"]
        if other.options != stored.options or not same(other.cell, stored.cell):
            raise ValueError("all members must have the same layers")
        found.append(Correction.from_file(file, other, encoding, horizon, f"others.{k}."))
    if f"others.{len(stacks)}.share" in file.tensors:
        raise ValueError("stacks must have the layers of all members")
    return found


class Spread:
    """The sizes of the distributions: a linear map of the layers' output, made positive."""

    def __init__(
        self,
        head: Head | None = None,
        map: Affine | Repeated | None = None,
        factors: Array | None = None,
    ) -> None:
        self.head, self._map, self._factors = head or Head(), map, factors

    def repeated(self, rows: int) -> Spread:
        """The same for many calls with this number of rows, by one thread at a time."""
        map = self._map.repeated(rows) if isinstance(self._map, Affine) else self._map
        return Spread(self.head, map, self._factors)

    def __call__(self, output: Array, horizon: int) -> Numbers:
        """The sizes ``[B, K, M]``; with points alone M is 0."""
        if self._map is None or self._factors is None:
            return np.empty((len(output), horizon, 0))
        sizes: Numbers = softplus(self._map(output)).reshape(len(output), horizon, -1) * self._factors
        return sizes


def _spread(file: ModelFile, horizon: int, hidden_size: int) -> Spread:
    """What a file says of distributions."""
    parameters = file.header["parameters"]
    output, non_negative = parameters.get("output", "point"), parameters.get("non_negative", False)
    if output not in SIZES or type(non_negative) is not bool:
        raise ValueError(f"output must be one of {', '.join(SIZES)}. Got {output!r:.60}")
    if output == "point":
        return Spread(Head(output, non_negative))
    values = {name: tensor(file, f"spread.{name}", (1,)) for name in ("freedom", "correlation")}
    freedom, correlation = float(values["freedom"][0]), float(values["correlation"][0])
    factors = tensor(file, "spread.factors", (SIZES[output],))
    if not (freedom > 0 and 0 <= correlation < 1 and (factors >= 0).all()):
        raise ValueError("its distributions must have factors of at least 0, and a correlation below 1")
    map = affine(file, "spread.map", horizon * SIZES[output], hidden_size)
    return Spread(Head(output, non_negative, freedom, correlation), map, factors.astype(np.float64))


def _widths(data: Any, horizon: int) -> Numbers:
    """The widths of sampled futures in a header."""
    found = np.array(numbers(data, "widths"))
    if found.shape != (horizon,) or not (found > 0).all():
        raise ValueError(f"widths must be {horizon} numbers above 0. Got {data!r:.60}")
    return found


def small(steps: Any) -> Any:
    """The description of a clock, with its integers checked to be small enough for computing with times."""
    if isinstance(steps, dict):
        for value in steps.values():
            if type(value) is int and abs(value) >= 2**62:
                raise ValueError(f"clock must be whole numbers below 2^62. Got {value!r:.60}")
    return steps
