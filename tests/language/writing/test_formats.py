# mypy: allow-untyped-defs, allow-incomplete-defs
"""The equations of cells as text and as LaTeX."""

from __future__ import annotations

import math

import pytest

from gatewise import (
    Cell,
    Input,
    Split,
    Vector,
    cell,
    cells,
    dropout,
    exp,
    layer_norm,
    linear,
    log,
    maximum,
    minimum,
    relu,
    sigmoid,
    softplus,
    sqrt,
    tanh,
    where,
)
from gatewise.language.rewrites import with_recurrent_dropout, with_zoneout

PLAIN: dict[str, tuple[Cell, str]] = {
    "rnn": (
        cells.rnn,
        """\
rnn(h, *, a)
  a_bar = W_a x + R_a h + b_a
  h' = tanh(a_bar)""",
    ),
    "rnn_relu": (
        cells.rnn_relu,
        """\
rnn_relu(h, *, a)
  a_bar = W_a x + R_a h + b_a
  h' = relu(a_bar)""",
    ),
    "lstm": (
        cells.lstm,
        """\
lstm(h, c, *, i, f, g, o)
  i_bar = W_i x + R_i h + b_i
  f_bar = W_f x + R_f h + b_f
  g_bar = W_g x + R_g h + b_g
  o_bar = W_o x + R_o h + b_o
  i = sigmoid(i_bar)
  f = sigmoid(f_bar)
  g = tanh(g_bar)
  o = sigmoid(o_bar)
  c' = f * c + i * g
  h' = o * tanh(c')""",
    ),
    "gru": (
        cells.gru,
        """\
gru(h, *, r, z, n: Split)
  r_bar = W_r x + R_r h + b_r
  z_bar = W_z x + R_z h + b_z
  n_bar_x = W_n x + b_n_x
  n_bar_h = R_n h + b_n_h
  r = sigmoid(r_bar)
  z = sigmoid(z_bar)
  n = tanh(n_bar_x + r * n_bar_h)
  h' = (1 - z) * n + z * h""",
    ),
}

LATEX = {
    "rnn": r"""\begin{aligned}
\bar{a}_t &= W_{a} x_t + b_{a}^x + R_{a} h_{t-1} + b_{a}^h \\
h_t &= \tanh(\bar{a}_t)
\end{aligned}""",
    "rnn_relu": r"""\begin{aligned}
\bar{a}_t &= W_{a} x_t + b_{a}^x + R_{a} h_{t-1} + b_{a}^h \\
h_t &= \mathrm{relu}(\bar{a}_t)
\end{aligned}""",
    "lstm": r"""\begin{aligned}
\bar{i}_t &= W_{i} x_t + b_{i}^x + R_{i} h_{t-1} + b_{i}^h \\
\bar{f}_t &= W_{f} x_t + b_{f}^x + R_{f} h_{t-1} + b_{f}^h \\
\bar{g}_t &= W_{g} x_t + b_{g}^x + R_{g} h_{t-1} + b_{g}^h \\
\bar{o}_t &= W_{o} x_t + b_{o}^x + R_{o} h_{t-1} + b_{o}^h \\
i_t &= \sigma(\bar{i}_t) \\
f_t &= \sigma(\bar{f}_t) \\
g_t &= \tanh(\bar{g}_t) \\
o_t &= \sigma(\bar{o}_t) \\
c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
h_t &= o_t \odot \tanh(c_t)
\end{aligned}""",
    "gru": r"""\begin{aligned}
\bar{r}_t &= W_{r} x_t + b_{r}^x + R_{r} h_{t-1} + b_{r}^h \\
\bar{z}_t &= W_{z} x_t + b_{z}^x + R_{z} h_{t-1} + b_{z}^h \\
\bar{n}_t^x &= W_{n} x_t + b_{n}^x \\
\bar{n}_t^h &= R_{n} h_{t-1} + b_{n}^h \\
r_t &= \sigma(\bar{r}_t) \\
z_t &= \sigma(\bar{z}_t) \\
n_t &= \tanh(\bar{n}_t^x + r_t \odot \bar{n}_t^h) \\
h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}
\end{aligned}""",
}


@pytest.mark.parametrize(("cell_", "text"), PLAIN.values(), ids=PLAIN.keys())
def test_a_classic_cell_as_text(cell_: Cell, text: str) -> None:
    assert str(cell_) == text


@pytest.mark.parametrize(("name", "text"), LATEX.items(), ids=LATEX.keys())
def test_a_classic_cell_as_latex(name: str, text: str) -> None:
    assert getattr(cells, name).latex() == text


@cell
def brackets(h, *, a, u: Input, v: Vector):
    """Sums in products, differences of differences, quotients of quotients, signs."""
    p = (a + h) * (u - v)
    q = a - (h - u) - v
    r = a / (h / u) / v
    s = -(a + h) * -u
    h = p + q + r + s
    return h


@cell
def functions(state, *, alpha, gate: Input):
    """Every function, a long name and a Greek one."""
    beta = sqrt(abs(alpha)) + exp(log(softplus(alpha)))
    y = where(alpha <= gate, maximum(beta, 0.25), minimum(state, 0.5))
    state = relu(y) * 2 / (sigmoid(alpha) * tanh(gate))
    return state


def test_brackets_are_written_only_where_they_are_needed() -> None:
    assert str(brackets).splitlines()[3:] == [
        "  p = (a_bar + h) * (u_bar - v)",
        "  q = a_bar - (h - u_bar) - v",
        "  r = a_bar / (h / u_bar) / v",
        "  s = -(a_bar + h) * -u_bar",
        "  h' = p + q + r + s",
    ]


def test_every_function_as_text() -> None:
    assert str(functions).splitlines() == [
        "functions(state, *, alpha, gate: Input)",
        "  alpha_bar = W_alpha x + R_alpha state + b_alpha",
        "  gate_bar = W_gate x + b_gate",
        "  beta = sqrt(abs(alpha_bar)) + exp(log(softplus(alpha_bar)))",
        "  y = where(alpha_bar <= gate_bar, maximum(beta, 0.25), minimum(state, 0.5))",
        "  state' = relu(y) * 2 / (sigmoid(alpha_bar) * tanh(gate_bar))",
    ]


def test_every_function_as_latex() -> None:
    assert functions.latex().splitlines()[3:-1] == [
        r"\beta_t &= \sqrt{\left|\bar{\alpha}_t\right|} + "
        r"\exp(\log(\mathrm{softplus}(\bar{\alpha}_t))) \\",
        r"y_t &= \mathrm{where}(\bar{\alpha}_t \le \bar{\mathrm{gate}}_t,\; \max(\beta_t,\; 0.25),\; "
        r"\min(\mathrm{state}_{t-1},\; 0.5)) \\",
        r"\mathrm{state}_t &= \frac{2 \, \mathrm{relu}(y_t)}"
        r"{\sigma(\bar{\alpha}_t) \odot \tanh(\bar{\mathrm{gate}}_t)}",
    ]


@cell
def passing(h, c, m, n, *, a):
    """Next states without a term of their own, and a value that nothing needs."""
    aside = n * 2  # noqa: F841 -- n is used only here
    c = tanh(a)
    return c, h, c, 0.5


def test_states_that_are_passed_on_are_written_too() -> None:
    assert str(passing).splitlines() == [
        "passing(h, c, m, n, *, a)",
        "  a_bar = W_a x + R_a h + b_a",
        "  aside = n * 2",
        "  m' = tanh(a_bar)",
        "  h' = m'",
        "  c' = h",
        "  n' = 0.5",
    ]
    assert passing.latex().splitlines()[3:-1] == [
        r"m_t &= \tanh(\bar{a}_t) \\",
        r"h_t &= m_t \\",
        r"c_t &= h_{t-1} \\",
        r"n_t &= 0.5",
    ]


@cell
def told(h, *, a: Split, b, v_f: Vector, alpha_in: Vector, long_name: Vector):
    """Arguments besides vectors, signs, and numbers that need more than plain digits."""
    n, m = layer_norm(a.x, a.h, eps=1e-3)
    d = dropout(n, 0.123456789, per="sequence") + dropout(layer_norm(m), 0.5, "step")
    p = b * -2 + v_f * (d * 1e-7) - 2.5e9 * (-alpha_in) - linear(h) * long_name
    h = p * (linear(d) - linear(h)) + minimum(p, math.inf) + (-p)
    return h


def test_all_arguments_are_printed_as_text() -> None:
    assert str(told).splitlines()[4:] == [
        "  n = norm(a_bar_x, a_bar_h, eps=0.001)[0] * norm_gain_0 + norm_bias_0",
        "  m = norm(a_bar_x, a_bar_h, eps=0.001)[1] * norm_gain_1 + norm_bias_1",
        '  d = dropout(n, 0.123456789, per="sequence") + dropout(norm(m) * norm_gain_2 + norm_bias_2, 0.5)',
        "  p = b_bar * -2 + v_f * d * 1e-07 - 2.5e+09 * -alpha_in - linear[0](h) * long_name",
        "  h' = p * (linear[1](d) - linear[2](h)) + minimum(p, inf) + -p",
    ]


def test_all_arguments_are_printed_as_latex() -> None:
    assert told.latex().splitlines()[4:-1] == [
        r"n_t &= \mathrm{norm}(\bar{a}_t^x,\; \bar{a}_t^h,\; \epsilon = 0.001)_{0} "
        r"\odot \gamma_{0} + \beta_{0} \\",
        r"m_t &= \mathrm{norm}(\bar{a}_t^x,\; \bar{a}_t^h,\; \epsilon = 0.001)_{1} "
        r"\odot \gamma_{1} + \beta_{1} \\",
        r"d_t &= \mathrm{dropout}(n_t,\; 0.123456789,\; \text{per sequence}) + "
        r"\mathrm{dropout}(\mathrm{norm}(m_t) \odot \gamma_{2} + \beta_{2},\; 0.5) \\",
        r"p_t &= -2 \, \bar{b}_t + v_{f} \odot 10^{-7} \, d_t - 2.5 \cdot 10^{9} \, (-\alpha_{\mathrm{in}})"
        r" - (M_{0}\, h_{t-1} + b_{0}) \odot \mathrm{long\_name} \\",
        r"h_t &= p_t \odot (M_{1}\, d_t + b_{1} - (M_{2}\, h_{t-1} + b_{2})) + \min(p_t,\; \infty) + (-p_t)",
    ]


def test_the_options_of_a_layer_are_printed() -> None:
    changed = with_recurrent_dropout(with_zoneout(cells.rnn, (0.125,)), 0.25)
    assert str(changed).splitlines()[1:] == [
        '  a_bar = W_a x + R_a dropout(h, 0.25, per="sequence") + b_a',
        "  h' = zoneout(h, tanh(a_bar), 0.125)",
    ]
    assert changed.latex().splitlines()[1:-1] == [
        r"\bar{a}_t &= W_{a} x_t + b_{a}^x + "
        r"R_{a} \mathrm{dropout}(h_{t-1},\; 0.25,\; \text{per sequence}) + b_{a}^h \\",
        r"h_t &= \mathrm{zoneout}(h_{t-1},\; \tanh(\bar{a}_t),\; 0.125)",
    ]


def test_the_representation_names_the_cell() -> None:
    assert repr(cells.lstm) == "<cell gatewise.cells.classic.lstm>"
