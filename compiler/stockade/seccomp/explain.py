"""Puts a system-call policy in words for a summary: what is allowed, what depends on arguments, what the rest gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stockade.model.seccomp import Action, Condition, SyscallPolicy, SyscallRule
from stockade.model.syscalls import CARRIES, NATIVE, argument, arguments_of, constants_of, numbers
from stockade.seccomp.prove import spell_verdict
from stockade.seccomp.semantics import Reference


@dataclass(frozen=True, slots=True)
class Explanation:
    """`allowed` without conditions, then (sentence, reason) for what depends on arguments or is refused.

    `unseen` has a sentence for each call whose arguments no filter sees on one of the architectures asked for.
    """

    allowed: tuple[str, ...]
    conditional: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]
    otherwise: str
    unseen: tuple[str, ...] = ()


def explain(policy: SyscallPolicy, archs: Sequence[str] = NATIVE) -> Explanation:
    """A policy in words as it stands on `archs`, everything sorted by the name of the call."""
    by_call: dict[str, list[SyscallRule]] = defaultdict(list)
    for rule in policy.rules:
        by_call[rule.call].append(rule)
    allowed, conditional, refused = [], [], []
    for call, rules in sorted(by_call.items()):
        if len(rules) == 1 and not rules[0].conditions and rules[0].verdict.action is Action.ALLOW:
            allowed.append(call)
        for rule in sorted(rules, key=lambda rule: (rule.conditions, str(rule.verdict))):
            if rule.conditions:
                conditional.append((spell_rule(rule), rule.why))
            elif call not in allowed:
                refused.append((f"{call}: {spell_verdict(rule.verdict)}", rule.why))
    otherwise = (
        f"every other call: {spell_verdict(policy.denied)}; a call newer than this policy: "
        f"{spell_verdict(policy.unknown)}; a foreign architecture: {spell_verdict(policy.foreign)}"
    )
    if policy.kernel is not None:
        otherwise += f"; newer than the policy is what Linux {policy.kernel} does not have and no rule names"
    unseen = tuple(sentence for arch in sorted(archs) for sentence in _unseen(policy, arch))
    return Explanation(tuple(allowed), tuple(conditional), tuple(refused), otherwise, unseen)


def _unseen(policy: SyscallPolicy, arch: str) -> Iterator[str]:
    reference = Reference(policy, arch)
    for call, carried in sorted(CARRIES.get(arch, {}).items()):
        number = numbers(arch)[call]
        why = f"its arguments lie in memory, so no filter tells {', '.join(carried)} apart"
        if number in reference.fixed:
            said = f"{spell_verdict(reference.fixed[number])}, the strictest that any of them may get"
        else:
            said = "answered by its own rules, which may be used to get around those for what it carries"
        yield f"{call} on {arch}: {why}: {said}"


def spell_rule(rule: SyscallRule) -> str:
    """One rule, such as `socket: allow where family is UNIX, INET or INET6`."""
    tests = " and ".join(spell_condition(rule.call, condition) for condition in rule.conditions)
    return f"{rule.call}: {spell_verdict(rule.verdict)} where {tests}"


def spell_condition(call: str, condition: Condition) -> str:
    """One condition with the argument's name and the symbols of its values where they are known."""
    names = {argument(call, name): name for name in arguments_of(call)}
    name = names.get((condition.argument, condition.width), f"arg{condition.argument}")
    if name.startswith("arg") and condition.width == 32:
        name = f"the lower half of {name}"
    symbols: dict[int, str] = {}
    if name in arguments_of(call):
        for text, value in constants_of(call, name).items():
            symbols.setdefault(value, text)
    said = []
    if condition.ranges:
        values = [_spell_range(low, high, symbols, condition.width) for low, high in condition.ranges]
        said.append(f"is {', '.join(values[:-1])} or {values[-1]}" if len(values) > 1 else f"is {values[0]}")
    for mask, value in condition.masks:
        bits = _spell_bits(mask, symbols)
        said.append(f"has none of {bits}" if value == 0 else f"masked with {bits} is {value:#x}")
        if value == mask:
            said[-1] = f"has all of {bits}"
    return f"{name} {' and '.join(said)}"


def _spell_range(low: int, high: int, symbols: dict[int, str], width: int) -> str:
    if high - low < 8:
        return ", ".join(symbols.get(value, f"{value:#x}") for value in range(low, high + 1))
    if high == (1 << width) - 1:
        return f"{low:#x} or more"
    return f"{low:#x} to {high:#x}"


def _spell_bits(mask: int, symbols: dict[int, str]) -> str:
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    if any(bit not in symbols for bit in bits):
        return f"{mask:#x}"
    return ", ".join(symbols[bit] for bit in bits)
