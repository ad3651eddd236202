"""Trained models without torch: `Stream` runs them, `model_file` keeps them."""

from gatewise.runtime.stream import Stream

__all__ = ["Stream"]
