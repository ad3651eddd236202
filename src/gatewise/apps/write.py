"""``gatewise write``: train a language model on texts, or let a trained one write and score them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.apps.job import Common, job_command, print_json
from gatewise.apps.options import Above, Among
from gatewise.apps.resuming import SUFFIX
from gatewise.runtime.jobs.units import CHARACTERS, UNITS, WORDS, readable, spelled, summed

if TYPE_CHECKING:
    from gatewise.runtime.jobs.writer import Scored
    from gatewise.tasks.shared.training import Epoch
    from gatewise.tasks.writing.evaluation import Division, Sample, Tested
    from gatewise.tasks.writing.writer import Writer

MODEL = "model.safetensors"  # in the folder of a run
_OF_TRAINING = (  # options that a trained model does not need
    "unit", "lines", "keep_text", "cell", "hidden_size", "layers", "epochs", "threads", "resume",
)  # fmt: skip
_OF_WRITING = ("prompt", "length", "count", "temperature", "top_k", "top_p", "stop", "seed", "text")
_MOST_PRINTED = 2000  # characters of a scored text in the terminal
_SHADES = ((2, ""), (4, "on #fde3c8"), (7, "on #f6c08d"), (10, "on #f6a15b"), (float("inf"), "on #d55e00"))


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn; see `Writer.write`."""

    length: int
    prompt: str
    temperature: float
    top_k: int | None
    top_p: float | None
    stop: list[str]
    seed: int
    count: int

    @property
    def options(self) -> dict[str, Any]:
        """The options by name."""
        return dict(vars(self))


class Flow:
    """Reads texts, trains a `Writer` on them, tests it, and lets it write."""

    estimator: Writer

    def __init__(
        self, file: Path | None, unit: str, lines: bool, keep_text: bool, drawing: Drawing, common: Common,
        reading: dict[str, Any],
    ) -> None:  # fmt: skip
        from gatewise.tasks.shared.reading.errors import TableError
        from gatewise.tasks.shared.samples import python_topics, python_version
        from gatewise.tasks.writing.corpus import Corpus
        from gatewise.tasks.writing.evaluation import Division
        from gatewise.tasks.writing.reading import read_texts

        self.drawing, self.common = drawing, common
        self.data: Sequence[Path] = [] if file is None else [file]
        texts = [python_topics()] if file is None else read_texts(file, lines=lines, **reading)
        self.told = f"Python {python_version()}: the manual that help() shows" if file is None else file.name
        stem = "python_topics" if file is None else file.resolve().stem
        self.division: Division = Division.of(texts, seed=common.seed)
        try:
            Corpus.of(self.division.train, unit, seed=common.seed)
        except ValueError as error:
            problem = f"without what is held out for the test, {str(error).rstrip('.')}"
            raise TableError(file or stem, problem) from error
        from gatewise.tasks.writing.writer import Writer  # imports torch: the texts are known to be usable

        self.estimator = Writer(
            unit=unit, cell=common.cell, hidden_size=common.hidden_size, num_layers=common.layers,
            max_epochs=common.epochs, seed=common.seed, keep_text=keep_text,
        )  # fmt: skip
        self.estimator.check_parameters()
        self.name = f"{stem}-{self.estimator.equations.name}"
        self.tested: Tested
        self.samples: list[Sample]

    @property
    def files(self) -> Mapping[str, str]:
        """The files of the run folder."""
        from gatewise.tasks.writing.run_folder import FILES

        return FILES

    @property
    def look(self) -> Sequence[str] | None:
        """How the network is shown at work: on the text that it has learned from, if it is one file."""
        if not self.data:
            return []
        return ["--on", str(self.data[0])] if self.data[0].is_file() else None

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be trained."""
        train, test = (sum(map(len, part)) for part in (self.division.train, self.division.test))
        texts = len({*self.division.train, *self.division.test})
        many = "" if self.division.continues else f" in {texts:,} texts"
        writer = self.estimator
        layers = "" if writer.num_layers == 1 else f" in each of {writer.num_layers} layers"
        _show_facts(console, {
            "Text": f"{self.told}, {train + test:,} characters{many}",
            "Model": f"{writer.cell_name} with {writer.hidden_size} units{layers}, predicts {writer.unit}, "
            f"seed {writer.seed}",
            "Test": f"{'the last ' if self.division.continues else ''}{test:,} characters, held out",
        })  # fmt: skip

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Train."""
        self.estimator.fit(list(self.division.train), on_epoch=on_epoch, checkpoint=checkpoint)

    def epoch_text(self, epoch: Epoch) -> str:
        """The validation error."""
        error, best = epoch.error / log(2), epoch.best / log(2)
        if self.estimator.unit == WORDS:
            return f"validation perplexity {2**error:.1f}, best {2**best:.1f}"
        return f"validation {error:.3f} bits per {self.estimator.unit[:-1]}, best {best:.3f}"

    def test(self) -> None:
        """Score the held-out text, and write samples."""
        from gatewise.tasks.writing.copying import CopyIndex
        from gatewise.tasks.writing.evaluation import examined, tested

        model = self.estimator.model_
        self.tested = tested(model, self.division)
        index = CopyIndex("\n".join(self.division.train))
        texts = model.write(**self.drawing.options)
        self.samples = examined(model, texts, self.drawing.prompt, index)
        self.honest = index.compare(self.division.test[0][: self.drawing.length])

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the run."""
        from gatewise.tasks.writing.run_folder import write_run

        about = {
            "text": {
                "name": self.told,
                "characters": sum(map(len, [*self.division.train, *self.division.test])),
                "texts": len(self.division.train) if self.division.continues else
                len(self.division.train) + len(self.division.test),
            },
            "drawing": self.drawing.options,
            "held_out_copied": {"longest": self.honest.longest, "share": self.honest.share},
        }  # fmt: skip
        write_run(folder, self.estimator, self.division, self.tested, self.samples, about)
        return self.estimator.metrics_

    def show_results(self, console: Console) -> None:
        """Print the test beside counting, and the samples."""
        tested = self.tested
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(f"Test on {tested.tokens:,} {tested.unit}")
        table.add_column(
            "perplexity" if tested.unit == WORDS else f"bits per {tested.unit[:-1]}", justify="right"
        )
        rows = {self.estimator.cell_name: tested.bits}
        rows |= {f"{n}-gram": tested.floors[n - 1] for n in sorted({tested.best_n, len(tested.floors)})}
        best = min(rows.values())
        for name, bits in rows.items():
            figure = f"{2**bits:.1f}" if tested.unit == WORDS else f"{bits:.3f}"
            table.add_row(name, Text(figure, style="bold green" if bits == best else ""))
        console.print(table)
        if tested.unknown:
            console.print(f"\n{tested.unknown:.2%} of the {tested.unit} are unknown.")
        _show_samples(console, self.samples, self.drawing.prompt)
        console.print(f"\nFor comparison, the held-out text: {_said(str(self.honest))}")

    def remarks(self) -> Sequence[str]:
        """How to go on."""
        return ()


@job_command(
    example='gatewise write book.txt --prompt "Once upon a time" --temperature 0.8',
    reads=("encoding",),
    defaults={"hidden_size": 256},
)
def write(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Text file, folder of them, or -; or a trained model. Without one: Python's manual."
        ),
    ] = None,
    unit: Annotated[
        str, typer.Option(help=f"What is predicted: {', '.join(UNITS)}."), Among(UNITS)
    ] = CHARACTERS,
    lines: Annotated[bool, typer.Option("--lines", help="Each line is a text of its own.")] = False,
    prompt: Annotated[str, typer.Option(help="The beginning of the samples.")] = "",
    length: Annotated[int, typer.Option(min=0, help="The most characters (bytes, words) of a sample.")] = 500,
    count: Annotated[int, typer.Option(min=1, help="Number of samples.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, help="Below 1: more likely characters.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw among the k most likely.")] = None,
    top_p: Annotated[
        float | None, typer.Option(max=1, help="Draw among those that sum to p."), Above(0)
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    keep_text: Annotated[
        bool, typer.Option("--keep-text", help="Store the training text in the model file.")
    ] = False,
    score: Annotated[Path | None, typer.Option(help="With a model: score this file.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="With a model: the training text, to find what is copied.")
    ] = None,
    *,
    common: Common,
    reading: dict[str, Any],
) -> Flow:
    """Train a language model on texts, test it beside counting, and let it write.

    With a trained model (a .safetensors file, or the folder of a run) it writes at once, or scores the
    file --score: the exact probability of every character. The end of a text is held out for the test;
    of 20 texts and more, whole texts are.
    """
    drawing = Drawing(length, prompt, temperature, top_k, top_p, stop or [], common.seed, count)
    model = None if file is None else _model_in(file)
    if model is not None:
        _refuse_ignored(file, score, text, common)
        raise typer.Exit(_apply(model, drawing, score, text, common, reading))
    for name, given in (("--score", score), ("--text", text)):
        if given is not None:
            raise ValueError(f"{name}: FILE must be a trained model. Got {file or 'none'}.")
    if file is None:
        common.refuse(("lines", "encoding"), "says how FILE is read: give both.")
    return Flow(file, unit, lines, keep_text, drawing, common, reading)


def _refuse_ignored(file: Path | None, score: Path | None, text: Path | None, common: Common) -> None:
    """Refuse options that a trained model would ignore."""
    common.refuse(_OF_TRAINING, f"is for training, and {file} is trained already.")
    if score is not None:
        common.refuse(_OF_WRITING, "is for writing: leave it out with --score.")
        return
    common.refuse(("out",), "goes with --score: samples are printed.")
    if text is None:
        common.refuse(("encoding",), "says how --score or --text is read: give both.")


def _model_in(file: Path) -> Path | None:
    """The model file that is meant, or None if `file` is a text, or a folder of texts.

    Raises:
        ValueError: it is an unfinished run, or a folder of runs: not a text that somebody wants to learn.
    """
    if not file.is_dir():
        return file if file.suffix == ".safetensors" else None
    if (file / MODEL).is_file():
        return file / MODEL
    if file.name.endswith(SUFFIX):
        raise ValueError(f"{file}: the run is unfinished; the command that began it continues with --resume.")
    runs = sorted(str(model.parent) for model in file.glob(f"*/{MODEL}"))
    if runs:
        raise ValueError(f"{file}: the folder holds runs, not texts; name one of them, such as {runs[0]}.")
    return None


def _apply(
    path: Path,
    drawing: Drawing,
    score: Path | None,
    text: Path | None,
    common: Common,
    reading: dict[str, Any],
) -> int:
    """Let a trained model write, or score a file. Returns the exit status."""
    from gatewise.runtime.jobs.writer import Writer as Model
    from gatewise.runtime.model_file import read_model
    from gatewise.tasks.writing.reading import read_texts

    model = Model.from_file(read_model(path, Model.TASK))
    console = Console(markup=False, highlight=False, emoji=False)
    if score is not None:
        return _score(model, "\n".join(read_texts(score, **reading)), score.name, common, console)
    return _write(
        model, drawing, "\n".join(read_texts(text, **reading)) if text else model.text, common, console
    )


def _write(model: Any, drawing: Drawing, training: str | None, common: Common, console: Console) -> int:
    from gatewise.tasks.writing.copying import CopyIndex
    from gatewise.tasks.writing.evaluation import examined

    index = CopyIndex(training) if training else None
    samples = examined(model, model.write(**drawing.options), drawing.prompt, index)
    if common.json:
        print_json({"drawing": drawing.options, "samples": [sample.to_dict() for sample in samples]})
        return 0
    _show_samples(console, samples, drawing.prompt)
    if index is None:
        console.print("\nGive the training text with --text to see what is copied from it.")
    return 0


def _score(model: Any, text: str, name: str, common: Common, console: Console) -> int:
    scored = model.score(text)
    folder = _write_scores(scored, name, model.unit, common.out) if common.out else None
    if common.json:
        print_json({
            "file": name, "characters": scored.characters, "perplexity": scored.perplexity,
            "bits_per_character": scored.bits_per_character, "folder": folder and str(folder),
            "log_probability": scored.total,
        })  # fmt: skip
        return 0
    shown = Text()
    read = summed(scored.tokens, scored.bits.tolist(), model.unit)
    for token, bits in list(zip(*read, strict=True))[:_MOST_PRINTED]:
        shown.append(token, style=next(style for most, style in _SHADES if bits < most))
    console.print(shown)
    console.print(
        f"\n{name}: {scored.bits_per_character:.3f} bits per character, log probability {scored.total:,.1f}, "
        f"perplexity per token {scored.perplexity:.2f}."
    )
    _show_surprises(console, scored, model.unit)
    if folder:
        console.print(f"\n{folder}/surprises.html and surprises.csv: every token with its probability")
    else:
        console.print("\n--out FOLDER writes every token with its probability, as a page and as a table.")
    return 0


def _write_scores(scored: Scored, name: str, unit: str, out: Path) -> Path:
    from gatewise.tasks.shared.run_folder import NewFolder, given_name
    from gatewise.tasks.writing.surprises import surprise_page, surprise_table

    with NewFolder(lambda: given_name(out)) as folder:
        (folder.writing / "surprises.html").write_text(surprise_page(scored, name, unit), encoding="utf-8")
        (folder.writing / "surprises.csv").write_text(surprise_table(scored, unit), encoding="utf-8")
    return folder.path


def _show_surprises(console: Console, scored: Scored, unit: str) -> None:
    """Print the most surprising tokens with their surroundings."""
    from gatewise.tasks.writing.surprises import in_quotes

    read, came = readable(scored.tokens, unit), spelled(scored.tokens, unit)
    other = spelled(scored.tokens, unit, scored.expected)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("bits", "most surprising", "came", "expected"):
        table.add_column(title, justify="right" if title == "bits" else "left")
    for n in sorted(sorted(range(len(scored.tokens)), key=lambda n: -scored.bits[n])[:8]):
        before = "".join(read[max(n - 24, 0) : n])
        expected = f"{in_quotes(other[n], unit)} ({scored.confidence[n]:.0%})"
        table.add_row(f"{scored.bits[n]:.1f}", repr(before)[1:-1], in_quotes(came[n], unit), expected)
    console.print(table)


def _show_samples(console: Console, samples: Sequence[Sample], prompt: str) -> None:
    for n, sample in enumerate(samples, 1):
        console.print(Text(f"\nSample {n}", style="bold"))
        console.print(Text(prompt, style="dim") + Text(sample.text))
        facts = [f"{sample.figure[0].upper()}{sample.figure[1:]}.", str(sample.copied or "")]
        facts.append(f"It loops: {sample.loop}." if sample.loop else "")
        console.print(Text(" ".join(fact for fact in facts if fact), style="dim"))


def _show_facts(console: Console, facts: dict[str, str]) -> None:
    grid = Table.grid(padding=(0, 2))
    for name, fact in facts.items():
        grid.add_row(Text(name, style="bold"), Text(fact))
    console.print(grid)
    console.print()


def _said(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
