"""What a container runtime makes of an OCI seccomp profile: the rules by which runc and crun drive libseccomp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from stockade.model.seccomp import Action, Condition, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, NATIVE, name_of
from stockade.seccomp.oci import ACTIONS, COMPANIONS
from stockade.seccomp.prove import Disagreement, abi_at, arguments, by_number, rules_on, spell_call
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, Domain, Rule, refine, witness
from stockade.seccomp.semantics import Reference, abi_of, listed, strictness
from stockade.seccomp.validate import check_policy

_VERDICTS = {name: action for action, name in ACTIONS.items()} | {"SCMP_ACT_KILL": Action.KILL_THREAD}
_FOREIGN = Verdict(Action.KILL_THREAD)
_WORD, _LAST = (1 << 32) - 1, (1 << 64) - 1
EPERM = 1


class Ambiguous(ValueError):
    """libseccomp does not define the answer: rules with different ones match a call, or it makes up its own."""


def decide_oci(
    profile: Mapping[str, Any], arch: str, nr: int, args: Sequence[int], known: Collection[str] | None = None
) -> Verdict:
    """What a container with `profile` gets for the call `nr` made through `arch` with six 64-bit `args`.

    `known` are the names that the host's libseccomp has; the runtime skips every other, silently. None: all.
    Ambiguous where the outcome is undefined; KeyError or ValueError for an action or operator that is not ours.
    """
    return _Profile(profile, known).decide(arch, nr, args)


def prove_oci(
    policy: SyscallPolicy, profile: Mapping[str, Any], archs: str | Sequence[str], known: Collection[str] | None = None
) -> None:
    """Return if a runtime with `profile` answers every call as `policy` does; raise Disagreement with an example.

    Covers all numbers under the tokens of `archs` and all arguments. Two things a profile cannot say are taken as
    equal: any kill is a kill for a foreign call, and where the host's libseccomp does not know a name (`known`) the
    answer to it may be that to an unknown call instead of the denial. Calls with equal rules on both sides are compared
    once. Ambiguous as from `decide_oci`; ValueError as from `compile_filter`.
    """
    check_policy(policy)
    runtime = _Profile(profile, known)
    references = {arch: Reference(policy, arch) for arch in listed(archs)}
    tokens: dict[int, list[str]] = {}
    for arch in references:
        tokens.setdefault(ARCHITECTURES[arch].token, []).append(arch)
    proven: set[tuple[object, ...]] = set()
    for token, sharing in tokens.items():
        start = (EVERYTHING[NR], Domain(token, token), *EVERYTHING[2:])
        for abi, nr, numbered in by_number(start, sharing):
            if abi is None:
                _compare(policy, policy.foreign, runtime, witness(numbered), None)
                continue
            reference = references[abi]
            if nr is not None:
                said, undefined = runtime.answers(abi, nr)
                alike = (tuple(reference.answers(nr)), tuple(said), undefined, runtime.knows(abi, nr))
                if alike in proven:
                    continue
                proven.add(alike)
            rules = dict.fromkeys([*rules_on(reference, nr), *runtime.rules_on(abi, nr)])
            for region in refine(numbered, rules):
                words = witness(region)
                _compare(policy, reference.decide(words[NR], arguments(words)), runtime, words, abi)


def _compare(
    policy: SyscallPolicy, expected: Verdict, runtime: _Profile, words: Sequence[int], abi: str | None
) -> None:
    """Raise Disagreement where the runtime's answer to the call in `words` is not `expected`; no `abi`: foreign."""
    spelled = abi or abi_at(words[ARCH], words[NR])
    assert spelled is not None, "regions begin with the token of an architecture"
    nr, args = words[NR], arguments(words)
    got = runtime.decide(spelled, nr, args)
    if abi is None:
        same = strictness(got) >= strictness(_FOREIGN) and strictness(expected) >= strictness(_FOREIGN)
    else:
        same = got == (expected if runtime.knows(abi, nr) else policy.unknown)
    if not same:
        raise Disagreement(spell_call(spelled, words[ARCH], nr, args), expected, got)


class _Profile:
    """A profile with its rules by name, those that the runtime drops left out."""

    def __init__(self, profile: Mapping[str, Any], known: Collection[str] | None) -> None:
        self.default = _verdict(profile["defaultAction"], profile.get("defaultErrnoRet"))
        self.architectures = frozenset(profile.get("architectures") or ())
        self.known = known
        self.rules: dict[str, list[tuple[Rule, bool, Verdict]]] = {}
        for entry in profile.get("syscalls") or ():
            verdict = _verdict(entry["action"], entry.get("errnoRet"))
            if verdict == self.default:
                continue
            args = entry.get("args") or ()
            tests = tuple(_condition(arg) for arg in args)
            either = any(count > 1 for count in Counter(arg["index"] for arg in args).values())
            for name in entry["names"]:
                if known is None or name in known:
                    self.rules.setdefault(name, []).append((tests, either, verdict))

    def knows(self, arch: str, nr: int | None) -> bool:
        """Whether the host's libseccomp has a name for the call, if there is such a call at all."""
        name = None if nr is None else name_of(arch, nr)
        return name is None or self.known is None or name in self.known

    def answers(self, arch: str, nr: int | None) -> tuple[list[tuple[Rule, bool, Verdict]], str | None]:
        """All that the answer to the call numbered `nr` depends on, beside its arguments: rules, what is undefined."""
        name = None if nr is None else name_of(arch, nr)
        rules = self.rules.get(name, []) if name else []
        carried = CARRIES.get(arch, {}).get(name or "", ())
        beside = [call for call in carried if call != name and call in self.rules]
        if beside and name in COMPANIONS and not any(not tests for tests, _, _ in rules):
            return rules, f"libseccomp makes rules for {name} of those for {beside[0]}"
        return rules, None

    def rules_on(self, arch: str, nr: int | None) -> Iterator[Rule]:
        """What decides over the rules for a call: all tests of a rule together, or each alone where they are ORed."""
        for tests, either, _ in self.answers(arch, nr)[0]:
            seen = tuple(
                (_low_half(test), negated) if ARCHITECTURES[arch].bits == 32 else (test, negated)
                for test, negated in tests
            )
            yield from ((test,) for test in seen) if either else (seen,)

    def decide(self, arch: str, nr: int, args: Sequence[int]) -> Verdict:
        arch = abi_of(arch, nr)
        if ARCHITECTURES[arch].oci not in self.architectures if self.architectures else arch not in NATIVE:
            return _FOREIGN
        rules, undefined = self.answers(arch, nr)
        if undefined:
            raise Ambiguous(undefined)
        if ARCHITECTURES[arch].bits == 32:
            rules = [(tuple((_low_half(test), negated) for test, negated in tests), e, v) for tests, e, v in rules]
        always = {verdict for tests, _, verdict in rules if not tests}
        matching = always or {verdict for tests, either, verdict in rules if _match(tests, either, args)}
        if len(matching) > 1:
            raise Ambiguous(
                f"{name_of(arch, nr)}: {' and '.join(sorted(str(verdict.action) for verdict in matching))} both match"
            )
        return next(iter(matching), self.default)


def _match(tests: Rule, either: bool, args: Sequence[int]) -> bool:
    for condition, negated in tests:
        if (_holds(condition, args) != negated) == either:
            return either
    return not either


def _holds(condition: Condition, args: Sequence[int]) -> bool:
    """The test of one OCI argument entry, which has either one range or one mask."""
    value = args[condition.argument] & ((1 << condition.width) - 1)
    if condition.ranges:
        low, high = condition.ranges[0]
        return low <= value <= high
    mask, wanted = condition.masks[0]
    return value & mask == wanted


def _low_half(test: Condition) -> Condition:
    """The test as libseccomp makes it on an architecture of 32 bits (x32 too): it drops upper halves."""
    ranges = tuple((low & _WORD, high & _WORD) for low, high in test.ranges)
    return Condition(test.argument, 32, ranges, tuple((mask & _WORD, value & _WORD) for mask, value in test.masks))


def _condition(arg: Mapping[str, Any]) -> tuple[Condition, bool]:
    """The test of an OCI argument entry, and whether it is negated."""
    index, value, op = arg["index"], arg["value"], arg["op"].removeprefix("SCMP_CMP_")
    if op == "MASKED_EQ":
        wanted = arg.get("valueTwo", 0)
        return Condition(index, 64, masks=((value, wanted & value),)), False
    lines = {
        "EQ": ((value, value), False),
        "NE": ((value, value), True),
        "LE": ((0, value), False),
        "GT": ((0, value), True),
        "LT": ((value, _LAST), True),
        "GE": ((value, _LAST), False),
    }
    line, negated = lines[op]
    return Condition(index, 64, ranges=(line,)), negated


def _verdict(action: str, number: int | None) -> Verdict:
    said = _VERDICTS[action]
    carried = EPERM if number is None else number
    return Verdict(said, carried if said is Action.ERRNO else 0, carried if said is Action.TRACE else 0)
