"""The group of all commands. A call that cannot be understood is refused in one sentence, with status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from gatewise.apps.options import OptionError, expected, hint, option_names, parameters_of, type_of
from gatewise.apps.session import BAD_INPUT, complaint

_UsageError: Any = typer.BadParameter.__bases__[0]  # of click, or of typer's own copy of it


class Commands(TyperGroup):
    """The group of all commands."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> Any:
        """Run the command of a call, and end the process with its exit status."""
        if not options.pop("standalone_mode", True):
            return super().main(args, standalone_mode=False, **options)
        words = list(sys.argv[1:] if args is None else args)
        try:
            status = super().main(args, standalone_mode=False, **options)
        except OptionError as error:
            status = _refused(str(error))
        except _UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                status = BAD_INPUT
            else:
                status = _refused(self._sentence(error, words))
        except typer.Abort:
            status = _refused("the command was aborted.")
        sys.exit(status or 0)

    def _sentence(self, error: Any, words: list[str]) -> str:
        """What is wrong with a call, in a sentence."""
        name = next((word for word in words if not word.startswith("-")), "")
        command = self.commands.get(name)
        if command is not None and command.callback is not None:
            return _Call(name, command.callback, words).sentence(error)
        if type(error).__name__ == "NoSuchOption":
            return f"there is no option {error.option_name!r}; gatewise --help shows what there is."
        known = list(self.commands)
        shown = f"the commands are {', '.join(known)}"
        return f"there is no command {name!r}; {hint(name, known, shown)}"


class _Call:
    """The call of a command."""

    def __init__(self, name: str, command: Callable[..., Any], words: list[str]) -> None:
        self.name, self.words = f"gatewise {name}", words
        found = {n: each.annotation for n, each in parameters_of(command).items() if n != "context"}
        self.names = option_names(found)
        self.annotations = {self.names[n]: annotation for n, annotation in found.items()}

    def sentence(self, error: Any) -> str:
        """What is wrong with it."""
        kind, shown = type(error).__name__, f"{self.name} --help shows"
        typed = self.names.get(getattr(getattr(error, "param", None), "name", None) or "", "")
        if kind == "NoSuchOption":
            known = [each.removeprefix("--") for each in self.annotations if each.startswith("--")]
            meant = hint(error.option_name.removeprefix("--"), known, f"{shown} what there is", "--")
            return f"there is no option {error.option_name!r}; {meant}"
        if kind == "BadOptionUsage":
            return self._misused(error.option_name)
        if kind == "MissingParameter" and typed:
            return f"{self.name} needs {typed}; {shown} an example."
        if kind == "BadParameter" and typed:
            return f"{typed} must be {expected(self.annotations[typed])}. Got {_given(self.words, typed)}."
        arguments = " and ".join(each for each in self.annotations if not each.startswith("--"))
        return f"{self.name} takes {arguments or 'options'} alone: {_message(error)}."

    def _misused(self, option: str) -> str:
        """What is wrong with an option that lacks its value, or has one though it is a flag."""
        annotation = self.annotations.get(option)
        if annotation is None or type_of(annotation)[0] is bool:
            return f"{option} takes no value."
        return f"{option} must be followed by {expected(annotation)}."


def _message(error: Any) -> str:
    """The parser's own message, as part of a sentence."""
    message = str(error.format_message()).rstrip(".").replace("argument(s)", "argument")
    return message[:1].lower() + message[1:]


def _given(words: Sequence[str], option: str) -> str:
    """The last value that a call gives an option."""
    found = ""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            found = after
        elif word.startswith(f"{option}="):
            found = word.removeprefix(f"{option}=")
    return repr(found)


def _refused(sentence: str) -> int:
    complaint(sentence)
    return BAD_INPUT
