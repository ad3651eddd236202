"""The base class of the results of all analyses: named arrays, and a summary in a sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Finding(ABC):
    """The result of an analysis. `str` and `repr` give a sentence."""

    @abstractmethod
    def __str__(self) -> str: ...

    def __repr__(self) -> str:
        return str(self)
