"""The classic cells, with exactly the equations of `torch.nn`. Start reading here."""

from gatewise.language import Split, cell, relu, sigmoid, tanh


@cell
def rnn(h, *, a):
    """Elman network (Elman 1990)."""
    h = tanh(a)
    return h


@cell
def rnn_relu(h, *, a):
    """Elman network with rectified units (Le, Jaitly & Hinton 2015)."""
    h = relu(a)
    return h


@cell
def lstm(h, c, *, i, f, g, o):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000)."""
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g  # forget what no longer matters, write what does
    h = o * tanh(c)  # decide what to say
    return h, c


@cell
def gru(h, *, r, z, n: Split):
    """Gated recurrent unit, reset after the product (Cho et al. 2014, arXiv 1406.1078 v1; cuDNN, torch)."""
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n.x + r * n.h)
    h = (1 - z) * n + z * h
    return h
