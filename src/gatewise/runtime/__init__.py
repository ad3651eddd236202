"""Trained models without torch: `Stream` runs them, `model_file` reads and writes them."""

from gatewise.runtime.model_file import ModelFileError
from gatewise.runtime.stream import Stream

__all__ = ["ModelFileError", "Stream"]
