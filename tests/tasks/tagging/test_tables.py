"""Tags from tables, without torch."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gatewise.apps.commands import app
from gatewise.runtime.jobs.tagger import Tagger as Model
from gatewise.tasks import Predictor
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.tagging.reading import read_tagged
from gatewise.tasks.tagging.tables import read_known
from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.conftest import small
from tests.tasks.tagging.sentences import corpus

X, _ = corpus(1, 6)


def table_of(sentences: list[list[str]], first: int = 0) -> pa.Table:
    ids = [f"s{first + row}" for row, words in enumerate(sentences) for _ in words]
    return pa.table(
        {"more": range(len(ids)), "sent_id": ids, "form": [w for words in sentences for w in words]}
    )


def test_a_table_gets_the_tags_of_its_sentences(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path / "model.safetensors")
    assert isinstance(predictor.model, Model)
    made = predictor(table_of(X))
    assert made.column_names == ["sent_id", "form", "pos", "pos probability", "span", "span probability"]
    expected = [word for sentence in both.tagged(X) for word in sentence]
    assert made["form"].to_pylist() == [word.word for word in expected]
    assert made["span"].to_pylist() == [word.tags[1] for word in expected]
    assert made["pos probability"].to_pylist() == [
        word.probabilities[0] for word in expected
    ]  # the same bits
    parts = [predictor(table_of(X[:2])), predictor(table_of(X[2:], 2))]
    assert pa.concat_tables(parts).equals(made)


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv", "a.parquet"])
def test_files(both: Tagger, tmp_path: Path, name: str) -> None:
    both.save(tmp_path / "model.safetensors")
    predictor, path = Predictor(tmp_path), tmp_path / name
    if name == "a.txt":
        path.write_text("".join(" ".join(words) + "\n" for words in X))
    elif name == "a.tsv":
        path.write_text("".join("".join(f"{word}\tX\n" for word in words) + "\n" for words in X))
    elif name == "a.csv":
        rows = [f'{row},"{word}"\n' for row, words in enumerate(X) for word in words]
        path.write_text("id,word\n" + "".join(rows))
    else:
        pq.write_table(table_of(X), path)
    (read,) = predictor.read(path)
    assert predictor(read)["pos"].to_pylist() == [word.tags[0] for s in both.tagged(X) for word in s]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_is_read_by_the_columns_of_training(tmp_path: Path, name: str) -> None:
    sentences, y = corpus(0, 20)
    tags = [[tag for tag, _ in each] for each in y]
    frame = pd.DataFrame(
        {
            "id": range(sum(map(len, sentences))),
            "turn": [f"t{row}" for row, words in enumerate(sentences) for _ in words],
            "said": [word for words in sentences for word in words],
            "word": "wrong",
            "kind": [tag for each in tags for tag in each],
        }
    )
    train, other = tmp_path / "train.csv", tmp_path / name
    frame.to_csv(train, index=False)
    if name == "a.csv":
        frame.to_csv(other, index=False)
    else:
        frame.to_parquet(other)
    options = "--word said --sentence turn --tags kind --hidden-size 8 --layers 1 --epochs 1 --out".split()
    run = CliRunner().invoke(app, ["tag", str(train), *options, str(tmp_path / "run")])
    assert run.exit_code == 0, run.output
    predictor = Predictor(tmp_path / "run")
    (read,) = predictor.read(other)
    made = predictor(read)
    assert made.column_names == ["turn", "said", "kind", "kind probability"]
    expected = predictor.model.predict(sentences)
    assert made["kind"].to_pylist() == [tag for each in expected for (tag,) in each]
    assert made["turn"].to_pylist() == frame["turn"].to_list()
    text, words = predictor.rewritten([other], ".tsv")
    assert words == len(frame)
    assert text.split("\n")[0] == f"{sentences[0][0]}\t{expected[0][0][0]}"
    assert read_known(predictor.model, other).corpus.words == sentences
    usual = tmp_path / "usual.csv"
    usual.write_text("sentence,word\n1,a\n1,b\n")
    assert read_known(predictor.model, usual).corpus.words == [["a", "b"]]


def test_uncertain_words_stay_untagged(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "model.safetensors")
    file, out = tmp_path / "a.txt", tmp_path / "out"
    file.write_text("".join(" ".join(words) + "\n" for words in X))
    tagged = [word for sentence in both.tagged(X) for word in sentence]
    likely = np.array([word.probabilities for word in tagged])
    least = str(np.sort(likely[:, 0])[3])
    for ending, nothing in ((".csv", ""), (".tsv", "_")):
        path = out.with_suffix(ending)
        run = CliRunner().invoke(
            app, ["predict", str(tmp_path), str(file), "--least", least, "--out", str(path)]
        )
        assert run.exit_code == 0, run.output
        if ending == ".csv":
            read = pd.read_csv(path, keep_default_na=False, dtype=str)
            pairs = read[["pos", "span"]].apply(tuple, axis=1).to_list()
        else:
            lines = [line for line in path.read_text().split("\n") if line]
            pairs = [tuple(line.split("\t")[1:]) for line in lines]
        sure = likely >= float(least)
        assert pairs == [
            tuple(tag if kept else nothing for tag, kept in zip(word.tags, row, strict=True))
            for word, row in zip(tagged, sure, strict=True)
        ]
        assert (~sure[:, 0]).sum() == 3
    predictor = Predictor(tmp_path, least=float(least))
    again = pickle.loads(pickle.dumps(predictor))
    assert again(table_of(X)).equals(predictor(table_of(X)))
    assert predictor(table_of(X))["pos"].null_count == 3
    assert repr(again).endswith(f", least={float(least)})")


def test_a_table_without_words_is_refused(both: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no column is named 'word'; say which one holds the words"):
        Predictor(tmp_path)(pa.table({"sentence": [1], "x": ["a"]}))


def test_conllu_in_and_out(both: Tagger, tmp_path: Path) -> None:
    X, y = corpus(0, 40)
    upos = small(columns=["upos"], max_epochs=1).fit(X, [[tag for tag, _ in tags] for tags in y])
    upos.save(tmp_path / "upos")
    both.save(tmp_path / "both")
    rest = "\t_" * 6
    lines = [f"{k}\t{word}\t_\t_{rest}" for k, word in enumerate(X[0], 1)]
    text = "\n".join(["# a comment", f"1-2\tboth{rest}\t_\t_", *lines]) + "\n\n"
    path = tmp_path / "a.conllu"
    path.write_text(text)
    made, words = Predictor(tmp_path / "upos").rewritten([path, path], ".conllu")
    assert words == 2 * len(X[0])
    expected = [
        f"{k}\t{w}\t_\t{tag}{rest}"
        for k, (w, tag) in enumerate(zip(X[0], upos.predict(X[:1])[0], strict=True), 1)
    ]
    assert made == 2 * ("\n".join(["# a comment", f"1-2\tboth{rest}\t_\t_", *expected]) + "\n\n")
    out = tmp_path / "out.conllu"
    run = CliRunner().invoke(app, ["predict", str(tmp_path / "upos"), str(path), "--out", str(out)])
    assert (run.exit_code, out.read_text() + out.read_text()) == (0, made)
    columns, _ = Predictor(tmp_path / "both").rewritten([path], ".tsv")
    assert columns.split("\n")[0].split("\t") == [X[0][0], *both.predict(X[:1])[0][0]]


def test_what_conllu_cannot_hold(both: Tagger, ahead: Tagger, tmp_path: Path) -> None:
    both.save(tmp_path / "both")
    (tmp_path / "a.txt").write_text("a b\n")
    run = CliRunner().invoke(
        app, ["predict", str(tmp_path / "both"), str(tmp_path / "a.txt"), "--out", "x.conllu"]
    )
    assert run.exit_code == 2
    assert "CoNLL-U has upos, xpos, feats, the tagger has 'pos', 'span'" in " ".join(run.output.split())
    small(columns=["upos"], max_epochs=1).fit([["a"], ["b"]], [["A"], ["B"]]).save(tmp_path / "upos")
    with pytest.raises(TableError, match="the file is not CoNLL-U"):
        Predictor(tmp_path / "upos").rewritten([tmp_path / "a.txt"], ".conllu")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_lists_of_words_and_tags(tmp_path: Path, ending: str) -> None:
    rows = [
        {
            "id": f"s{n}",
            "tokens": ["Ann", "sees", "NA"][: 1 + n % 3],
            "ner_tags": ["B-PER", "O", "O"][: 1 + n % 3],
        }
        for n in range(12)
    ]
    path = tmp_path / f"a{ending}"
    if ending == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    corpus = read_tagged(path).corpus
    assert corpus.words == [row["tokens"] for row in rows]
    assert corpus.tags == {"ner_tags": [row["ner_tags"] for row in rows]}
    tagger = Tagger(hidden_size=4, num_layers=1, max_epochs=1)
    tagger.fit(corpus.words, [["X"] * len(words) for words in corpus.words[:-1]] + [["Y"] * 3])
    tagger.save(tmp_path / "model.safetensors")
    predictor = Predictor(tmp_path)
    (table,) = predictor.read(path)
    found = predictor(table)
    assert found.column("tokens").to_pylist() == [word for words in corpus.words for word in words]
    assert found.column("sentence").to_pylist() == [row["id"] for row in rows for _ in row["tokens"]]
    text, words = predictor.rewritten([path], ".tsv")
    assert (words, text.count("NA\t")) == (24, 4)


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for second, message in (
        ({"tokens": ["a"], "tags": ["X", "Y"]}, "has 2 entries, but that of 'tokens' 1"),
        ({"tokens": ["a"], "tags": None}, "the list is missing"),
        ({"tokens": ["a"], "tags": [None]}, "a tag is missing"),
    ):
        first = {"tokens": ["a"], "tags": ["X"]}
        path.write_text("\n".join(map(json.dumps, [first, second])), encoding="utf-8")
        with pytest.raises(TableError, match=f"column 'tags', row 2: .*{message}"):
            read_tagged(path)


@pytest.mark.parametrize("word", [None, "", " "])
def test_a_missing_word_of_a_list_is_refused_with_the_row_of_its_list(
    tmp_path: Path, word: str | None
) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"tokens": ["a", "b"], "tags": ["X", "Y"]}, {"tokens": ["c", word], "tags": ["X", "Y"]}]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(TableError, match="column 'tokens', row 2: a word is missing"):
        read_tagged(path)


def test_frames_with_lists() -> None:
    words, tags = [["a", "b"], ["c"]] * 6, [["X", "Y"], ["X"]] * 6
    other = [[tag.lower() for tag in row] for row in tags]
    expected = Tagger(hidden_size=4, num_layers=1, max_epochs=1, columns=["p", "q"]).fit(
        words, [list(zip(*each, strict=True)) for each in zip(tags, other, strict=True)]
    )
    for frame in (polars.DataFrame, pd.DataFrame, pa.table):
        X, y = frame({"tokens": words}), frame({"p": tags, "q": other})
        tagger = Tagger(hidden_size=4, num_layers=1, max_epochs=1, columns=["p", "q"]).fit(X, y)
        assert tagger.predict(X) == expected.predict(words)
        assert tagger.score(X, y) == expected.score(words, [
            list(zip(*each, strict=True)) for each in zip(tags, other, strict=True)
        ])  # fmt: skip
