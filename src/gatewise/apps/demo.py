"""The network of ``gatewise look --demo``: an LSTM that has learned to remember a letter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.apps.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

# Made by examples/reber.py. How it was trained is in data/README.md.
FILE = Path(__file__).parents[1] / "data" / "reber_lstm.safetensors"
_UNITS, _LENGTH, _ROWS, _SEED = 12, 25, 3, 6


def demo() -> Subject:
    """A trained LSTM, and strings of the embedded Reber grammar to run it on.

    The output is the probability of the letter T at the place where the second letter is repeated.
    """
    import numpy as np
    import torch
    from safetensors.torch import load_file

    from gatewise import cells
    from gatewise.tasks.synthetic.network import Network
    from gatewise.tasks.synthetic.reber import SYMBOLS, reber

    network = Network(cells.lstm, len(SYMBOLS), _UNITS, len(SYMBOLS), {})
    network.load_state_dict(load_file(FILE))
    rows = reber(np.random.default_rng(_SEED), _ROWS, _LENGTH)
    asked = torch.from_numpy(rows.lengths) - 2

    def run(x: Tensor) -> Tensor:
        states, _ = network.layer(x, lengths=rows.lengths.tolist())
        scores: Tensor = network.readout(states)
        return scores

    def expects(scores: Tensor) -> Tensor:
        return scores.softmax(-1)[asked, torch.arange(_ROWS), SYMBOLS.index("T")]

    words = [
        [SYMBOLS[step[row].argmax()] for step in rows.input[: rows.lengths[row]]] for row in range(_ROWS)
    ]
    return Subject(
        network,
        torch.from_numpy(rows.input),
        "An LSTM that remembers the second letter",
        {
            "call": run,
            "output": expects,
            "output_name": "the probability of T at the last step but one",
            "lengths": rows.lengths.tolist(),
            "tokens": words,
            "outputs": SYMBOLS,
            "probabilities": True,
            "feature_names": [f"the letter is {symbol}" for symbol in SYMBOLS],
        },
    )
