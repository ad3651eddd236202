"""What ``gatewise predict`` does with a forecaster beside forecasts: carried states, and anomalies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gatewise.apps.reading import chosen_reading

if TYPE_CHECKING:
    from gatewise.runtime.jobs.carried import Carried
    from gatewise.runtime.jobs.forecaster import Forecaster
    from gatewise.tasks.forecast.tables import Scored


class OptionError(ValueError):
    """Raised for options that do not fit the model or each other. The message is one sentence."""


@dataclass(frozen=True)
class Options:
    """The options of forecasters.

    Attributes:
        resume: the file of the state that is carried; None to read whole series.
        anomalies: whether steps are scored, in place of forecasts.
        rate: the share of usual steps that may be flagged.
        picture: a file for the picture of the anomalies.
        id: the column that tells series apart.
        quantiles: whether a forecast has a column for each quantile.
    """

    resume: Path | None = None
    anomalies: bool = False
    rate: float | None = None
    picture: Path | None = None
    id: str | None = None
    quantiles: bool = False

    def check(self, task: str) -> None:
        """Refuse options that do not fit the task of a model, or each other."""
        given = {name: value for name, value in vars(self).items() if value not in (None, False)}
        if given and task != "forecast":
            raise OptionError(f"--{next(iter(given))} is for forecasters; this model is one for {task}.")
        if self.anomalies and self.resume is not None:
            raise OptionError("--anomalies reads whole series: leave --resume out.")
        if self.anomalies and self.quantiles:
            raise OptionError("--anomalies makes no forecasts: leave --quantiles out.")
        for name in ("rate", "picture"):
            if name in given and not self.anomalies:
                raise OptionError(f"--{name} needs --anomalies.")
        if self.picture is not None and self.picture.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise OptionError(f"--picture must end in .png, .svg or .pdf. Got {str(self.picture)!r}.")


class Answers:
    """The answers of a forecaster to tables, one by one.

    Args:
        model: the forecaster.
        options: what is asked.
        reading: the options for reading tables.
    """

    def __init__(self, model: Forecaster, options: Options, reading: dict[str, Any]) -> None:
        from gatewise.runtime.jobs.state_file import load_states
        from gatewise.tasks.forecast.tables import Asked

        if options.id is not None and model.encoding.scales is None:
            raise OptionError("--id is for models of several series; this one forecasts a single series.")
        self._model, self._options = model, options
        self._asked = Asked(reading.get("time"), options.id, chosen_reading(reading), options.quantiles)
        self._states: Mapping[str, Carried] = {}
        if options.resume is not None and options.resume.exists():
            self._states = load_states(options.resume, model)
        self._worst: Scored | None = None

    def __call__(self, table: Any) -> Any:
        """The answer to a table. Warnings are printed as sentences."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", UserWarning)
            answer = self._answer(table)
        for warning in found:
            typer.echo(str(warning.message), err=True)
        return answer

    def _answer(self, table: Any) -> Any:
        from gatewise.tasks.forecast.tables import predict_table, resumed_table, score_table

        if self._options.anomalies:
            scored = score_table(self._model, table, self._asked, self._options.rate)
            self._worst = max(filter(None, (self._worst, scored)), key=lambda found: found.highest)
            return scored.table
        if self._options.resume is None:
            return predict_table(self._model, table, self._asked)
        answer, self._states = resumed_table(self._model, table, self._states, self._asked)
        return answer

    def finish(self) -> None:
        """Write the state, and the picture of the series with the highest score. Call it after the output."""
        if self._options.resume is not None:
            from gatewise.runtime.jobs.state_file import save_states

            save_states(self._options.resume, self._model, self._states)
        if self._options.picture is not None and self._worst is not None:
            from gatewise.insight.figures import save_figure
            from gatewise.tasks.forecast.anomaly_picture import anomaly_picture

            save_figure(anomaly_picture(self._worst), self._options.picture)
