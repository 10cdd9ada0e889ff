"""Whether one system-call policy gives a call that another denies, decided over all numbers and arguments."""

from __future__ import annotations

from stockade.model.seccomp import Action, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.prove import arguments, by_number, rules_on, spell_call
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, Domain, refine, witness
from stockade.seccomp.semantics import Reference

_GIVEN = (Action.ALLOW, Action.LOG)


def wider(child: SyscallPolicy, parent: SyscallPolicy, arch: str) -> str | None:
    """A call on `arch` that `child` lets through and `parent` does not, as a person would write it; None for none."""
    one, other = Reference(child, arch), Reference(parent, arch)
    token = ARCHITECTURES[arch].token
    start = (EVERYTHING[NR], Domain(token, token), *EVERYTHING[2:])
    for nr, numbered in by_number(start, arch):
        if nr is not None and one.answers(nr) == other.answers(nr):
            continue
        for region in refine(numbered, dict.fromkeys([*rules_on(one, nr), *rules_on(other, nr)])):
            words = witness(region)
            number, args = words[NR], arguments(words)
            if _given(one.decide(number, args)) and not _given(other.decide(number, args)):
                return spell_call(arch, words[ARCH], number, args)
    return None


def _given(verdict: Verdict) -> bool:
    return verdict.action in _GIVEN
