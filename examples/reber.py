"""Trains an LSTM on the embedded Reber grammar, and shows how it remembers the second letter of a string.

A string is B, then T or P, then letters of a small grammar, then the same letter T or P again, then E. To
predict the last but one letter the network must keep the second one over all letters between, 30 on average.

    python examples/reber.py [FILE]

`gatewise look --demo` shows the network that this script has made. It trains for two minutes on one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.utils import clip_grad_norm_

from gatewise import cells
from gatewise.tasks.synthetic import TASKS
from gatewise.tasks.synthetic.network import Network

UNITS, LENGTH, BATCH, MOST = 12, 40, 16, 10_000


def main(file: Path) -> None:
    """Train until 99.8 % of new strings are right after every letter; write the weights to a file."""
    torch.manual_seed(4)
    torch.set_num_threads(1)
    task, generator = TASKS["reber"], np.random.default_rng(4)
    # Gates that begin with a long memory: f open, i nearly shut. Weight decay keeps the memory small.
    network = Network(cells.lstm, 7, UNITS, 7, {"f": 4, "i": -3})
    optimiser = torch.optim.AdamW(network.parameters(), 0.004, weight_decay=0.1)
    for batch in range(1, MOST + 1):
        loss = network.loss(task, task.sequences(generator, BATCH, LENGTH))
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if batch % 500 == 0:
            right = network.right(task, task.sequences(np.random.default_rng(0), 512, LENGTH))
            print(f"{batch * BATCH:,} strings: {right:.1%} of new ones right after every letter", flush=True)
            if right > 0.997:
                break
    save_file({name: weight.contiguous() for name, weight in network.state_dict().items()}, file)
    print(f"wrote {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "reber_lstm.safetensors"))
