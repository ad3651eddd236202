"""A cell of your own, trained to remember the number that is marked in a sequence of 30.

Run: python examples/own_cell.py

The squared error falls from 0.33, the variance of the numbers, to below 0.01: the cell has learned to write
at the mark and to keep what it wrote. Its forget gate must start open: with ``forget_bias=4.0`` memories last
some 50 steps before any training; without it, memory and gradient are gone before the sequence ends.
"""

import torch

import gatewise
from gatewise import cell, sigmoid, tanh


@cell
def keeper(h, c, *, f, i, g):
    """An LSTM without an output gate: its output is its whole memory."""
    f, i = sigmoid(f), sigmoid(i)
    c = f * c + i * tanh(g)
    h = tanh(c)
    return h, c


def sequences(steps, rows):
    """Numbers ``[T, B, 2]``, one of them marked in the second column, and the marked ones ``[B, 1]``."""
    x = torch.zeros(steps, rows, 2)
    x[..., 0].uniform_(-1, 1)
    at = torch.randint(steps // 2, (rows,))
    x[at, torch.arange(rows), 1] = 1
    return x, x[at, torch.arange(rows), :1]


def main(steps=1001):
    """Train for some seconds, print the error as it falls and what the forget gate does; return the error."""
    torch.manual_seed(0)
    layer = gatewise.nn.Recurrent(keeper, 2, 16, forget_bias=4.0)
    read = torch.nn.Linear(16, 1)
    optimiser = torch.optim.Adam([*layer.parameters(), *read.parameters()], lr=0.01)
    print(keeper, "\n")
    for step in range(steps):
        x, marked = sequences(30, 64)
        _, (h, _) = layer(x)  # the final states, each [layers, B, H]
        loss = (read(h[-1]) - marked).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 0:
            print(f"step {step:4d}: squared error {loss.item():.4f} (guessing 0: 0.3333; good: below 0.01)")
    with gatewise.watch(layer) as seen:
        layer(sequences(30, 64)[0])
    kept = seen["l0"].f.mean((0, 1)).max().item()
    print(f"\nThe unit that remembers longest keeps {kept:.1%} of its memory each step.")
    return loss.item()


if __name__ == "__main__":
    main()
