"""The files of a run of ``gatewise classify``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import gatewise
from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.classification.evaluation import Evaluation
from gatewise.tasks.classification.pictures import (
    class_names,
    confusion_picture,
    running_picture,
    steps_picture,
)
from gatewise.tasks.classification.reading import LabelledFile
from gatewise.tasks.shared.sequences import Sequences

CONFUSION, RUNNING, STEPS = "confusion.png", "running.png", "steps.png"
FILES = {
    "model.safetensors": "the trained model, for gatewise predict and gatewise.tasks.load",
    "metrics.json": "every figure above, for each class",
    "predictions.csv": "each test sequence with its probabilities and its early decision",
    CONFUSION: "which classes are taken for which",
    RUNNING: "probabilities while test sequences are read, and the price of deciding early",
    STEPS: "which steps decided",
}


def files_of(early: bool) -> dict[str, str]:
    """The files of a run, with their meanings; `early`: whether decisions can be made early."""
    return {name: told for name, told in FILES.items() if early or name != RUNNING}


def write_run(
    folder: Path, classifier: Classifier, training: LabelledFile, test: LabelledFile, tested: Evaluation
) -> dict[str, Any]:
    """Write all files of a run. Returns the metrics."""
    from gatewise.insight.figures import save_figure

    sequences = test.sequences
    classifier.metrics_ = metrics(classifier, training, test, tested)
    text = json.dumps(classifier.metrics_, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    classifier.save(folder / "model.safetensors")
    write_predictions(folder / "predictions.csv", classifier, sequences, tested)
    save_figure(confusion_picture(classifier, tested), folder / CONFUSION)
    if tested.early is not None:
        save_figure(running_picture(classifier, sequences, tested), folder / RUNNING)
    save_figure(steps_picture(classifier, sequences, tested), folder / STEPS)
    return classifier.metrics_


def write_predictions(path: Path, classifier: Classifier, sequences: Sequences, tested: Evaluation) -> None:
    """Write a row for each test sequence."""
    names, classes = class_names(classifier), classifier.classes_.tolist()
    early = tested.early
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["id", "true", "predicted", *(f"p({name})" for name in names)]
        writer.writerow(header + (["early", "after steps"] if early is not None else []))
        for row, key in enumerate(sequences.ids):
            told: list[Any] = [key, *(_named(of[row], classes) for of in (tested.truth, tested.predicted))]
            told += [f"{p:.6g}" for p in tested.probabilities[row]]
            if early is not None:
                told += [early.labels[row], early.steps[row]]
            writer.writerow(told)


def metrics(
    classifier: Classifier, training: LabelledFile, test: LabelledFile, tested: Evaluation
) -> dict[str, Any]:
    """A run as JSON data. It does not contain the current time, so equal runs give equal files."""
    confusion = {} if tested.labels.several else {"confusion": tested.confusion.tolist()}
    unsaved = {"trainer", "class_weight"}
    return {
        "gatewise": gatewise.__version__,
        "data": {
            "file": training.name,
            "channels": list(training.sequences.channels),
            "sequences": len(training),
            "read": list(training.notes),
        },
        "model": {name: value for name, value in classifier.get_params().items() if name not in unsaved}
        | {"cell": classifier.equations.name, "balanced": classifier.class_weight == "balanced"},
        "training": {
            "epochs": classifier.epochs_,
            "best_epoch": classifier.best_epoch_,
            "validation_log_loss": classifier.validation_error_,
            "temperature": classifier.temperature_,
            "interrupted": classifier.interrupted_,
        },
        "test": {
            "file": test.name,
            "overall": tested.overall(),
            "by_class": tested.by_class(),
            **confusion,
        },
    }


def _named(number: Any, classes: list[Any]) -> Any:
    if getattr(number, "ndim", 0):
        return " ".join(str(label) for label, has in zip(classes, number, strict=True) if has)
    return classes[int(number)]
