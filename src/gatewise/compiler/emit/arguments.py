"""The arguments of kernels and of their functions: fields of an array of 64-bit integers, by name.

Sizes, strides (in elements), flags and addresses are all fields of one array. Caller and kernel derive the
index of each field from the same list of names, so no struct has to be declared twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ctypes import Array, c_int64
from struct import Struct
from struct import error as StructError
from typing import Any, NoReturn, final

from gatewise.compiler.emit.vector import I64, POINTER, Code, Value, i64


@final
class Blank(dict[str, int]):
    """All fields of a call in order, made by `Arguments.blank`. Some are filled in, the others are 0.

    Values may change, but no field is added or removed.
    """


@final
class Arguments:
    """The fields of one call, in order.

    Attributes:
        names: the fields.
        place: the index of each field in the array of a call.
        array: the type of that array.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.place = {name: n for n, name in enumerate(self.names)}
        self.array: type[Array[c_int64]] = c_int64 * len(self.names)
        self._struct = Struct(f"{len(self.names)}q")

    def blank(self, values: Mapping[str, int]) -> Blank:
        """A `Blank` with these values, and 0 for all other fields.

        Raises:
            KeyError: `values` has a name that is not a field.
        """
        if isinstance(values, Blank):
            return Blank(values)
        unknown = values.keys() - self.place.keys()
        if unknown:
            raise KeyError(f"unknown field: {', '.join(sorted(unknown))}")
        return Blank((name, values.get(name, 0)) for name in self.names)

    def fill(self, values: Mapping[str, int]) -> Array[c_int64]:
        """The array for a call. A missing field is 0, which means a null pointer, or false.

        Raises:
            KeyError: `values` has a name that is not a field.
        """
        in_order = values if isinstance(values, Blank) else self.blank(values)
        try:
            # `struct` converts the numbers in a third of the time of ctypes.
            packed = self._struct.pack(*in_order.values())
        except StructError:
            self._refuse(in_order)
        filled: Array[c_int64] = self.array.from_buffer_copy(packed)
        return filled

    def _refuse(self, blank: Blank) -> NoReturn:
        """Raise the error for fields that cannot be packed."""
        if blank.keys() != self.place.keys():
            raise KeyError(f"unknown field: {', '.join(sorted(blank.keys() ^ self.place.keys()))}") from None
        wrong = next(name for name, value in blank.items() if not _fits(value))
        raise ValueError(f"{wrong} must be an integer of 64 bits. Got {blank[wrong]!r}.") from None

    def read(self, code: Code, array: Value) -> Fields:
        """The fields, to be read by the code of the called function."""
        return Fields(code, array, self.place)

    def make(self, code: Code) -> Frame:
        """A new array on the stack for a call that `code` makes."""
        return self.frame(code, code.room(I64, len(self.names)))

    def frame(self, code: Code, array: Value) -> Frame:
        """The fields of an existing array, to be set."""
        return Frame(code, array, self.place)


def _fits(value: object) -> bool:
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 63


@final
class Frame:
    """The fields of an array, to be set by the code of the caller."""

    def __init__(self, code: Code, array: Value, place: Mapping[str, int]) -> None:
        self.array = array
        self._code = code
        self.place = place

    def set(self, **values: Value) -> None:
        """Set fields to integers or addresses."""
        for name, value in values.items():
            at = self._code.b.gep(self.array, [i64(self.place[name])], source_etype=I64)
            self._code.b.store(value, at)


@final
class Fields:
    """The fields of an array, each loaded once, in the entry block."""

    def __init__(self, code: Code, array: Value, place: Mapping[str, int]) -> None:
        self._code = code
        self.array = array
        self.place = place
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
                at = b.gep(self.array, [i64(self.place[name])], source_etype=I64)
                self._loaded[name, kind] = b.load(at, typ=kind)
        return self._loaded[name, kind]
