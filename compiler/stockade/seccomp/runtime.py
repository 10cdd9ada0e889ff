"""What a container runtime makes of an OCI seccomp profile: the rules by which runc and crun drive libseccomp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from stockade.model.seccomp import Action, Condition, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, NATIVE, name_of
from stockade.seccomp.oci import ACTIONS
from stockade.seccomp.prove import Disagreement, arguments, by_number, rules_on, spell_call
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, Domain, Rule, refine, witness
from stockade.seccomp.semantics import Reference, is_foreign, strictness
from stockade.seccomp.validate import check_policy

_VERDICTS = {name: action for action, name in ACTIONS.items()} | {"SCMP_ACT_KILL": Action.KILL_THREAD}
_FOREIGN = Verdict(Action.KILL_THREAD)
_LAST = (1 << 64) - 1
EPERM = 1


class Ambiguous(ValueError):
    """Two rules with different answers match one call, and libseccomp does not define which one wins."""


def decide_oci(
    profile: Mapping[str, Any], arch: str, nr: int, args: Sequence[int], known: Collection[str] | None = None
) -> Verdict:
    """What a container with `profile` gets for the call `nr` made through `arch` with six 64-bit `args`.

    `known` are the names that the host's libseccomp has; the runtime skips every other, silently. None: all.
    Ambiguous where the outcome is undefined; KeyError or ValueError for an action or operator that is not ours.
    """
    return _Profile(profile, known).decide(arch, nr, args)


def prove_oci(
    policy: SyscallPolicy, profile: Mapping[str, Any], archs: Sequence[str], known: Collection[str] | None = None
) -> None:
    """Return if a runtime with `profile` answers every call as `policy` does; raise Disagreement with an example.

    Covers all numbers of each of `archs` and all arguments. Two things a profile cannot say are taken as equal: any
    kill is a kill for a foreign call, and where the host's libseccomp does not know a name (`known`) the answer to it
    may be that to an unknown call instead of the denial. Calls with equal rules on both sides are compared once.
    """
    check_policy(policy)
    runtime = _Profile(profile, known)
    proven: set[tuple[object, ...]] = set()
    for arch in archs:
        reference = Reference(policy, arch)
        token = ARCHITECTURES[arch].token
        start = (EVERYTHING[NR], Domain(token, token), *EVERYTHING[2:])
        for nr, numbered in by_number(start, arch):
            rules = dict.fromkeys([*rules_on(reference, nr), *runtime.rules_on(arch, nr)])
            if nr is not None:
                alike = (tuple(reference.answers(nr)), tuple(runtime.answers(arch, nr)), runtime.knows(arch, nr))
                if alike in proven:
                    continue
                proven.add(alike)
            for region in refine(numbered, rules):
                words = witness(region)
                expected = reference.decide(words[NR], arguments(words))
                got = runtime.decide(arch, words[NR], arguments(words))
                if not _same(policy, expected, got, is_foreign(arch, words[NR]), runtime.knows(arch, words[NR])):
                    raise Disagreement(spell_call(arch, words[ARCH], words[NR], arguments(words)), expected, got)


def _same(policy: SyscallPolicy, expected: Verdict, got: Verdict, foreign: bool, knows: bool) -> bool:
    if foreign:
        return strictness(got) >= strictness(_FOREIGN) and strictness(expected) >= strictness(_FOREIGN)
    return got == expected if knows else got == policy.unknown


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

    def answers(self, arch: str, nr: int | None) -> list[tuple[Rule, bool, Verdict]]:
        """All that the answer to the call numbered `nr` depends on, beside its arguments."""
        name = None if nr is None else name_of(arch, nr)
        return self.rules.get(name, []) if name else []

    def rules_on(self, arch: str, nr: int | None) -> Iterator[Rule]:
        """What decides over the rules for a call: all tests of a rule together, or each alone where they are ORed."""
        for tests, either, _ in self.answers(arch, nr):
            yield from ((test,) for test in tests) if either else (tests,)

    def decide(self, arch: str, nr: int, args: Sequence[int]) -> Verdict:
        if arch == "x86_64" and is_foreign(arch, nr):
            arch = "x32"
        if self.architectures and ARCHITECTURES[arch].oci not in self.architectures:
            return _FOREIGN
        if not self.architectures and arch not in NATIVE:
            return _FOREIGN
        rules = self.answers(arch, nr)
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
    """The test of one OCI argument entry, which has either one range or one mask, on all 64 bits."""
    value = args[condition.argument]
    if condition.ranges:
        low, high = condition.ranges[0]
        return low <= value <= high
    mask, wanted = condition.masks[0]
    return value & mask == wanted


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
    return Verdict(said, (EPERM if number is None else number) if said is Action.ERRNO else 0)
