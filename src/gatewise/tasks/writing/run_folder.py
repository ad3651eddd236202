"""The files of a run of ``gatewise write``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np

import gatewise
from gatewise.insight.figures import save_figure
from gatewise.runtime.arrays import Array
from gatewise.runtime.jobs.units import BYTES, readable, split, summed
from gatewise.runtime.jobs.writer import Scored
from gatewise.tasks.writing.corpus import Corpus
from gatewise.tasks.writing.evaluation import Division, Sample, Tested, counted
from gatewise.tasks.writing.pictures import learning_picture, surprise_picture, unit_picture
from gatewise.tasks.writing.signals import Followed, followed
from gatewise.tasks.writing.surprises import surprise_page, surprise_table
from gatewise.tasks.writing.writer import Writer

LEARNING, SURPRISES, SAMPLE, UNIT = "learning.png", "surprises.png", "sample.png", "unit.png"
FILES = {
    "model.safetensors": "the trained model, for gatewise write and gatewise.tasks.load",
    "metrics.json": "every figure above, and the samples",
    "samples.txt": "the texts that it wrote",
    "surprises.html": "the held-out text, each character with its probability",
    "surprises.csv": "the same as a table",
    LEARNING: "the validation error beside what counting achieves",
    SURPRISES: "a piece of the held-out text: what was expected, and what was not",
    SAMPLE: "a sample in the same colours, with what is copied from the training text",
    UNIT: "the units that keep track of quotes, brackets or columns best",
}
_MOST_SCORED = 20_000  # characters of the held-out text in surprises.html
_DRAWN, _DRAWN_TWICE = 1000, 550  # characters of a picture with one text, with two
_WATCHED = 12_000  # tokens among which units are sought


def write_run(
    folder: Path, writer: Writer, division: Division, tested: Tested, samples: Sequence[Sample],
    about: dict[str, Any],
) -> None:  # fmt: skip
    """Write all files of a run. `about` says as JSON what was read, and how the samples were drawn."""
    writer.metrics_ = metrics(writer, tested, samples, about)
    writer.save(folder / "model.safetensors")
    text = json.dumps(writer.metrics_, indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "metrics.json", text + "\n")
    _write(folder / "samples.txt", "\n\n".join(map(_told, samples)) + "\n")
    scored = writer.model_.score(division.test[0][:_MOST_SCORED], division.before[0])
    _write(folder / "surprises.html", surprise_page(scored, "The held-out text", writer.unit))
    _write(folder / "surprises.csv", surprise_table(scored, writer.unit))
    _draw(folder, writer, division, samples, scored)


def metrics(
    writer: Writer, tested: Tested, samples: Sequence[Sample], about: dict[str, Any]
) -> dict[str, Any]:
    """A run as JSON data. It does not contain the current time, so equal runs give equal files."""
    return {
        "gatewise": gatewise.__version__,
        **about,
        "model": writer.get_params(deep=False) | {"cell": writer.equations.name, "trainer": None},
        "vocabulary": len(writer.vocabulary_.entries),
        "training": {
            "epochs": writer.epochs_,
            "best_epoch": writer.best_epoch_,
            "validation_bits": writer.validation_error_,
            "interrupted": writer.interrupted_,
        },
        "test": tested.to_dict(),
        "samples": [sample.to_dict() for sample in samples],
    }


def _draw(
    folder: Path, writer: Writer, division: Division, samples: Sequence[Sample], scored: Scored
) -> None:
    save_figure(_learning(writer, division), folder / LEARNING)
    figure = f"{scored.bits_per_character:.2f} bits per character"
    unit = "character" if writer.unit == BYTES else writer.unit[:-1]
    note = f"Each {unit} stands on a colour that says how little it was expected, given all before it. "
    read, bits = summed(scored.tokens, scored.bits.tolist(), writer.unit)
    part = _passage(read)
    heading = f"A text that it has never seen: {figure}"
    save_figure(surprise_picture(read[part], bits[part], heading, note), folder / SURPRISES)
    sample = samples[0]
    heading, more = f"A text that it wrote: {sample.figure}", ""
    if sample.copied:
        more = f"Underlined: in the training text, in runs of at least 40. {sample.copied}"
    drawn = sample.scored.tokens[:_DRAWN]
    tokens, bits = summed(drawn, sample.scored.bits[:_DRAWN].tolist(), writer.unit)
    save_figure(surprise_picture(tokens, bits, heading, note + more, sample.copied), folder / SAMPLE)
    if found := units(writer, division.test):
        tokens = readable(split(division.test[0], writer.unit), writer.unit)
        start = _liveliest(found[0].signal)
        others = sorted(found[1:], key=lambda each: -abs(each.correlation))
        shown = [found[0], *others[:1]]
        save_figure(unit_picture(tokens, shown, start, start + _DRAWN_TWICE), folder / UNIT)


def units(writer: Writer, texts: Sequence[str]) -> list[Followed]:
    """The units that follow signals of texts best, as `signals.followed`; none for too short a text."""
    tokens = split(texts[0], writer.unit)[:_WATCHED]
    ids = writer.vocabulary_.ids(tokens)
    network: Any = writer.network_
    return followed(network, tokens, ids)


def _learning(writer: Writer, division: Division) -> Any:
    """The picture of learning. The n-gram models are those of the same training and validation part."""
    corpus = Corpus.of(division.train, writer.unit, writer.validation, writer.vocabulary_size, writer.seed)
    bits = counted(writer.model_, corpus.train, corpus.check)
    best = int(np.argmin(bits)) + 1
    floors = {f"{n}-gram": bits[n - 1] for n in sorted({best, len(bits)})}
    losses, errors = ([value / log(2) for value in column] for column in zip(
        *((epoch.loss, epoch.error) for epoch in writer.history_), strict=True
    ))  # fmt: skip
    return learning_picture(losses, errors, writer.best_epoch_, floors, writer.unit[:-1])


def _told(sample: Sample) -> str:
    facts = [sample.figure, str(sample.copied or ""), f"Loop: {sample.loop}." if sample.loop else ""]
    return f"[{' '.join(fact for fact in facts if fact)}]\n{sample.text}"


def _passage(tokens: Sequence[str]) -> slice:
    """A piece of a text that begins with a line."""
    start = next((n + 1 for n in range(len(tokens) // 8, len(tokens) - _DRAWN) if tokens[n] == "\n"), 0)
    return slice(start, start + _DRAWN)


def _liveliest(signal: Array) -> int:
    """Where the piece of a text begins in which a signal changes most."""
    changes = np.concatenate([[0], np.cumsum(np.diff(signal) != 0)])
    if len(changes) <= _DRAWN_TWICE:
        return 0
    return int((changes[_DRAWN_TWICE:] - changes[:-_DRAWN_TWICE]).argmax())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
