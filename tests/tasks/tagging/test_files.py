"""Files of sentences: read, written, refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.tagging.reading import read_tagged

CONLLU = (
    "# sent_id = 1\n"
    "# text = He won't go\n"
    "1\tHe\the\tPRON\tPRP\tCase=Nom\t4\tnsubj\t_\t_\n"
    "2-3\twon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "2\two\twill\tAUX\tMD\t_\t4\taux\t_\t_\n"
    "3\tn't\tnot\tPART\tRB\t_\t4\tadvmod\t_\t_\n"
    "4\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\tSpaceAfter=No\n"
    "4.1\t\t_\tVERB\t_\t_\t_\t_\t0:root\t_\n"
    "\n"
    "1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_\n"
    "\n"
)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_conllu_is_read_and_written_back_unchanged(tmp_path: Path) -> None:
    file = read_tagged(write(tmp_path, "a.conllu", CONLLU))
    assert file.corpus.words == [["He", "wo", "n't", "go"], ["Yes"]]
    assert file.corpus.columns == ("upos", "xpos", "feats")
    assert file.corpus.tags["upos"] == [["PRON", "AUX", "PART", "VERB"], ["INTJ"]]
    assert str(file.document) == CONLLU
    assert file.written(file.corpus.tags) == CONLLU


def test_written_tags_stand_at_the_words_and_nowhere_else(tmp_path: Path) -> None:
    file = read_tagged(write(tmp_path, "a.conllu", CONLLU))
    made = file.written({"upos": [["A", "B", "C", "D"], ["E"]]})
    changed = [(a, b) for a, b in zip(CONLLU.split("\n"), made.split("\n"), strict=True) if a != b]
    assert [b.split("\t")[3] for _, b in changed] == ["A", "B", "C", "D", "E"]
    assert all(
        a.split("\t")[:3] + a.split("\t")[4:] == b.split("\t")[:3] + b.split("\t")[4:] for a, b in changed
    )


def test_conllu_without_tags_and_with_other_ends_of_lines(tmp_path: Path) -> None:
    text = "\ufeff1\tYes\t_\t_\t_\t_\t_\t_\t_\t_"  # no empty line at the end
    assert read_tagged(write(tmp_path, "a.conllu", text)).corpus.columns == ()
    (tmp_path / "b.conllu").write_bytes(CONLLU.replace("\n", "\r\n").encode())
    assert len(read_tagged(tmp_path / "b.conllu").corpus) == 2
    (tmp_path / "c.conllu.gz").write_bytes(gzip.compress(CONLLU.encode()))
    assert len(read_tagged(tmp_path / "c.conllu.gz").corpus) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\tYes\n", "line 1 must have 10 fields between tabs. Got 2."),
        (CONLLU.replace("3\tn't", "4\tn't"), "line 6, column 'id': must be 3. Got 4."),
        (CONLLU.replace("4.1", "x"), "line 8, column 'id': 'x' is not the number of a word."),
        (CONLLU.replace("\tYes\t", "\t\t"), "line 10, column 'form': the word is empty."),
        ("# text = nothing\n\n", "the sentence at line 1 has no words."),
        ("1" * 5000 + "\ta" + "\t_" * 8, "is not the number of a word."),
        ("", "the file is empty."),
    ],
)
def test_bad_conllu_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "a.conllu", text)
    with pytest.raises(TableError) as error:
        read_tagged(path)
    assert str(error.value).startswith(f"{path}")
    assert message.rstrip(".") in str(error.value)


def test_columns(tmp_path: Path) -> None:
    two = read_tagged(write(tmp_path, "a.tsv", "the cat\tDET\nsat\tVERB\n\n\nok\tADJ"))
    assert two.corpus.words == [["the cat", "sat"], ["ok"]]
    assert two.corpus.tags == {"tag": [["DET", "VERB"], ["ADJ"]]}
    assert two.written(two.corpus.tags) == "the cat\tDET\nsat\tVERB\n\nok\tADJ\n\n"
    four = read_tagged(
        write(tmp_path, "b.conll", "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    )
    assert four.corpus.words == [["EU", "rejects"]]
    assert four.corpus.columns == ("2", "3", "4")
    assert four.corpus.tags["4"] == [["B-ORG", "O"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the DET\ncat\n", "line 2 must have 2 fields, as above. Got 1."),
        ("the\tDET\ncat\t\n", "line 2 must have 2 fields, as above. Got 1."),
        ("-DOCSTART-\n", "the file has no words."),
    ],
)
def test_bad_columns_are_refused_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_tagged(write(tmp_path, "a.tsv", text))


def test_tables(tmp_path: Path) -> None:
    text = 'Sentence #,Word,POS,Note\nSentence: 1,"a ""b""",N,x\n,NA,V,y\nSentence: 2,null,N,z\n'
    file = read_tagged(write(tmp_path, "a.csv", text))
    assert file.corpus.words == [['a "b"', "NA"], ["null"]]
    assert file.corpus.tags == {"POS": [["N", "V"], ["N"]]}
    assert file.written({"POS": [["A", "B"], ["C"]]}) == (
        'sentence,word,POS\n1,"a ""b""",A\n1,NA,B\n2,null,C\n'
    )
    both = read_tagged(tmp_path / "a.csv", tags=["Note", "POS"])
    assert both.corpus.columns == ("Note", "POS")
    pd.DataFrame({"id": [1, 1, 2], "token": ["a", "b", "c"], "kind": ["X", "Y", "Z"]}).to_parquet(
        tmp_path / "b.parquet"
    )
    assert read_tagged(tmp_path / "b.parquet").corpus.tags == {"kind": [["X", "Y"], ["Z"]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column is named 'word'; say which one holds the words: --word NAME"),
        (
            "word,b\nx,2\n",
            "no column is named 'sentence'; say which one holds the sentences: --sentence NAME",
        ),
        ("sentence,word\n1,a\n1,\n", "column 'word', row 2: a word is missing"),
        ("sentence,word,tag\n1,a,X\n1,b,\n", "column 'tag', row 2: a tag is missing"),
    ],
)
def test_bad_tables_are_refused_with_their_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_tagged(write(tmp_path, "a.csv", text))


def test_a_column_of_tags_without_any_tag_is_one_to_be_filled(tmp_path: Path) -> None:
    file = read_tagged(write(tmp_path, "a.csv", "sentence,word,tag\n1,a,\n1,b,\n"))
    assert (file.corpus.words, file.corpus.tags) == ([["a", "b"]], {"tag": [["", ""]]})
    with pytest.raises(TableError, match="the column of tags 'tag' is empty"):
        file.corpus.targets(["tag"])


def test_plain_text_and_names_without_a_format(tmp_path: Path) -> None:
    file = read_tagged(write(tmp_path, "a.txt", "the  cat sat\n\nyes\n"))
    assert file.corpus.words == [["the", "cat", "sat"], ["yes"]]
    assert file.written({"tag": [["D", "N", "V"], ["I"]]}).startswith("the\tD\n")
    with pytest.raises(TableError, match=r"the name of the file must end in one of \.conllu"):
        read_tagged(write(tmp_path, "a.doc", "x"))
    with pytest.raises(ValueError, match=r"format must be one of conllu, table, columns, text\. Got 'xml'"):
        read_tagged(tmp_path / "a.txt", format="xml")


def test_a_column_that_does_not_exist(tmp_path: Path) -> None:
    corpus = read_tagged(write(tmp_path, "a.conllu", CONLLU)).corpus
    with pytest.raises(TableError, match="no column of tags 'ner'; it has 'upos', 'xpos', 'feats'"):
        corpus.targets(["ner"])
    assert corpus.targets(["upos"]) == corpus.tags["upos"]
    assert corpus.targets(["upos", "xpos"])[1] == [("INTJ", "UH")]
    assert corpus.part([1]).words == [["Yes"]]
    assert corpus.tokens == 5
