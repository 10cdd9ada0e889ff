"""The rules of one call in their shortest form: what most of them answer becomes the answer where no rule holds.

A profile has to spell a complement out, bit by bit: everything but three address families takes thirty rules. Said the
other way round it takes three.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from stockade.model.seccomp import SyscallRule, Verdict
from stockade.seccomp.regions import EVERYTHING, Unprovable, refine, witness
from stockade.seccomp.semantics import holds, strictness

FEW = 4
"""Up to so many rules nothing is gained that a shared tail does not give."""
MAX_REGIONS = 4096


@lru_cache(maxsize=1024)  # calls of one family have the same rules, and so have container types of one parent
def shortest(rules: tuple[SyscallRule, ...], denied: Verdict) -> tuple[tuple[SyscallRule, ...], Verdict]:
    """Rules and an answer where none holds that together mean what `rules` and `denied` mean, with as few rules."""
    if len(rules) <= FEW or any(not rule.conditions for rule in rules):
        return rules, denied
    often = Counter(rule.verdict for rule in rules)
    candidate = min(often, key=lambda verdict: (-often[verdict], strictness(verdict)))
    kept = tuple(rule for rule in rules if rule.verdict != candidate)
    # Not more rules than before, and the same answer to one call of every part that the conditions tell apart.
    return (kept, candidate) if candidate != denied and _same(rules, denied, kept, candidate) else (rules, denied)


def _same(rules: Sequence[SyscallRule], denied: Verdict, kept: Sequence[SyscallRule], otherwise: Verdict) -> bool:
    tests = dict.fromkeys(tuple((condition, False) for condition in rule.conditions) for rule in rules)
    try:
        regions = refine(EVERYTHING, tests, MAX_REGIONS)
    except Unprovable:
        return False
    for region in regions:
        words = witness(region)
        args = [words[at] | words[at + 1] << 32 for at in range(4, 16, 2)]
        if _answer(rules, denied, args) != _answer(kept, otherwise, args):
            return False
    return True


def _answer(rules: Sequence[SyscallRule], otherwise: Verdict, args: Sequence[int]) -> Verdict:
    matching = [rule.verdict for rule in rules if all(holds(condition, args) for condition in rule.conditions)]
    return max(matching, key=strictness, default=otherwise)
