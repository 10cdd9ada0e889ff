"""The building blocks of a kernel policy file: numbers, names, bit sets, levels, and where in the file they end."""

from __future__ import annotations

import struct
from typing import Final

_NODE: Final = struct.Struct("<IQ")


class PolicydbError(Exception):
    """Not a kernel policy that can be read; the text says at which byte and why."""


class Cursor:
    """Reads a kernel policy from front to back. Every read past its end, and every impossible value, is an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fail(self, why: str) -> PolicydbError:
        """The error to raise for what stands here."""
        return PolicydbError(f"not a kernel policy that can be read: byte {self.at}: {why}")

    def numbers(self, count: int) -> tuple[int, ...]:
        """The next `count` 32-bit numbers."""
        end = self.at + 4 * count
        if end > len(self.data):
            raise self.fail("the file ends here")
        found = struct.unpack_from(f"<{count}I", self.data, self.at)
        self.at = end
        return found

    def number(self) -> int:
        """The next 32-bit number."""
        return self.numbers(1)[0]

    def raw(self, length: int) -> bytes:
        """The next `length` bytes."""
        end = self.at + length
        if end > len(self.data):
            raise self.fail("the file ends here")
        found = self.data[self.at : end]
        self.at = end
        return found

    def name(self, length: int) -> str:
        """A name of `length` bytes."""
        try:
            return self.raw(length).decode()
        except UnicodeDecodeError:
            raise self.fail("a name that is not UTF-8") from None

    def positions(self) -> list[int]:
        """A bit set, as the sorted places of its ones, counted from 0."""
        found: list[int] = []
        for start, word in self._nodes():
            while word:
                low = word & -word
                found.append(start + low.bit_length() - 1)
                word ^= low
        return found

    def bits(self) -> int:
        """A bit set, as one integer."""
        total = 0
        for start, word in self._nodes():
            total |= word << start
        return total

    def _nodes(self) -> list[tuple[int, int]]:
        unit, high, count = self.numbers(3)
        if unit != 64 or high % 64 or count > high // 64:
            raise self.fail("a bit set of an unknown form")
        end = self.at + count * _NODE.size
        if end > len(self.data):
            raise self.fail("the file ends here")
        nodes = list(_NODE.iter_unpack(self.data[self.at : end]))
        self.at = end
        before = -64
        for start, word in nodes:
            if start % 64 or start < before + 64 or start + 64 > high or not word:
                raise self.fail("a bit set out of order")
            before = start
        return nodes

    def level(self) -> tuple[int, int]:
        """A level: the value of its sensitivity, and its categories as bits."""
        return self.number(), self.bits()

    def range(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """A range: its low and its high level. A range of one level is written once."""
        items = self.number()
        if items not in (1, 2):
            raise self.fail(f"a range of {items} levels")
        sensitivities = self.numbers(items)
        low = (sensitivities[0], self.bits())
        return low, ((sensitivities[1], self.bits()) if items == 2 else low)
