"""Checkpoints as files. Without torch, which the command line does not import for them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from gatewise import files


def is_whole(checkpoint: Path) -> bool:
    """Whether the archive of a checkpoint can be read, and all its checksums are right."""
    try:
        with files.open_to_read(checkpoint) as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile):
        return False
