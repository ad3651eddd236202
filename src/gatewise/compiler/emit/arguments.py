"""How kernels and their functions are called: by an array of 64-bit integers, read by name.

Sizes, strides (in elements) and addresses travel in the same array; both sides take the places from the
same list of names, so there is no struct to keep in step and nothing to convert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ctypes import Array, c_int64
from struct import Struct
from typing import Any, final

from gatewise.compiler.emit.vector import I64, POINTER, Code, Value, i64


@final
class Blank(dict[str, int]):
    """All fields of a call in order, some of them filled in: what `Arguments.blank` makes.

    No field is added to it or taken away.
    """


@final
class Arguments:
    """The fields of one call, in order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._place = {name: n for n, name in enumerate(self.names)}
        self._array: Any = c_int64 * len(self.names)
        self._struct = Struct(f"{len(self.names)}q")

    def blank(self, values: Mapping[str, int]) -> Blank:
        """All fields, to be filled in and copied: in order, so that `fill` need not look for them."""
        return Blank((name, values.get(name, 0)) for name in self.names)

    def fill(self, values: Mapping[str, int]) -> Array[c_int64]:
        """The array for a call; a field that is not given is 0 (no such array, not so)."""
        in_order = (values if isinstance(values, Blank) else self.blank(values)).values()
        # By way of `struct`: ctypes takes three times as long to convert as many numbers.
        filled: Array[c_int64] = self._array.from_buffer_copy(self._struct.pack(*in_order))
        return filled

    def read(self, code: Code, array: Value) -> Fields:
        """The fields as the called function sees them."""
        return Fields(code, array, self._place)

    def make(self, code: Code) -> Frame:
        """Room for the fields of a call that `code` makes."""
        return self.frame(code, code.room(I64, len(self.names)))

    def frame(self, code: Code, array: Value) -> Frame:
        """The fields of an array that is there, to be set."""
        return Frame(code, array, self._place)


@final
class Frame:
    """The fields of a call on the caller's side, to be set before it."""

    def __init__(self, code: Code, array: Value, place: Mapping[str, int]) -> None:
        self.array = array
        self._code = code
        self._place = place

    def set(self, **values: Value) -> None:
        """Set fields to integers or addresses."""
        for name, value in values.items():
            at = self._code.b.gep(self.array, [i64(self._place[name])], source_etype=I64)
            self._code.b.store(value, at)


@final
class Fields:
    """Loads fields from the array, each once, at the place of first use in the entry block."""

    def __init__(self, code: Code, array: Value, place: Mapping[str, int]) -> None:
        self._code = code
        self.array = array
        self._place = place
        self._loaded: dict[tuple[str, Any], Value] = {}

    def __getitem__(self, name: str) -> Value:
        """The field as an integer."""
        return self._load(name, I64)

    def pointer(self, name: str) -> Value:
        """The field as an address."""
        return self._load(name, POINTER)

    def _load(self, name: str, kind: Any) -> Value:
        if (name, kind) not in self._loaded:
            b = self._code.b
            with b.goto_entry_block():
                at = b.gep(self.array, [i64(self._place[name])], source_etype=I64)
                self._loaded[name, kind] = b.load(at, typ=kind)
        return self._loaded[name, kind]
