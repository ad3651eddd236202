"""The file of carried states, of one series or of the series of a panel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gatewise.runtime.jobs import clock
from gatewise.runtime.jobs.carried import Carried
from gatewise.runtime.jobs.encoding import id_of
from gatewise.runtime.jobs.forecaster import Forecaster
from gatewise.runtime.model_file import ModelFileError, read_model, write_model

TASK = "forecast-state"


def save_states(path: str | Path, model: Forecaster, states: Mapping[str, Carried]) -> None:
    """Write states by the ids of their series to a file, completely or not at all.

    A series alone has the id ``""``. A state depends on the columns, the clock and the history of the model
    alone, so it fits a model that was trained again.
    """
    header = {
        "ids": [id_of(id) for id in states],
        "columns": list(model.encoding.columns),
        "need": model.need,
        "clock": clock.to_dict(model.clock),
    }
    write_model(path, TASK, header, {f"rows.{n}": each.array() for n, each in enumerate(states.values())})


def load_states(path: str | Path, model: Forecaster) -> dict[str, Carried]:
    """Read states from a file that `save_states` wrote.

    Raises:
        ModelFileError: the file is damaged, or its states are not for the model.
        FileNotFoundError: the file does not exist.
    """
    file = read_model(path, TASK)
    columns = model.encoding.columns
    try:
        ids = file.header["ids"]
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids) or len({*ids}) < len(ids):
            raise ValueError("ids must be texts that differ")
        if file.header["columns"] != list(columns):
            raise ValueError(f"its columns are {file.header['columns']!r:.200}, not {columns}")
        if file.header["clock"] != clock.to_dict(model.clock):
            raise ValueError("its clock is not that of the model")
        if type(file.header["need"]) is not int or file.header["need"] < model.need:
            raise ValueError(f"it has {file.header['need']!r:.20} rows, but the model needs {model.need}")
        return {id: Carried.of_array(file.tensors[f"rows.{n}"], columns) for n, id in enumerate(ids)}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: the file is not a state for this model ({error})") from error
