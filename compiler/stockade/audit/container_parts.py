"""One container against its type, part by part: label, system calls, capabilities, namespaces, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stockade.audit.facts.containers import SETS
from stockade.audit.facts.fact import missing
from stockade.model.names import CAPABILITIES

Found = tuple[str, str, str, str]
Json = Mapping[str, Any]

NAMESPACES: Final = {"mount": "mnt", "network": "net"}
"""Names of the runtime specification that /proc spells otherwise."""
_PAIR: Final = re.compile(r"s0:c(\d+),c(\d+)")
_BITS: Final = {f"CAP_{name}": 1 << number for name, number in CAPABILITIES.items()}


def label_findings(one: Json, task: Json | None, compiled: Json) -> Iterator[Found]:
    """Type and categories of every process and thread, and the label that it would give to what it starts."""
    first = one["processes"][0]["label"]
    wanted = compiled["label"].split(":", 3)
    for process in one["processes"]:
        who = f"{'thread' if 'thread_of' in process else 'process'} {process['pid']}"
        label = process["label"].split(":", 3)
        level = label[3] if len(label) > 3 else ""
        if label[:3] != wanted[:3]:
            yield "label", who, ":".join(wanted[:3]), process["label"]
        elif compiled["level"] == "pair":
            pair = _PAIR.fullmatch(level)
            if not pair or pair[1] == pair[2]:
                yield "categories", who, "s0 with a pair of categories", process["label"]
        elif level != wanted[3]:
            yield "categories", who, wanted[3], process["label"]
        if process["label"] != first:
            yield "thread", who, first, process["label"]
        if process["next"] and process["next"] != process["label"]:
            yield "label", f"{who} starts others as", process["label"], process["next"]
    stated = (task or {}).get("label", "")
    if stated and stated != first:
        yield "label", "label of the runtime's specification", stated, first


def seccomp_findings(who: str, process: Json) -> Iterator[Found]:
    """Is a filter in force at all? Which one it is only ptrace can tell."""
    if process["seccomp"] != 2:
        modes = {0: "none", 1: "strict mode"}
        yield "seccomp", who, "a filter", modes.get(process["seccomp"], str(process["seccomp"]))
    elif process["filters"] == 0:
        yield "seccomp", who, "one filter or more", "0 filters"


def capability_findings(who: str, process: Json, compiled: Json) -> Iterator[Found]:
    """No set may hold more than the type's, and no_new_privs is set where the type says so."""
    said = compiled["spec"]["process"]
    for key in SETS.values():
        # A set that a specification does not name is empty.
        allowed = sum(_BITS[name] for name in said["capabilities"].get(key, ()))
        live = process["capabilities"][key]
        if more := live & ~allowed:
            yield "capabilities", f"{who}, {key}", _spelled(allowed), f"{_spelled(more)} more"
    if said.get("noNewPrivileges") and process["no_new_privileges"] != 1:
        yield "privileges", f"{who}, no_new_privs", "1", str(process["no_new_privileges"])


def _spelled(mask: int) -> str:
    names = [name.removeprefix("CAP_") for name, bit in _BITS.items() if mask & bit]
    rest = mask & ~sum(_BITS.values())
    return " ".join([*names, *([hex(rest)] if rest else [])]) or "none"


def namespace_findings(who: str, process: Json, compiled: Json, own: Json) -> Iterator[Found]:
    """Every namespace that the type makes is another than PID 1's."""
    spec = compiled["spec"]
    for entry in spec["linux"]["namespaces"]:
        kind = NAMESPACES.get(entry["type"], entry["type"])
        live = process["namespaces"].get(kind, "")
        if not live or live == own[kind]:
            yield "namespaces", f"{who}, {entry['type']}", "its own", "the host's" if live else "unknown"
    user = process["namespaces"].get("user", "")
    if spec["annotations"].get("io.stockade.user-namespace") == "forbidden" and user != own["user"]:
        yield "namespaces", f"{who}, user", "the host's", "its own"


def limit_findings(one: Json, compiled: Json) -> Iterator[tuple[str, str, str, Any]]:
    """No limit of the control group may be higher than the type's; one that could not be read stands for itself."""
    resources = compiled["spec"]["linux"].get("resources", {})
    for file, limit in _limits(resources).items():
        live = one["limits"].get(file)
        if live is None:
            if not file.startswith("memory.swap"):  # a kernel without swap has no such file
                yield "limits", file, limit, "absent"
        elif missing(live) or not _within(live, limit):
            yield "limits", file, limit, live
    for entry in compiled["spec"]["process"].get("rlimits", ()):
        name = RLIMITS.get(entry["type"])
        live = one["rlimits"].get(name or "")
        wanted = [str(entry[key]) for key in ("soft", "hard")]
        if live is None or not all(map(_within, live, wanted)):
            yield "limits", entry["type"], " ".join(wanted), " ".join(live or ["unknown"])


RLIMITS: Final = {
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_NPROC": "Max processes",
    "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_AS": "Max address space",
    "RLIMIT_STACK": "Max stack size",
    "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_RSS": "Max resident set",
    "RLIMIT_LOCKS": "Max file locks",
    "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout",
}
"""Names of the runtime specification, and those of /proc/PID/limits."""


def _limits(resources: Json) -> dict[str, str]:
    """The files of the control group that a specification's resources set, as limits."""
    found = {}
    memory, pids, cpu = (resources.get(key, {}) for key in ("memory", "pids", "cpu"))
    if memory.get("limit", -1) >= 0:
        found["memory.max"] = str(memory["limit"])
        if memory.get("swap", -1) >= 0:
            found["memory.swap.max"] = str(memory["swap"] - memory["limit"])
    if pids.get("limit", -1) >= 0:
        found["pids.max"] = str(pids["limit"])
    if cpu.get("quota", -1) > 0:
        found["cpu.max"] = f"{cpu['quota']} {cpu.get('period', 100000)}"
    if "memory.high" in resources.get("unified", {}):
        found["memory.high"] = resources["unified"]["memory.high"]
    return found


def _within(live: str, limit: str) -> bool:
    """Is a live limit no higher than the other? `cpu.max` is a share: quota by period."""
    if limit in ("max", "unlimited"):
        return True
    now, most = live.split(), limit.split()
    if not now or not all(word.isdigit() for word in now):
        return False
    if len(most) == 2 and len(now) == 2:
        return int(now[0]) * int(most[1]) <= int(most[0]) * int(now[1])
    return int(now[0]) <= int(most[0])
