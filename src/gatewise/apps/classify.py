"""``gatewise classify``: read labelled sequences, train a classifier, test it, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.apps.job import Common, Flow, job_command
from gatewise.apps.options import Among

if TYPE_CHECKING:
    from gatewise.tasks.classification.classifier import Classifier
    from gatewise.tasks.classification.evaluation import Evaluation
    from gatewise.tasks.classification.reading import LabelledFile
    from gatewise.tasks.shared.training import Epoch

Sample = Annotated[
    str | None,
    typer.Option(help="Bundled data in place of FILE: digits, or docstrings (texts)."),
    Among(("digits", "docstrings")),
]
Unit = Annotated[
    str,
    typer.Option(help="Texts are read by words, characters, or auto."),
    Among(("words", "characters", "auto")),
]
Label = Annotated[str | None, typer.Option(help="Column of classes. (default: label, class or target)")]
Column = Annotated[
    list[str] | None,
    typer.Option(help="Column to read: a channel, or the text; may be repeated. (default: all others)"),
]
Longest = Annotated[
    int | None,
    typer.Option(min=1, help="Steps, words or characters that are read of a sequence. (default: all)"),
]
Channels = Annotated[
    int | None,
    typer.Option(min=1, help="Channels of the first convolution. (default: as many as hidden units)"),
]
SkipUnlabelled = Annotated[
    bool, typer.Option("--skip-unlabelled", help="Leave sequences without a label out.")
]
Balanced = Annotated[bool, typer.Option("--balanced", help="Rare classes weigh as much as frequent ones.")]
Accuracy = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Wanted for early decisions. (default: that of whole sequences)"),
]
# Options for tables, and for any file.
_OF_TABLES = (
    "label", "id", "time", "column", "skip_unlabelled", "where", "missing", "decimal", "thousands",
    "skip_rows",
)  # fmt: skip
_OF_FILES = (*_OF_TABLES, "separator", "encoding")
_MANY = 200  # validation sequences from which on a threshold is reliable
MOST_CLASSES = 20  # classes in the table that is printed


class ClassifyError(ValueError):
    """Raised for options that do not fit together. The message is one sentence."""


@job_command(
    example="gatewise classify sensors.csv --label state --id recording",
    reads=("where", "missing", "decimal", "thousands", "encoding", "skip_rows"),
    defaults={"cell": "gru", "hidden_size": 32, "epochs": 60},
)
def classify(
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV, Parquet, JSON lines or .ts file, or -. Without one: handwritten digits."),
    ] = None,
    label: Label = None,
    test: Annotated[
        Path | None, typer.Option(help="File to test on. (default: a fifth of FILE, of each class)")
    ] = None,
    id: Annotated[
        str | None, typer.Option(help="Column that tells sequences apart, in a file with a row a step.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column by which steps are sorted.")] = None,
    column: Column = None,
    sample: Sample = None,
    separator: Annotated[
        str | None, typer.Option(help="Mark between the labels of a sequence that has several.")
    ] = None,
    skip_unlabelled: SkipUnlabelled = False,
    unit: Unit = "auto",
    longest: Longest = None,
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional", help="Also read backwards. No early decisions then.")
    ] = False,
    convolution: Annotated[bool, typer.Option(help="Convolutions beside the recurrent layers.")] = True,
    channels: Channels = None,
    members: Annotated[
        int, typer.Option(min=1, help="Networks whose answers are averaged; 5 take 5 times as long.")
    ] = 1,
    accuracy: Accuracy = None,
    balanced: Balanced = False,
    *,
    common: Common,
    reading: dict[str, Any],
) -> Flow:
    """Train a network that tells classes of sequences apart, and test it on sequences that it never saw.

    Sequences are measurements of any number of channels and steps, or texts. Without a file it learns to
    read handwritten digits, a row of pixels at a time.
    """
    from gatewise.tasks.classification.reading import Columns, divided, read_labelled, sampled

    if channels is not None and not convolution:
        raise ClassifyError(f"--channels goes with convolutions. Got {channels} with --no-convolution.")
    files = [f for f in (file, test) if f is not None]
    if file is None:
        if test is not None:
            raise ClassifyError(f"--test goes with FILE, which is trained on. Got {test} alone.")
        common.refuse(_OF_FILES, "says how FILE is read: give both.")
        training, tested = divided(sampled(sample or "digits"))
    else:
        if sample is not None:
            raise ClassifyError(f"--sample takes the place of FILE. Got both, {file} and {sample}.")
        if all(path.suffix.lower() == ".ts" for path in files):
            common.refuse(_OF_TABLES, "is for tables: a .ts file says itself what is in it.")
        columns = Columns(label, id, time, tuple(column or ()), separator, skip_unlabelled)
        whole = read_labelled(file, columns, reading)
        training, tested = divided(whole) if test is None else (whole, read_labelled(test, columns, reading))
    options = {
        "unit": unit, "longest": longest, "bidirectional": bidirectional,
        "convolution": convolution if channels is None else channels, "members": members,
        "class_weight": "balanced" if balanced else None,
    }  # fmt: skip
    return ClassifyFlow(training, tested, options, accuracy, common, files)


class ClassifyFlow:
    """A run of ``gatewise classify``."""

    def __init__(
        self, training: LabelledFile, tested: LabelledFile, options: dict[str, Any],
        accuracy: float | None, common: Common, data: Sequence[Path],
    ) -> None:  # fmt: skip
        from gatewise.tasks.classification.classifier import Classifier
        from gatewise.tasks.classification.run_folder import files_of

        self.training, self.tested, self.data, self.accuracy = training, tested, data, accuracy
        self.estimator: Classifier = Classifier(
            cell=common.cell, hidden_size=common.hidden_size, num_layers=common.layers,
            max_epochs=common.epochs, seed=common.seed, **options,
        )  # fmt: skip
        self.estimator.check_parameters()
        if accuracy is not None and (self.estimator.bidirectional or training.several):
            both = self.estimator.bidirectional
            reason = "the network reads both ways" if both else "a sequence has several labels"
            raise ClassifyError(f"--accuracy is for early decisions: there are none if {reason}.")
        stem = Path(training.name).name.split(".")[0]
        self.name = f"{stem}-{self.estimator.equations.name}"
        early = not (self.estimator.bidirectional or training.several)
        self.files: Mapping[str, str] = files_of(early)
        self.look: Sequence[str] | None = ["--on", str(data[-1])] if data else []
        self.metrics: dict[str, Any] = {}

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be trained."""
        training, tested, estimator = self.training, self.tested, self.estimator
        reads = f"reads{self._unit()} {'both ways' if estimator.bidirectional else 'forwards'}"
        beside = ", convolutions beside it" if estimator.convolution else ""
        beside += f", {estimator.members} networks" if estimator.members > 1 else ""
        facts = {
            "Sequences": f"{training.name}: {training.described()}",
            "Read": "; ".join(training.notes),
            "Classes": training.classes(),
            "Model": f"{estimator.cell_name} with {estimator.hidden_size} units, {reads}{beside}, "
            f"seed {estimator.seed}",
            "Test": f"{len(tested):,} sequences; training never sees them",
        }
        grid = Table.grid(padding=(0, 2))
        for name, fact in facts.items():
            if fact:
                grid.add_row(Text(name, style="bold"), Text(fact))
        console.print(grid)
        console.print()

    def _unit(self) -> str:
        """How texts are read, after a blank; empty for measurements."""
        from gatewise.runtime.jobs.preparation import UNITS
        from gatewise.tasks.classification.preparing import unit_of

        if not self.training.sequences.is_text:
            return ""
        given = self.estimator.unit
        return f" {given if given in UNITS else unit_of(self.training.sequences.texts)}"

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Fit the classifier."""
        training = self.training
        self.estimator.fit(training.sequences, training.labels, on_epoch=on_epoch, checkpoint=checkpoint)
        self.estimator.note_columns(training.columns.stored(training.text))

    def epoch_text(self, epoch: Epoch) -> str:
        """An epoch in words."""
        return f"validation loss {epoch.error:.3g}, best {epoch.best:.3g}"

    def test(self) -> None:
        """Classify the test part."""
        tested = self.tested
        self.result: Evaluation = self.estimator.evaluate(tested.sequences, tested.labels, self.accuracy)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the run. Returns the metrics."""
        from gatewise.tasks.classification.run_folder import write_run

        self.metrics = write_run(folder, self.estimator, self.training, self.tested, self.result)
        return self.metrics

    def show_results(self, console: Console) -> None:
        """Print the figures of each class, of all, and of early decisions."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Class")
        for title in ("precision", "recall", "F1", "sequences"):
            table.add_column(title, justify="right")
        rows = self.metrics["test"]["by_class"]
        for row in rows[:MOST_CLASSES]:
            shares = (f"{100 * row[name]:.1f}" for name in ("precision", "recall", "f1"))
            table.add_row(str(row["class"]), *shares, f"{row['sequences']:,}")
        console.print(table)
        if len(rows) > MOST_CLASSES:
            console.print(f"and {len(rows) - MOST_CLASSES} more classes, in metrics.json")
        for line in self._told():
            console.print(f"\n{line}", highlight=False)

    def _told(self) -> list[str]:
        overall = self.metrics["test"]["overall"]
        if self.result.labels.several:
            return [
                f"All labels right: {overall['exactly_right']:.1%} of {overall['sequences']:,} test "
                f"sequences. F1 over all labels: {overall['micro_f1']:.3f}."
            ]
        told = [
            f"Accuracy: {overall['accuracy']:.1%} of {overall['sequences']:,} test sequences. The most "
            f"frequent class alone: {overall['most_frequent_class']:.1%}.",
            f"Probabilities are off by {overall['calibration_error']:.1%} on average (before calibration "
            f"by {overall['calibration_error_uncalibrated']:.1%}).",
        ]
        if early := overall.get("early"):
            told.append(
                f"Deciding early: after {early['earliness']:.0%} of a sequence on average, "
                f"{early['accuracy']:.1%} right."
            )
            if self.estimator.checked_ < _MANY:
                told[-1] += (
                    f" The threshold is from {self.estimator.checked_:,} validation sequences, and so few "
                    "make it rough: other sequences may lose more accuracy."
                )
        return told

    def remarks(self) -> Sequence[str]:
        """A remark on characters that no font has."""
        from gatewise.insight.figures.lettering import missing_letters
        from gatewise.tasks.classification.pictures import class_names

        texts = self.tested.sequences.texts if self.tested.sequences.is_text else []
        boxes = missing_letters(*class_names(self.estimator), *texts)
        if not boxes:
            return []
        shown = boxes if len(boxes) <= 20 else boxes[:20] + "…"
        return [f"No font on this machine has {shown!r}: boxes stand for them in the pictures."]
