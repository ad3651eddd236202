"""Trains the LSTM of the lesson that reads text letter by letter, and guesses the next letter after each.

It reads small stories that this program makes up, with speech in quotation marks and asides in brackets.
Nobody tells it what these signs mean. But only what was opened is closed: so it must remember that.

    python examples/lesson_text.py [FILE]

It trains for three minutes on one core.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from gatewise import cells
from gatewise.nn import Recurrent

UNITS, ROWS, STEPS, ITERATIONS, RATE = 48, 16, 80, 7000, 0.015
LETTERS = "\n !'(),-.0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz“”"
SIGNS = 0.08  # the share of the training in which it learns what signs do, from noise alone
STRANGE = 0.06  # the share of words that are invented: the network must not rely on known words

WHO = "fox bear owl mouse cat dog hen frog duck wolf goat hare".split()
NAMES = "Anna Tom Mia Ben Lily Max Ella Sam".split()
LIKE = "old little grey red hungry tired clever quiet proud young".split()
WENT = "slept sat waited sang walked danced played hid".split()
DID = "found lost saw carried dropped liked wanted painted".split()
THINGS = "hat key apple lamp book drum boat bell cake letter spoon ring".split()
SAID = "said asked cried whispered answered thought".split()
PLACES = (
    "under the tree", "by the river", "in the garden", "on the hill", "near the old mill", "behind the house",
    "at the edge of the wood", "in the snow",
)  # fmt: skip
TIMES = ("In the morning", "One day", "At noon", "After the rain", "Every night", "Last winter", "Soon")
SYLLABLES = (
    "ba be bo da de do fi fo ga go ka ki la le lo ma mi mo na ne no pa pi ra ri sa se so ta ti va we".split()
)


class Stories(random.Random):
    """Makes up paragraphs of three kinds. Half of what is said could be told: words alone do not tell."""

    def noise(self, span: float) -> str:
        """Letters without sense; what is open closes after `span` letters on average."""
        return self._signs([self.choice("etaoinshrdlu   ") for _ in range(120)], "", 0.12, span)

    def words(self, span: float) -> str:
        """Words without sense; what is open closes after `span` words on average."""
        known = [*WHO, *LIKE, *THINGS, *WENT, *DID, "the", "a", "and", "of"]
        return self._signs([self.word(known) for _ in range(40)], " ", 0.24, span)

    def story(self) -> str:
        """A few sentences that are told or said."""
        return " ".join(
            self.say() if self.random() < 0.45 else self.tell(0.25) for _ in range(self.randint(3, 7))
        )

    def _signs(self, parts: list[str], between: str, opens: float, span: float) -> str:
        close, written = "", []
        for part in parts:
            if not close and self.random() < opens:
                pair = self.choice(("“”", "()"))
                part, close = pair[0] + part, pair[1]
            if close and self.random() < 1 / span:
                part, close = part + close, ""
            written.append(part)
        return between.join(written) + close

    def word(self, known: list[str]) -> str:
        """One of the words, or an invented one."""
        if self.random() < STRANGE:
            return "".join(self.choice(SYLLABLES) for _ in range(self.randint(2, 3)))
        return self.choice(known)

    def who(self) -> str:
        """Somebody."""
        if self.random() < 0.35:
            return self.choice(NAMES)
        return f"the {self.word(LIKE)} {self.word(WHO)}" if self.random() < 0.5 else f"the {self.word(WHO)}"

    def thing(self, whose: str) -> str:
        """A thing, after the word that says whose it is."""
        like = f" {self.word(LIKE)}" if self.random() < 0.4 else ""
        return f"{whose}{like} {self.word(THINGS)}"

    def clause(self) -> str:
        """What somebody did."""
        if self.random() < 0.5:
            return f"{self.word(WENT)} {self.choice(PLACES)}"
        return f"{self.word(DID)} {self.thing(self.choice(('the', 'one')))}"

    def aside(self) -> str:
        """What stands in brackets."""
        clauses = [f"{self.who()} {self.clause()}" for _ in range(self.randint(1, 2))]
        return self.choice((
            " and ".join(clauses),
            f"it was {self.choice(('very', 'rather', 'not'))} {self.word(LIKE)}",
            "nobody knew why",
            f"and so did {self.who()}",
            f"with {self.thing('one')} and {self.thing('one')}",
        ))  # fmt: skip

    def tell(self, asides: float) -> str:
        """A sentence, with brackets after its parts at the rate `asides`."""
        told = self.who()
        told += f" ({self.aside()})" if self.random() < asides else ""
        told += f" {self.clause()}"
        told += f" ({self.aside()})" if self.random() < asides else ""
        return _sentence(f"{self.choice(TIMES)} {told}" if self.random() < 0.35 else told) + "."

    def say(self) -> str:
        """Up to four sentences in quotation marks, and who says them."""
        sentences = [self.speak()]
        while self.random() < 0.4 and len(sentences) < 4:
            sentences.append(self.speak())
        return f"{_sentence(self.who())} {self.word(SAID)}, “{' '.join(sentences)}”"

    def speak(self) -> str:
        """A sentence that somebody says."""
        if self.random() < 0.5:
            return self.tell(0)
        return self.choice((
            f"I want my {self.word(THINGS)} back!",
            f"Do you see {self.thing('my')}?",
            f"Where is {self.thing('my')}?",
            f"I am {self.word(LIKE)} and you are {self.word(LIKE)}.",
            f"Come with me, we can look {self.choice(PLACES)}.",
            f"We have {self.thing('your')}, please wait for us.",
        ))  # fmt: skip

    def lesson(self, done: float) -> str:
        """A paragraph to learn from, when the share `done` of the training is over.

        First noise, then words too, then mostly stories. What is open stays open longer and longer.
        """
        chance, more = self.random(), max(0.0, (done - SIGNS) / (1 - SIGNS))
        longer = min(1.0, 2 * more)
        if chance < max(0.05, 1 - 3 * more):
            return self.noise(3 + 57 * longer)
        return self.words(2 + 10 * longer) if chance < max(0.15, 1 - 1.4 * more) else self.story()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def main(file: Path) -> None:
    """Train, and write the weights."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    layer, readout = Recurrent(cells.lstm, len(LETTERS), UNITS), nn.Linear(UNITS, len(LETTERS))
    with torch.no_grad():  # gates that begin with memories of 2 to 60 letters
        layer.get_parameter("bias_ih_l0")[UNITS : 2 * UNITS] += torch.logspace(0.2, 1.8, UNITS).sub(1).log()
    train(layer, readout)
    writer = Stories(ROWS)  # none of those that it has learned from
    text = "".join(writer.story() + "\n" for _ in range(30))
    unseen = codes(text)[:, None]
    print(f"{bits(readout(layer(one_hot(unseen[:-1]))[0]), unseen[1:]):.2f} bits per letter on new stories")
    weights = {name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()}
    weights |= {"readout.weight": readout.weight, "readout.bias": readout.bias}
    about = {"gates": " ".join(cells.lstm.input_gates), "letters": LETTERS, "unseen": text}
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, file, about)
    print(f"wrote {file}")


def train(layer: nn.Module, readout: nn.Module) -> None:
    """Each row reads a text of its own, in pieces; the states go on from piece to piece."""
    weights = [*layer.parameters(), *readout.parameters()]
    optimiser = torch.optim.AdamW(weights, RATE, betas=(0.9, 0.99), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda iteration: rate(iteration / ITERATIONS))
    writers, texts, states = [Stories(row) for row in range(ROWS)], [""] * ROWS, None
    for iteration in range(ITERATIONS):
        for row, writer in enumerate(writers):
            while len(texts[row]) <= STEPS:
                texts[row] += writer.lesson(iteration / ITERATIONS) + "\n"
        piece = torch.stack([codes(text[: STEPS + 1]) for text in texts], 1)
        texts = [text[STEPS:] for text in texts]
        output, states = layer(one_hot(piece[:-1]), states)
        states = tuple(state.detach() for state in states)
        loss = bits(readout(output), piece[1:])
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        if iteration % 500 == 499:
            print(f"{iteration + 1} pieces: {loss:.2f} bits per letter", flush=True)


def rate(done: float) -> float:
    """The learning rate as a share of `RATE`: lower after the first noise, so that what is learned stays."""
    return 1.0 if done < SIGNS else 0.01 + 0.2 * (1 + np.cos(np.pi * done))


def codes(text: str) -> Tensor:
    """The places of letters in the alphabet."""
    return torch.from_numpy(np.array([LETTERS.index(letter) for letter in text]))


def one_hot(places: Tensor) -> Tensor:
    """The letters as the layer reads them: 1 in their place, else 0."""
    return F.one_hot(places, len(LETTERS)).float()


def bits(guesses: Tensor, right: Tensor) -> Tensor:
    """The mean surprise in bits per letter."""
    return F.cross_entropy(guesses.flatten(0, 1), right.flatten()) / np.log(2)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "text.safetensors"))
