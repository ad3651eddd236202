"""The state of a run while it trains, in a folder beside that of the run, for ``--resume``.

The folder ``NAME.training`` is there from the start of a run until its end. A killed process leaves it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from gatewise import files
from gatewise.tasks.shared.checkpoints import is_whole
from gatewise.tasks.shared.run_folder import given_name

SUFFIX = ".training"
_REQUEST, _LOCK, _CHECKPOINT = "request.json", "lock", "training.ckpt"
_OTHER = {"data": "other data", "equations": "other equations of the cell", "gatewise": "another version"}


class ResumeError(ValueError):
    """Raised if a run cannot be continued. The message is one sentence."""


class RunState:
    """The state of a run: what was asked for, and the checkpoint of its training.

    Args:
        out: the folder of the run, or None for the first free one of ``runs/stem``, ``runs/stem-2``, ...
        stem: the name in ``runs/``.
        request: what was asked for, as JSON data: options by the names of parameters, and digests of data.
        resume: whether a state that is there is continued.

    Attributes:
        path: the folder of the run.
        checkpoint: the file in which training is saved, and from which it continues.

    Raises:
        FolderError: the folder exists already.
        ResumeError: `resume`, but the run that is there had another request.
    """

    def __init__(self, out: Path | None, stem: str, request: dict[str, Any], *, resume: bool) -> None:
        self._out, self._stem = out, stem
        self._request = request
        self._resume = resume
        self._lock = -1
        self._is_ours = False  # not that of a process that is still training
        self.path = out if out is not None else self._chosen()
        given_name(self.path)
        if resume and self.folder.exists():
            self._check()

    @property
    def folder(self) -> Path:
        """The folder of the state."""
        return self.path.with_name(self.path.name + SUFFIX)

    @property
    def checkpoint(self) -> Path:
        """The file of the checkpoint."""
        return self.folder / _CHECKPOINT

    def name(self) -> Path:
        """The name of the run's folder, for `run_folder.NewFolder`: another free one if it was taken."""
        if self._out is not None:
            given_name(self._out)
        elif _is_there(self.path):
            return next(path for path in self._names() if not _is_there(path))
        return self.path

    def begin(self, writing: Path) -> str:
        """Make the folder, and lock it until the end of this process.

        `writing` is the hidden folder that this process writes. If it is killed, a resumed one removes it.

        Returns:
            Why a checkpoint that is there is not continued from, as a sentence; empty otherwise.

        Raises:
            ResumeError: another process is training this run.
        """
        while not self._made():
            self.path = self._chosen()
        self._take_lock()
        self._is_ours = True
        note = self._note()
        for file in self._checkpoints():
            if not self._resume or not is_whole(file):
                file.unlink()
        if self._resume:
            left = Path(str(self._known().get("writing", ""))).name
            if left.startswith(".gatewise-") and left != writing.name:
                shutil.rmtree(self.path.with_name(left), ignore_errors=True)
        content = json.dumps({"request": self._request, "writing": writing.name}, indent=2)
        files.replace(self.folder / _REQUEST, content.encode())
        return note

    def _checkpoints(self) -> list[Path]:
        """All that training saved. A classifier, which trains twice, has a second checkpoint."""
        return [file for file in self.folder.glob(f"{_CHECKPOINT}*") if file.suffix != ".part"]

    def _note(self) -> str:
        if not self.checkpoint.exists():
            return ""
        if not self._resume:
            return f"{self.folder}: the unfinished run there is given up; --resume would continue it."
        if not all(map(is_whole, self._checkpoints())):
            return f"{self.folder}: the checkpoint there is damaged; training begins again."
        return ""

    def _made(self) -> bool:
        """Whether the folder could be made, or is the one to continue from."""
        try:
            self.folder.mkdir()
            self._is_ours = True
        except FileExistsError:
            return self._resume or self._out is not None  # otherwise another process was faster
        return True

    def keep(self) -> bool:
        """Leave the state for ``--resume``, if there is a checkpoint. Returns whether there is."""
        if self._is_ours and self.checkpoint.exists():
            self._release()
            return True
        self.remove()
        return False

    def remove(self) -> None:
        """Remove the state, unless another process is training this run."""
        if self._is_ours:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()

    def _chosen(self) -> Path:
        """The run to continue, or else the first name that is free."""
        names = self._names()
        unfinished = []
        for path in names:
            if _state_of(path).exists():
                unfinished.append(path)
            elif not _is_there(path):
                break
        if not self._resume:
            return path
        same = [at for at in unfinished if not self._differences(at)]
        left = [at for at in unfinished if not _is_training(at)]  # others may train beside this run
        return next(iter((*same, *left, path)))

    def _names(self) -> Iterable[Path]:
        return (
            Path("runs") / (self._stem if number == 1 else f"{self._stem}-{number}") for number in count(1)
        )

    def _check(self) -> None:
        """Refuse a state that was begun with another request."""
        differences = self._differences(self.path)
        if differences:
            raise ResumeError(
                f"{self.folder}: the unfinished run was begun with {' and '.join(differences)}."
            )

    def _differences(self, path: Path) -> list[str]:
        known = self._known(path).get("request", {})
        names = [name for name in {**known, **self._request} if known.get(name) != self._request.get(name)]
        return [_difference(name, known.get(name), self._request.get(name)) for name in names]

    def _known(self, path: Path | None = None) -> dict[str, Any]:
        """What the state that is there says; of one killed in its first moments, what is asked for now."""
        try:
            with files.open_to_read(_state_of(path or self.path) / _REQUEST) as file:
                known = json.loads(file.read())
            return known if isinstance(known["request"], dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {"request": self._request}

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        if not _locked(self._lock):
            self._release()
            raise ResumeError(f"{self.folder}: another process is training this run.")

    def _release(self) -> None:
        if self._lock >= 0:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = -1


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """A digest of the content of each file, and of each file of a folder, by name."""
    found = {}
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                with files.open_to_read(file) as opened:
                    found[str(file)] = hashlib.file_digest(opened, "sha256").hexdigest()
    return found


def _difference(name: str, then: Any, now: Any) -> str:
    if name in _OTHER:
        return _OTHER[name]
    option = f"--{name.replace('_', '-')}"
    return f"{_option(option, then)}, not {_option(option, now)}" if then is not None else f"no {option}"


def _option(option: str, value: Any) -> str:
    if value is None or value is False or value == []:
        return f"without {option}"
    return option if value is True else f"{option} {value}"


def _locked(descriptor: int) -> bool:
    """Lock an open file, unless another process has. Always true where files cannot be locked like this."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_training(path: Path) -> bool:
    """Whether a process is training the run of this folder now."""
    try:
        with open(_state_of(path) / _LOCK, "rb+") as file:
            return not _locked(file.fileno())
    except OSError:
        return False


def _state_of(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
