"""Trained models without torch: `load` predicts, `Stream` runs layers, `model_file` is their files."""

from gatewise.runtime.jobs.loading import load
from gatewise.runtime.model_file import ModelFileError
from gatewise.runtime.stream import Stream

__all__ = ["ModelFileError", "Stream", "load"]
