"""Chains of a firewall, whoever keeps them: the rules that decide for every packet of an interface or a source."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HOOKS: Final = {1: "INPUT", 2: "FORWARD", 3: "OUTPUT"}
"""Places on a packet's way (NF_INET_*) where filters stand, by the names of iptables."""
_MOST: Final = 100_000
"""Rules that are followed from one chain; the kernel's own limit is far below, for depth it is 16."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule. `plain` says that nothing but the conditions here decides whether it applies.

    `target` is ACCEPT, DROP, REJECT, RETURN, JUMP or GOTO (with the chain `to`), or nothing where the packet goes on.
    `input` and `output` are names of interfaces, `source` a network; `!` before one means any other, `+` after an
    interface means every name that begins so. `family` is 2 or 10 where only packets of IPv4 or IPv6 are meant.
    """

    target: str
    plain: bool = True
    input: str = ""
    output: str = ""
    source: str = ""
    to: Hashable = None
    family: int = 0


@dataclass(frozen=True, slots=True)
class Base:
    """A chain that the kernel calls: who keeps it, where on the way, what becomes of a packet that no rule decided."""

    by: str
    hook: str
    policy: str
    priority: int
    key: Hashable


def settled(base: Base, chains: Mapping[Hashable, Sequence[Step]], family: int) -> dict[str, Any]:
    """by, hook, policy, priority, rules (input, output, source, target: those that decide alone, in order, through the
    chains that every packet jumps to) and other (the number of rules with further conditions).

    Only packets of `family` are followed. ValueError for a chain that is not there, or jumps that do not end.
    """
    rules: list[dict[str, str]] = []
    other = followed = 0

    def follow(key: Hashable, depth: int) -> None:
        nonlocal other, followed
        if key not in chains:
            raise ValueError(f"a jump to a chain that is not there: {key!r}")
        if depth > 16:
            raise ValueError("chains jump deeper than the kernel lets them")
        for step in chains[key]:
            followed += 1
            if followed > _MOST:
                raise ValueError(f"more than {_MOST} rules from {base.by}")
            if step.family not in (0, family) or (step.plain and not step.target):
                continue
            always = step.plain and not (step.input or step.output or step.source)
            if always and step.target == "RETURN":
                return
            if always and step.target in ("JUMP", "GOTO"):
                follow(step.to, depth + 1)
                if step.target == "GOTO":
                    return
            elif step.plain and (
                step.target in ("ACCEPT", "DROP", "REJECT") or (not depth and step.target == "RETURN")
            ):
                target = base.policy if step.target == "RETURN" else step.target
                rules.append({"input": step.input, "output": step.output, "source": step.source, "target": target})
            else:
                other += 1

    follow(base.key, 0)
    return {
        "by": base.by,
        "hook": base.hook,
        "policy": base.policy,
        "priority": base.priority,
        "rules": rules,
        "other": other,
    }
