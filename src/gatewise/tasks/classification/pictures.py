"""The pictures of a run: confusion, running probabilities, and the steps that decided."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gatewise.runtime.jobs.deciding import Deciding
from gatewise.tasks.classification.classifier import Classifier
from gatewise.tasks.classification.drawings import (
    Decided,
    Running,
    draw_confusion,
    draw_decided,
    draw_label_scores,
    draw_running,
    shown_classes,
)
from gatewise.tasks.classification.evaluation import Evaluation
from gatewise.tasks.shared.sequences import Sequences

Array = NDArray[Any]
MOST_CURVE = 2000  # test sequences for the curve
MOST_WORDS = 160  # of a text that is drawn
MOST_STEPS = 1 << 14  # of a sequence that is explained, for the memory that it takes
EXPLAINED = 3  # sequences whose steps are explained


def confusion_picture(classifier: Classifier, tested: Evaluation) -> Figure:
    """Draw the confusion matrix; for several labels the scores of each."""
    overall, names = tested.overall(), class_names(classifier)
    count = overall["sequences"]
    if tested.labels.several:
        heading = f"{overall['exactly_right']:.1%} of {count:,} test sequences have all labels right"
        note = f"F1 over all labels {overall['micro_f1']:.3f}. In brackets: test sequences with the label."
        return draw_label_scores(tested.by_class(), names, heading, note)
    heading = f"{overall['accuracy']:.1%} of {count:,} test sequences are classified correctly"
    note = f"The most frequent class alone would give {overall['most_frequent_class']:.1%}."
    if confused := tested.confused(2):
        words = [
            f"{truth} taken for {other}, {'once' if n == 1 else f'{n} times'}" for truth, other, n in confused
        ]
        note += f" Most frequent confusions: {'; '.join(words)}."
    return draw_confusion(tested.confusion, names, heading, note)


def running_picture(classifier: Classifier, sequences: Sequences, tested: Evaluation) -> Figure:
    """Draw the probabilities while some test sequences are read, and the price of deciding earlier."""
    early = tested.early
    assert early is not None
    some = np.arange(min(len(sequences), MOST_CURVE))
    running = classifier.running_proba(sequences[some].values)
    curve = Deciding.fit(running, tested.truth[some], doubted=0)
    places = {label: k for k, label in enumerate(classifier.classes_.tolist())}
    decided = np.array([places[label] for label in early.labels.tolist()])
    names = class_names(classifier)
    shown = []
    for title, row in _told(decided[some] == tested.truth[some], early.earliness[some]):
        step, count = int(early.steps[row]), len(running[row])
        what = f"{title}: {step} of {count} steps"
        shown.append(Running(what, running[row], int(tested.truth[row]), step, int(decided[row])))
    right, read = float((decided == tested.truth).mean()), float(early.earliness.mean())
    whole = float(tested.right.mean())
    told = "never before the end" if early.threshold > 1 else f"at a probability of {early.threshold:.3f}"
    heading = f"Decided after {read:.0%} of a sequence on average, {right:.1%} right (at its end {whole:.1%})"
    note = f"A decision falls {told} (dashed), chosen on the validation part. "
    note += "Vertical line: the decision. Thick: the true class."
    if any(len(shown_classes(sequence)) < len(names) for sequence in shown):
        note += " Grey: other classes."
    trade = np.array(curve.earliness), np.array(curve.accuracies)
    return draw_running(shown, names, early.threshold, trade, (read, right), heading, note)


def steps_picture(classifier: Classifier, sequences: Sequences, tested: Evaluation) -> Figure:
    """Draw what each step of some test sequences adds to the logit of their class."""
    rows = _explained(tested, sequences.lengths)
    chosen = sequences[np.array(rows)]
    found = classifier.explain(chosen.values)
    shown = []
    for n, (row, explained) in enumerate(zip(rows, found, strict=True)):
        title = f"{explained.label} rather than {explained.against}"
        if not tested.labels.several:
            truth = tested.labels.classes[tested.truth[row]]
            title += " (right)" if truth == explained.label else f" (wrong: it is {truth})"
        values = None
        words = explained.words
        if words is None:
            values = np.asarray(classifier.scaled(chosen.values[n]))
        steps, words, values = _most_telling(explained.steps, words, values)
        shown.append(Decided(title, steps, values, words))
    worst = max(explained.residual for explained in found)
    heading = "Which steps decided"
    note = (
        "What each step adds to the difference of the logits of two classes, by integrated gradients. "
        f"The sums miss the differences by at most {worst:.1%}."
    )
    note += (
        " Blue speaks for the class, orange against it."
        if words is None
        else " Purple is for, orange against."
    )
    return draw_decided(shown, classifier.channels_in_, heading, note)


def class_names(classifier: Classifier) -> list[str]:
    """The classes as texts."""
    return [str(label) for label in classifier.classes_.tolist()]


def _told(right: Array, earliness: Array) -> list[tuple[str, int]]:
    """Titles and rows of six sequences: early, typical and late decisions, and wrong ones."""
    good, bad = (np.flatnonzero(of)[np.argsort(earliness[of], kind="stable")] for of in (right, ~right))
    told: list[tuple[str, int]] = []
    shares = {"early": 0.02, "typical": 0.5, "late": 0.98, "rather early": 0.25, "rather late": 0.75}
    wrong = bad[: min(len(bad), 3 if len(good) > 2 else 6)].tolist()
    for title, share in list(shares.items())[: 6 - min(len(wrong), 3)]:
        if len(good):
            told.append((f"Right, {title}", int(good[int(share * (len(good) - 1))])))
    told = list({row: (title, row) for title, row in told}.values())
    return told + [("Wrong", row) for row in wrong][: 6 - len(told)]


def _explained(tested: Evaluation, lengths: Array) -> list[int]:
    """A sure right sequence, the least sure right one, and the surest wrong one; none is very long."""
    sure = tested.probabilities.max(axis=1)
    short = lengths <= max(MOST_STEPS, lengths.min())
    right, wrong = np.flatnonzero(tested.right & short), np.flatnonzero(~tested.right & short)
    rows: list[int] = []
    if len(right):
        order = right[np.argsort(-sure[right], kind="stable")]
        rows += [int(order[len(order) // 4]), int(order[-1])]
    if len(wrong):
        rows.append(int(wrong[sure[wrong].argmax()]))
    return list(dict.fromkeys(rows))[:EXPLAINED]


def _most_telling(
    steps: Array, words: tuple[str, ...] | None, values: Array | None
) -> tuple[Array, tuple[str, ...] | None, Array | None]:
    """The part of a long text around which most of the shares lie."""
    if words is None or len(words) <= MOST_WORDS:
        return steps, words, values
    sums = np.convolve(np.abs(steps), np.ones(MOST_WORDS), "valid")
    start = int(sums.argmax())
    return steps[start : start + MOST_WORDS], words[start : start + MOST_WORDS], values
