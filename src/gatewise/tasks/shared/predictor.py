"""`Predictor`: the trained model of any job, from tables to tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import pyarrow as pa

from gatewise.runtime.jobs.loading import load

if TYPE_CHECKING:
    from gatewise.tasks.shared.reading.options import Reading

# For each job the module that has ``predict_table(model, table)``. If it reads more kinds of files than
# `gatewise.tasks.shared.tables` does, it has ``read_tables(path, reading)``; if it writes more, it has
# ``FORMATS`` and ``rewritten(model, paths, ending, reading)``. None of them imports torch.
TABLES = {
    "classify": "gatewise.tasks.classification.tables",
    "forecast": "gatewise.tasks.forecast.tables",
    "tag": "gatewise.tasks.tagging.tables",
    "write": "gatewise.tasks.writing.tables",
}
SEQUENCES = ("classify", "tag", "write")  # the jobs whose models read batches of sequences


@final
class Predictor:
    """A trained model that is loaded once and called with tables. Neither loading nor calling imports torch.

    The bits of a prediction do not depend on the table that its sequence is in. A predictor can be pickled:
    its file is then loaded again in the other process.

    Args:
        path: the file that the estimator's ``save`` wrote, or the folder of a run.
        threads: for sequences, the threads on which batches of them are computed. The bits are the same.
        options: for a tagger ``least``, the probability below which a word is left untagged.

    Attributes:
        model: the model, of `gatewise.runtime.jobs`.
        task: its job: ``"classify"``, ``"forecast"``, ``"tag"`` or ``"write"``.

    Raises:
        ModelFileError: the file is damaged, or not the model of a job.
        FileNotFoundError: the file does not exist.

    Example:
        >>> import tempfile, numpy as np, pandas as pd, pyarrow as pa
        >>> from gatewise.tasks import Forecaster, Predictor, TimeSeries
        >>> days = pd.date_range("2024-01-01", periods=120, freq="D", name="day")
        >>> frame = pd.DataFrame({"sold": np.sin(np.arange(120.0)) + np.arange(120) % 7}, index=days)
        >>> series = TimeSeries.from_frame(frame, "sold")
        >>> path = tempfile.mkdtemp() + "/model.safetensors"
        >>> Forecaster(7, hidden_size=8, max_epochs=1).fit(series).save(path)
        >>> predictor = Predictor(path)
        >>> predictor(pa.Table.from_pandas(frame.reset_index())).column_names
        ['time', 'sold']
    """

    def __init__(self, path: str | Path, *, threads: int = 1, **options: Any) -> None:
        path = Path(path)
        self._options, self._threads = options, threads
        self._path = path / "model.safetensors" if path.is_dir() else path
        self.model: Any = load(self._path)
        self.task: str = self.model.TASK
        if self.task in SEQUENCES:
            self.model.threads = threads

    @property
    def _module(self) -> Any:
        return import_module(TABLES[self.task])

    def __call__(self, table: pa.Table) -> pa.Table:
        """The predictions for a table, with the columns that its job describes.

        Raises:
            ValueError: the table does not have what the model reads.
        """
        return self._module.predict_table(self.model, table, **self._options)

    def read(self, path: str | Path, reading: Reading | None = None) -> Iterator[pa.Table]:
        """The tables in a file, or in the Parquet files of a folder one by one.

        `reading` holds options for what the values of a file do not decide.

        Raises:
            TableError: a file is not one that the job can read.
        """
        from gatewise.tasks.shared.tables import read_tables

        read: Callable[..., Iterator[pa.Table]] = getattr(self._module, "read_tables", read_tables)
        return read(Path(path), reading)

    @property
    def formats(self) -> tuple[str, ...]:
        """The endings of the files, other than tables, that `rewritten` makes."""
        return getattr(self._module, "FORMATS", ())

    def rewritten(
        self, paths: Sequence[Path], ending: str, reading: Reading | None = None
    ) -> tuple[str, int]:
        """The text of files with the predictions in it, in one of `formats`, and the number of its rows.

        Raises:
            TableError: a file is not one that the job can read.
            ValueError: the model's predictions do not fit into the format.
        """
        made: tuple[str, int] = self._module.rewritten(self.model, paths, ending, reading, **self._options)
        return made

    def __reduce__(self) -> Any:
        return partial(Predictor, self._path, threads=self._threads, **self._options), ()

    def __repr__(self) -> str:
        options = ({"threads": self._threads} if self._threads != 1 else {}) | self._options
        given = [f"{name}={value!r}" for name, value in options.items()]
        return f"Predictor({', '.join([repr(str(self._path)), *given])})"
