"""Follows a filter along all of its paths at once: every call there is, sorted by the way it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stockade.seccomp import emulate as op
from stockade.seccomp.emulate import Instruction
from stockade.seccomp.regions import EVERYTHING, WORD, Region, Unprovable, split_at, split_mask

MAX_STEPS = 1_000_000


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
    masked word by order, returns a computed value, or takes more than a million steps on all its paths.
    """
    pending: list[_State] = [(0, 0, start)]
    steps = 0
    while pending:
        at, held, region = pending.pop()
        steps += 1
        if steps > MAX_STEPS:
            raise Unprovable(f"its paths have more than {MAX_STEPS} instructions")
        if code[at].code == op.RET_K:
            yield region
        else:
            pending += step(code, at, held, region)


def step(code: Sequence[Instruction], at: int, held: Held, region: Region) -> list[_State]:
    """Where the calls of a region go from instruction `at`, which does not return; Unprovable as from `paths`."""
    instruction = code[at]
    if instruction.code == op.LD_ABS:
        return [(at + 1, Masked(instruction.k >> 2), region)]
    if instruction.code == op.LD_IMM:
        return [(at + 1, instruction.k, region)]
    if instruction.code == op.ALU | 0x50:
        held = Masked(held.word, held.mask & instruction.k) if isinstance(held, Masked) else held & instruction.k
        return [(at + 1, held, region)]
    if instruction.code == op.JA:
        return [(at + 1 + instruction.k, held, region)]
    if instruction.code & 0xF == op.JUMP:
        yes, no = branch(instruction, at, held, region)
        states = [(at + 1 + instruction.yes, held, part) for part in yes]
        return states + [(at + 1 + instruction.no, held, part) for part in no]
    raise Unprovable(f"instruction {at} ({instruction.code:#06x}) is beyond what the proof follows")


def branch(instruction: Instruction, at: int, held: Held, region: Region) -> tuple[list[Region], list[Region]]:
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
