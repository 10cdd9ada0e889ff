"""What a firewall's chains amount to: what drops by default, and whether loopback addresses come from loopback alone.

A packet goes through every chain of a hook, and one that drops it is enough. Rules with further conditions (ports,
states, sets) are the site's own and are not weighed here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

LOOPBACK: Final = {4: "127.0.0.0/8", 6: "::1/128"}

Json = Mapping[str, Any]


def amounts_to(chains: Sequence[Json], version: int) -> dict[str, Any]:
    """policies (hook to DROP or ACCEPT), loopback (is what comes from `lo` accepted, and what claims a loopback
    address and comes from elsewhere dropped?) and loopback_out (is what leaves by `lo` accepted?)."""
    at = {hook: [one for one in chains if one["hook"] == hook] for hook in ("INPUT", "FORWARD", "OUTPUT")}
    local = ipaddress.ip_network(LOOPBACK[version])
    return {
        "policies": {hook: "DROP" if any(map(_drops, several)) else "ACCEPT" for hook, several in at.items()},
        "loopback": _accepts(at["INPUT"], "input", local) and any(_drops_forged(one, local) for one in at["INPUT"]),
        "loopback_out": _accepts(at["OUTPUT"], "output", local),
    }


def _drops(chain: Json) -> bool:
    """Is a packet dropped that no rule with a condition decides about?"""
    dropping: bool = chain["policy"] == "DROP"
    for rule in chain["rules"]:
        if not (rule["input"] or rule["output"] or rule["source"]):
            return rule["target"] != "ACCEPT" and dropping
    return dropping


def _accepts(chains: Sequence[Json], side: str, local: Any) -> bool:
    """Does every packet of `lo` get through, by a rule that says so in one chain at least?"""
    said = [_of_loopback(chain, side, local) for chain in chains]
    return "rule" in said and "dropped" not in said


def _of_loopback(chain: Json, side: str, local: Any) -> str:
    other = "output" if side == "input" else "input"
    for rule in chain["rules"]:
        if _is_loopback(rule[side]) and not rule[other]:
            if rule["target"] != "ACCEPT" and _sources(rule["source"], local)[1]:
                return "dropped"
            if rule["target"] == "ACCEPT" and not rule["source"]:
                return "rule" if rule[side] else "open"
    return "dropped" if chain["policy"] == "DROP" else "open"


def _drops_forged(chain: Json, local: Any) -> bool:
    """Is every packet dropped that has a loopback address and does not come by `lo`, before a rule accepts any?"""
    for rule in chain["rules"]:
        covers, touches = _sources(rule["source"], local)
        if rule["target"] == "ACCEPT" and touches and rule["input"] != "lo":
            return False
        if rule["target"] != "ACCEPT" and covers and rule["input"] in ("", "!lo") and not rule["output"]:
            return bool(rule["source"] or rule["input"])
    return False


def _is_loopback(pattern: str) -> bool:
    """Does a pattern of interfaces match `lo`?"""
    name = pattern.removeprefix("!")
    matches = "lo".startswith(name[:-1]) if name.endswith("+") else name in ("", "lo")
    return matches is not pattern.startswith("!")


def _sources(pattern: str, local: Any) -> tuple[bool, bool]:
    """Does a pattern of sources match all loopback addresses, and does it match any?"""
    if not pattern:
        return True, True
    network = ipaddress.ip_network(pattern.removeprefix("!"), strict=False)
    if network.version != local.version:
        raise ValueError(f"{pattern} is of the other version of IP")
    if pattern.startswith("!"):
        return not network.overlaps(local), not local.subnet_of(network)
    return local.subnet_of(network), network.overlaps(local)
