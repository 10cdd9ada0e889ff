"""Proves that a filter answers as its policy does, for every architecture token, number and argument there is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from operator import itemgetter

from stockade.model.seccomp import SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, X32_BIT, argument, arguments_of, name_of, numbers, symbol_of
from stockade.seccomp import emulate as op
from stockade.seccomp.emulate import Instruction, decode, run_words
from stockade.seccomp.meaning import Meaning, meaning, within
from stockade.seccomp.meaning import words as words_of
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, WORD, Region, Rule, Unprovable, refine, split_at, witness
from stockade.seccomp.semantics import NO_CALL, Reference, abi_of, listed
from stockade.seccomp.symbolic import Held, step
from stockade.seccomp.validate import check_policy

MAX_STEPS = 300_000


class Disagreement(Exception):
    """A call on which filter and policy differ, spelled for a person in `call`."""

    def __init__(self, call: str, expected: Verdict, got: Verdict) -> None:
        super().__init__(f"{call}: the policy says {spell_verdict(expected)}, the filter {spell_verdict(got)}")
        self.call, self.expected, self.got = call, expected, got


def prove_filter(policy: SyscallPolicy, archs: str | Sequence[str], program: bytes) -> None:
    """Return if `program` is `policy` for `archs`, for all calls; raise Disagreement with an example if it is not.

    All 2^32 tokens, all 2^32 numbers and all argument values are covered. The calls are followed along all ways through
    the program, cut where it branches and where the policy changes its answer; of every region that ends in a return
    one call is asked of the emulator and of the reference. Two regions are one where they stand at the same
    instruction, the words that the rest of the program or of the policy looks at have the same values, and the policy
    has the same left to say. BadProgram: the kernel would refuse it. Unprovable: it is outside what can be shown, or
    would take too long.
    """
    check_policy(policy)
    code = decode(program)
    references = {arch: Reference(policy, arch) for arch in listed(archs)}
    live = _live(code)
    seen: set[tuple[object, ...]] = set()
    pending: list[tuple[int, Held, Region, Meaning | None, str | None]] = [(0, 0, EVERYTHING, None, None)]
    steps = 0
    while pending:
        at, held, region, said, abi = pending.pop()
        steps += 1
        if steps > MAX_STEPS:
            raise Unprovable(f"more than {MAX_STEPS} steps")
        instruction = code[at]
        ends = instruction.code == op.RET_K
        loads = instruction.code == op.LD_ABS
        if said is None and (ends or (loads and instruction.k >> 2 not in (NR, ARCH))):
            pending += [(at, held, part, left, whose) for whose, left, part in _by_meaning(region, policy, references)]
            continue
        if said is not None and (ends or loads):
            said = within(said, region)
            looked_at = live[at] | words_of(said)
            key = (at, said, tuple(region[word] for word in range(16) if looked_at >> word & 1))
            if key in seen:
                continue
            seen.add(key)
        if ends and said is not None:
            for part in refine(region, [tuple((test, False) for test in tests) for tests, _ in said.rules]):
                _ask(code, policy, references.get(abi or ""), part)
        else:
            pending += [(after, now, part, said, abi) for after, now, part in step(code, at, held, region)]


def _live(code: Sequence[Instruction]) -> list[int]:
    """For each instruction the words that it or any later one on its ways loads, as bits."""
    live = [0] * len(code)
    for at in range(len(code) - 1, -1, -1):
        instruction = code[at]
        if instruction.code == op.JA:
            live[at] = live[at + 1 + instruction.k]
        elif instruction.code & 7 == op.JUMP:
            live[at] = live[at + 1 + instruction.yes] | live[at + 1 + instruction.no]
        elif at + 1 < len(code) and instruction.code not in (op.RET_K, op.RET_A):
            live[at] = live[at + 1] | (1 << (instruction.k >> 2) if instruction.code == op.LD_ABS else 0)
    return live


def _ask(code: tuple[Instruction, ...], policy: SyscallPolicy, reference: Reference | None, region: Region) -> None:
    """Raise Disagreement where filter and policy differ on one call of a region; no reference: it is foreign."""
    words = witness(region)
    nr, args = words[NR], arguments(words)
    expected = reference.decide(nr, args) if reference else policy.foreign
    got, _ = run_words(code, words)
    if got != expected:
        abi = reference.arch if reference else abi_at(words[ARCH], nr)
        raise Disagreement(spell_call(abi, words[ARCH], nr, args), expected, got)


def _by_meaning(
    region: Region, policy: SyscallPolicy, references: Mapping[str, Reference]
) -> Iterator[tuple[str | None, Meaning, Region]]:
    """(ABI, what the policy says, part) of a region, cut where the policy changes its rules; no ABI: foreign."""
    foreign = meaning(policy.foreign)
    tokens: dict[int, list[str]] = {}
    for arch in references:
        tokens.setdefault(ARCHITECTURES[arch].token, []).append(arch)
    left: Region | None = region
    for token in sorted(tokens):
        if left is None:
            return
        below, rest = split_at(left, ARCH, token)
        if below:
            yield None, foreign, below
        here, left = split_at(rest, ARCH, token + 1) if rest else (None, None)
        if here:
            for abi, nr, part in by_number(here, tokens[token]):
                if abi is None:
                    yield None, foreign, part
                elif nr is None:
                    yield abi, meaning(policy.unknown), part
                else:
                    yield abi, meaning(policy.denied, references[abi].answers(nr)), part
    if left:
        yield None, foreign, left


def by_number(region: Region, archs: Sequence[str]) -> Iterator[tuple[str | None, int | None, Region]]:
    """(ABI, call, part) of a region under the one token of `archs`: a part for each known call, others in runs.

    The ABI is None for numbers of one that is not among `archs`, the call for numbers that the ABI does not know.
    """
    left: Region | None = region
    low, high = region[NR].low, region[NR].high
    cuts = _cuts(tuple(archs))
    at = bisect_left(cuts, low, key=itemgetter(1))
    while left is not None and at < len(cuts) and cuts[at][0] <= high:
        _, end, abi, nr = cuts[at]
        here, left = split_at(left, NR, end + 1)
        if here is not None:
            yield abi, nr, here
        at += 1


@cache
def _cuts(archs: tuple[str, ...]) -> tuple[tuple[int, int, str | None, int | None], ...]:
    """(first, last, ABI, number) of every known call and of the runs between them, cut at the borders of the ABIs."""
    known = {number: arch for arch in archs for number in numbers(arch).values()}
    borders = sorted({0, X32_BIT, NO_CALL, WORD + 1, *known, *(number + 1 for number in known)})
    cuts = []
    for first, after in pairwise(borders):
        abi = abi_of(archs[0], first)
        cuts.append((first, after - 1, abi if abi in archs else None, first if first in known else None))
    return tuple(cuts)


def rules_on(reference: Reference, nr: int | None) -> list[Rule]:
    """The conditions of each of the policy's rules for the call numbered `nr`, without repetition."""
    answers = reference.answers(nr)
    return list(dict.fromkeys(tuple((condition, False) for condition in conditions) for conditions, _ in answers))


def abi_at(token: int, nr: int) -> str | None:
    """The ABI of a call with this token and number, None where the table has no such architecture."""
    return next((abi_of(arch.name, nr) for arch in ARCHITECTURES.values() if arch.token == token), None)


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
    said = []
    for index, value in enumerate(args):
        if value:
            label = named.get(index, f"arg{index}")
            said.append(f"{label}={_spell_value(name, label, value)}")
    return f"{name}({', '.join(said)}) on {arch}"


def _spell_value(call: str, label: str, value: int) -> str:
    """A number, or its symbol: `AF_ALG`; the symbol of the low half where the kernel looks at no more."""
    _, width = argument(call, label)
    symbol = symbol_of(call, label, value & ((1 << width) - 1))
    if symbol is None or value >> width:
        return f"{value:#x}" if symbol is None else f"{value >> width << width:#x}|{symbol}"
    return symbol


def spell_verdict(verdict: Verdict) -> str:
    """A verdict in one or two words: `allow`, `errno 38`."""
    carried = verdict.errno or verdict.data
    return f"{verdict.action} {carried}" if carried else str(verdict.action)
