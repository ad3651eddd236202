"""The ways into a kernel: whole, or in the parts that threads take.

A team of threads divides the rows of a batch, and then each goes through the sequence by itself; or, where
rows are few, the units, and then all meet after each step, since every unit reads every other one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.matrix import Span, Tiles
from gatewise.compiler.emit.vector import (
    I32,
    I64,
    POINTER,
    VOID,
    Address,
    Code,
    Value,
    i64,
    internal_function,
)

ENTRIES = ("run", "prepare", "part", "many")
# What stands before the addresses of the arrays of several calls.
MANY = Arguments(("parallel", "thread_num", "num_threads", "threads", "count"))
# `done` and `awaits` are addresses of numbers of steps, or null: how many this call has done, and how many of
# them the call has whose results it reads.
FIELDS = (
    *("threads", "by_units", "parallel", "thread_num", "num_threads", "give_way", "arrived"),
    *("done", "awaits"),
)

# x86: flush-to-zero (bit 15) and denormals-are-zero (bit 6) of MXCSR; ARM: FZ (bit 24) of FPCR.
_X86_FLUSH, _ARM_FLUSH = 0x8040, 1 << 24
_SPINS = 1 << 8  # looks at the others before the core is offered to someone else


class Share(NamedTuple):
    """Part i of n."""

    i: Value
    n: Value

    def of(self, code: Code, count: Value) -> Span:
        """Which of `count` things belong to this part."""
        b = code.b
        return b.sdiv(b.mul(count, self.i), self.n), b.sdiv(b.mul(count, b.add(self.i, i64(1))), self.n)


class Work(NamedTuple):
    """What one thread does: some rows of the batch (of what is split), and its share of the units."""

    rows: Span
    units: Share
    meet: Callable[[], None]  # waits until all with a share of the units have come
    wait: Callable[[Value], None]  # waits until the call whose results this one reads has done so many steps
    tell: Callable[[Value], None]  # says that so many steps are done


Prepare = Callable[[Code, Fields, Share], None]
Body = Callable[[Code, Fields, Value, Work], None]  # ..., array, work


def write_entries(tiles: Tiles, arguments: Arguments, prepare: Prepare, body: Body, split: str = "B") -> None:
    """Write the entries of a kernel whose rows can be computed apart, `split` naming their number.

    - ``run(array)``: everything, on `threads` threads of the OpenMP library whose `parallel`, `thread_num`
      and `num_threads` functions are given, or on the caller's when `threads` is 1 or not given. With
      `by_units` they divide the units instead of the rows. Who waits long for the others calls `give_way`
    - ``many(list)``: the calls of a list of `MANY`, each on one thread: that many of them side by side
    - ``prepare(array)``, then ``part(array, i, n)`` for each i in 0..n-1, on any threads: the same in
      pieces, by rows
    """
    wait = _write_wait(tiles, arguments)
    meet = _write_meet(tiles, arguments, wait)
    work = _write_body(tiles, arguments, body, meet, wait)
    share = internal_function(tiles.module, "share", [POINTER, I64, I64])
    code = Code(share, tiles.number, tiles.width)
    prepare(code, arguments.read(code, share.args[0]), Share(*share.args[1:]))
    code.b.ret_void()

    whole = _exported(tiles, "prepare", [POINTER])
    code = Code(whole, tiles.number, tiles.width)
    code.b.call(share, [whole.args[0], i64(0), i64(1)])
    code.b.ret_void()

    part = _exported(tiles, "part", [POINTER, I64, I64])
    code = Code(part, tiles.number, tiles.width)
    rows = Share(*part.args[1:]).of(code, arguments.read(code, part.args[0])[split])
    code.b.call(work, [part.args[0], *rows, i64(0), i64(1)])
    code.b.ret_void()

    member = _write_member(tiles, arguments, share, meet, part, work, split)
    run = _write_run(tiles, arguments, (whole, part, member))
    _write_many(tiles, run)


def _exported(tiles: Tiles, name: str, arguments: list[Any]) -> Value:
    return ir.Function(tiles.module, ir.FunctionType(VOID, arguments), name)


def _write_body(tiles: Tiles, arguments: Arguments, body: Body, meet: Value, wait: Value) -> Value:
    """``work(array, first, last, i, n)``, with denormals flushed to zero meanwhile."""
    inner = internal_function(tiles.module, "body", [POINTER, *[I64] * 4])
    # Kept apart, so that no arithmetic moves across the change of rounding mode.
    array, first, last, i, n = inner.args
    code = Code(inner, tiles.number, tiles.width)
    b = code.b

    def meet_others() -> None:
        with b.if_then(b.icmp_signed(">", n, i64(1))):
            b.call(meet, [array, n])

    f = arguments.read(code, array)

    def wait_for(steps: Value) -> None:
        with b.if_then(b.icmp_signed("!=", f["awaits"], i64(0))):
            b.call(wait, [array, f.pointer("awaits"), steps])

    def tell(steps: Value) -> None:
        with b.if_then(b.icmp_signed("!=", f["done"], i64(0))):
            b.atomic_rmw("xchg", Address(f.pointer("done"), I64), steps, "release")

    body(code, f, array, Work((first, last), Share(i, n), meet_others, wait_for, tell))
    b.ret_void()

    work = internal_function(tiles.module, "work", [POINTER, *[I64] * 4])
    code = Code(work, tiles.number, tiles.width)
    restore = _flush_denormals(code, tiles.module.triple)
    code.b.call(inner, work.args)
    restore()
    code.b.ret_void()
    return work


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


def _write_meet(tiles: Tiles, arguments: Arguments, wait: Value) -> Value:
    """``meet(array, n)`` returns when n threads have called it as often as this one.

    All count their arrivals in one number. It passes a multiple of n when the last of a round has come, and
    none arrives for the next round before.
    """
    meet = internal_function(tiles.module, "meet", [POINTER, I64])
    array, n = meet.args
    code = Code(meet, tiles.number, tiles.width)
    f, b = arguments.read(code, array), code.b
    arrived = f.pointer("arrived")
    before = b.atomic_rmw("add", Address(arrived, I64), i64(1), "acq_rel")
    b.call(wait, [array, arrived, b.mul(b.add(b.udiv(before, n), i64(1)), n)])
    b.ret_void()
    return meet


def _write_wait(tiles: Tiles, arguments: Arguments) -> Value:
    """``wait(array, number, least)`` returns when the number at an address is `least` or more."""
    function = internal_function(tiles.module, "wait", [POINTER, POINTER, I64])
    array, number, least = function.args
    code = Code(function, tiles.number, tiles.width)
    f, b = arguments.read(code, array), code.b
    look, wait, offer, done = (b.append_basic_block(name) for name in ("look", "wait", "offer", "done"))
    give_way = Address(f.pointer("give_way"), ir.FunctionType(I32, []))
    start = b.block
    b.branch(look)
    b.position_at_end(look)
    spins = b.phi(I64)
    spins.add_incoming(i64(0), start)
    now = b.load_atomic(Address(number, I64), "acquire", 8, typ=I64)
    b.cbranch(b.icmp_unsigned("<", now, least), wait, done)
    b.position_at_end(wait)
    if tiles.module.triple.startswith("x86_64"):
        b.call(code.declare("llvm.x86.sse2.pause", VOID, []), [])
    spins.add_incoming(b.add(spins, i64(1)), wait)
    b.cbranch(b.icmp_unsigned("<", spins, i64(_SPINS)), look, offer)
    b.position_at_end(offer)
    b.call(give_way, [])
    spins.add_incoming(spins, offer)
    b.branch(look)
    b.position_at_end(done)
    b.ret_void()
    return function


def _write_member(
    tiles: Tiles, arguments: Arguments, share: Value, meet: Value, part: Value, work: Value, split: str
) -> Value:
    """``member(array)``: what each thread of a team does."""
    member = internal_function(tiles.module, "member", [POINTER])
    (array,) = member.args
    code = Code(member, tiles.number, tiles.width)
    f, b = arguments.read(code, array), code.b
    ask = ir.FunctionType(I32, [])
    # The team may be smaller than was asked for, inside another parallel region for one.
    i = b.sext(b.call(Address(f.pointer("thread_num"), ask), []), I64)
    n = b.sext(b.call(Address(f.pointer("num_threads"), ask), []), I64)
    b.call(share, [array, i, n])
    b.call(meet, [array, n])
    with b.if_else(b.icmp_signed("!=", f["by_units"], i64(0))) as (units, rows):
        with units:
            b.call(work, [array, i64(0), f[split], i, n])
        with rows:
            b.call(part, [array, i, n])
    b.ret_void()
    return member


def _write_run(tiles: Tiles, arguments: Arguments, functions: tuple[Value, Value, Value]) -> Value:
    whole, part, member = functions
    run = _exported(tiles, "run", [POINTER])
    (array,) = run.args
    code = Code(run, tiles.number, tiles.width)
    f, b = arguments.read(code, array), code.b
    with b.if_else(b.icmp_signed("<=", f["threads"], i64(1))) as (alone, team):
        with alone:
            b.call(whole, [array])
            b.call(part, [array, i64(0), i64(1)])
        with team:
            arrived = code.room(I64, 16)  # a cache line of its own
            b.store(i64(0), arrived)
            arguments.frame(code, array).set(arrived=arrived)
            _fork(code, f, member, array, f["threads"])
    b.ret_void()
    return run


def _write_many(tiles: Tiles, run: Value) -> None:
    """``many(list)``: thread i of n takes the calls i, i + n, ... of the list."""
    each = internal_function(tiles.module, "each", [POINTER])
    code = Code(each, tiles.number, tiles.width)
    f, b = MANY.read(code, each.args[0]), code.b
    ask = ir.FunctionType(I32, [])
    i = b.sext(b.call(Address(f.pointer("thread_num"), ask), []), I64)
    n = b.sext(b.call(Address(f.pointer("num_threads"), ask), []), I64)
    with code.loop(i, f["count"], n) as k:
        at = b.gep(each.args[0], [b.add(k, i64(len(MANY.names)))], source_etype=I64)
        b.call(run, [b.load(at, typ=POINTER)])
    b.ret_void()

    many = _exported(tiles, "many", [POINTER])
    code = Code(many, tiles.number, tiles.width)
    f, b = MANY.read(code, many.args[0]), code.b
    _fork(code, f, each, many.args[0], f["threads"])
    b.ret_void()


def _fork(code: Code, f: Fields, member: Value, data: Value, threads: Value) -> None:
    """``GOMP_parallel(void (*)(void *), void *, unsigned threads, unsigned flags)``."""
    kind = ir.FunctionType(VOID, [POINTER, POINTER, I32, I32])
    arguments = [Address(member), data, code.b.trunc(threads, I32), ir.Constant(I32, 0)]
    code.b.call(Address(f.pointer("parallel"), kind), arguments)
