"""The file of a tagger in a process that has NumPy, llvmlite and safetensors alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise.tasks.tagging.tagger import Tagger
from tests.tasks.tagging.sentences import corpus

CODE = """
import json, sys
for name in ("torch", "pandas", "pyarrow", "lightning", "sklearn", "matplotlib"):
    sys.modules[name] = None
from tests.random_cells.quickly import compiling_quickly
from gatewise import runtime
path, text = sys.argv[1:]
with compiling_quickly():
    model = runtime.load(path)
    X = json.loads(text)
    stream = model.stream(model.look_ahead or 0)
    streamed = [word.probabilities for word in (stream.push(X[0][0]) + stream.end())]
    whole = [[array.tobytes().hex() for array in each] for each in model.predict_proba(X)]
    print(json.dumps([whole, model.predict(X), streamed]))
"""


@pytest.mark.parametrize("name", ["both", "ahead"])
def test_the_same_bits(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tagger: Tagger = request.getfixturevalue(name)
    tagger.save(tmp_path / "model")
    X, _ = corpus(1, 8)
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "model"), json.dumps(X)],
        capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    whole, tags, streamed = json.loads(run.stdout)
    assert whole == [[array.tobytes().hex() for array in each] for each in tagger.model_.predict_proba(X)]
    assert [[tuple(word) for word in words] for words in tags] == tagger.model_.predict(X)
    stream = tagger.stream(tagger.look_ahead or 0)
    mine = [word.probabilities for word in (stream.push(X[0][0]) + stream.end())]
    assert [tuple(word) for word in streamed] == mine
