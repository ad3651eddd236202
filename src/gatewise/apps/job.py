"""What the commands of all jobs share: their options, and the flow from reading to the report.

A command is a function under `job_command` that reads its input and returns a `Flow`. Everything after that
happens here: the run folder, training with a progress bar, ``--resume``, ``--json``, messages, exit status.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_args

import typer
from rich.console import Console
from rich.text import Text

from gatewise._version import __version__
from gatewise.apps import reading as tables
from gatewise.apps.cells import chosen_cell
from gatewise.apps.config import configured
from gatewise.apps.helping import helped
from gatewise.apps.options import OptionError, option_of
from gatewise.apps.output import Output
from gatewise.apps.session import INTERRUPTED, progress, status_of
from gatewise.apps.standard_input import ending_for_training, with_standard_input
from gatewise.language import Cell

if TYPE_CHECKING:
    from gatewise.tasks.shared.training import Epoch

OPTIONS: dict[str, tuple[Any, Any]] = {  # name: annotation and default
    "cell": (Annotated[str, typer.Option(help="lstm, gru, rnn, ..., or FILE.py:NAME of your own.")], "lstm"),
    "hidden_size": (Annotated[int, typer.Option(min=1, max=4096, help="Hidden units.")], 64),
    "layers": (Annotated[int, typer.Option(min=1, max=64, help="Recurrent layers.")], 1),
    "epochs": (
        Annotated[int, typer.Option(min=1, help="Epochs at most; training stops early by itself.")],
        30,
    ),
    "seed": (Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same result.")], 0),
    "threads": (
        Annotated[
            int | None, typer.Option(min=1, max=1024, help="Threads. (default: as many as torch takes)")
        ],
        None,
    ),
    "out": (
        Annotated[Path | None, typer.Option(help="New folder for the results. (default: runs/NAME-CELL)")],
        None,
    ),
    "resume": (
        Annotated[bool, typer.Option("--resume", help="Continue a run that was killed, if there is one.")],
        False,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the report.")],
        False,
    ),
    "config": (
        Annotated[
            Path | None,
            typer.Option(help="TOML file with options, as hidden-size = 64; flags come before it."),
        ],
        None,
    ),
}
for _annotation, _ in OPTIONS.values():
    get_args(_annotation)[1].rich_help_panel = "Options of every job"
UNREQUESTED = ("out", "json", "threads", "resume", "config")  # options that do not change what is trained
OURS = ("common", "reading")  # parameters of a command's function that are not options
UNCONFIGURED = ("config", "json", "resume")  # options of the command line alone


@dataclass(frozen=True)
class Common:
    """The options that every job has. `cell` is a name, or the cell of a user's file.

    `given` has the names of the options, also of the job's own, that the command line or a configuration
    sets.
    """

    cell: str | Cell
    hidden_size: int
    layers: int
    epochs: int
    seed: int
    threads: int | None
    out: Path | None
    resume: bool
    json: bool
    given: frozenset[str] = frozenset()

    def refuse(self, names: Sequence[str], problem: str) -> None:
        """Refuse options that would be ignored. `problem` ends the sentence, as ``"is for tables."``

        Raises:
            OptionError: one of the options is given.
        """
        for name in names:
            if name in self.given:
                raise OptionError(f"{option_of(name)} {problem}")


class Trained(Protocol):
    """What the flow needs of an estimator."""

    max_epochs: int
    epochs_: int
    best_epoch_: int
    interrupted_: bool


class Flow(Protocol):
    """What a job does, step by step. Its input has been read. Attributes serve as properties."""

    @property
    def name(self) -> str:
        """The stem of the default run folder, such as ``"sensors-lstm"``."""

    @property
    def data(self) -> Sequence[Path]:
        """The files that were read. If their content changes, a run cannot be resumed."""

    @property
    def files(self) -> Mapping[str, str]:
        """The files of the run folder, with their meaning."""

    @property
    def look(self) -> Sequence[str] | None:
        """Arguments of ``gatewise look`` after the folder, as ``["--on", "a.csv"]``; None to omit it."""

    @property
    def estimator(self) -> Trained:
        """The estimator, at first not fitted."""

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be trained."""

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Fit the estimator."""

    def epoch_text(self, epoch: Epoch) -> str:
        """An epoch in words, as ``"validation accuracy 93.1 %, best 94.0 %"``."""

    def test(self) -> None:
        """Test the estimator on what was held out."""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write `files` into a folder. Returns the metrics, which ``--json`` prints."""

    def show_results(self, console: Console) -> None:
        """Print what the test said."""

    def remarks(self) -> Sequence[str]:
        """Sentences to print after the list of files."""


def job_command(
    *,
    example: str,
    reads: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Flow]], Callable[..., None]]:
    """Decorator: makes a command of a function that returns a `Flow`.

    The function's parameters are its own arguments and options; `common`, a `Common`, and `reading`, a dict
    of the options for reading tables that were given, are passed by keyword. It runs inside the error
    handling: a ValueError is printed as one sentence, with exit status 2.

    Args:
        example: an example of a call, for ``--help``.
        reads: the options of `gatewise.apps.reading` that the command has; by default all.
        defaults: other defaults of the options in `OPTIONS`.
    """

    def decorate(function: Callable[..., Flow]) -> Callable[..., None]:
        signature = inspect.signature(function)
        own = {n: _evaluated(p, function) for n, p in signature.parameters.items() if n not in OURS}
        read = {name: tables.OPTIONS[name] for name in (tables.OPTIONS if reads is None else reads)}
        parameters = _parameters(own, dict(defaults or {}), read)
        types = {parameter.name: parameter.annotation for parameter in parameters}

        @functools.wraps(function)
        def command(context: typer.Context, **values: Any) -> None:
            job = partial(_run, function, context, values, types, tuple(own), tuple(read))
            raise typer.Exit(status_of(job, quiet=values["json"]))

        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        every = signature.replace(parameters=[context, *parameters], return_annotation=None)
        command.__signature__ = every  # type: ignore[attr-defined]
        command.__annotations__ = {"context": typer.Context, **types}
        del command.__wrapped__
        command.__doc__ = helped(function, example)
        return command

    return decorate


def _evaluated(parameter: inspect.Parameter, function: Callable[..., Flow]) -> inspect.Parameter:
    """A parameter with its annotation evaluated. That of the returned flow may not be known yet."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = eval(annotation, function.__globals__)
    return parameter.replace(annotation=annotation)


def _parameters(
    own: dict[str, inspect.Parameter], defaults: dict[str, Any], read: dict[str, Any]
) -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=kind) for parameter in own.values()]
    for name, (annotation, default) in OPTIONS.items():
        default = defaults.get(name, default)
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotation))
    for name, annotation in read.items():
        parameters.append(inspect.Parameter(name, kind, default=None, annotation=annotation))
    return parameters


def _run(
    function: Callable[..., Flow],
    context: typer.Context,
    values: dict[str, Any],
    types: dict[str, Any],
    own: tuple[str, ...],
    read: tuple[str, ...],
    console: Console,
) -> int:
    given = {name for name in values if _is_typed(context, name)}
    if values["config"] is not None:
        values, named = configured(context, values["config"], values, types, UNCONFIGURED)
        given |= named
    reading = {name: values[name] for name in read if values[name] not in (None, [])}
    _refuse_at_once({name: values[name] for name in own}, reading, values["out"])
    common = Common(
        chosen_cell(values["cell"]),
        **{name: values[name] for name in OPTIONS if name not in ("cell", "config")},
        given=frozenset(given),
    )
    more = {"common": common, "reading": reading} if _takes(function, "reading") else {"common": common}
    paths = {name: values[name] for name in own if isinstance(values[name], Path)}
    ending = partial(ending_for_training, task=function.__name__)
    with with_standard_input(list(paths.values()), ending) as found:
        files = dict(zip(paths, found, strict=True))
        flow = function(**{name: files.get(name, values[name]) for name in own}, **more)
        piped = {file: path for file, path in zip(found, paths.values(), strict=True) if file != path}
        return _train(flow, common, _request(values, common.cell, flow, piped), bool(piped), console)


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse_at_once(own: dict[str, Any], reading: dict[str, Any], out: Path | None) -> None:
    """Refuse what is wrong whatever the files hold. Nothing slow has been imported yet."""
    from gatewise.tasks.shared.run_folder import given_name

    if out is not None:
        given_name(out)
    tables.chosen_reading(reading)
    tables.refuse_missing(value for value in own.values() if isinstance(value, Path))


def _takes(function: Callable[..., Flow], name: str) -> bool:
    return name in inspect.signature(function).parameters


def _request(
    values: dict[str, Any], cell: str | Cell, flow: Flow, piped: Mapping[Path, Path]
) -> dict[str, Any]:
    """What determines the trained weights, as JSON data. `piped` has what temporary files stand for."""
    from gatewise.apps.resuming import digests

    options = {name: value for name, value in values.items() if name not in UNREQUESTED}
    plain = json.loads(json.dumps(options, default=str))
    return {
        **{name: value for name, value in plain.items() if value not in (None, [])},
        "data": {str(piped.get(Path(n), n)): digest for n, digest in digests(flow.data).items()},
        "equations": str(cell),
        "gatewise": __version__,
    }


def _train(flow: Flow, common: Common, request: dict[str, Any], piped: bool, console: Console) -> int:
    """Train, test and write; then report. `piped`: the data will not be there afterwards, to be looked at."""
    import torch

    from gatewise.apps.resuming import RunState
    from gatewise.tasks.shared.run_folder import NewFolder

    if common.threads is not None:
        torch.set_num_threads(common.threads)
    state = RunState(common.out, flow.name, request, resume=common.resume)
    with NewFolder(state.name) as folder:
        try:
            if note := state.begin(folder.writing):
                console.print(note)
            flow.show_data(console)
            _fit(flow, state.checkpoint, console)
            flow.test()
            metrics = flow.write(folder.writing)
        except (ValueError, FloatingPointError, KeyboardInterrupt):
            state.remove()
            raise
        except BaseException:
            if state.keep():
                console.print(f"Continue with --resume: training is kept in {state.folder}.")
            raise
    state.remove()
    try:
        _report(flow, folder.path, metrics, common, None if piped else flow.look, console)
    except KeyboardInterrupt:
        console.print(f"Stopped by Ctrl-C. Everything was written to {folder.path}.")
        return INTERRUPTED
    return INTERRUPTED if flow.estimator.interrupted_ else 0


def _fit(flow: Flow, checkpoint: Path, console: Console) -> None:
    with progress(console) as bar:
        task = bar.add_task("training", total=flow.estimator.max_epochs, state="")

        def show(epoch: Epoch) -> None:
            bar.update(task, completed=epoch.number, state=f"epoch {epoch.number}, {flow.epoch_text(epoch)}")

        flow.fit(show, checkpoint)
        bar.update(task, total=flow.estimator.epochs_)


def _report(
    flow: Flow, folder: Path, metrics: dict[str, Any], common: Common, look: Sequence[str] | None,
    console: Console,
) -> None:  # fmt: skip
    if common.json:
        print_json(
            {"folder": str(folder), "interrupted": flow.estimator.interrupted_, "metrics": metrics},
        )
        return
    flow.show_results(console)
    if flow.estimator.interrupted_:
        estimator = flow.estimator
        kept = f"the best model so far, of epoch {estimator.best_epoch_} of {estimator.epochs_}"
        console.print(f"\nStopped by Ctrl-C. Kept: {kept}.")
    console.print(Text(f"\n{folder!s}/", style="bold"))
    for name, meaning in flow.files.items():
        console.print(f"  {name:<18} {meaning}", soft_wrap=True)
    for remark in flow.remarks():
        console.print(f"\n{remark}")
    if look is not None:
        words = shlex.join(["gatewise", "look", str(folder), *look])
        console.print(f"\nLook inside: {words}", soft_wrap=True)


def print_json(document: dict[str, Any]) -> None:
    """Print a JSON document, also where the terminal is not one for Unicode. Infinity and NaN become null."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(_finite(document), indent=2, ensure_ascii=not unicode, allow_nan=False)
    Output(sys.stdout).write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
