"""Says the same profile with EPERM as the answer to what no rule allows, where that is shorter.

Profiles that answer ENOSYS to everything else have to refuse each known call by name, so that a program can tell "not
allowed" from "not there". The policy language has both answers as `denied` and `unknown`, and needs no such list.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from dataclasses import replace

from stockade.model.position import Position
from stockade.model.seccomp import Action, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import numbers
from stockade.seccomp.judge import PolicyJudge, places
from stockade.seccomp.profile import Profile
from stockade.seccomp.regions import witness

DENIED = Verdict(Action.ERRNO, errno.EPERM)
ABSENT = Verdict(Action.ERRNO, errno.ENOSYS)


def with_short_default(profile: Profile) -> Profile:
    """The profile whose `denied` is EPERM and that answers every known call alike; the same one where there is none."""
    old = profile.policy
    if old.denied != ABSENT:
        return profile
    by_call: dict[str, list[SyscallRule]] = defaultdict(list)
    for rule in old.rules:
        by_call[rule.call].append(rule)
    here = set().union(*(numbers(arch) for arch in profile.archs))
    refused = {call for call, rules in by_call.items() if any(r.verdict == DENIED and not r.conditions for r in rules)}
    unnamed = sorted(here - by_call.keys())
    if len(refused & here) <= len(unnamed):
        return profile
    at = Position("", 1, 1)
    kept = tuple(rule for rule in old.rules if rule.verdict != DENIED)
    new = replace(old, rules=(*kept, *(SyscallRule(c, ABSENT, (), "", at) for c in unnamed)), denied=DENIED)
    return replace(profile, policy=new) if _alike(old, new, profile.archs) else profile


def _alike(old: SyscallPolicy, new: SyscallPolicy, archs: tuple[str, ...]) -> bool:
    """Whether both answer every known call alike, whatever its arguments."""
    one, other = PolicyJudge(old, archs), PolicyJudge(new, archs)
    for arch in archs:
        for place in places(arch):
            if place.call is None:
                continue
            for part in one.parts(place):
                for region in other.parts(place._replace(region=part)):
                    words = witness(region)
                    if one.decide(place, words) != other.decide(place, words):
                        return False
    return True
