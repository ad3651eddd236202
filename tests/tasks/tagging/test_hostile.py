"""Manipulated files of taggers: refused with the documented error, or they tag. And hostile texts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise.runtime.jobs.loading import of_file
from gatewise.runtime.model_file import ModelFile, ModelFileError, read_model
from gatewise.tasks.shared.reading.errors import TableError
from gatewise.tasks.tagging.reading import read_tagged
from gatewise.tasks.tagging.tagger import Tagger
from tests.hostile import manipulated, seeds

X = [["Ada", "is", "thinking", "."], ["\ud800", "x" * 1000, "\0"]]
fixtures = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, both: Tagger) -> ModelFile:
    path = tmp_path_factory.mktemp("whole") / "m"
    both.save(path)
    return read_model(path, Tagger.TASK)


@seeds(150)
def test_a_manipulated_file_is_refused_or_tags(
    whole: ModelFile, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    file = manipulated(whole, seed)
    monkeypatch.setattr("gatewise.tasks.shared.estimator.read_model", lambda *_: file)
    with suppress(ModelFileError):
        assert [len(tags) for tags in of_file(file).predict(X)] == [4, 3]
    with suppress(ModelFileError):
        assert [len(tags) for tags in Tagger.load("m").predict(X)] == [4, 3]


@settings(max_examples=300, deadline=None, suppress_health_check=fixtures)
@given(
    name=st.sampled_from(["a.conllu", "a.tsv", "a.csv", "a.txt"]),
    text=st.text(st.sampled_from("ab1\t\n\r ,\"#-._'\x00\u2028é"), max_size=60),
)
def test_any_text_is_read_or_refused_with_the_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    try:
        file = read_tagged(path)
    except TableError as error:
        refused = str(error)
    else:
        assert all(word for words in file.corpus.words for word in words)
        for tags in file.corpus.tags.values():
            assert [len(row) for row in tags] == [len(words) for words in file.corpus.words]
        if file.format in ("conllu", "columns"):
            path.write_bytes(file.written(file.corpus.tags).encode())
            assert read_tagged(path).corpus == file.corpus
        return
    assert refused.startswith(str(path))
