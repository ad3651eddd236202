"""``gatewise tag``: read sentences, train a tagger, test it, write."""

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
    from gatewise.runtime.jobs.tags import TableNames, Tagged
    from gatewise.tasks.shared.training import Epoch
    from gatewise.tasks.tagging.evaluation import ColumnResult
    from gatewise.tasks.tagging.reading import TaggedFile
    from gatewise.tasks.tagging.tagger import Tagger

SAMPLED = 12  # modules of the sample


@job_command(
    example="gatewise tag train.conllu --test test.conllu --tags upos",
    reads=("encoding",),
    defaults={"hidden_size": 128, "layers": 2, "epochs": 12},
)
def tag(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CoNLL-U, two columns, CSV, Parquet, JSON lines, or -. Without one: lines of Python, tagged."
        ),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="File to test on. (default: every tenth sentence of FILE)")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(help="Column of tags, as upos; may be repeated, the main one first. (default: all)"),
    ] = None,
    look_ahead: Annotated[
        int | None,
        typer.Option(min=0, max=16, help="Tag a stream: words read past each word. (default: the sentence)"),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="conllu, columns, table or text. (default: by the name of the file)"),
        Among(("conllu", "columns", "table", "text")),
    ] = None,
    word: Annotated[str | None, typer.Option(help="Column of words in a table.")] = None,
    sentence: Annotated[str | None, typer.Option(help="Column that tells sentences apart.")] = None,
    *,
    common: Common,
    reading: dict[str, Any],
) -> Flow:
    """Train a network that tags each word of a sentence, and test it on sentences that it never saw.

    Without a file it learns what each token of Python's own library is for.
    """
    from gatewise.runtime.jobs.tags import TableNames
    from gatewise.tasks.tagging.reading import divided, read_tagged

    def read(path: Path) -> TaggedFile:
        return read_tagged(path, format=format, word=word, sentence=sentence, tags=tags or (), **reading)

    if file is None:
        if test is not None:
            raise ValueError(f"--test goes with FILE, which is trained on. Got {test} alone.")
        common.refuse(("format", "word", "sentence", "encoding"), "says how FILE is read: give both.")
        name, (training, tested) = "python_tokens", _sample()
    else:
        if format is not None and format != "table":
            common.refuse(("word", "sentence"), f"is for tables, not for --format {format}.")
        name, whole = file.name.split(".")[0], read(file)
        training, tested = (whole, read(test)) if test is not None else divided(whole)
        if "table" not in (training.format, tested.format):
            common.refuse(("word", "sentence"), "is for tables: FILE is none.")
    data = [path for path in (file, test) if path is not None]
    return TagFlow(name, training, tested, tags or [], look_ahead, common, data, TableNames(word, sentence))


def _sample() -> tuple[TaggedFile, TaggedFile]:
    """Lines of a dozen modules of Python's library. Whole modules are held out."""
    from gatewise.tasks.shared.samples import python_tokens
    from gatewise.tasks.tagging.corpus import Corpus
    from gatewise.tasks.tagging.reading import TaggedFile, divided

    sample = python_tokens()
    used = set(sorted(set(sample.groups))[:SAMPLED])
    rows = [row for row, group in enumerate(sample.groups) if group in used]
    corpus = Corpus(sample.words, {"tag": sample.tags}, sample.name).part(rows)
    return divided(TaggedFile("columns", corpus), [sample.groups[row] for row in rows])


class TagFlow:
    """A run of ``gatewise tag``."""

    def __init__(
        self, name: str, training: TaggedFile, test: TaggedFile, columns: Sequence[str],
        look_ahead: int | None, common: Common, data: Sequence[Path], table: TableNames,
    ) -> None:  # fmt: skip
        from gatewise.tasks.shared.reading.errors import TableError

        self.training, self.tested, self.data = training, test, data
        self.columns = list(columns or training.corpus.columns)
        if not self.columns:
            raise TableError(training.corpus.name, f"the file has no tags to learn from{_hint(training)}")
        self.y = training.corpus.targets(self.columns)
        test.corpus.targets(self.columns)
        from gatewise.tasks.tagging.run_folder import files_of  # imports torch: all that is read is checked
        from gatewise.tasks.tagging.tagger import Tagger

        self.estimator: Tagger = Tagger(
            cell=common.cell, hidden_size=common.hidden_size, num_layers=common.layers,
            max_epochs=common.epochs, seed=common.seed, look_ahead=look_ahead, columns=self.columns,
        )  # fmt: skip
        self.estimator.note_table(table)
        self.name = f"{name}-{self.estimator.equations.name}"
        self.files: Mapping[str, str] = files_of(test)
        self.look: Sequence[str] | None = ["--on", str(data[-1])] if data else []
        self.tagged: list[list[Tagged]] = []
        self.results: list[ColumnResult] = []

    def show_data(self, console: Console) -> None:
        """Print what was read and what will be trained."""
        corpus, tested = self.training.corpus, self.tested.corpus
        ahead = self.estimator.look_ahead
        reads = "reads whole sentences" if ahead is None else f"reads {ahead} words ahead"
        size = f"{self.estimator.num_layers} x {self.estimator.hidden_size} units"
        facts = {
            "Sentences": f"{Path(corpus.name).name}: {len(corpus):,} sentences, {corpus.tokens:,} words",
            "Tags": ", ".join(f"{name} ({_different(corpus.tags[name])})" for name in self.columns),
            "Model": f"{self.estimator.cell_name}, {size}, {reads}, seed {self.estimator.seed}",
            "Test": f"{len(tested):,} sentences, {tested.tokens:,} words; training never sees them",
        }
        grid = Table.grid(padding=(0, 2))
        for name, fact in facts.items():
            grid.add_row(Text(name, style="bold"), Text(fact))
        console.print(grid)
        console.print()

    def fit(self, on_epoch: Callable[[Epoch], None], checkpoint: Path) -> None:
        """Fit the tagger."""
        words = self.training.corpus.words
        self.estimator.fit(words, self.y, on_epoch=on_epoch, checkpoint=checkpoint)

    def epoch_text(self, epoch: Epoch) -> str:
        """An epoch in words."""
        return f"validation accuracy {1 - epoch.error:.2%}, best {1 - epoch.best:.2%}"

    def test(self) -> None:
        """Tag the test part."""
        from gatewise.tasks.tagging.evaluation import evaluate

        self.tagged = self.estimator.tagged(self.tested.corpus.words)
        self.results = evaluate(self.tested.corpus, self.tagged, self.columns, self.training.corpus)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files of the run. Returns the metrics."""
        from gatewise.tasks.tagging.run_folder import write_run

        self.metrics = write_run(
            folder, self.estimator, self.training, self.tested, self.tagged, self.results
        )
        return self.metrics

    def show_results(self, console: Console) -> None:
        """Print the accuracy of each column, of spans, and of certain words."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Accuracy (%)")
        for title in ("all words", "seen in training", "unseen", "most frequent tag"):
            table.add_column(title, justify="right")
        for result in self.results:
            figures = self.metrics["test"][result.name]
            keys = ("accuracy", "accuracy_known_words", "accuracy_unseen_words", "accuracy_most_frequent_tag")
            table.add_row(result.name, *(_percent(figures[key]) for key in keys))
        console.print(table)
        for result in self.results:
            figures = self.metrics["test"][result.name]
            if "spans" in figures:
                spans = figures["spans"]
                of = f"precision {spans['precision']:.2%}, recall {spans['recall']:.2%}"
                console.print(f"\n{result.name}: F1 of {spans['spans']:,} spans {spans['f1']:.2%} ({of}).")
        self._show_certain(console)

    def _show_certain(self, console: Console) -> None:
        first = self.results[0]
        sure = next(each for each in first.abstaining() if each["least"] == 0.9)
        if sure["tagged"]:
            console.print(
                f"\n{first.name}: {sure['tagged']:.1%} of the words have a probability of at least 0.9, "
                f"and {sure['accuracy']:.2%} of these are right."
            )

    def remarks(self) -> Sequence[str]:
        """A remark on characters that no font has."""
        from gatewise.insight.figures.lettering import missing_letters

        drawn = "".join({letter for words in self.tested.corpus.words for word in words for letter in word})
        boxes = missing_letters(drawn)
        if not boxes:
            return []
        shown = boxes if len(boxes) <= 20 else boxes[:20] + "…"
        return [f"No font on this machine has {shown!r}: boxes stand for them in the pictures."]


def _hint(file: TaggedFile) -> str:
    if file.format != "text":
        return ""
    return "; if each of its lines is a word and its tags: --format columns"


def _different(tags: Sequence[Sequence[str]]) -> int:
    return len({tag for sentence in tags for tag in sentence})


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
