"""Text becomes machine code once in a process, whoever asks for it."""

from __future__ import annotations

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from gatewise.compiler.machine import Loaded, compile_object, load


@pytest.fixture(autouse=True)
def _nothing_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run has kept would be loaded and not made."""
    monkeypatch.setenv("GATEWISE_CACHE", "off")


def returning(number: int, name: str = "answer") -> str:
    """A module with one function."""
    return f"define i64 @{name}() {{ ret i64 {number} }}"


def call(loaded: Loaded, name: str = "answer") -> int:
    result: int = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address[name])()
    return result


def test_functions_are_found_by_name() -> None:
    text = returning(1, "one") + returning(2, "two") + "define internal i64 @three() { ret i64 3 }"
    loaded = load("functions are found", lambda: text, ["one", "two"])
    assert loaded.address.keys() == {"one", "two"}
    assert (call(loaded, "one"), call(loaded, "two")) == (1, 2)


def test_each_key_has_code_of_its_own_under_the_same_names() -> None:
    loaded = [load(f"key {n}", partial(returning, n), ["answer"]) for n in range(5)]
    assert [call(one) for one in loaded] == list(range(5))


def test_a_key_is_written_once_though_many_ask_at_once() -> None:
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


def test_what_fails_to_compile_leaves_no_trace() -> None:
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


def test_an_object_is_the_same_bytes_each_time() -> None:
    assert compile_object(returning(8)) == compile_object(returning(8))
