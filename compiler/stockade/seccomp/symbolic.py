"""Follows a filter along all of its paths at once: every call there is, sorted by the way it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stockade.seccomp import emulate as op
from stockade.seccomp.emulate import Instruction
from stockade.seccomp.regions import EVERYTHING, WORD, Region, split_at, split_mask

MAX_PATHS = 200_000


class Unprovable(ValueError):
    """The program computes with its input in a way that intervals and fixed bits do not follow."""


@dataclass(frozen=True, slots=True)
class Masked:
    """The accumulator holds a word of the input, some of its bits cleared."""

    word: int
    mask: int = WORD


Held = int | Masked
_State = tuple[int, Held, Region]


def paths(code: tuple[Instruction, ...], start: Region = EVERYTHING) -> Iterator[Region]:
    """Disjoint regions that together make `start`; all calls of one region take the same way through the program.

    Unprovable for a program that uses X, scratch memory or arithmetic other than `and` with a constant, compares a
    masked word by order, returns a computed value, or has more than 200000 paths.
    """
    pending: list[_State] = [(0, 0, start)]
    found = 0
    while pending:
        at, held, region = pending.pop()
        instruction = code[at]
        if instruction.code == op.RET_K:
            found += 1
            if found > MAX_PATHS:
                raise Unprovable(f"more than {MAX_PATHS} paths")
            yield region
        elif instruction.code == op.LD_ABS:
            pending.append((at + 1, Masked(instruction.k >> 2), region))
        elif instruction.code == op.LD_IMM:
            pending.append((at + 1, instruction.k, region))
        elif instruction.code == op.ALU | 0x50:
            held = Masked(held.word, held.mask & instruction.k) if isinstance(held, Masked) else held & instruction.k
            pending.append((at + 1, held, region))
        elif instruction.code == op.JA:
            pending.append((at + 1 + instruction.k, held, region))
        elif instruction.code & 0xF == op.JUMP:
            yes, no = _compare(instruction, at, held, region)
            pending += [(at + 1 + instruction.yes, held, part) for part in yes]
            pending += [(at + 1 + instruction.no, held, part) for part in no]
        else:
            raise Unprovable(f"instruction {at} ({instruction.code:#06x}) is beyond what the proof follows")


def _compare(instruction: Instruction, at: int, held: Held, region: Region) -> tuple[list[Region], list[Region]]:
    """The parts of a region for which the comparison holds, and those for which it does not."""
    kind, k = op.COMPARISONS[instruction.code & 0xF0], instruction.k
    if isinstance(held, int):
        truth = {"jeq": held == k, "jgt": held > k, "jge": held >= k, "jset": held & k != 0}[kind]
        return ([region], []) if truth else ([], [region])
    if kind == "jset":
        clear, rest = split_mask(region, held.word, held.mask & k, 0)
        return rest, _some(clear)
    if held.mask == WORD and kind == "jeq":
        below, rest_ = split_at(region, held.word, k)
        equal, above = split_at(rest_, held.word, k + 1) if rest_ else (None, None)
        return _some(equal), _some(below) + _some(above)
    if held.mask == WORD:
        low, high = split_at(region, held.word, k + (kind == "jgt"))
        return _some(high), _some(low)
    if kind == "jeq":
        if k & ~held.mask:
            return [], [region]
        right, rest = split_mask(region, held.word, held.mask, k)
        return _some(right), rest
    raise Unprovable(f"instruction {at} compares a masked word by order")


def _some(region: Region | None) -> list[Region]:
    return [] if region is None else [region]
