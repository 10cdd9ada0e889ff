"""Whether a specification is wider than its type, where it need not be what the launcher would have made of it.

`core.check` names every difference. A container that no launcher has seen is told apart in other words where it gives
nothing more: an empty object for an absent one, devices that runtimes add by themselves, the same filter in another
order. Those differences are left out here, and nothing else is.
"""

from __future__ import annotations

from stockade.enforce.core import check, shown
from stockade.enforce.shape import listing, mapping, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stockade.enforce.core import Judge
    from stockade.enforce.profile import Host, Profile

    Json = dict[str, Any]
    Tests = frozenset[tuple[str, ...]]

_ALLOWED = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_DENIED = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS")
_FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC")
_UNSHARED = (None, "", "private", "rprivate", "slave", "rslave")
_SELECTORS = ("type", "major", "minor")


def wider(spec: Json, profile: Profile, host: Host) -> list[tuple[str, str]]:
    """Every way in which a specification is wider than its type, as (promise or place, what); empty where it is not."""
    return check(spec, profile, host, _JUDGES)


def _subset(before: Any, after: Any, spec: Json) -> str:
    more = sorted(set(before or []) - set(after or []))
    return f"has {', '.join(more)} beyond the type's" if more else ""


def _superset(before: Any, after: Any, spec: Json) -> str:
    less = sorted(set(after or []) - set(before or []))
    return f"lacks {', '.join(less)}" if less else ""


def _propagation(before: Any, after: Any, spec: Json) -> str:
    return "" if before in _UNSHARED else f"is {before}"


def _pids(before: Any, after: Any, spec: Json) -> str:
    """The limit on processes, which a runtime may have been told by the name of its file."""
    said = mapping(mapping(mapping(spec, "linux"), "resources"), "unified").get("pids.max", "")
    limit = (after or {}).get("limit", 0)
    if not before and str(said).isdecimal() and int(said) <= limit:
        return ""
    return f"is {shown(before)}, the type has {shown(after)}"


def more_devices(before: list[Json], after: list[Json]) -> list[str]:
    """What rules of the device control group give beyond those of a type, and what runtimes give everybody."""
    if not before or before[0].get("allow") or any(key in before[0] for key in _SELECTORS):
        return ["the rules do not begin by taking all devices away"]
    found = []
    for rule in before:
        covered = any(
            other.get("allow")
            and all(key not in other or other[key] == rule.get(key) for key in _SELECTORS)
            and set(rule.get("access") or "rwm") <= set(other["access"])
            for other in after
        )
        if rule.get("allow") and not covered:
            what = " ".join(str(rule.get(key, "*")) for key in (*_SELECTORS, "access"))
            found.append(f"gives {what} beyond the type's")
    return found


def _devices(before: Any, after: Any, spec: Json) -> str:
    return "; ".join(more_devices(before or [], after or []))


def _filter(before: Any, after: Any, spec: Json) -> str:
    """Calls that a filter lets through and the type's does not; by the rules alone, so that in doubt it is more."""
    if not before:
        return "is absent"
    if text(before, "defaultAction") in ("", *_ALLOWED):
        return f"allows what it does not name ({before.get('defaultAction')})"
    more = set(before.get("architectures") or []) - set(after["architectures"])
    if more or not before.get("architectures"):
        return f"is for {', '.join(sorted(more)) or 'no architecture by name'}"
    if flags := sorted(set(before.get("flags") or []) - set(_FLAGS)):
        return f"has the flags {', '.join(flags)}"
    calls = more_calls(before, after)
    return f"allows {', '.join(calls[:5])}{' and more' if len(calls) > 5 else ''}" if calls else ""


def more_calls(one: Json, other: Json) -> list[str]:
    """Calls that the rules of one filter may allow where those of the other may not, sorted."""
    mine, theirs = (
        _allowed(one, lambda action: action not in _DENIED),
        _allowed(other, lambda action: action in _ALLOWED),
    )
    return sorted(name for name, tests in mine.items() if not _within(tests, theirs.get(name, frozenset())))


def _allowed(filters: Json, counts: Callable[[str], bool]) -> dict[str, Tests | None]:
    """Call to the tests under one of which it is allowed, or None where no test is needed."""
    made: dict[str, Tests | None] = {}
    for rule in listing(filters, "syscalls", dict):
        if not counts(text(rule, "action")):
            continue
        tests = tuple(
            sorted(
                repr([test.get("index", 0), test.get("value", 0), test.get("valueTwo", 0), test.get("op")])
                for test in listing(rule, "args", dict)
            )
        )
        for name in listing(rule, "names", str):
            known = made.get(name, frozenset())
            made[name] = None if not tests or known is None else known | {tests}
    return made


def _within(mine: Tests | None, theirs: Tests | None) -> bool:
    return theirs is None or (mine is not None and mine <= theirs)


_JUDGES: dict[str, Judge] = {
    **{f"process.capabilities.{kind}": _subset for kind in ("bounding", "effective", "permitted", "inheritable")},
    "process.capabilities.ambient": _subset,
    "linux.maskedPaths": _superset,
    "linux.readonlyPaths": _superset,
    "linux.rootfsPropagation": _propagation,
    "linux.resources.pids": _pids,
    "linux.resources.devices": _devices,
    "linux.seccomp": _filter,
}
"""Places where another value need not be a wider one, and what says whether it is."""
