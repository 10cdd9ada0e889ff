"""Limits of a container: the smaller of what the runtime asks for and what the type has, and the devices of both."""

from __future__ import annotations

from stockade.enforce.profile import Host, Profile
from stockade.enforce.refusal import CONFINED, NO_FOREIGN_DEVICE, NO_PRIVILEGE, Reasons, refuse
from stockade.enforce.shape import listing, mapping, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_STANDARD = frozenset(
    [
        ("c", 136, None),
        *(("c", major, minor) for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))),
    ]
)
"""null, zero, full, random, urandom, tty, ptmx and the terminals: what the specification gives every container."""

_SHARES = ((2, 262144), (1, 10000))  # the range of cpu.shares, and the range of cpu.weight that runtimes map it to


_MOST = 4
"""Devices that a refusal names."""


def clamp_resources(asked: Json, profile: Profile, host: Host, *, update: bool = False) -> Json:
    """`linux.resources` with no limit above the type's; raises Refused.

    With `update` only what is asked for is there: a limit that nobody speaks of stays what it is. On a host without
    cgroup v2 the weight is said as shares, and `memory.high`, which exists there in no form, is left to `memory.max`;
    another value of it stays, and runtimes refuse it.
    """
    own = profile.resources
    result = dict(asked)
    memory = _memory(mapping(asked, "memory", "resources."), mapping(own, "memory"), update)
    pids = _least(mapping(asked, "pids", "resources."), mapping(own, "pids"), "limit", update)
    cpu = _quota(mapping(asked, "cpu", "resources."), mapping(own, "cpu"), update)
    unified = _unified(mapping(asked, "unified", "resources."), mapping(own, "unified"), _by_file(own), update)
    if not host.cgroup2:
        weight = unified.pop("cpu.weight", None)
        # What a base specification says in the type's own words goes too: the runtime takes none of them here.
        unified = {
            name: value
            for name, value in unified.items()
            if name in mapping(asked, "unified") and asked["unified"][name] != mapping(own, "unified").get(name)
        }
        if weight is not None and "shares" not in cpu:
            cpu["shares"] = _shares(int(weight))
    pages = _pages(asked, own, update)
    for key, value in (
        ("memory", memory),
        ("pids", pids),
        ("cpu", cpu),
        ("unified", unified),
        ("hugepageLimits", pages),
    ):
        if value:
            result[key] = value
        else:
            result.pop(key, None)
    return result


def clamp_devices(resources: Json, profile: Profile, reasons: Reasons) -> list[Json]:
    """The rules of the device cgroup: the type's, as far as the runtime's own rules allow them too."""
    asked = listing(resources, "devices", dict, "resources.")
    own = listing(profile.resources, "devices", dict)
    for rule in asked:
        if rule.get("allow") is True and _every(rule) and "w" in text(rule, "access") and not profile.all_devices:
            reasons.add(NO_PRIVILEGE, "it asks for all devices")
    if profile.all_devices:
        return asked
    result: list[Json] = [{"allow": False, "access": "rwm"}]
    for rule in own:
        if rule["allow"]:
            access = _granted(asked, rule)
            if access:
                result.append({**rule, "access": access})
    return result


def foreign_devices(linux: Json, profile: Profile, reasons: Reasons) -> None:
    """Note the device nodes that the type does not list: each by name, or where there are many the first of them."""
    if profile.all_devices:
        return
    found = []
    rules = listing(profile.resources, "devices", dict)
    for node in listing(linux, "devices", dict, "linux."):
        kind, major, minor = text(node, "type"), number(node, "major"), number(node, "minor")
        kind = "c" if kind == "u" else kind
        if kind != "p" and not any(
            rule["allow"]
            and rule.get("type") == kind
            and rule.get("major") in (None, major)
            and rule.get("minor") in (None, minor)
            for rule in rules
        ):
            found.append(f"{text(node, 'path')} ({kind} {major}:{minor})")
    if len(found) > _MOST:
        reasons.add(NO_FOREIGN_DEVICE, f"{len(found)} devices: {', '.join(found[:_MOST])} and more")
    elif found:
        reasons.add(NO_FOREIGN_DEVICE, f"the device{'s' if len(found) > 1 else ''} {', '.join(found)}")


def _every(rule: Json) -> bool:
    return rule.get("type") in (None, "a") and rule.get("major") in (None, -1) and rule.get("minor") in (None, -1)


def _granted(asked: list[Json], rule: Json) -> str:
    """The letters of a rule's access that the runtime's rules, in their order, give to all that the rule names.

    The devices that every container has are added by runtimes whatever the rules say, so they count as asked for.
    """
    if (rule.get("type"), rule.get("major"), rule.get("minor")) in _STANDARD:
        return str(rule["access"])
    letters = ""
    for letter in rule["access"]:
        allowed = False
        for other in asked:
            if letter not in (text(other, "access") or "rwm"):
                continue
            whole = all(_same(other, key, rule) for key in ("type", "major", "minor"))
            touches = all(_touches(other, key, rule) for key in ("type", "major", "minor"))
            if other.get("allow") is True and whole:
                allowed = True
            elif other.get("allow") is not True and touches:
                allowed = False
        letters += letter if allowed else ""
    return letters


def _same(other: Json, key: str, rule: Json) -> bool:
    return other.get(key) in (None, "a", -1) or other.get(key) == rule.get(key)


def _touches(other: Json, key: str, rule: Json) -> bool:
    return other.get(key) in (None, "a", -1) or rule.get(key) is None or other.get(key) == rule.get(key)


def _least(asked: Json, own: Json, key: str, update: bool) -> Json:
    """`asked` with one limit no higher than the type's; no limit, in any spelling, is the highest."""
    result = dict(asked)
    value, limit = number(asked, key, "resources."), own.get(key)
    if limit is not None and (key in asked or not update):
        result[key] = limit if value is None or value <= 0 else min(value, limit)
    return result


def _memory(asked: Json, own: Json, update: bool) -> Json:
    result = _least(asked, own, "limit", update)
    if "limit" not in own or "swap" not in own:
        return result
    # The specification's `swap` is memory and swap together; what the type allows is the difference.
    allowance = own["swap"] - own["limit"]
    limit, swap = result.get("limit"), number(asked, "swap", "resources.memory.")
    if limit is None:
        # An update of swap alone: the memory limit is at most the type's, so the type's sum bounds it.
        if swap is not None:
            result["swap"] = own["swap"] if swap <= 0 else min(swap, own["swap"])
        return result
    before = number(asked, "limit", "resources.memory.")
    wanted = allowance if swap is None or swap <= 0 else swap - (before if before and before > 0 else limit)
    result["swap"] = limit + max(0, min(wanted, allowance))
    return result


def _quota(asked: Json, own: Json, update: bool) -> Json:
    result = dict(asked)
    quota, period = number(asked, "quota", "resources.cpu."), number(asked, "period", "resources.cpu.")
    if "quota" in own and (not update or "quota" in asked or "period" in asked):
        share = quota if quota is not None and quota > 0 else None
        if share is None or share * own["period"] > own["quota"] * (period or 100000):
            result |= {"quota": own["quota"], "period": own["period"]}
    for key in ("cpus", "mems"):
        if key in own and (key in asked or not update):
            result[key] = own[key] if not text(asked, key) else _both(text(asked, key), own[key], key)
    return result


def _both(asked: str, own: str, key: str) -> str:
    common = _numbers(asked) & _numbers(own)
    if not common:
        raise refuse(CONFINED, f"cpu.{key} {asked} has nothing in common with the type's {own}")
    return ",".join(map(str, sorted(common)))


def _numbers(said: str) -> set[int]:
    found: set[int] = set()
    for part in said.split(","):
        low, _, high = part.strip().partition("-")
        if not (low.isdigit() and (not high or high.isdigit()) and int(high or low) < 1 << 16):
            raise refuse(CONFINED, f"{said!r} is no list of processors or nodes")
        found.update(range(int(low), int(high or low) + 1))
    return found


def _by_file(own: Json) -> Json:
    """The type's limits by the names of their control files.

    What a runtime is told by a file's name it writes last, over the limit that the specification has a word for.
    """
    memory, pids, cpu = mapping(own, "memory"), mapping(own, "pids"), mapping(own, "cpu")
    found = {}
    if "limit" in pids:
        found["pids.max"] = str(pids["limit"])
    if "limit" in memory:
        found["memory.max"] = str(memory["limit"])
        if "swap" in memory:
            found["memory.swap.max"] = str(memory["swap"] - memory["limit"])
    if "quota" in cpu:
        found["cpu.max"] = f"{cpu['quota']} {cpu['period']}"
    for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if key in cpu:
            found[file] = cpu[key]
    for entry in listing(own, "hugepageLimits", dict):
        found[f"hugetlb.{entry['pageSize']}.max"] = str(entry["limit"])
    return found


def _unified(asked: Json, own: Json, by_file: Json, update: bool) -> Json:
    result = dict(asked)
    for name, limit in (by_file | own).items():
        if name not in asked:
            if name in own and not update:
                result[name] = limit
            continue
        value = text(asked, name, "resources.unified.")
        result[name] = value if _is_tighter(name, value, limit) else limit
    for name in asked:
        if "/" in name or name.startswith("cgroup."):
            raise refuse(CONFINED, f"resources.unified.{name} steers the control group itself")
    return result


def _is_tighter(name: str, value: str, limit: str) -> bool:
    """Whether a value of a control file is at most the type's. What is not two numbers is not compared: it is not."""
    if value == limit or limit == "max":
        return True
    if not (value.isdigit() and limit.isdigit()):
        return False
    return int(value) <= int(limit)


def _pages(asked: Json, own: Json, update: bool) -> list[Json]:
    limits = {text(entry, "pageSize"): entry["limit"] for entry in listing(own, "hugepageLimits", dict)}
    result = []
    for entry in listing(asked, "hugepageLimits", dict, "resources."):
        size, value = text(entry, "pageSize"), number(entry, "limit", "resources.hugepageLimits.")
        if size in limits and (value is None or value > limits[size]):
            entry = {**entry, "limit": limits[size]}
        result.append(entry)
    said = {entry.get("pageSize") for entry in result}
    return result + [{"pageSize": s, "limit": v} for s, v in limits.items() if s not in said and not update]


def _shares(weight: int) -> int:
    """The shares of cgroup v1 that stand for a weight of v2, by the line that runtimes draw between the two."""
    (low, high), (least, most) = _SHARES
    return low + (weight - least) * (high - low) // (most - least)
