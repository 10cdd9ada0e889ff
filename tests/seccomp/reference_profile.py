"""Decides Docker-format seccomp profiles (archMap, capability and architecture conditions), as an oracle for tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


class ReferenceProfile:
    """A profile as it stands for a container with `caps` on `arch` (a Docker name such as `amd64`)."""

    def __init__(self, profile: Mapping[str, Any], caps: Collection[str], arch: str) -> None:
        self.default = (profile["defaultAction"], profile.get("defaultErrnoRet"))
        self.rules: dict[str, list[tuple[list[dict[str, Any]], tuple[str, int | None]]]] = {}
        for entry in profile["syscalls"]:
            if self._included(entry, caps, arch):
                for name in entry["names"]:
                    said = (entry["action"], entry.get("errnoRet"))
                    self.rules.setdefault(name, []).append((entry.get("args") or [], said))

    @staticmethod
    def _included(entry: Mapping[str, Any], caps: Collection[str], arch: str) -> bool:
        includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
        unknown = (set(includes) | set(excludes)) - {"caps", "arches", "minKernel"}
        assert not unknown, f"a condition this oracle does not know: {unknown}"
        if includes.get("arches") and arch not in includes["arches"]:
            return False
        if not set(includes.get("caps") or ()) <= set(caps):
            return False
        return arch not in (excludes.get("arches") or ()) and not set(excludes.get("caps") or ()) & set(caps)

    def actions(self, name: str, args: Sequence[int]) -> set[tuple[str, int | None]]:
        """Every answer that a matching rule gives; the default where none matches."""
        found = {
            said for tests, said in self.rules.get(name, []) if all(_holds(test, args[test["index"]]) for test in tests)
        }
        return found or {self.default}

    def always_allows(self, name: str) -> bool:
        """Whether the call is allowed whatever its arguments: by a rule without arguments and with none against it."""
        rules = self.rules.get(name, [])
        allowed = {said[0] for tests, said in rules if not tests}
        return allowed == {"SCMP_ACT_ALLOW"} and all(said[0] == "SCMP_ACT_ALLOW" for _, said in rules)


def _holds(test: Mapping[str, Any], value: int) -> bool:
    wanted: int = test["value"]
    match test["op"]:
        case "SCMP_CMP_EQ":
            return value == wanted
        case "SCMP_CMP_NE":
            return value != wanted
        case "SCMP_CMP_LT":
            return value < wanted
        case "SCMP_CMP_LE":
            return value <= wanted
        case "SCMP_CMP_GT":
            return value > wanted
        case "SCMP_CMP_GE":
            return value >= wanted
        case "SCMP_CMP_MASKED_EQ":
            return value & wanted == int(test["valueTwo"])
    raise AssertionError(test)
