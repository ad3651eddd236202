"""The rows of a step, its place in memory, and the states that it starts from.

In a plain batch all steps have the same rows, and arrays have strides. Sequences of different lengths are
packed, the longest first: step t has the first ``counts[t]`` rows, from row ``starts[t]`` of every array on.
In the reverse direction the tables are reversed, and rows join during the walk, from their initial states
``init_s``. ``resets`` marks the rows that enter a step from ``restart_s`` instead of the step before. If rows
join or are reset, the states of all rows of the step are first copied together to ``entering_s [B, H]``, for
each state s.

x, the output, watched values and their derivatives may lie in a padded batch ("outside") while everything
else is packed: ``rows[r]`` is the row of the padded batch that packed row r is.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from gatewise.compiler.emit.arguments import Arguments, Fields, Frame
from gatewise.compiler.emit.tiles import Span, Tiles
from gatewise.compiler.emit.vector import I1, I8, I64, POINTER, Code, Value, i64, internal_function
from gatewise.language import Cell

# starts, counts: int64 [T + 1], or null. rows: int64 [B], or null. resets: a byte for each step and row, or
# null.
FIELDS = ("starts", "counts", "rows", "resets", "resets.t", "resets.b")


def state_fields(cell: Cell) -> list[str]:
    """The fields of the states: initial ones, those after a reset, those after each step, and scratch."""
    arrays = {"init": ("", ".b"), "restart": ("", ".b"), "out": ("", ".t", ".b"), "entering": ("",)}
    return [
        f"{array}_{state}{stride}"
        for state in cell.states
        for array, strides in arrays.items()
        for stride in strides
    ]


def is_packed(code: Code, f: Fields) -> Value:
    """Whether the sequences are packed."""
    return code.b.icmp_signed("!=", f["starts"], i64(0))


def _look_up(code: Code, f: Fields, table: str, t: Value, otherwise: Value) -> Value:
    """Entry t of a table; `otherwise` if there is no table."""
    b = code.b
    there = b.icmp_signed("!=", f[table], i64(0))
    entry = b.gep(f.pointer(table), [t], source_etype=I64)
    return b.select(there, b.load(b.select(there, entry, f.array), typ=I64), otherwise)


def start_of(code: Code, f: Fields, t: Value) -> Value:
    """The first row of step t in packed arrays; 0 if they are not packed."""
    return _look_up(code, f, "starts", t, i64(0))


def rows_of(code: Code, f: Fields, t: Value) -> Value:
    """The number of rows of step t; 0 outside 0..T-1."""
    b = code.b
    outside = b.or_(b.icmp_signed("<", t, i64(0)), b.icmp_signed(">=", t, f["T"]))
    count = _look_up(code, f, "counts", b.select(outside, i64(0), t), f["B"])
    return b.select(outside, i64(0), count)


def offset_of(code: Code, f: Fields, name: str, t: Value) -> Value:
    """The offset of step t in an array; with a time stride of 0 the array has one step only."""
    b = code.b
    plain = b.mul(t, f[f"{name}.t"])
    inside = b.select(b.icmp_signed("<", t, i64(0)), i64(0), t)
    packed = b.mul(start_of(code, f, inside), f[f"{name}.b"])
    one_step = b.icmp_signed("==", f[f"{name}.t"], i64(0))
    return b.select(b.or_(one_step, b.not_(is_packed(code, f))), plain, packed)


def is_padded(code: Code, f: Fields) -> Value:
    """Whether the arrays outside are padded."""
    return code.b.icmp_signed("!=", f["rows"], i64(0))


def row_outside(code: Code, f: Fields, row: Value) -> Value:
    """The row of the padded batch for a packed row."""
    return _look_up(code, f, "rows", row, row)


def offset_outside(code: Code, f: Fields, name: str, t: Value) -> Value:
    """As `offset_of`, for an array outside."""
    plain = code.b.mul(t, f[f"{name}.t"])
    return code.b.select(is_padded(code, f), plain, offset_of(code, f, name, t))


def at_step_outside(code: Code, f: Fields, name: str, t: Value) -> Value:
    """As `at_step`, for an array outside."""
    return code.at(f.pointer(name), offset_outside(code, f, name, t))


def at_step(code: Code, f: Fields, name: str, t: Value) -> Value:
    """The address of step t of an array."""
    return code.at(f.pointer(name), offset_of(code, f, name, t))


class Chunk(NamedTuple):
    """Consecutive steps, as a product sees them; if packed, all their rows count as rows of one step."""

    first: Value
    place: Value  # of the first row
    steps: Value
    rows: Span

    def offset(self, code: Code, f: Fields, name: str) -> Value:
        """Their offset in an array."""
        packed = code.b.mul(self.place, f[f"{name}.b"])
        return code.b.select(is_packed(code, f), packed, offset_of(code, f, name, self.first))


def chunk_of(code: Code, f: Fields, first: Value, steps: Value, rows: Span) -> Chunk:
    """The chunk of `steps` steps from `first` on, of some rows; if packed, of all rows."""
    b = code.b
    last = b.sub(b.add(first, steps), i64(1))
    low = code.smaller(start_of(code, f, first), start_of(code, f, last))
    high = code.larger(*(b.add(start_of(code, f, t), rows_of(code, f, t)) for t in (first, last)))
    packed = is_packed(code, f)
    span = b.select(packed, i64(0), rows[0]), b.select(packed, b.sub(high, low), rows[1])
    return Chunk(first, low, b.select(packed, i64(1), steps), span)


def width_of(f: Fields, cell: Cell, state: str) -> Value:
    """The width of a state: P for the output, H for the others."""
    return f["P" if state == cell.states[0] else "H"]


def step_frame(cell: Cell) -> Arguments:
    """The arguments of the functions of a step: the number of the step, and addresses in its arrays."""
    names = ["arguments", "step", "gates", "means", "derivatives", "dout", "projected", "watch", "shown"]
    names += ["later_resets", "going_on"]
    for state in cell.states:
        names += [f"next_{state}", f"previous_{state}", f"previous_{state}.b"]
    return Arguments(names)


def set_states(
    frame: Frame, code: Code, f: Fields, cell: Cell, t: Value, copied: Value
) -> dict[str, tuple[Value, Value]]:
    """Set the addresses of the states before and after step t.

    `copied` is true if `enter` has copied the previous states of all rows into one array.

    Returns:
        The address and the row stride of each previous state.
    """
    b, entered = code.b, {}
    at_start = b.icmp_signed("==", t, i64(0))
    for state in cell.states:
        carried = at_step(code, f, f"out_{state}", b.sub(t, i64(1)))
        previous = b.select(at_start, f.pointer(f"init_{state}"), carried)
        stride = b.select(at_start, f[f"init_{state}.b"], f[f"out_{state}.b"])
        previous = b.select(copied, f.pointer(f"entering_{state}"), previous)
        stride = b.select(copied, width_of(f, cell, state), stride)
        frame.set(**{
            f"next_{state}": at_step(code, f, f"out_{state}", t),
            f"previous_{state}": previous,
            f"previous_{state}.b": stride,
        })  # fmt: skip
        entered[state] = previous, stride
    return entered


def some_rows_begin(code: Code, f: Fields, t: Value) -> Value:
    """Whether some rows may not continue from the step before t, because they join or are reset."""
    b = code.b
    before = b.sub(t, i64(1))
    joined = b.icmp_signed(">", rows_of(code, f, t), rows_of(code, f, before))
    some = b.or_(joined, b.icmp_signed("!=", f["resets"], i64(0)))
    return b.and_(some, b.icmp_signed(">", t, i64(0)))


def resets_at(code: Code, f: Fields, t: Value) -> Value:
    """The address of the reset flags of step t; null if there are none."""
    b = code.b
    here = b.gep(f.pointer("resets"), [offset_of(code, f, "resets", t)], source_etype=I8)
    there = b.and_(b.icmp_signed("!=", f["resets"], i64(0)), b.icmp_signed("<", t, f["T"]))
    return b.select(there, here, ir.Constant(POINTER, None))


def is_reset(code: Code, f: Fields, step: Fields, row: Value) -> Value:
    """Whether a row continues in the later step (of backward) and is reset there."""
    goes_on = code.b.icmp_signed("<", row, step["going_on"])
    return _is_reset(code, f, step.pointer("later_resets"), row, goes_on)


def _is_reset(code: Code, f: Fields, resets: Value, row: Value, takes_part: Value) -> Value:
    """Whether a row takes part in a step and is reset there; `resets` are the flags of the step."""
    b = code.b
    there = b.and_(takes_part, b.icmp_unsigned("!=", b.ptrtoint(resets, I64), i64(0)))
    flag = b.gep(resets, [b.mul(row, f["resets.b"])], source_etype=I8)
    value = b.load(b.select(there, flag, f.array), typ=I8)
    return b.and_(there, b.icmp_unsigned("!=", value, ir.Constant(I8, 0)))


def enter_function(tiles: Tiles, cell: Cell, arguments: Arguments) -> Value:
    """``enter(array, t, first, last, first_block, last_block)``: copy the states before step t together.

    ::

        for row in range(first, last):
            for each state:
                source = restart[row] if row is reset, else init[row] if row joins, else out[t - 1, row]
                entering[row] = source
    """
    function = internal_function(tiles.module, "enter", [POINTER, *[I64] * 5])
    array, t, first, last, first_block, last_block = function.args
    code = tiles.code(function)
    f, b, V = arguments.read(code, array), code.b, code.width
    before = b.sub(t, i64(1))
    going_on, resets = rows_of(code, f, before), resets_at(code, f, t)
    with code.loop(first, last, i64(1)) as row:
        joins = b.icmp_signed(">=", row, going_on)
        reset = _is_reset(code, f, resets, row, ir.Constant(I1, 1))
        for state in cell.states:
            initial = code.at(f.pointer(f"init_{state}"), b.mul(row, f[f"init_{state}.b"]))
            restart = code.at(f.pointer(f"restart_{state}"), b.mul(row, f[f"restart_{state}.b"]))
            carried = code.at(at_step(code, f, f"out_{state}", before), b.mul(row, f[f"out_{state}.b"]))
            source = b.select(reset, restart, b.select(joins, initial, carried))
            width = width_of(f, cell, state)
            target = code.at(f.pointer(f"entering_{state}"), b.mul(row, width))
            with code.loop(first_block, last_block, i64(1)) as block:
                unit = b.mul(block, i64(V))
                mask = code.first(code.smaller(b.sub(width, unit), i64(V)))
                code.store(code.load(code.at(source, unit), mask), code.at(target, unit), mask)
    b.ret_void()
    return function
