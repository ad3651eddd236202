"""A cell of one's own, trained to remember a number that is marked, and asked how much it keeps.

Run: python examples/own_cell.py
"""

import torch

import gatewise
from gatewise import cell, sigmoid, tanh


@cell
def keeper(h, c, *, f, i, g):
    """Forgets and writes as an LSTM, and says all that it knows."""
    f, i = sigmoid(f), sigmoid(i)
    c = f * c + i * tanh(g)
    h = tanh(c)
    return h, c


def sequences(steps, rows):
    """Numbers ``[T, B, 2]``, of which one is marked in the second column, and the marked ones ``[B, 1]``."""
    x = torch.zeros(steps, rows, 2)
    x[..., 0].uniform_(-1, 1)
    at = torch.randint(steps // 2, (rows,))
    x[at, torch.arange(rows), 1] = 1
    return x, x[at, torch.arange(rows), :1]


def main(steps=1001):
    """Train for a few seconds; print the error as it falls, and what the forget gate does."""
    torch.manual_seed(0)
    layer = gatewise.nn.Recurrent(keeper, 2, 16, forget_bias=2.0)
    read = torch.nn.Linear(16, 1)
    optimiser = torch.optim.Adam([*layer.parameters(), *read.parameters()], lr=0.01)
    print(keeper, "\n")
    for step in range(steps):
        x, marked = sequences(30, 64)
        output, _ = layer(x)
        loss = (read(output[-1]) - marked).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 200 == 0:
            print(f"step {step:4d}: squared error {loss.item():.4f} (knowing nothing: 0.3333)")
    with gatewise.watch(layer) as seen:
        layer(sequences(30, 64)[0])
    kept = seen["l0"].f.mean((0, 1)).max().item()
    print(f"\nThe unit that remembers longest keeps {kept:.1%} of its memory a step.")


if __name__ == "__main__":
    main()
