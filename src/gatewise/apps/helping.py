"""The text of ``--help``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


def example(call: str) -> Callable[[Command], Command]:
    """Decorator: adds an example of a call to the docstring of a command, which its ``--help`` shows."""

    def decorate(command: Command) -> Command:
        command.__doc__ = helped(command, call)
        return command

    return decorate


def helped(function: Callable[..., Any], call: str) -> str:
    """A docstring with each paragraph in one line, which the help wraps, and an example of a call."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join([*(" ".join(paragraph.split()) for paragraph in paragraphs), f"Example: {call}"])
