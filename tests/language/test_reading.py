"""`read_cell`: the text of a cell gives the cell that the function gives, and is never run."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gatewise
from gatewise import Cell, CellError, cells, read_cell
from gatewise.cells import classic, variants
from tests.random_cells.drawing import drawn_cells


def assert_same(read: Cell, traced: Cell) -> None:
    assert read.signature() == traced.signature()
    assert (read.name, read.states, read.parameters) == (traced.name, traced.states, traced.parameters)
    assert list(read.values) == list(traced.values)
    assert str(read) == str(traced)


@given(drawn_cells())
@settings(max_examples=200, deadline=None)
def test_text_and_function_give_the_same_cell(drawn: Any) -> None:
    assert_same(read_cell(drawn.source()), drawn.cell())


@pytest.mark.parametrize("name", cells.__all__)
def test_shipped_cells_are_read_from_their_source(name: str) -> None:
    shipped = getattr(cells, name)
    module = inspect.getsource(classic if hasattr(classic, name) else variants)
    body = module[module.index(f"def {name}(") :]
    source = body[: body.find("\n\n\n")]
    if name == "lstm_hard_sigmoid":  # it calls a function that stands beside it
        with pytest.raises(CellError, match="there is no function '_hard_sigmoid'"):
            read_cell(source)
        return
    assert_same(read_cell(source), shipped)
    assert read_cell(source).__doc__ == inspect.cleandoc(shipped.__doc__)


def test_what_stands_around_a_function() -> None:
    text = """
        from __future__ import annotations
        import gatewise
        from gatewise import cell, tanh, Vector

        @cell
        def own(h, *, g, v: gatewise.Vector):
            '''A cell of one's own.'''
            return tanh(g + v * h)
    """
    own = read_cell(text)
    assert own.__doc__ == "A cell of one's own."
    layer = gatewise.nn.Recurrent(own, 2, 3)
    assert ("v_l0", (3,)) in [(name, tuple(p.shape)) for name, p in layer.named_parameters()]


SIGNATURE = "def bad(h, c, *, f, g):\n"
REFUSED = {
    "    return h, tanh(": ":2: this line can't be read: '(' was never closed",
    "    import os\n    return h": ":2: cell 'bad': 'import os' is not part of the language",
    "    return __import__('os').system('true'), c": "is not part of the language",
    "    return f.__class__, c": "'f.__class__' is not part of the language",
    "    return c.T + f, c": "'c.T' is not part of the language",
    "    return [f for _ in (1, 2)], c": "is not part of the language",
    "    return (lambda: f)(), c": "is not part of the language",
    "    return f if f > 0 else g, c": "is not part of the language",
    "    return f[0], c": "is not part of the language",
    "    return f @ g, c": "is not part of the language",
    "    return 'f', c": "is not part of the language",
    "    return True * f, c": "is not part of the language",
    "    if f > 0:\n        return f, g": ":2: cell 'bad': the body branches",
    "    for _ in (1, 2):\n        f = f * f\n    return f, g": "is not part of the language",
    "    f += g\n    return f, g": "changes a value in place",
    "    a = b + 1\n    return f, g": ":2: cell 'bad': there is no 'b' here. Declare it",
    "    return tanh, g": "tanh is a function. Call it: tanh(...)",
    "    return tan(f), g": "there is no function 'tan'. The language has abs, sigmoid",
    "    return tanh(f, g), g": "tanh: too many positional arguments. Write tanh(x",
    "    return tanh(0.5) + f, g": "tanh got no value of the cell",
    "    return dropout(f), g": "missing a required argument: 'rate'. Write dropout(v, rate, per='step')",
    "    return dropout(f, 0.5, per='day') + g, c": "dropout is drawn per 'day'",
    "    return where(1 < 2, f, g), c": "no value of the cell is compared",
    "    return f + (f > g), c": "add got a comparison",
    "    return 1 / 0 * f, g": "this can't be computed: float division by zero",
    "    return 10.0 ** 10000 * f, g": "this can't be computed",
    "    return (-1) ** 0.5 * f, g": "this is a complex number",
    "    return 9**9**9**9**9 * f, g": "this can't be computed",
    "    f, g = f\n    return f, g": "(f, g) can't be taken from one value",
    "    return f, g, c": ":2: cell 'bad': it returns 3 values for 2 states",
    "    f = g": "it returns nothing",
    "    return f, c": "gate 'g' is never used in what is returned",
    f"    return {'(' * 150}f{')' * 150} + g, c": None,
    f"    return {'+'.join(['f'] * 3000)}, g": "the text nests too deeply",
    "    return f, g\n\nprint(1)": ":4: the text goes on after the function",
    "    return f, g\n#" + "x" * 100_000: "the limit is 100,000",
}


@pytest.mark.parametrize("body", REFUSED, ids=range(len(REFUSED)))
def test_a_text_that_is_refused(body: str) -> None:
    expected = REFUSED[body]
    if expected is None:
        assert read_cell(SIGNATURE + body, "mine").states == ("h", "c")
        return
    with pytest.raises(CellError) as error:
        read_cell(SIGNATURE + body, "mine")
    assert str(error.value).startswith("mine:")
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cell:1: the text has no function"),
        ("h = tanh(a)", "cell:1: this is not a function"),
        (
            "@staticmethod\ndef f(h, *, a):\n    return tanh(a)",
            "the function has the decorator @staticmethod",
        ),
        ("def f(h, *, a=1):\n    return tanh(a)", "a parameter has a default"),
        ("def f(h, *a):\n    return tanh(a)", "parameter *a takes any number of arguments"),
        ("def f(h, *, a: int):\n    return tanh(a)", "gate 'a' is annotated 'int'"),
        ("def f(*, a):\n    return tanh(a)", "it has no state"),
        ("def f(h):\n    return tanh(h)", "no gate sees the input"),
        ("def f(h, *, a):\n    return tanh(a) # \0", "can't be read"),
        ("(" * 1000, "can't be read"),
    ],
)
def test_a_text_around_a_function_that_is_refused(text: str, expected: str) -> None:
    with pytest.raises(CellError) as error:
        read_cell(text, "cell")
    assert expected in str(error.value)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_text_is_read_or_refused(data: st.DataObject) -> None:
    source = data.draw(drawn_cells()).source()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(source)))
        stop = data.draw(st.integers(start, min(len(source), start + 12)))
        inside = data.draw(
            st.text(max_size=3) | st.sampled_from(["h", "(", ")", ", ", " = ", "\n    ", ".x", "**"])
        )
        source = source[:start] + inside + source[stop:]
    with suppress(CellError):  # and nothing else
        assert isinstance(read_cell(source), Cell)
