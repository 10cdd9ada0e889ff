"""Whether one system-call policy gives a call that another denies, decided over all numbers and arguments."""

from __future__ import annotations

from stockade.model.seccomp import Action, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.prove import abi_at, arguments, by_number, rules_on, spell_call
from stockade.seccomp.regions import ARCH, EVERYTHING, NR, Domain, refine, witness
from stockade.seccomp.semantics import Reference

_GIVEN = {Action.ALLOW: 2, Action.LOG: 2, Action.TRACE: 1, Action.NOTIFY: 1}
"""How far an action lets a call through: fully, or when a tracer or a supervisor wants it so."""


def wider(child: SyscallPolicy, parent: SyscallPolicy, arch: str) -> str | None:
    """A call on `arch` that `child` lets through and `parent` does not, as a person would write it; None for none."""
    one, other = Reference(child, arch), Reference(parent, arch)
    token = ARCHITECTURES[arch].token
    start = (EVERYTHING[NR], Domain(token, token), *EVERYTHING[2:])
    for abi, nr, numbered in by_number(start, [arch]):
        if abi is None:
            words = witness(numbered)
            if _given(child.foreign) > _given(parent.foreign):
                return spell_call(abi_at(words[ARCH], words[NR]), words[ARCH], words[NR], arguments(words))
            continue
        if nr is not None and one.answers(nr) == other.answers(nr) and child.denied == parent.denied:
            continue
        for region in refine(numbered, dict.fromkeys([*rules_on(one, nr), *rules_on(other, nr)])):
            words = witness(region)
            number, args = words[NR], arguments(words)
            if _given(one.decide(number, args)) > _given(other.decide(number, args)):
                return spell_call(arch, words[ARCH], number, args)
    return None


def _given(verdict: Verdict) -> int:
    return _GIVEN.get(verdict.action, 0)
