"""Scoring and writing texts without torch: the numbers of torch, and the same bits in pieces and batches."""

from __future__ import annotations

import doctest
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gatewise.runtime.jobs.units
from gatewise import cells
from gatewise.language.form_reading import FormError
from gatewise.nn.modules.files import options_of
from gatewise.runtime.jobs.sampling import Choice
from gatewise.runtime.jobs.units import BYTES, UNITS, join, readable, split
from gatewise.runtime.jobs.vocabulary import Vocabulary
from gatewise.runtime.jobs.writer import Writer
from gatewise.runtime.layers_file import described
from gatewise.runtime.model_file import ModelFile, in_memory
from gatewise.tasks.writing.network import WritingNetwork

TEXT = "To be, or not to be:\n that is the quest\tion; héé 10% 漢字.  " * 3


pytestmark = pytest.mark.usefixtures("quickly")


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(gatewise.runtime.jobs.units).failed == 0


def made(
    unit: str = "characters", ends: bool = False, layers: int = 1, **more: Any
) -> tuple[WritingNetwork, ModelFile]:
    """A random network with scores far apart, and its file."""
    known = unit != "bytes"
    tokens = split(TEXT[:40], unit) if known else map(chr, range(256))
    vocabulary = Vocabulary(tuple(dict.fromkeys(tokens)), unknown=known)
    torch.manual_seed(0)
    network = WritingNetwork(cells.gru, len(vocabulary), 4, 8, layers, 0.5, 0.0).eval()
    torch.nn.init.normal_(network.head.weight, std=2.0)
    header = {
        "preparation": {"unit": unit, "ends": ends, "vocabulary": vocabulary.to_dict(), "text": None} | more,
        **described(network.recurrent.cell, options_of(network.recurrent), "recurrent."),
    }
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return network, in_memory("write", header, weights)


@pytest.mark.parametrize("unit", UNITS)
def test_the_probabilities_are_those_of_the_network(unit: str) -> None:
    network, file = made(unit, layers=2)
    writer = Writer.from_file(file)
    scored = writer.score(TEXT)
    ids = torch.tensor([0, *writer.vocabulary.ids(scored.tokens)])
    with torch.no_grad():
        logs = network(ids[:-1, None])[:, 0].log_softmax(-1)
    expected = logs[torch.arange(len(ids) - 1), ids[1:]].double().numpy()
    if unit == "characters":
        expected[ids[1:].numpy() == 1] -= log(0x110000 - len(writer.vocabulary.entries))
    assert np.allclose(scored.log_probabilities, expected, rtol=0, atol=1e-5)
    assert "".join(scored.tokens) == "".join(split(TEXT, unit))
    assert scored.bits_per_character == pytest.approx(-expected.sum() / log(2) / len(TEXT), abs=1e-4)
    assert scored.perplexity == pytest.approx(np.exp(-expected.mean()), rel=1e-4)
    assert scored.ending is None


def test_a_text_has_the_same_bits_whole_and_in_pieces() -> None:
    writer = Writer.from_file(made(layers=2)[1])
    text = TEXT * 30  # several blocks
    whole = writer.score(text).log_probabilities
    assert np.array_equal(whole[: len(TEXT)], writer.score(TEXT).log_probabilities)
    for cut in (1, 7, 1024, 1025):
        assert np.array_equal(whole[cut:], writer.score(text[cut:], after=text[:cut]).log_probabilities)


def test_the_probabilities_of_all_tokens_sum_to_one() -> None:
    writer = Writer.from_file(made()[1])
    after = writer.next("To b")
    assert after.shape == (len(writer.tokens),)
    assert after.sum() == pytest.approx(1)
    assert list(after[:2]) == [0, 0]  # the boundary and whatever is unknown are not written
    for token in ("e", " "):
        alone = np.exp(writer.score(token, after="To b").log_probabilities[0])
        assert after[writer.tokens.index(token)] >= alone


@pytest.mark.parametrize("unit", UNITS)
def test_a_seed_gives_the_same_text_whatever_the_number(unit: str) -> None:
    writer = Writer.from_file(made(unit)[1])
    many = writer.write(30, prompt="To", seed=5, count=70)
    assert writer.write(30, prompt="To", seed=5, count=2) == many[:2]
    assert writer.write(30, prompt="To", seed=5) == many[:1]
    assert writer.write(30, prompt="To", seed=6) != many[:1]
    assert len(set(many)) > 60
    assert writer.write(0) == [""]


def test_what_is_written_has_the_probabilities_of_the_model() -> None:
    writer = Writer.from_file(made()[1])
    firsts = writer.write(1, prompt="To", count=4000)
    after = writer.next("To")
    for token, probability in zip(writer.tokens, after, strict=True):
        if probability > 0.02:
            spread = np.sqrt(probability * (1 - probability) / len(firsts))
            assert abs(firsts.count(token) / len(firsts) - probability) < 4.5 * spread


def test_a_temperature_of_zero_takes_the_most_likely_token() -> None:
    writer = Writer.from_file(made()[1])
    text = writer.write(20, prompt="To", temperature=0)[0]
    assert text == writer.write(20, prompt="To", top_k=1, seed=3)[0]
    assert text == writer.write(20, prompt="To", top_p=1e-9, seed=4)[0]
    assert text == writer.write(20, prompt="To", temperature=1e-300, seed=4)[0]
    assert text == "".join(writer.score(text, after="To").expected)


def test_top_k_and_top_p_leave_the_likely_tokens() -> None:
    scores = np.log(np.array([[0.1, 0.4, 0.2, 0.3]]))
    steps = (np.arange(1000) + 0.5) / 1000

    def shares(choice: Choice) -> list[float]:
        drawn = choice.draw(np.repeat(scores, 1000, axis=0), steps)
        return [float(share) for share in np.bincount(drawn, minlength=4) / 1000]

    assert shares(Choice()) == [0.1, 0.4, 0.2, 0.3]
    assert shares(Choice(top_k=2)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=2e-3)
    assert shares(Choice(top_p=0.71)) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=2e-3)
    assert shares(Choice(top_p=0.69)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=2e-3)
    assert shares(Choice(top_k=3, top_p=0.7)) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=2e-3)
    assert shares(Choice(temperature=0.5))[1] == pytest.approx(0.16 / 0.30, abs=2e-3)


def test_a_random_number_just_below_one_draws_the_last_possible_token() -> None:
    scores = np.array([[0.0, 0.0, 0.0, -np.inf]])
    assert Choice().draw(scores, np.array([np.nextafter(1.0, 0.0)])) == [2]


@pytest.mark.parametrize("unit", UNITS)
def test_a_text_ends_before_a_stop(unit: str) -> None:
    writer = Writer.from_file(made(unit)[1])
    whole = writer.write(60, count=3)
    stop = whole[0][20:23]
    cut = writer.write(60, count=3, stop=("not in it", stop))
    assert cut == [text.split(stop)[0] for text in whole]
    assert writer.write(60, count=3, stop="") == whole


def test_a_model_of_many_texts_ends_them_itself() -> None:
    network, file = made(ends=True)
    with torch.no_grad():
        network.head.bias[0] = 2.0  # the file shares the weights
    writer = Writer.from_file(file)
    texts = writer.write(50, count=20)
    assert any(len(text) < 50 for text in texts)
    assert writer.write(50, count=3) == texts[:3]
    scored = writer.score("To be")
    assert scored.ending is not None
    assert scored.total == pytest.approx(scored.log_probabilities.sum() + scored.ending)


def test_an_empty_text_has_no_bits() -> None:
    scored = Writer.from_file(made()[1]).score("")
    assert np.isnan([scored.bits_per_character, scored.perplexity]).all()
    assert scored.total == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": -1}, "length must be a whole number of at least 0. Got -1."),
        ({"count": 0}, "count must be a whole number of at least 1. Got 0."),
        ({"seed": 1.5}, "seed must be a whole number of at least 0. Got 1.5."),
        ({"temperature": -0.1}, "temperature must be a finite number of at least 0. Got -0.1."),
        ({"top_k": 0}, "top_k must be a positive integer. Got 0."),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1. Got 1.1."),
    ],
)
def test_a_number_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        Writer.from_file(made()[1]).write(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "more", [{"unit": "letters"}, {"ends": 1}, {"text": 1}, {"vocabulary": {}}, {"more": 1}]
)
def test_a_file_with_another_preparation_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(FormError):
        Writer.from_file(made(**more)[1])


def test_a_file_whose_weights_do_not_fit_is_refused() -> None:
    _, file = made()
    for name in ("embedding.weight", "head.weight"):
        wrong = file.tensors | {name: file.tensors[name][:, :-1].copy()}
        with pytest.raises(FormError, match=name):
            Writer.from_file(in_memory("write", file.header, wrong))


@pytest.mark.parametrize("unit", UNITS)
def test_units_give_the_text(unit: str) -> None:
    assert join(split(TEXT, unit), unit) == TEXT


@given(st.lists(st.integers(0, 255)), st.text())
def test_readable_units_are_the_text(drawn: list[int], text: str) -> None:
    """Also bytes that are not UTF-8."""
    for unit, units in ((BYTES, list(map(chr, drawn))), *((unit, split(text, unit)) for unit in UNITS)):
        shown = readable(units, unit)
        assert ("".join(shown), len(shown)) == (join(units, unit), len(units))
