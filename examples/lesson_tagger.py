"""Trains the tagger of the lesson's first scene: an ordinary RNN that says what each word of a plan means.

In "leave Taipei" the city is where the journey begins, in "reach Taipei" where it ends: the word is the same,
the words before it decide. A sentence is any row of the twelve words below, so that the network is ready for
whatever order a learner tries. The last verb gives a city or a day its label. Before the first verb nobody
can know the label, so it is drawn: the network learns to say half and half.

    python examples/lesson_tagger.py [FILE]

`gatewise learn` shows the network that this script has made. It trains for some ten seconds on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from gatewise import cells
from gatewise.tasks.synthetic.network import Network

WORDS = "I will leave reach Taipei Paris Rome on Monday Friday and then".split()
LABELS = ("other", "place of departure", "destination", "day of departure", "day of arrival")
UNITS, LENGTH, BATCH, BATCHES = 5, 8, 64, 3000
CITIES, DAYS, VERBS = range(4, 7), range(8, 10), range(2, 4)


def sentences(generator: np.random.Generator, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw sentences: words as numbers, their labels, and which words follow a verb, each ``[T, B]``."""
    words = generator.integers(len(WORDS), size=(LENGTH, rows))
    arrives = generator.integers(2, size=(LENGTH, rows))  # drawn, until a verb has come
    known = np.zeros((LENGTH, rows), dtype=np.bool_)
    for t in range(LENGTH):
        verb = np.isin(words[t], VERBS)
        if t:
            known[t] = known[t - 1]
            arrives[t] = np.where(known[t], arrives[t - 1], arrives[t])
        arrives[t] = np.where(verb, words[t] - VERBS[0], arrives[t])
        known[t] |= verb
    labels = np.where(np.isin(words, CITIES), 1 + arrives, 0)
    labels = np.where(np.isin(words, DAYS), 3 + arrives, labels)
    return torch.from_numpy(words), torch.from_numpy(labels), torch.from_numpy(known)


def main(file: Path) -> None:
    """Train, print how many labels of new sentences are right, and write the weights to a file."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    generator = np.random.default_rng(1)
    network = Network(cells.rnn, len(WORDS), UNITS, len(LABELS), {})
    optimiser = torch.optim.Adam(network.parameters(), 0.01)

    def answers(words: torch.Tensor) -> torch.Tensor:
        states, _ = network.layer(F.one_hot(words, len(WORDS)).float())
        return network.readout(states)  # [T, B, O]

    for batch in range(1, BATCHES + 1):
        words, labels, _ = sentences(generator, BATCH)
        loss = F.cross_entropy(answers(words).flatten(0, 1), labels.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if batch % 1000 == 0:
            words, labels, known = sentences(np.random.default_rng(0), 1000)
            right = (answers(words).argmax(-1) == labels)[known].float().mean().item()
            print(
                f"{batch * BATCH:,} sentences: {right:.2%} of the labels of new ones right after a verb",
                flush=True,
            )
    save_file({name: weight.contiguous() for name, weight in network.state_dict().items()}, file)
    print(f"wrote {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tagger.safetensors"))
