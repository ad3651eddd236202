"""`load`: the model of a job from its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from gatewise.runtime.model_file import ModelFile, ModelFileError, read_model

# The class of each task. A class has `TASK` and `from_file`.
JOBS = {
    "classify": "gatewise.runtime.jobs.classifier.Classifier",
    "forecast": "gatewise.runtime.jobs.forecaster.Forecaster",
    "tag": "gatewise.runtime.jobs.tagger.Tagger",
    "write": "gatewise.runtime.jobs.writer.Writer",
}

_Job = TypeVar("_Job", bound="Job")


class Job(Protocol):
    """A trained model of a job, without torch.

    Attributes:
        TASK: the task of its files, a key of `JOBS`.
    """

    TASK: ClassVar[str]

    @classmethod
    def from_file(cls: type[_Job], file: ModelFile) -> _Job:
        """The model that a file holds (or `model_file.in_memory`).

        Raises:
            ValueError: the file does not describe one.
        """


def load(path: str | Path) -> Any:
    """Load a trained model of a job, without torch: what `gatewise.tasks` saved. Nothing in it is executed.

    Returns:
        The model; ``TASK`` says which job it does: a `Classifier`, `Forecaster`, `Tagger` or `Writer` of
        `gatewise.runtime.jobs`.

    Raises:
        ModelFileError: the file is damaged, not gatewise's, of a newer version, or not of a job.
        FileNotFoundError: the file does not exist.
    """
    return of_file(read_model(path, None))


def of_file(file: ModelFile) -> Any:
    """The model of a job from the content of its file.

    Raises:
        ModelFileError: as for `load`.
    """
    home = JOBS.get(file.task)
    if home is None:
        raise ModelFileError(
            f"{file.path}: task must be one of {', '.join(JOBS)}, for predictions. Got {file.task!r:.60}"
        )
    module, _, name = home.rpartition(".")
    kind: type[Job] = getattr(import_module(module), name)
    with describing(file, f"a {name.lower()}"):
        return kind.from_file(file)


@contextmanager
def describing(file: ModelFile, what: str) -> Iterator[None]:
    """Context manager around reading a header: errors of its content become a `ModelFileError`."""
    try:
        yield
    except ModelFileError:
        raise
    except (
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        ValueError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise ModelFileError(f"{file.path}: the file does not describe {what} ({error})") from error
