"""`gatewise tag` as users call it."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gatewise.apps.commands import app
from gatewise.tasks.shared.samples import TaggedWords
from gatewise.tasks.tagging.conllu import Document
from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.sentences import corpus

SMALL = ["--hidden-size", "8", "--layers", "1", "--epochs", "2"]


def tag(*arguments: str, cwd: Path, piped: bytes = b"") -> Result:
    with chdir(cwd):
        return CliRunner().invoke(app, ["tag", *arguments], piped, env={"COLUMNS": "100"})


def conllu(path: Path, seed: int, count: int) -> Path:
    """A file of words with UPOS and, as XPOS, tags of spans; a comment and a range in each sentence."""
    lines = []
    for words, tags in zip(*corpus(seed, count), strict=True):
        lines += ["# a comment", "1-2\tboth\t_\t_\t_\t_\t_\t_\t_\t_"]
        for number, (word, (upos, span)) in enumerate(zip(words, tags, strict=True), 1):
            lines.append(f"{number}\t{word}\t_\t{upos}\t{span}\t_\t0\troot\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_run_on_conllu(tmp_path: Path) -> None:
    file, test = conllu(tmp_path / "a.conllu", 0, 60), conllu(tmp_path / "b.conllu", 1, 10)
    run = tag(str(file), "--test", str(test), *SMALL, "--out", "out", cwd=tmp_path)
    assert run.exit_code == 0, run.output
    for words in (
        "a.conllu: 60 sentences, ",
        "upos (5), xpos (5)",
        "LSTM, 1 x 8 units, reads whole sentences",
        "F1 of",
    ):
        assert words in run.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"confusions.png", "frequency.png", "sentences.png"}
    assert names == {"model.safetensors", "metrics.json", "tagged.conllu", *pictures}
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test"]["upos"]["words"] == sum(map(len, corpus(1, 10)[0]))
    tagged = Document.parse((tmp_path / "out" / "tagged.conllu").read_text())
    assert str(tagged).count("# a comment") == str(tagged).count("1-2\tboth") == 10
    loaded = Tagger.load(tmp_path / "out" / "model.safetensors")
    made = loaded.predict(tagged.corpus().words)
    assert tagged.corpus().targets(["upos", "xpos"]) == made


def test_standard_input_is_read(tmp_path: Path) -> None:
    file = conllu(tmp_path / "a.conllu", 0, 30)
    done = tag("-", *SMALL, "--out", "out", cwd=tmp_path, piped=file.read_bytes())
    assert done.exit_code == 0, done.output
    assert "# a comment" in (tmp_path / "out" / "tagged.conllu").read_text()
    columns = "".join("The DET\ncat NOUN\n\n" for _ in range(20)).encode()
    done = tag("-", *SMALL, "--out", "columns", cwd=tmp_path, piped=columns)
    assert "standard_input.tsv: 18 sentences, 36 words" in done.output, done.output
    failed = tag("-", "--format", "conllu", cwd=tmp_path, piped=columns)
    assert failed.stderr == "Error: standard input: line 1 must have 10 fields between tabs. Got 1.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "conllu"], "--format says how FILE is read: give both."),
        (["a.conllu", "--word", "form"], "--word is for tables: FILE is none."),
        (["a.txt", "--format", "columns", "--word", "x"], "--word is for tables, not for --format columns."),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    conllu(tmp_path / "a.conllu", 0, 4)
    (tmp_path / "a.txt").write_text("The DET\n")
    done = tag(*arguments, cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (2, f"Error: {message}\n")


def test_one_column_a_part_of_the_file_and_json(tmp_path: Path) -> None:
    file = conllu(tmp_path / "a.conllu", 0, 60)
    run = tag(str(file), "--tags", "xpos", "--look-ahead", "1", "--json", *SMALL, cwd=tmp_path)
    assert run.exit_code == 0, run.output
    printed = json.loads(run.stdout)
    assert printed["folder"] == "runs/a-lstm"
    assert list(printed["metrics"]["test"]) == ["xpos"]
    assert printed["metrics"]["data"]["test"]["sentences"] == 6
    assert printed["metrics"]["model"]["look_ahead"] == 1


def test_without_a_file_it_learns_lines_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few() -> TaggedWords:
        words, tags = corpus(0, 40)
        return TaggedWords("few", words, [[t for t, _ in each] for each in tags], list("abcdefgh") * 5)

    monkeypatch.setattr("gatewise.tasks.shared.samples.python_tokens", few)
    run = tag(*SMALL, cwd=tmp_path)
    assert run.exit_code == 0, run.output
    assert "Test       10 sentences" in run.output
    assert (tmp_path / "runs" / "python_tokens-lstm" / "tagged.tsv").exists()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1\tYes\n", [], "line 1 must have 10 fields between tabs. Got 2."),
        (("1\tYes" + "\t_" * 8 + "\n\n") * 2, [], "the file has no tags to learn from."),
        (
            "Yes X\nNo Y\n",
            ["--format", "text"],
            "if each of its lines is a word and its tags: --format columns.",
        ),
        ("1\tYes" + "\t_\tX" * 4 + "\n", [], "a tagger needs at least two sentences. Got 1."),
        (("1\tYes" + "\t_\tX" * 4 + "\n\n") * 2, ["--tags", "ner"], "no column of tags 'ner'; it has 'upos'"),
        ("1\tYes\n", ["--format", "xml"], "--format must be one of conllu, columns, table, text. Got 'xml'"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, text: str, options: list[str], message: str
) -> None:
    (tmp_path / "a.conllu").write_text(text)
    run = tag("a.conllu", *options, cwd=tmp_path)
    assert run.exit_code == 2
    shown = " ".join(run.output.split())
    assert message.removesuffix(".") in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.conllu"]
