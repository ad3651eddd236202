"""The cells that grew out of the LSTM and the GRU, each in the form that its docstring names.

Letters and their meaning are those of the papers: the same letter keeps the state in one cell and overwrites
it in another. Every product with the input or the output has a bias here, even where a paper has none;
``bias=False`` of a layer removes all biases.
"""

from gatewise.language import (
    Input,
    Split,
    Vector,
    cell,
    exp,
    layer_norm,
    linear,
    maximum,
    minimum,
    project,
    relu,
    sigmoid,
    softplus,
    tanh,
    where,
)


@cell
def lstm_peephole(h, c, *, i, f, g, o, p_i: Vector, p_f: Vector, p_o: Vector):
    """LSTM whose gates see the memory (Gers & Schmidhuber 2000; as in Graves 2013, equations 7-11, and ONNX).

    The input and forget gates see the memory as it enters the step, the output gate as it leaves it.
    """
    i, f, g = sigmoid(i + p_i * c), sigmoid(f + p_f * c), tanh(g)
    c = f * c + i * g
    o = sigmoid(o + p_o * c)
    h = o * tanh(c)
    return h, c


@cell
def lstm_coupled(h, c, *, i, g, o):
    """LSTM that forgets exactly as much as it writes (Greff et al. 2017, CIFG; here without their peepholes).

    ONNX calls it ``input_forget=1``.
    """
    i, g, o = sigmoid(i), tanh(g), sigmoid(o)
    c = (1 - i) * c + i * g
    h = o * tanh(c)
    return h, c


@cell
def lstm_projected(h, c, *, i, f, g, o):
    """LSTM with a projected output (Sak et al. 2014; as in torch's ``proj_size``).

    Of the paper it has the recurrent projection only: no peepholes, and no second, non-recurrent projection.
    """
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    h = project(o * tanh(c))
    return h, c


@cell
def lstm_layer_norm(h, c, *, i: Split, f: Split, g: Split, o: Split):
    """LSTM with layer normalisation (Ba, Kiros & Hinton 2016, equations 20-22).

    One norm over the input part of all four gates, one over their recurrent part, and one over the memory
    before the output gate. With ``bias=False`` it is exactly the paper's cell, whose b are the biases of the
    norms. With ``bias=True`` there are biases before the norms too.
    """
    ix, fx, gx, ox = layer_norm(i.x, f.x, g.x, o.x)
    ih, fh, gh, oh = layer_norm(i.h, f.h, g.h, o.h)
    i, f, g, o = sigmoid(ix + ih), sigmoid(fx + fh), tanh(gx + gh), sigmoid(ox + oh)
    c = f * c + i * g
    h = o * tanh(layer_norm(c))
    return h, c


@cell
def lstm_clipped(h, c, *, i, f, g, o):
    """LSTM whose memory stays between -3 and 3 (``cell_clip`` of TensorFlow; 3: ELMo, Peters et al. 2018).

    Where the memory is at its bound, its gradient is 0. The ``clip`` of ONNX is different: it clips the
    pre-activations of the gates.
    """
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = minimum(maximum(f * c + i * g, -3), 3)
    h = o * tanh(c)
    return h, c


def _hard_sigmoid(x):
    return minimum(maximum(0.2 * x + 0.5, 0), 1)


@cell
def lstm_hard_sigmoid(h, c, *, i, f, g, o):
    """LSTM with piecewise linear gates (Keras 1 and 2; ``HardSigmoid`` of ONNX, alpha 0.2, beta 0.5).

    The ``hard_sigmoid`` of Keras 3 differs: ``x / 6 + 0.5`` between 0 and 1.
    """
    i, f, g, o = _hard_sigmoid(i), _hard_sigmoid(f), tanh(g), _hard_sigmoid(o)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c


@cell
def gru_reset_before(h, *, r, z, n: Input):
    """GRU that resets before the product (Cho et al. 2014 as published; their first version is `gru`).

    Keras calls it ``reset_after=False``, ONNX ``linear_before_reset=0``.
    """
    r, z = sigmoid(r), sigmoid(z)
    n = tanh(n + linear(r * h))
    h = (1 - z) * n + z * h
    return h


@cell
def gru_layer_norm(h, *, r: Split, z: Split, n: Split):
    """GRU with layer normalisation (Ba, Kiros & Hinton 2016, the form of their supplement).

    The input part of both gates has one norm, their recurrent part another; the candidate has one for each of
    its parts, and is reset after its product. As in the paper, z writes and ``1 - z`` keeps. For the biases
    see `lstm_layer_norm`.
    """
    rx, zx = layer_norm(r.x, z.x)
    rh, zh = layer_norm(r.h, z.h)
    r, z = sigmoid(rx + rh), sigmoid(zx + zh)
    n = tanh(layer_norm(n.x) + r * layer_norm(n.h))
    h = (1 - z) * h + z * n
    return h


@cell
def gru_d(h, *, d: Input, r: Input, z: Input, n: Input):
    """GRU for missing values: its state decays as time passes (Che et al. 2018, GRU-D, without input decay).

    Its input is ``[values, mask, gaps]``. It is the paper's cell if in weight_ih the rows of d are 0 in the
    columns of values and mask, and the rows of r, z and n are 0 in the columns of the gaps. The paper's decay
    of the values themselves, from the last observation towards the mean, is to be done before the cell.
    """
    d = exp(-relu(d))
    kept = d * h
    r, z = sigmoid(r + linear(kept)), sigmoid(z + linear(kept))
    n = tanh(n + linear(r * kept))
    h = (1 - z) * kept + z * n
    return h


@cell
def mgu(h, *, f, n: Input):
    """Minimal gated unit: one gate resets and writes (Zhou et al. 2016)."""
    f = sigmoid(f)
    n = tanh(n + linear(f * h))
    h = (1 - f) * h + f * n
    return h


@cell
def janet(h, *, f, g):
    """LSTM with the forget gate alone (van der Westhuizen & Lasenby 2018, JANET, with their beta of 1)."""
    kept, written = sigmoid(f), 1 - sigmoid(f - 1)
    h = kept * h + written * tanh(g)
    return h


@cell
def ugrnn(h, *, g, n):
    """Update-gate network (Collins, Sohl-Dickstein & Sussillo 2017, the UGRNN with tanh).

    The paper's ``b_fg``, a constant added to the gate, is the ``forget_bias`` of a layer.
    """
    g, n = sigmoid(g), tanh(n)
    h = g * h + (1 - g) * n
    return h


@cell
def indrnn(h, *, a: Input, u: Vector):
    """Independent units: each sees only itself (Li et al. 2018, IndRNN with relu)."""
    h = relu(a + u * h)
    return h


@cell
def sru(h, c, *, w: Input, f: Input, r: Input, s: Input, v_f: Vector, v_r: Vector):
    """Simple recurrent unit (Lei et al. 2018): no product with the state.

    The highway around the cell is a learned map s of the input, as in the authors' code for input and output
    of different widths.
    """
    f, r = sigmoid(f + v_f * c), sigmoid(r + v_r * c)
    c = f * c + (1 - f) * w
    h = r * c + (1 - r) * s
    return h, c


@cell
def min_lstm(h, *, f: Input, i: Input, n: Input):
    """LSTM without a product with the state (Feng et al. 2024, minLSTM, not computed in logarithms).

    If both gates round to 0 (pre-activations below -87 in float32), the result is NaN.
    """
    f, i = sigmoid(f), sigmoid(i)
    kept, written = f / (f + i), i / (f + i)
    h = kept * h + written * n
    return h


@cell
def min_gru(h, *, z: Input, n: Input):
    """GRU without a product with the state (Feng et al. 2024, minGRU, not computed in logarithms)."""
    z = sigmoid(z)
    h = (1 - z) * h + z * n
    return h


@cell
def slstm(h, c, n, m, *, i, f, z, o):
    """LSTM with an exponential input gate (Beck et al. 2024, the sLSTM of xLSTM, one head).

    The forget gate is the paper's sigmoid variant, as in the authors' code. n counts what was written, and m
    keeps the exponentials in range: c and n are the paper's times ``exp(-m)``, which does not change h. As in
    the authors' code, m starts with the first i, so that n is never below 1.
    """
    kept = m - softplus(-f)  # the logarithm of the forget gate, on top of m
    m = where(n > 0, maximum(kept, i), i)
    i, f, z, o = exp(i - m), exp(minimum(kept - m, 0)), tanh(z), sigmoid(o)
    c = f * c + i * z
    n = f * n + i
    h = o * c / n
    return h, c, n, m
