"""The preparation of a forecaster as JSON data for its file, and back."""

from __future__ import annotations

from dataclasses import asdict
from math import nan
from typing import Any

from gatewise.runtime.jobs.encoding import numbers, whole
from gatewise.runtime.jobs.forecaster import small
from gatewise.runtime.jobs.lags import Reads
from gatewise.tasks.forecast.encoding import Encoding
from gatewise.tasks.forecast.preparation import Preparation
from gatewise.tasks.series.clock import clock_from_dict, clock_to_dict


def to_data(prepared: Preparation) -> dict[str, Any]:
    """A preparation as JSON data."""
    linear = {} if prepared.reads is None else {"reads": asdict(prepared.reads)}
    widths = {} if prepared.widths is None else {"widths": list(prepared.widths)}
    return {
        "encoding": asdict(prepared.encoding),
        "history": prepared.history,
        "mase_scale": prepared.scale if prepared.scale == prepared.scale else None,
        "clock": clock_to_dict(prepared.clock),
        "least": prepared.least,
        **linear,
        **widths,
    }


def from_data(found: Any) -> Preparation:
    """The preparation that `to_data` described.

    Raises:
        ValueError, KeyError, TypeError: it is not one.
    """
    encoding = Encoding.from_dict(found["encoding"])
    unit = nan if found["mase_scale"] is None else numbers([found["mase_scale"]], "mase_scale")[0]
    history, clock = whole(found["history"], "history"), clock_from_dict(small(found["clock"]))
    least = whole(found.get("least", history + encoding.season), "least")
    reads = Reads.from_dict(found["reads"]) if "reads" in found else None
    widths = numbers(found["widths"], "widths") if "widths" in found else None
    return Preparation(encoding, history, unit, clock, least, reads, widths)
