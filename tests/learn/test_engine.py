"""What the networks of the lesson run on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gatewise.language import read_cell
from gatewise.learn.page import texts
from gatewise.learn.palette import cell_of, names, text_of
from gatewise.nn import Recurrent
from tests.learn.conftest import Lesson

RUN = """
async ([name, weights, x]) => {
  const layer = new gatewise.Layer(await lesson.engine.cell(name), { inputSize: 2, hiddenSize: 4 });
  for (const key in weights) layer.weights[key].set(weights[key]);
  const run = layer.forward(Float32Array.from(x), { rows: 1, keep: true });
  const back = run.backward({ output: new Float32Array(run.output.length).fill(1) });
  return { output: [...run.output], x: [...back.x] };
}
""".replace("gatewise.", "lesson.gatewise.")


@pytest.mark.parametrize("name", ["lstm", "lstm_without_forget", "gru_without_reset", "rnn_adds"])
def test_a_cell_of_the_page_computes_the_numbers_of_python(lesson: Lesson, name: str) -> None:
    torch.manual_seed(0)
    layer = Recurrent(cell_of(name), 2, 4)
    x = torch.randn(7, 1, 2, requires_grad=True)
    output, _ = layer(x)
    output.sum().backward()
    assert x.grad is not None
    weights = {key.removesuffix("_l0"): value.flatten().tolist() for key, value in layer.named_parameters()}
    with lesson() as page:
        found: Any = page.evaluate(RUN, [name, weights, x.flatten().tolist()])
    np.testing.assert_array_equal(np.float32(found["output"]), output.detach().flatten().numpy())
    np.testing.assert_array_equal(np.float32(found["x"]), x.grad.flatten().numpy())


@pytest.mark.parametrize("name", names())
def test_the_text_of_a_cell_is_that_cell(name: str) -> None:
    text = text_of(name)
    assert text is not None or name == "lstm_hard_sigmoid"
    if text is not None:
        assert read_cell(text).signature() == cell_of(name).signature()


def test_an_unknown_cell_is_refused(lesson: Lesson) -> None:
    with lesson() as page:
        said = page.evaluate('lesson.engine.cell("nothing").catch((error) => error.message)')
    assert said == 'There is no cell "nothing".'


def test_the_static_page_says_that_it_cannot_compile(lesson: Lesson) -> None:
    with lesson() as page:
        error = page.evaluate('lesson.engine.compile("").then(({ error }) => error)')
    assert error == {"line": None, "message": texts()["en"]["kit"]["static"], "remedy": ""}
