"""`exp`, `tanh`, `sigmoid`, `log` and `softplus` on vectors, the same operations in every lane.

The first line of each docstring is its contract: the largest error over the whole range, in units in the last
place (ULP) of the correctly rounded result, for float32 and float64. The tests read these lines. For all of
them, NaN gives NaN; results below the smallest normal number are 0, as kernels run with flush-to-zero; where
a function saturates the result is the limit.

The range reductions are those of Cody & Waite (1980). The polynomials interpolate at Chebyshev nodes, which
is within a small factor of the best polynomial; their own error is below 0.1 ULP.
"""

from __future__ import annotations

from collections.abc import Callable

from gatewise.compiler.emit.vector import Code, Value

# ln 2 as a sum of two numbers; the first has few bits, so that its product with an exponent is exact.
_LN2 = {
    "float32": (0.693359375, -2.1219444005469058277e-4),
    "float64": (0.6931471526622772, 2.7897668087737544621e-8),
}
# (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2
_EXP = {
    "float32": [0.5, 0.16666576989698775, 0.041666554617204574, 0.0083631790527225774, 0.0013926183587713495],
    "float64": [
        0.5, 0.16666666666666670991, 0.041666666666666669755, 0.0083333333333261351258,
        0.0013888888888883748305, 0.00019841269874820625271, 0.000024801587325547741216,
        2.755725540020642443e-6, 2.7557273643110295328e-7, 2.5105217004720745164e-8, 2.0914686968086877233e-9,
    ],
}  # fmt: skip
# (2 atanh(s) - 2 s) / s^3 as a polynomial in s^2, for s^2 <= ((sqrt(2) - 1) / (sqrt(2) + 1))^2 ...
_LOG = {
    "float32": [
        0.66666666554451646331, 0.4000012187697200149, 0.28550816599711548665, 0.23330581938241893822,
    ],
    "float64": [
        0.66666666666666666465, 0.40000000000000877606, 0.28571428570803230015, 0.22222222391800469329,
        0.181817956308847532, 0.15386240205813477879, 0.13268759668560612686, 0.13086767009948173713,
    ],
}  # fmt: skip
# ... and for s^2 <= 1/9
_LOG1P = {
    "float32": [
        0.66666666650013093559, 0.40000010775678543547, 0.28570305237740912117, 0.22264725215937279623,
        0.17464539809175523496, 0.207882693300752034,
    ],
    "float64": [
        0.66666666666666666667, 0.39999999999999999502, 0.28571428571428822106, 0.22222222222172735626,
        0.18181818186882485485, 0.15384615076440555385, 0.13333345332555949567, 0.11764393893702013627,
        0.10531840951885412175, 0.094571321310244305555, 0.092321388491257361391, 0.052827139118907191764,
        0.14939922758019583944,
    ],
}  # fmt: skip

_LOG2_E = 1.442695040888963407


def _clamp(code: Code, x: Value, low: float, high: float) -> Value:
    """`x` limited to [low, high]; NaN stays NaN, since comparisons with it are false."""
    b, least, most = code.b, code.constant(low), code.constant(high)
    x = code.chosen(b.fcmp_ordered("<", x, least), least, x)
    return code.chosen(b.fcmp_ordered(">", x, most), most, x)


def _reduce(code: Code, x: Value) -> tuple[Value, Value]:
    """The integer n and ``exp(r) - 1``, where ``x = n ln 2 + r`` and |n| < 2^20."""
    b, number = code.b, code.number
    shift = 1.5 * 2.0**number.fraction  # its sum with x / ln 2 has round(x / ln 2) in the low bits
    shifted = code.fma(x, code.constant(_LOG2_E), code.constant(shift))
    n = b.fsub(shifted, code.constant(shift))
    high, low = _LN2[number.name]
    r = code.fma(n, code.constant(-low), code.fma(n, code.constant(-high), x))
    q = code.horner(r, _EXP[number.name])
    as_integer = b.sub(b.bitcast(shifted, code.integers), b.bitcast(code.constant(shift), code.integers))
    return as_integer, code.fma(b.fmul(r, r), q, r)


def _power_of_two(code: Code, n: Value) -> Value:
    """``2 ** n``, for n in the range of exponents of normal numbers."""
    biased = code.b.add(n, code.integer(code.number.bias))
    return code.b.bitcast(code.b.shl(biased, code.integer(code.number.fraction)), code.vector)


def exp(code: Code, x: Value) -> Value:
    """Largest error: 1.5 ULP in float32 and in float64. Overflows to infinity as the true value does."""
    zero_below, infinite_above = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}[code.number.name]
    n, p = _reduce(code, _clamp(code, x, zero_below, infinite_above))
    half = code.b.ashr(n, code.integer(1))
    scaled = code.fma(p, _power_of_two(code, half), _power_of_two(code, half))
    return code.b.fmul(scaled, _power_of_two(code, code.b.sub(n, half)))


def sigmoid(code: Code, x: Value) -> Value:
    """Largest error: 2.5 ULP in float32 and in float64; small results are relatively as exact as large."""
    bound = {"float32": 88.0, "float64": 709.0}[code.number.name]
    n, p = _reduce(code, _clamp(code, code.b.fneg(x), -bound, bound))
    scale = _power_of_two(code, n)
    one = code.constant(1)
    return code.b.fdiv(one, code.b.fadd(one, code.fma(p, scale, scale)))


def tanh(code: Code, x: Value) -> Value:
    """Largest error: 2.5 ULP in float32, 3 in float64. ``m / (m + 2)`` with ``m = exp(2 |x|) - 1``."""
    b = code.b
    sign = b.and_(b.bitcast(x, code.integers), code.integer(1 << (code.number.bits - 1)))
    saturated = {"float32": 9.02, "float64": 19.1}[code.number.name]
    z = _clamp(code, code.intrinsic("fabs", x), 0, saturated)
    n, p = _reduce(code, b.fadd(z, z))
    scale = _power_of_two(code, n)
    m = code.fma(p, scale, b.fsub(scale, code.constant(1)))
    y = b.fdiv(m, b.fadd(m, code.constant(2)))
    return b.bitcast(b.or_(b.bitcast(y, code.integers), sign), code.vector)


def log(code: Code, x: Value) -> Value:
    """Largest error: 1 ULP in float32 and in float64. Minus infinity at 0, NaN below."""
    b, number = code.b, code.number
    bits = b.bitcast(x, code.integers)
    root_half = b.bitcast(code.constant(0.5**0.5), code.integers)
    e = b.ashr(b.sub(bits, root_half), code.integer(number.fraction))
    mantissa = b.bitcast(b.sub(bits, b.shl(e, code.integer(number.fraction))), code.vector)
    f = b.fsub(mantissa, code.constant(1))  # in [sqrt(1/2) - 1, sqrt(2) - 1]
    s = b.fdiv(f, b.fadd(f, code.constant(2)))
    s2 = b.fmul(s, s)
    tail = b.fmul(s2, code.horner(s2, _LOG[number.name]))
    # log(1 + f) = f - (f^2/2 - s (f^2/2 + tail)): f carries the value, the rest corrects it
    half_square = b.fmul(code.constant(0.5), b.fmul(f, f))
    exponent = b.sitofp(e, code.vector)
    high, low = _LN2[number.name]
    correction = code.fma(s, b.fadd(half_square, tail), b.fmul(exponent, code.constant(low)))
    rest = b.fsub(f, b.fsub(half_square, correction))
    y = code.fma(exponent, code.constant(high), rest)
    infinite = b.fcmp_ordered("==", x, code.constant(float("inf")))
    y = b.select(infinite, x, y)
    y = b.select(b.fcmp_unordered("<", x, code.constant(0)), code.constant(float("nan")), y)
    return b.select(b.fcmp_ordered("==", x, code.constant(0)), code.constant(float("-inf")), y)


def softplus(code: Code, x: Value) -> Value:
    """Largest error: 3 ULP in float32 and in float64: ``max(x, 0) + log(1 + exp(-|x|))``."""
    b = code.b
    u = exp(code, b.fneg(code.intrinsic("fabs", x)))
    half = code.constant(0.5)
    twice_s = b.fdiv(u, code.fma(u, half, code.constant(1)))  # s itself would underflow too early
    s = b.fmul(twice_s, half)
    s2 = b.fmul(s, s)
    log1p = code.fma(b.fmul(s, s2), code.horner(s2, _LOG1P[code.number.name]), twice_s)
    return b.fadd(relu(code, x), log1p)


def relu(code: Code, x: Value) -> Value:
    """Exact. ``x`` unless it is below 0: NaN stays NaN."""
    b, zero = code.b, code.constant(0)
    x = b.fadd(x, zero)  # subnormal numbers become 0, and so does -0
    return code.chosen(b.fcmp_ordered("<", x, zero), zero, x)


# Each operation of the language, on vectors. Comparisons give masks; `where` takes one.
OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": lambda code, x, y: code.b.fadd(x, y),
    "sub": lambda code, x, y: code.b.fsub(x, y),
    "mul": lambda code, x, y: code.b.fmul(x, y),
    "div": lambda code, x, y: code.b.fdiv(x, y),
    "neg": lambda code, x: code.b.fneg(x),
    "stop_gradient": lambda code, x: x,
    "exp": exp,
    "log": log,
    "sqrt": lambda code, x: code.intrinsic("sqrt", x),
    "abs": lambda code, x: code.intrinsic("fabs", x),
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "relu": relu,
    "maximum": lambda code, x, y: code.intrinsic("maximum", x, y),
    "minimum": lambda code, x, y: code.intrinsic("minimum", x, y),
    "less": lambda code, x, y: code.b.fcmp_ordered("<", x, y),
    "less_equal": lambda code, x, y: code.b.fcmp_ordered("<=", x, y),
    "where": lambda code, condition, x, y: code.chosen(condition, x, y),
}

# The operations that can give a subnormal number without being given one.
MAY_UNDERFLOW = frozenset({"add", "sub", "mul", "div", "exp", "log", "tanh", "sigmoid", "softplus"})
