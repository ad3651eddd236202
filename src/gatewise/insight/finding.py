"""What all analyses give back: arrays with names, and a sentence with numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Finding(ABC):
    """The result of an analysis; it prints as a sentence, in a session too."""

    @abstractmethod
    def __str__(self) -> str: ...

    def __repr__(self) -> str:
        return str(self)
