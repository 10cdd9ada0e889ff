"""One face for everything that decides about system calls: a policy by its meaning, a raw filter by its paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

from stockade.model.seccomp import SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, X32_BIT, argument, arguments_of, constants_of, name_of, numbers
from stockade.seccomp.emulate import decode, run_words
from stockade.seccomp.prove import arguments, rules_on
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, WORD, Domain, Region, refine
from stockade.seccomp.semantics import NO_CALL, Reference, abi_of
from stockade.seccomp.symbolic import paths


class Place(NamedTuple):
    """Calls that have one meaning: one known call of `arch`, a run of numbers nobody knows, or a foreign token."""

    arch: str | None
    call: str | None
    region: Region


class Judge(Protocol):
    """What answers calls; every answer is constant on each of `parts`."""

    @property
    def archs(self) -> tuple[str, ...]:
        """The architectures that it tells apart from foreign ones."""

    def parts(self, place: Place) -> Iterable[Region]:
        """Disjoint regions that together make the place's."""

    def decide(self, place: Place, words: Sequence[int]) -> Verdict:
        """The answer to one call of the place, as the sixteen words of struct seccomp_data."""


class PolicyJudge:
    """A policy as it means on `archs`; every other architecture is foreign."""

    def __init__(self, policy: SyscallPolicy, archs: Sequence[str]) -> None:
        self.policy = policy
        self.archs = tuple(archs)
        self._on = {arch: Reference(policy, arch) for arch in archs}

    def parts(self, place: Place) -> Iterable[Region]:
        """Cut by the conditions of the rules on the place's call."""
        if place.call is None or place.arch not in self._on:
            return [place.region]
        return refine(place.region, rules_on(self._on[place.arch], place.region[NR].low))

    def decide(self, place: Place, words: Sequence[int]) -> Verdict:
        """By the reference semantics."""
        if place.arch not in self._on:
            return self.policy.foreign
        return self._on[place.arch].decide(words[NR], arguments(words))


class FilterJudge:
    """A raw filter; BadProgram where the kernel would refuse it, Unprovable in `parts` where it cannot be followed."""

    def __init__(self, program: bytes) -> None:
        self.code = decode(program)

    @cached_property
    def archs(self) -> tuple[str, ...]:
        """The architectures on which it does not give one answer to everything."""
        return tuple(arch for arch in ARCHITECTURES if len({self._first(place) for place in places(arch)}) > 1)

    def _first(self, place: Place) -> Verdict:
        return run_words(self.code, [domain.low for domain in place.region])[0]

    def parts(self, place: Place) -> Iterable[Region]:
        """Cut by the program's paths."""
        return paths(self.code, place.region)

    def decide(self, place: Place, words: Sequence[int]) -> Verdict:
        """By the emulator."""
        return run_words(self.code, words)[0]


def everywhere() -> Iterator[Place]:
    """Every call there is, once: the known architectures number by number, then the foreign tokens."""
    for arch in ARCHITECTURES:
        yield from places(arch)
    tokens = sorted({its.token for its in ARCHITECTURES.values()})
    for low, high in pairwise([-1, *tokens, WORD + 1]):
        if low + 1 < high:
            yield Place(None, None, (EVERYTHING[NR], Domain(low + 1, high - 1), *EVERYTHING[2:]))


@cache
def places(arch: str) -> tuple[Place, ...]:
    """The calls of one ABI in the order of their numbers; x86_64 and x32 share a token and divide the numbers."""
    token = Domain(ARCHITECTURES[arch].token, ARCHITECTURES[arch].token)
    known = set(numbers(arch).values())
    borders = {0, X32_BIT, 2 * X32_BIT, 3 * X32_BIT, NO_CALL, WORD + 1}
    cuts = sorted(borders | known | {number + 1 for number in known})
    found = []
    for low, after in pairwise(cuts):
        if abi_of(arch, low) != arch:
            continue
        region = (Domain(low, after - 1), token, *EVERYTHING[2:])
        found.append(Place(arch, name_of(arch, low) if low in known else None, region))
    return tuple(found)


def spell(place: Place, words: Sequence[int]) -> str:
    """A call as a person writes it, such as `socket(family=ALG)`; arguments that are zero are left out."""
    if place.arch is None:
        return f"call {words[NR]:#x} of architecture {words[ARCH]:#010x}"
    if place.call is None:
        return f"call {words[NR]:#x} of {place.arch}, which has no name"
    labels = {argument(place.call, label): label for label in arguments_of(place.call)}
    named = {index: label for (index, _), label in labels.items()}
    said = []
    for index, value in enumerate(arguments(words)):
        if value:
            label = named.get(index, f"arg{index}")
            said.append(f"{label}={_value(place.call, label, value)}")
    return f"{place.call}({', '.join(said)})"


def _value(call: str, label: str, value: int) -> str:
    if label not in arguments_of(call):
        return f"{value:#x}"
    symbols: dict[int, str] = {}
    for symbol, number in constants_of(call, label).items():
        symbols.setdefault(number, symbol)
    if value in symbols:
        return symbols[value]
    bits = [1 << place for place in range(value.bit_length()) if value >> place & 1]
    known = [symbols.get(bit) for bit in bits]
    return "|".join(one for one in known if one) if None not in known else f"{value:#x}"
