"""The folder of a run, written completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from gatewise import files


class FolderError(ValueError):
    """Raised if a run folder cannot be created. The message is one sentence."""


class NewFolder:
    """Context manager for a new folder, which is hidden until the block ends, and removed if the block fails.

    `name` returns the name of the folder. It is called at the start, so that a bad name is found before the
    work, and again at the end until a name is free. Folders of other processes are never touched.

    Attributes:
        writing: where to write, inside the block.
        path: the folder, after the block.

    Raises:
        FolderError: the folder exists, or cannot be made.
    """

    def __init__(self, name: Callable[[], Path]) -> None:
        self._name = name
        self.path = name()
        self.writing = files.part_of(self.path)
        self._above: list[Path] = []  # parent folders that this process created, the deepest last

    def __enter__(self) -> NewFolder:
        try:
            self._make()
        except BaseException as error:
            self._remove()
            if isinstance(error, OSError):
                raise self._error(error) from error
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._publish()
        except OSError as error:
            raise self._error(error) from error
        finally:
            self._remove()

    def _make(self) -> None:
        for folder in reversed([above for above in self.path.absolute().parents if not above.exists()]):
            with suppress(FileExistsError):  # another process was faster
                folder.mkdir()
                self._above.append(folder)
        self.writing.mkdir()

    def _publish(self) -> None:
        while True:
            self.path = self._name()
            try:
                self.writing.rename(self.path)
                return
            except OSError:
                if not self.path.exists():  # else another process was faster
                    raise

    def _remove(self) -> None:
        """Remove the hidden folder, and the empty parent folders that this process created."""
        try:
            shutil.rmtree(self.writing, ignore_errors=True)
        finally:  # also when a second Ctrl-C comes
            shutil.rmtree(self.writing, ignore_errors=True)
        for folder in reversed(self._above):
            with suppress(OSError):
                folder.rmdir()

    def _error(self, error: OSError) -> FolderError:
        return FolderError(f"{self.path}: the folder cannot be made ({error.strerror}).")


def given_name(folder: Path) -> Path:
    """The name itself if it is free; else raise a FolderError."""
    if folder.exists() or folder.is_symlink():
        raise FolderError(f"{folder}: the folder exists already; give --out a new name.")
    return folder


def free_name(stem: str) -> Path:
    """The first free name of ``runs/stem``, ``runs/stem-2``, ``runs/stem-3`` and so on."""
    names = (Path("runs") / (stem if number == 1 else f"{stem}-{number}") for number in count(1))
    return next(name for name in names if not name.exists() and not name.is_symlink())
