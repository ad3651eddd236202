"""The ways into a kernel: whole, or in the parts that threads take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from gatewise.compiler.arguments import Arguments, Fields
from gatewise.compiler.matrix import Tiles
from gatewise.compiler.vector import I32, I64, POINTER, VOID, Address, Code, Value, i64

ENTRIES = ("run", "prepare", "part")
FIELDS = ("threads", "parallel", "thread_num", "num_threads")

# x86: flush-to-zero (bit 15) and denormals-are-zero (bit 6) of MXCSR; ARM: FZ (bit 24) of FPCR.
_X86_FLUSH, _ARM_FLUSH = 0x8040, 1 << 24

Prepare = Callable[[Code, Fields], None]
RowsBody = Callable[[Code, Fields, Value, Value, Value], None]  # ..., array, first row, last row


def write_entries(
    tiles: Tiles, arguments: Arguments, prepare: Prepare, rows: RowsBody, split: str = "B"
) -> None:
    """Write the entries of a kernel whose `rows` can be computed apart, `split` naming their number.

    - ``run(array)``: everything, on `threads` threads of the OpenMP library whose `parallel`, `thread_num`
      and `num_threads` functions are given, or on the caller's when `threads` is 1
    - ``prepare(array)``, then ``part(array, i, n)`` for each i in 0..n-1, on any threads: the same in pieces
    """
    body = _function(tiles, "rows", [POINTER, I64, I64])
    body.attributes.add("noinline")  # keeps arithmetic from moving across the change of rounding mode
    code = Code(body, tiles.number, tiles.width)
    rows(code, arguments.read(code, body.args[0]), *body.args)
    code.b.ret_void()

    pack = _function(tiles, "prepare", [POINTER], exported=True)
    code = Code(pack, tiles.number, tiles.width)
    prepare(code, arguments.read(code, pack.args[0]))
    code.b.ret_void()

    part = _write_part(tiles, arguments, body, split)
    _write_run(tiles, arguments, pack, part)


def _function(tiles: Tiles, name: str, args: list[Any], exported: bool = False) -> ir.Function:
    function = ir.Function(tiles.module, ir.FunctionType(VOID, args), name)
    function.linkage = "external" if exported else "internal"
    return function


def _write_part(tiles: Tiles, arguments: Arguments, body: Value, split: str) -> Value:
    """Thread i of n takes an equal run of rows, with denormals flushed to zero meanwhile."""
    part = _function(tiles, "part", [POINTER, I64, I64], exported=True)
    array, i, n = part.args
    code = Code(part, tiles.number, tiles.width)
    b, count = code.b, arguments.read(code, array)[split]
    first = b.sdiv(b.mul(count, i), n)
    last = b.sdiv(b.mul(count, b.add(i, i64(1))), n)
    restore = _flush_denormals(code, tiles.module.triple)
    b.call(body, [array, first, last])
    restore()
    b.ret_void()
    return part


def _flush_denormals(code: Code, triple: str) -> Callable[[], None]:
    """Set the machine's flush-to-zero mode; gives what writes the old mode back."""
    b = code.b
    if triple.startswith("x86_64"):
        get = code.declare("llvm.x86.sse.stmxcsr", VOID, [POINTER])
        put = code.declare("llvm.x86.sse.ldmxcsr", VOID, [POINTER])
        old, new = code.room(I32), code.room(I32)
        b.call(get, [old])
        b.store(b.or_(b.load(old, typ=I32), ir.Constant(I32, _X86_FLUSH)), new)
        b.call(put, [new])
        return lambda: b.call(put, [old])
    if triple.startswith(("aarch64", "arm64")):
        mode = b.call(code.declare("llvm.aarch64.get.fpcr", I64, []), [])
        put = code.declare("llvm.aarch64.set.fpcr", VOID, [I64])
        b.call(put, [b.or_(mode, i64(_ARM_FLUSH))])
        return lambda: b.call(put, [mode])
    return lambda: None


def _write_run(tiles: Tiles, arguments: Arguments, pack: Value, part: Value) -> None:
    member = _function(tiles, "member", [POINTER])
    code = Code(member, tiles.number, tiles.width)
    f, b = arguments.read(code, member.args[0]), code.b
    ask = ir.FunctionType(I32, [])
    # The team may be smaller than was asked for, inside another parallel region for one.
    i = b.sext(b.call(Address(f.pointer("thread_num"), ask), []), I64)
    n = b.sext(b.call(Address(f.pointer("num_threads"), ask), []), I64)
    b.call(part, [member.args[0], i, n])
    b.ret_void()

    run = _function(tiles, "run", [POINTER], exported=True)
    code = Code(run, tiles.number, tiles.width)
    f, b = arguments.read(code, run.args[0]), code.b
    b.call(pack, [run.args[0]])
    with b.if_else(b.icmp_signed("==", f["threads"], i64(1))) as (alone, team):
        with alone:
            b.call(part, [run.args[0], i64(0), i64(1)])
        with team:
            # GOMP_parallel(void (*)(void *), void *, unsigned threads, unsigned flags)
            fork = ir.FunctionType(VOID, [POINTER, POINTER, I32, I32])
            threads = b.trunc(f["threads"], I32)
            b.call(
                Address(f.pointer("parallel"), fork),
                [Address(member), run.args[0], threads, ir.Constant(I32, 0)],
            )
    b.ret_void()
