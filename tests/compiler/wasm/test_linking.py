"""Objects of LLVM become modules, or an error says why not."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from gatewise import cells
from gatewise.compiler.emit.number import FLOAT32
from gatewise.compiler.kernels.forward import ForwardKernel
from gatewise.compiler.plan.plan import plan
from gatewise.compiler.run.machine import compile_object
from gatewise.compiler.wasm import modules
from gatewise.compiler.wasm.binary import (
    CODE,
    CUSTOM,
    EXPORT,
    HEADER,
    FormatError,
    Reader,
    Section,
    module_of,
    padded,
    sections_of,
    unsigned,
)
from gatewise.compiler.wasm.linking import LinkError, linked, relocations_of, symbols_of
from gatewise.compiler.wasm.target import PLAIN, RELAXED
from tests.compiler.wasm.browser import Machine


def object_of(text: str) -> bytes:
    modules._start()
    return compile_object(text, RELAXED)


ANSWER = "define i32 @answer() { ret i32 43 } define i32 @other() { %x = call i32 @answer() ret i32 %x }"
TABLED = """
define internal void @one(ptr %out) noinline { store i32 1, ptr %out ret void }
define internal void @two(ptr %out) noinline { store i32 2, ptr %out ret void }
define void @run(ptr %out, i64 %which) {
  %is_two = icmp eq i64 %which, 2
  %chosen = select i1 %is_two, ptr @two, ptr @one
  call void %chosen(ptr %out)
  ret void
}"""


def test_the_requested_functions_are_exported_and_nothing_else(machine: Machine) -> None:
    module = linked(object_of(ANSWER), ["other"])
    assert _listed(machine, module) == ([], [["other", "function"]])
    sections = [section.number for section in sections_of(module)]
    assert CUSTOM not in sections
    assert sections == sorted(sections)


def _listed(machine: Machine, module: bytes) -> tuple[list[Any], list[Any]]:
    """Imports other than those that every object has, and exports."""
    imports, exports = machine.described(module)
    known = {"__linear_memory", "__stack_pointer", "__indirect_function_table"}
    return [one for one in imports if one[0] not in known], exports


def test_functions_are_called_through_the_table(machine: Machine) -> None:
    module = linked(object_of(TABLED), ["run"])
    for which in (1, 2):
        after = machine.call(f"tabled {which}", module, "run", bytes(8), [which])
        assert int.from_bytes(after[:4], "little") == which


def test_every_relocation_is_applied() -> None:
    """The places are overwritten first, so what they hold afterwards comes from the relocations."""
    modules._start()
    image = compile_object(ForwardKernel(plan(cells.lstm)).write(FLOAT32, RELAXED), RELAXED)
    sections = sections_of(image)
    (relocations,) = (
        relocations_of(s.content[len("reloc.CODE") + 1 :])
        for s in sections
        if s.number == CUSTOM and s.content[1:].startswith(b"reloc.CODE")
    )
    assert {relocation.kind for relocation in relocations} >= {0, 1, 6, 7}
    for n, section in enumerate(sections):
        if section.number == CODE:
            code = bytearray(section.content)
            for _, offset, _ in relocations:
                code[offset : offset + 5] = padded(12345)
            sections[n] = Section(CODE, bytes(code))
    assert module_of(sections) != image
    assert linked(module_of(sections), ["run"]) == linked(image, ["run"])


def test_the_kernels_of_all_targets_import_three_things(machine: Machine) -> None:
    for target in (RELAXED, PLAIN):
        module = modules.module("forward", ForwardKernel(plan(cells.lstm)), FLOAT32, target)
        imports, exports = machine.described(module)
        assert sorted(imports) == [
            ["__indirect_function_table", "table"],
            ["__linear_memory", "memory"],
            ["__stack_pointer", "global"],
        ]
        assert exports == [["run", "function"], ["prepare", "function"], ["part", "function"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("declare i32 @elsewhere() define i32 @answer() { %x = call i32 @elsewhere() ret i32 %x }",
         r"an object may import .*\. Got 'elsewhere'"),
        ("@number = global i32 43 define ptr @answer() { ret ptr @number }", "must be a function, a global"),
        ("define i32 @question() { ret i32 1 }", r"must define 'answer'\. Got question"),
    ],
    ids=["import", "data", "export"],
)  # fmt: skip
def test_an_object_that_cannot_become_a_module_is_refused(text: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        linked(object_of(text), ["answer"])


def test_an_unknown_version_and_an_unknown_relocation_are_refused() -> None:
    with pytest.raises(LinkError, match=r"must have version 2\. Got 3"):
        symbols_of(b"\3")
    with pytest.raises(LinkError, match=r"must be of a kind of .*\. Got 3"):
        relocations_of(b"\0\1\3\0\0")


@pytest.mark.parametrize(
    "content", [b"", HEADER[:4] + b"\2\0\0\0", HEADER + b"\1\5\0", HEADER + b"\1" + 5 * b"\x80"]
)
def test_damaged_modules_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError, match="must"):
        sections_of(content)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21, 2**31 - 1])
def test_integers_are_read_as_they_were_written(value: int) -> None:
    for encoded in (unsigned(value), padded(value)):
        reader = Reader(encoded)
        assert reader.unsigned() == value
        assert not reader.more
    assert len(padded(value)) == 5


def test_sections_are_read_as_they_were_written() -> None:
    sections = [Section(CUSTOM, b"abc"), Section(EXPORT, bytes(300))]
    assert sections_of(module_of(sections)) == sections


def test_the_targets_differ_in_how_products_are_added() -> None:
    text = ForwardKernel(plan(cells.rnn)).write(FLOAT32, RELAXED)
    assert "llvm.wasm.relaxed.madd.v4f32" in text
    assert not re.search(r"llvm\.(fma|prefetch)|stmxcsr|atomic", text)
    assert "madd" not in ForwardKernel(plan(cells.rnn)).write(FLOAT32, PLAIN)
    assert dataclasses.replace(PLAIN, fma=RELAXED.fma, features=RELAXED.features) == RELAXED
