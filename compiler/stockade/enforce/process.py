"""A process of a container: its capabilities, limits, label and priorities, never more than the type's."""

from __future__ import annotations

from stockade.enforce.profile import SETS, Host, Profile
from stockade.enforce.refusal import CONFINED, NO_FOREIGN_LABEL, NO_REAL_TIME, WELL_FORMED, Reasons
from stockade.enforce.shape import listing, mapping, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_SHARED_SCHEDULERS = ("", "SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE")


def apply_process(process: Json, profile: Profile, host: Host, level: str | None = None) -> Json:
    """The process with the type's confinement: what `create` starts, and what `exec` adds.

    `level` is that of the running container, which an added process must share; None when there is none to compare.
    Raises Refused. The argument is not changed.
    """
    reasons = Reasons()
    result = dict(process)
    result["capabilities"] = _capabilities(process, profile)
    if profile.spec["process"]["noNewPrivileges"]:
        result["noNewPrivileges"] = True
    result["rlimits"] = _limits(process, profile)
    result.pop("selinuxLabel", None)
    if label := process_label(text(process, "selinuxLabel", "process."), profile, host, reasons, level):
        result["selinuxLabel"] = label
    _refuse_priorities(process, profile, reasons)
    reasons.raise_if_any()
    return result


def process_label(asked: str, profile: Profile, host: Host, reasons: Reasons, level: str | None = None) -> str:
    """The label of a process: the one asked for with the type's domain, empty on a host that does without SELinux."""
    if "selinux" in host.without:
        return ""
    if not host.selinux:
        reasons.add(CONFINED, "this host has no SELinux, and was not set up to do without")
        return ""
    return relabelled(asked, profile.label, profile, reasons, level)


def relabelled(asked: str, own: list[str], profile: Profile, reasons: Reasons, level: str | None = None) -> str:
    """A context with the type of `own`; user, role and range stay those asked for."""
    if not asked:
        if profile.level == "pair":
            why = "the runtime chose no level, and categories are what keeps containers apart (`enable_selinux = true`)"
            reasons.add(CONFINED, why)
        return ":".join(own)
    parts = asked.split(":", 3)
    if len(parts) != 4 or not all(parts):
        reasons.add(WELL_FORMED, f"the label {asked!r} has not four parts")
        return ":".join(own)
    if parts[2] not in profile.defaults and parts[2] != own[2]:
        reasons.add(NO_FOREIGN_LABEL, f"the label {asked} has the type {parts[2]}, {profile.name} has {own[2]}")
    if profile.level == "pair" and not _is_pair(parts[3]):
        reasons.add(CONFINED, f"the level {parts[3]} is no pair of categories")
    if level is not None and parts[3] != level:
        reasons.add(NO_FOREIGN_LABEL, f"the level {parts[3]} is not the container's own, {level}")
    return ":".join([*parts[:2], own[2], parts[3]])


def _is_pair(level: str) -> bool:
    """Whether a range is one level of two categories: neither a range nor a run of categories, which dominates many."""
    categories = level.partition(":")[2].split(",")
    return "-" not in level and "." not in level and len(set(categories)) == 2 and all(categories)


def _capabilities(process: Json, profile: Profile) -> Json:
    asked = mapping(process, "capabilities", "process.")
    kept = dict(asked)
    for key in SETS:
        allowed = profile.capabilities[key]
        kept[key] = [name for name in listing(asked, key, str, "process.capabilities.") if name in allowed]
    return kept


def _limits(process: Json, profile: Profile) -> list[Json]:
    """The smaller of each limit; those of the type that nobody asked about are added."""
    own = {entry["type"]: entry for entry in profile.spec["process"]["rlimits"]}
    result = []
    for asked in listing(process, "rlimits", dict, "process."):
        name = text(asked, "type", "process.rlimits.")
        limit = dict(asked)
        if name in own:
            for key in ("soft", "hard"):
                value = number(asked, key, f"process.rlimits.{name}.")
                limit[key] = own[name][key] if value is None else min(value, own[name][key])
        result.append(limit)
    said = {entry.get("type") for entry in result}
    return result + [dict(entry) for name, entry in own.items() if name not in said]


def _refuse_priorities(process: Json, profile: Profile, reasons: Reasons) -> None:
    """Whoever may not raise a priority by itself gets none raised by the runtime."""
    if "CAP_SYS_NICE" in profile.capabilities["permitted"]:
        return
    scheduler = mapping(process, "scheduler", "process.")
    policy = text(scheduler, "policy", "process.scheduler.")
    if policy not in _SHARED_SCHEDULERS or (number(scheduler, "nice", "process.scheduler.") or 0) < 0:
        reasons.add(NO_REAL_TIME, f"the scheduler {policy or 'SCHED_OTHER'} with a priority above the others'")
    if text(mapping(process, "ioPriority", "process."), "class", "process.ioPriority.") == "IOPRIO_CLASS_RT":
        reasons.add(NO_REAL_TIME, "input and output before all others'")
