"""Compiles random system-call policies, proves each filter, and asks it and the reference about random calls as well.

A number stands for a policy: what is printed for a failure is enough to have it again. Exit 1 on any disagreement.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, Action, Condition, Multiplexed, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, NAMES, NATIVE, numbers
from stockade.seccomp.cbpf import compile_filter
from stockade.seccomp.emulate import decode, run
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.regions import Unprovable
from stockade.seccomp.semantics import decide
from stockade.seccomp.tree import FilterTooLong
from stockade.seccomp.weights import CostModel

AT = Position("random", 1, 1)
CALLS = sorted(NAMES)
EDGES = (
    0,
    1,
    2,
    7,
    8,
    0xFF,
    0x20000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 32,
    (1 << 32) + 1,
    1 << 63,
    (1 << 64) - 1,
)
ACTIONS = [action for action in Action if action is not Action.ERRNO]
ARCHS = [*((arch,) for arch in ARCHITECTURES), ("x86_64", "x32"), ("x86_64", "i386", "x32"), ("aarch64", "arm")]


def value(draw: random.Random, width: int) -> int:
    found = draw.choice(EDGES) + draw.randint(-1, 1) if draw.random() < 0.7 else draw.getrandbits(width)
    return found & ((1 << width) - 1)


def verdict(draw: random.Random) -> Verdict:
    if draw.random() < 0.5:
        return ALLOWED if draw.random() < 0.7 else Verdict(Action.ERRNO, draw.choice((1, 13, 38, 4095)))
    action = draw.choice(ACTIONS)
    return Verdict(action, data=draw.choice((0, 1, 0xFFFF)) if action in (Action.TRACE, Action.TRAP) else 0)


def condition(draw: random.Random, argument: int) -> Condition:
    """Up to four ranges, which are inequalities where they reach an end, and up to two masks."""
    width = draw.choice((32, 64, 64))
    top = (1 << width) - 1
    cuts = sorted({value(draw, width) for _ in range(draw.randint(0, 8))})
    if cuts and draw.random() < 0.3:
        cuts[0] = 0
    if len(cuts) % 2:
        cuts.append(top + 1)
    ranges = [(low, after - 1) for low, after in zip(cuts[::2], cuts[1::2], strict=True) if low <= after - 1]
    masks = []
    for _ in range(draw.randint(0 if ranges else 1, 2)):
        mask = sum({1 << draw.randrange(width) for _ in range(draw.randint(1, 5))})
        masks.append((mask, draw.choice((0, mask, value(draw, width) & mask))))
    return Condition(argument, width, tuple(ranges), tuple(masks))


def random_policy(draw: random.Random) -> SyscallPolicy:
    rules = [SyscallRule(draw.choice(CALLS), verdict(draw), (), "", AT) for _ in range(draw.randint(0, 40))]
    for _ in range(draw.randint(0, 3)):
        call = draw.choice((*CARRIES["i386"], "socket", "clone", "ioctl", "mmap", draw.choice(CALLS)))
        for _ in range(draw.randint(1, 3)):
            places = draw.sample(range(6), draw.choice((1, 1, 1, 2, 3)))
            tests = tuple(condition(draw, place) for place in places)
            rules.append(SyscallRule(call, verdict(draw), tests, "", AT))
    return SyscallPolicy(
        tuple(rules), verdict(draw), verdict(draw), verdict(draw), draw.choice(list(Multiplexed)),
        draw.choice((None, None, "5.15", "6.6")),
    )  # fmt: skip


def points(draw: random.Random, policy: SyscallPolicy, arch: str, count: int) -> list[tuple[int, list[int]]]:
    """Calls of the policy's rules mostly, with arguments at the constants of its conditions and next to them."""
    constants = {0}
    for rule in policy.rules:
        for test in rule.conditions:
            constants |= {bound for pair in (*test.ranges, *test.masks) for bound in pair}
    near = sorted({(edge + step) & ((1 << 64) - 1) for edge in constants for step in (-1, 0, 1, 1 << 32)})
    table = numbers(arch)
    ruled = [table[rule.call] for rule in policy.rules if rule.call in table] or [0]
    calls = []
    for _ in range(count):
        nr = draw.choice((draw.choice(ruled), draw.choice(ruled), draw.randrange(600), draw.getrandbits(32)))
        calls.append((nr, [draw.choice(near) if draw.random() < 0.8 else draw.getrandbits(64) for _ in range(6)]))
    return calls


def attempt(number: int) -> str:
    """What became of the policy that `number` stands for; Disagreement where filter and policy differ."""
    draw = random.Random(number)
    policy, archs, model = (
        random_policy(draw),
        draw.choice((*((arch,) for arch in NATIVE), *ARCHS)),
        draw.choice([*CostModel]),
    )
    try:
        program = compile_filter(policy, archs, model)
        prove_filter(policy, archs, program)
    except FilterTooLong:
        return "too long"
    except Unprovable:
        return "unprovable"
    code = decode(program)
    for arch in ARCHITECTURES:
        for nr, args in points(draw, policy, arch, 12):
            expected, (got, _) = decide(policy, arch, nr, args, archs), run(code, ARCHITECTURES[arch].token, nr, args)
            if got != expected:
                raise Disagreement(f"{arch} {nr:#x} {args}", expected, got)
    return "agreed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=500, help="policies to try (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="the first policy's number (default: 1)")
    options = parser.parse_args()
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    for number in range(options.seed, options.seed + options.count):
        try:
            outcomes[attempt(number)] += 1
        except Disagreement as error:
            outcomes["disagreed"] += 1
            print(f"policy {number}: {error}", flush=True)
    said = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
    print(f"{options.count} policies from number {options.seed}: {said}; {time.monotonic() - began:.0f} s")
    return 1 if outcomes["disagreed"] else 0


if __name__ == "__main__":
    sys.exit(main())
