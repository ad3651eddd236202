"""The entry functions of a kernel: for a whole call, or for the parts that threads compute.

A team of threads divides the rows of a batch, and each thread goes through the sequence by itself. If rows
are few, it divides the units. Then all threads wait for each other after each step, because every unit
reads the states of all units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from llvmlite import ir

from gatewise.compiler.emit.arguments import Arguments, Fields
from gatewise.compiler.emit.target import Flush
from gatewise.compiler.emit.tiles import Span, Tiles
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

ALONE = ("run", "prepare", "part")
ENTRIES = (*ALONE, "many")  # where there are threads
# The head of a list of calls; the addresses of their arrays follow.
MANY = Arguments(("parallel", "thread_num", "num_threads", "threads", "count"))
# `done`: pointer to this call's counter of finished steps. `awaits`: pointer to the counter of the call whose
# results this one reads (the layer below). Either may be null.
FIELDS = (
    *("threads", "by_units", "parallel", "thread_num", "num_threads", "give_way", "arrived"),
    *("done", "awaits"),
)

# x86: flush-to-zero (bit 15) and denormals-are-zero (bit 6) of MXCSR; ARM: FZ (bit 24) of FPCR.
_X86_FLUSH, _ARM_FLUSH = 0x8040, 1 << 24
_SPINS = 1 << 8  # reads of a counter before the core is offered to another thread


class Share(NamedTuple):
    """Part i of n."""

    i: Value
    n: Value

    def of(self, code: Code, count: Value) -> Span:
        """The range of this part, of `count` rows or blocks."""
        b = code.b
        return b.sdiv(b.mul(count, self.i), self.n), b.sdiv(b.mul(count, b.add(self.i, i64(1))), self.n)


class Work(NamedTuple):
    """The work of one thread: some rows of the batch, and its share of the units.

    Three functions write code: `meet` is a barrier of all threads that have a share of the units, `wait`
    waits until the call whose results this one reads has done a number of steps, and `tell` publishes the
    number of steps that are done.
    """

    rows: Span
    units: Share
    meet: Callable[[], None]
    wait: Callable[[Value], None]
    tell: Callable[[Value], None]


class _Together(NamedTuple):
    """Functions by which threads wait for each other."""

    meet: Value
    wait: Value


class Body(Protocol):
    """What a kernel does."""

    def pack(self, code: Code, f: Fields, share: Share) -> None:
        """Write the code that packs weights, for a share of the units."""

    def walk(self, code: Code, f: Fields, array: Value, work: Work) -> None:
        """Write the code for everything else."""


def write_entries(tiles: Tiles, arguments: Arguments, body: Body, rows: str = "B") -> None:
    """Write the entries of a kernel; `rows` is the field with the number of rows, which threads divide.

    - ``run(array)``: the whole call, on `threads` threads of OpenMP, or on the caller's thread if `threads`
      is 0 or 1. The fields `parallel`, `thread_num` and `num_threads` are addresses of OpenMP's functions.
      With `by_units` the threads divide the units instead of the rows. A thread that waits long calls
      `give_way`.
    - ``many(list)``: the calls of a list of `MANY` side by side, each on one thread.
    - ``prepare(array)``, then ``part(array, i, n)`` for each i in 0..n-1, on any threads: the whole call in
      n parts.
    """
    together = _write_together(tiles, arguments) if tiles.target.threads else None
    work = _write_body(tiles, arguments, body, together)
    share = internal_function(tiles.module, "share", [POINTER, I64, I64])
    code = tiles.code(share)
    body.pack(code, arguments.read(code, share.args[0]), Share(*share.args[1:]))
    code.b.ret_void()

    whole = _exported(tiles, "prepare", [POINTER])
    code = tiles.code(whole)
    code.b.call(share, [whole.args[0], i64(0), i64(1)])
    code.b.ret_void()

    part = _exported(tiles, "part", [POINTER, I64, I64])
    code = tiles.code(part)
    some = Share(*part.args[1:]).of(code, arguments.read(code, part.args[0])[rows])
    code.b.call(work, [part.args[0], *some, i64(0), i64(1)])
    code.b.ret_void()

    member = together and _write_member(tiles, arguments, share, together, part, work, rows)
    run = _write_run(tiles, arguments, whole, part, member)
    if together:
        _write_many(tiles, run)


def _exported(tiles: Tiles, name: str, arguments: list[Any]) -> Value:
    return ir.Function(tiles.module, ir.FunctionType(VOID, arguments), name)


def _write_body(tiles: Tiles, arguments: Arguments, body: Body, together: _Together | None) -> Value:
    """``work(array, first, last, i, n)``: the walk of one thread, with denormals flushed to zero."""
    inner = internal_function(tiles.module, "body", [POINTER, *[I64] * 4])
    # A function of its own, so that no arithmetic moves across the change of mode.
    array, first, last, i, n = inner.args
    code = tiles.code(inner)
    b = code.b

    def meet_others() -> None:
        if together:
            with b.if_then(b.icmp_signed(">", n, i64(1))):
                b.call(together.meet, [array, n])

    f = arguments.read(code, array)

    def wait_for(steps: Value) -> None:
        if together:
            with b.if_then(b.icmp_signed("!=", f["awaits"], i64(0))):
                b.call(together.wait, [array, f.pointer("awaits"), steps])

    def tell(steps: Value) -> None:
        if not together:
            return
        with b.if_then(b.icmp_signed("!=", f["done"], i64(0))):
            b.atomic_rmw("xchg", Address(f.pointer("done"), I64), steps, "release")

    body.walk(code, f, array, Work((first, last), Share(i, n), meet_others, wait_for, tell))
    b.ret_void()

    work = internal_function(tiles.module, "work", [POINTER, *[I64] * 4])
    code = tiles.code(work)
    restore = _flush_denormals(code)
    code.b.call(inner, work.args)
    restore()
    code.b.ret_void()
    return work


def _flush_denormals(code: Code) -> Callable[[], None]:
    """Set the flush-to-zero mode. Returns a function that writes the code to restore the old mode."""
    b = code.b
    if code.target.flush is Flush.MXCSR:
        get = code.declare("llvm.x86.sse.stmxcsr", VOID, [POINTER])
        put = code.declare("llvm.x86.sse.ldmxcsr", VOID, [POINTER])
        old, new = code.room(I32), code.room(I32)
        b.call(get, [old])
        b.store(b.or_(b.load(old, typ=I32), ir.Constant(I32, _X86_FLUSH)), new)
        b.call(put, [new])
        return lambda: b.call(put, [old])
    if code.target.flush is Flush.FPCR:
        mode = b.call(code.declare("llvm.aarch64.get.fpcr", I64, []), [])
        put = code.declare("llvm.aarch64.set.fpcr", VOID, [I64])
        b.call(put, [b.or_(mode, i64(_ARM_FLUSH))])
        return lambda: b.call(put, [mode])
    return lambda: None


def _write_together(tiles: Tiles, arguments: Arguments) -> _Together:
    wait = _write_wait(tiles, arguments)
    return _Together(_write_meet(tiles, arguments, wait), wait)


def _write_meet(tiles: Tiles, arguments: Arguments, wait: Value) -> Value:
    """``meet(array, n)``: a barrier of n threads.

    ::

        before = arrived++                      # one counter for all rounds, never reset
        wait until arrived >= (before / n + 1) * n

    The last thread of a round brings the counter to a multiple of n; before that none can enter the next
    round.
    """
    meet = internal_function(tiles.module, "meet", [POINTER, I64])
    array, n = meet.args
    code = tiles.code(meet)
    f, b = arguments.read(code, array), code.b
    arrived = f.pointer("arrived")
    before = b.atomic_rmw("add", Address(arrived, I64), i64(1), "acq_rel")
    b.call(wait, [array, arrived, b.mul(b.add(b.udiv(before, n), i64(1)), n)])
    b.ret_void()
    return meet


def _write_wait(tiles: Tiles, arguments: Arguments) -> Value:
    """``wait(array, number, least)`` returns when the counter at an address is `least` or more.

    ::

        spins = 0
        while *number < least:
            pause
            if ++spins > _SPINS: give_way()
    """
    function = internal_function(tiles.module, "wait", [POINTER, POINTER, I64])
    array, number, least = function.args
    code = tiles.code(function)
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
    if tiles.target.triple.startswith("x86_64"):
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
    tiles: Tiles, arguments: Arguments, share: Value, together: _Together, part: Value, work: Value, rows: str
) -> Value:
    """``member(array)``: what each thread of a team does.

    ::

        i, n = thread_num(), num_threads()      # n may be smaller than requested
        share(i, n)                             # pack
        meet()
        if by_units: work(all rows, share i of n of the units)
        else:        part(i, n)
    """
    member = internal_function(tiles.module, "member", [POINTER])
    (array,) = member.args
    code = tiles.code(member)
    f, b = arguments.read(code, array), code.b
    ask = ir.FunctionType(I32, [])
    i = b.sext(b.call(Address(f.pointer("thread_num"), ask), []), I64)
    n = b.sext(b.call(Address(f.pointer("num_threads"), ask), []), I64)
    b.call(share, [array, i, n])
    b.call(together.meet, [array, n])
    with b.if_else(b.icmp_signed("!=", f["by_units"], i64(0))) as (by_units, by_rows):
        with by_units:
            b.call(work, [array, i64(0), f[rows], i, n])
        with by_rows:
            b.call(part, [array, i, n])
    b.ret_void()
    return member


def _write_run(tiles: Tiles, arguments: Arguments, whole: Value, part: Value, member: Value | None) -> Value:
    """``run(array)``: prepare and part 0 of 1, or member (if there is one) on each thread of a team."""
    run = _exported(tiles, "run", [POINTER])
    (array,) = run.args
    code = tiles.code(run)
    f, b = arguments.read(code, array), code.b

    def run_alone() -> None:
        b.call(whole, [array])
        b.call(part, [array, i64(0), i64(1)])

    if member is None:
        run_alone()
        b.ret_void()
        return run
    with b.if_else(b.icmp_signed("<=", f["threads"], i64(1))) as (alone, team):
        with alone:
            run_alone()
        with team:
            arrived = code.room(I64, 16)  # a cache line of its own
            b.store(i64(0), arrived)
            arguments.frame(code, array).set(arrived=arrived)
            _fork(code, f, member, array, f["threads"])
    b.ret_void()
    return run


def _write_many(tiles: Tiles, run: Value) -> None:
    """``many(list)``: thread i of n makes the calls i, i + n, ... of the list."""
    each = internal_function(tiles.module, "each", [POINTER])
    code = tiles.code(each)
    f, b = MANY.read(code, each.args[0]), code.b
    ask = ir.FunctionType(I32, [])
    i = b.sext(b.call(Address(f.pointer("thread_num"), ask), []), I64)
    n = b.sext(b.call(Address(f.pointer("num_threads"), ask), []), I64)
    with code.loop(i, f["count"], n) as k:
        at = b.gep(each.args[0], [b.add(k, i64(len(MANY.names)))], source_etype=I64)
        b.call(run, [b.load(at, typ=POINTER)])
    b.ret_void()

    many = _exported(tiles, "many", [POINTER])
    code = tiles.code(many)
    f, b = MANY.read(code, many.args[0]), code.b
    _fork(code, f, each, many.args[0], f["threads"])
    b.ret_void()


def _fork(code: Code, f: Fields, member: Value, data: Value, threads: Value) -> None:
    """Call ``GOMP_parallel(void (*)(void *), void *, unsigned threads, unsigned flags)``."""
    kind = ir.FunctionType(VOID, [POINTER, POINTER, I32, I32])
    arguments = [Address(member), data, code.b.trunc(threads, I32), ir.Constant(I32, 0)]
    code.b.call(Address(f.pointer("parallel"), kind), arguments)
