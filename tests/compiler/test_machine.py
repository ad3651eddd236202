"""LLVM text becomes machine code once, in whatever thread, and lives as long as it is referenced."""

from __future__ import annotations

import ctypes
import gc
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from benchmarks.soak import resident_megabytes
from gatewise.compiler.run import machine
from gatewise.compiler.run.machine import Loaded, compile_object, load, loaded_modules


@pytest.fixture(autouse=True)
def _nothing_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the disk cache, since a stored kernel would be loaded and not compiled."""
    monkeypatch.setenv("GATEWISE_CACHE", "off")


def returning(number: int, name: str = "answer") -> str:
    """The LLVM text of a module with one function that returns this number."""
    return f"define i64 @{name}() {{ ret i64 {number} }}"


def call(loaded: Loaded, name: str = "answer") -> int:
    result: int = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address[name])()
    return result


def test_functions_are_found_by_name() -> None:
    text = returning(1, "one") + returning(2, "two") + "define internal i64 @three() { ret i64 3 }"
    loaded = load("functions are found", lambda: text, ["one", "two"])
    assert loaded.address.keys() == {"one", "two"}
    assert (call(loaded, "one"), call(loaded, "two")) == (1, 2)


def test_each_key_has_its_own_code_under_the_same_names() -> None:
    loaded = [load(f"key {n}", partial(returning, n), ["answer"]) for n in range(5)]
    assert [call(one) for one in loaded] == list(range(5))


def test_a_key_is_compiled_once_for_threads_that_ask_at_the_same_time() -> None:
    written = []
    all_ready = threading.Barrier(6)

    def write() -> str:
        written.append(1)
        return returning(6)

    def ask() -> Loaded:
        all_ready.wait(timeout=60)
        return load("many ask", write, ["answer"])

    with ThreadPoolExecutor(6) as pool:
        loaded = [future.result() for future in [pool.submit(ask) for _ in range(6)]]
    assert written == [1]
    assert {id(one) for one in loaded} == {id(loaded[0])}


def test_a_failed_compilation_leaves_no_trace() -> None:
    with pytest.raises(RuntimeError, match="LLVM"):
        load("fails first", lambda: "no module at all", ["answer"])
    assert call(load("fails first", lambda: returning(7), ["answer"])) == 7


def test_products_and_sums_are_not_contracted_and_not_reordered() -> None:
    text = """
    define double @f(double %a, double %b, double %c) {
      %p = fmul double %a, %b
      %s = fadd double %p, %c
      %d = fsub double %s, %c
      ret double %d
    }"""
    loaded = load("not contracted", lambda: text, ["f"])
    f = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * 3)(loaded.address["f"])
    e = 2.0**-30
    assert f(1 + e, 1 - e, -1.0) == (1 + e) * (1 - e) - 1.0 + 1.0 == 1.0
    assert f(1.0, 1e-30, 1.0) == 0.0


# A function that waits until a flag is set, then stores a number: a test can hold a thread inside it.
WAITING = """
define void @answer(ptr %flag, ptr %out) {
entry:
  br label %look
look:
  %f = load atomic i64, ptr %flag acquire, align 8
  %set = icmp ne i64 %f, 0
  br i1 %set, label %done, label %look
done:
  store i64 4711, ptr %out
  ret void
}"""


@pytest.fixture
def number_before() -> Iterator[int]:
    """The number of loaded modules before a test; the test must end with the same number."""
    gc.collect()
    before = loaded_modules()
    yield before
    gc.collect()
    assert loaded_modules() == before
    assert not machine._unused


def test_unreferenced_code_is_freed_and_compiled_again_when_needed(number_before: int) -> None:
    written = []

    def write() -> str:
        written.append(1)
        return returning(9)

    loaded = load("given back", write, ["answer"])
    assert load("given back", write, ["answer"]) is loaded
    assert loaded_modules() == number_before + 1
    del loaded
    gc.collect()
    assert loaded_modules() == number_before
    assert call(load("given back", write, ["answer"])) == 9
    assert len(written) == 2


def test_a_function_keeps_its_code_alive(number_before: int) -> None:
    text = "define void @answer(ptr %out) { store i64 12, ptr %out ret void }"
    function = load("holds", lambda: text, ["answer"]).function("answer", ctypes.c_void_p)
    gc.collect()
    others = [load(f"other {n}", partial(returning, n), ["answer"]) for n in range(20)]
    assert loaded_modules() == number_before + 21
    out = ctypes.c_int64()
    function(ctypes.addressof(out))
    assert out.value == 12
    del function, others


@pytest.mark.usefixtures("number_before")
def test_code_that_another_thread_is_running_is_not_freed() -> None:
    flag, out = ctypes.c_int64(0), ctypes.c_int64(0)
    pointers = ctypes.addressof(flag), ctypes.addressof(out)
    loaded = load("inside", lambda: WAITING, ["answer"])
    function = loaded.function("answer", ctypes.c_void_p, ctypes.c_void_p)
    thread = threading.Thread(target=function, args=pointers, daemon=True)
    thread.start()
    del loaded, function
    for n in range(20):
        assert call(load(f"meanwhile {n}", partial(returning, n), ["answer"])) == n
    gc.collect()
    assert out.value == 0
    flag.value = 1
    thread.join(timeout=60)
    assert out.value == 4711


def test_code_dropped_during_a_compilation_is_freed_after_it(number_before: int) -> None:
    held = [load("dropped meanwhile", partial(returning, 1), ["answer"])]

    def write() -> str:
        held.clear()  # as the garbage collector may do, in this very thread
        assert len(machine._unused) == 1
        return returning(2)

    loaded = load("compiled meanwhile", write, ["answer"])
    assert not machine._unused
    assert loaded_modules() == number_before + 1
    assert call(loaded) == 2


@pytest.mark.usefixtures("number_before")
def test_threads_that_load_and_drop_the_same_keys_get_the_right_functions() -> None:
    def ask(seed: int) -> bool:
        chance = random.Random(seed)
        numbers = [chance.randrange(4) for _ in range(100)]
        return all(call(load(f"same keys {n}", partial(returning, n), ["answer"])) == n for n in numbers)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))


def test_an_object_has_the_same_bytes_each_time() -> None:
    assert compile_object(returning(8)) == compile_object(returning(8))


def test_code_that_is_made_loaded_and_dropped_leaves_no_memory_behind() -> None:
    """LLVM keeps 2 kB for a module of one function.

    If the passes were never freed, it would keep 18 kB, and 48 kB with the engine.
    """

    def turns(count: int) -> float:
        for n in range(count):
            load(f"dropped {n}", partial(returning, n), ["answer"])
        return resident_megabytes()

    before = turns(50)
    assert turns(500) - before < 4
