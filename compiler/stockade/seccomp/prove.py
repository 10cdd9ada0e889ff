"""Proves that a filter answers as its policy does, for every architecture token, number and argument there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from stockade.model.seccomp import SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, NATIVE, X32_BIT, argument, arguments_of, name_of, numbers
from stockade.seccomp.emulate import Instruction, decode, run_words
from stockade.seccomp.regions import ARCH, NR, WORD, Region, Rule, refine, split_at, witness
from stockade.seccomp.semantics import NO_CALL, Reference
from stockade.seccomp.symbolic import paths
from stockade.seccomp.validate import check_policy


class Disagreement(Exception):
    """A call on which filter and policy differ, spelled for a person in `call`."""

    def __init__(self, call: str, expected: Verdict, got: Verdict) -> None:
        super().__init__(f"{call}: the policy says {spell_verdict(expected)}, the filter {spell_verdict(got)}")
        self.call, self.expected, self.got = call, expected, got


def prove_filter(policy: SyscallPolicy, arch: str, program: bytes) -> None:
    """Return if `program` is `policy` on `arch` for all calls; raise Disagreement with an example if it is not.

    All 2^32 tokens, all 2^32 numbers and all argument values are covered: the calls are cut into regions in which the
    program takes one path and the policy's tests have one outcome, and one call of each region is asked of the
    emulator and of the reference. BadProgram: the kernel would refuse it. Unprovable: it is outside what can be shown.
    """
    check_policy(policy)
    if arch not in NATIVE:
        raise ValueError(f"{arch} is not an architecture that filters are compiled for")
    code = decode(program)
    reference = Reference(policy, arch)
    token = ARCHITECTURES[arch].token
    for path in paths(code):
        for region in _by_meaning(path, reference, token):
            _ask(code, reference, token, region)


def _ask(code: tuple[Instruction, ...], reference: Reference, token: int, region: Region) -> None:
    words = witness(region)
    nr, args = words[NR], arguments(words)
    native = words[ARCH] == token
    expected = reference.decide(nr, args) if native else reference.policy.foreign
    got, _ = run_words(code, words)
    if got != expected:
        raise Disagreement(spell_call(reference.arch if native else None, words[ARCH], nr, args), expected, got)


def _by_meaning(region: Region, reference: Reference, token: int) -> Iterator[Region]:
    """Parts of a region on which the policy has one answer, found from its numbers and conditions alone."""
    other, rest = split_at(region, ARCH, token)
    native, beyond = split_at(rest, ARCH, token + 1) if rest else (None, None)
    yield from (part for part in (other, beyond) if part)
    if native:
        for nr, part in by_number(native, reference.arch):
            yield from refine(part, rules_on(reference, nr))


def by_number(region: Region, arch: str) -> Iterator[tuple[int | None, Region]]:
    """Parts of a region by number: one for each known call, and None with each run of numbers that mean the same."""
    left: Region | None = region
    low, high = region[NR].low, region[NR].high
    for start, end, nr in _cuts(arch):
        if end < low or left is None:
            continue
        if start > high:
            break
        here, left = split_at(left, NR, end + 1)
        if here is not None:
            yield nr, here


@cache
def _cuts(arch: str) -> tuple[tuple[int, int, int | None], ...]:
    """(first, last, number) of every known call and of the runs between them; cut at the borders of x32 too."""
    known = frozenset(numbers(arch).values())
    borders = sorted({0, X32_BIT, NO_CALL, WORD + 1, *known, *(number + 1 for number in known)})
    return tuple((first, after - 1, first if first in known else None) for first, after in pairwise(borders))


def rules_on(reference: Reference, nr: int | None) -> list[Rule]:
    """The conditions of each of the policy's rules for the call numbered `nr`, without repetition."""
    rules = () if nr is None else reference.rules.get(nr, ())
    return list(dict.fromkeys(tuple((condition, False) for condition in rule.conditions) for rule in rules))


def arguments(words: Sequence[int]) -> tuple[int, ...]:
    """The six 64-bit arguments among the sixteen words of struct seccomp_data."""
    return tuple(words[at] | words[at + 1] << 32 for at in range(4, 16, 2))


def spell_call(arch: str | None, token: int, nr: int, args: Sequence[int]) -> str:
    """A call as a person would write it, such as `socket(family=0x26)`; arguments that are zero are left out."""
    if arch is None:
        return f"call {nr:#x} of architecture {token:#010x}"
    name = name_of(arch, nr)
    if name is None:
        return f"call {nr:#x} of {arch}, which has no name"
    named = {argument(name, label)[0]: label for label in arguments_of(name)}
    said = [f"{named.get(index, f'arg{index}')}={value:#x}" for index, value in enumerate(args) if value]
    return f"{name}({', '.join(said)}) on {arch}"


def spell_verdict(verdict: Verdict) -> str:
    """A verdict in one or two words: `allow`, `errno 38`."""
    return f"{verdict.action} {verdict.errno}" if verdict.errno else str(verdict.action)
