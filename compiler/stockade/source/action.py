"""Builds actions: what a container might try, every way in which it could succeed, and how a probe tries it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any, Final

from stockade.model.action import (
    Abi,
    ActionCase,
    Aim,
    Categories,
    Need,
    NeedsAccess,
    NeedsAllCapabilities,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsHostPath,
    NeedsMountOption,
    NeedsNewPrivileges,
    NeedsNoLimit,
    NeedsPath,
    NeedsSyscall,
    Reach,
    Trial,
    Use,
    Way,
)
from stockade.model.names import CGROUP_FILES
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.scope import Scope
from stockade.source.syscalls import SyscallBuilder
from stockade.source.units import ERRNO
from stockade.source.verbs import Vocabulary
from stockade.source.yaml import Map, Seq


class ActionBuilder:
    """Resolves actions against the names of the host and the system calls; `mounts` are the host's mount points."""

    def __init__(
        self,
        scope: Scope,
        vocabulary: Vocabulary,
        syscalls: SyscallBuilder,
        mounts: Iterable[str],
        report: Diagnostics,
    ) -> None:
        self.scope = scope
        self.vocabulary = vocabulary
        self.syscalls = syscalls
        self.mounts = sorted(mounts)
        self.report = report

    def actions(self, documents: Iterable[Map]) -> dict[str, ActionCase]:
        """Every action by name."""
        found: dict[str, ActionCase] = {}
        for body in documents:
            name, at = body["action"], body.values_at["action"]
            if name in found:
                self.report.error(at, f"action `{name}` is declared twice", f"the first is at {found[name].at}")
                continue
            found[name] = ActionCase(
                name=name,
                aim=Aim(body["aim"]),
                seen_in=tuple(body["seen-in"]),
                ways=tuple(self._ways(body["needs"])),
                trial=self._trial(body["try"]),
                why=body["why"],
                at=at,
            )
        return dict(sorted(found.items()))

    def _ways(self, needs: Seq) -> list[Way]:
        """Every choice among alternatives, each a list of needs that must all be given."""
        choices: list[list[Way]] = []
        for body in needs:
            if "any" in body:
                choices.append([way for listed in body["any"] for way in self._ways(listed)])
            else:
                (key,) = body.keys() & READERS.keys()
                choices.append([(need,) for need in READERS[key](self, body[key], body)])
        return [tuple(need for part in chosen for need in part) for chosen in product(*choices)]

    def access(self, need: Map) -> Need:
        """What is asked of SELinux."""
        access, _ = self.vocabulary.access(need)
        categories = Categories(need.get("categories", "none"))
        if "target" not in need:
            return NeedsAccess(access, frozenset(), False, "its own files", own_files=True)
        labels = self.scope.labels(need["target"], need.values_at["target"], "everything")
        members = frozenset().union(*(part.members for part in labels.parts))
        itself = any(part.itself for part in labels.parts)
        return NeedsAccess(access, members, itself, str(labels), categories=categories)

    def no_limit(self, file: str, body: Map) -> Need:
        """What is asked of a cgroup."""
        if file not in CGROUP_FILES:
            self.report.unknown(body.values_at["no-limit"], "cgroup v2 file", file, CGROUP_FILES)
        return NeedsNoLimit(file)

    def mount_above(self, path: str) -> str:
        """The deepest mount point of the host at or above a path."""
        above = [mount for mount in self.mounts if path == mount or path.startswith(f"{mount}/")]
        return max(above, key=len, default="/")

    def _trial(self, body: Map) -> Trial:
        for key in ("reached", "absent"):
            for name in body.get(key, ()):
                if name not in ERRNO:
                    self.report.unknown(body.values_at[key], "error", name, ERRNO)
        absent = dict(sorted(body.get("absent", {}).items()))
        return Trial(body["does"], tuple(body.get("reached", ())), absent, body.get("unasked", ""))

    def syscall(self, body: Map) -> list[Need]:
        """What is asked of the filter; nothing where a name is not known, which has been reported."""
        calls: list[str] = []
        for name, place in items(body["syscall"], body.values_at["syscall"]):
            calls.extend(self.syscalls.calls(name, place))
        given: Map = body.get("with", Map(body.at))
        meanings = []
        for call in dict.fromkeys(calls):
            arguments: dict[int, int] = {}
            for key, value in given.items():
                known = self.syscalls.argument(call, key, given.keys_at[key])
                number = known and self.syscalls.number(call, key, known[1], value, given.values_at[key])
                if known is None or number is None:
                    return []
                if known[0] in arguments:
                    self.report.error(given.keys_at[key], f"`{key}` is given twice, by another name")
                arguments[known[0]] = number
            meanings.append((call, arguments))
        for call, arguments in meanings:
            if arguments != meanings[0][1]:
                message = f"these arguments of `{call}` are not those of `{meanings[0][0]}`"
                self.report.error(given.at, message, "write an action for each, or only calls with the same arguments")
                return []
        abi = Abi(body.get("abi", "native"))
        if not meanings:
            return []
        return [NeedsSyscall(tuple(sorted(set(calls))), dict(sorted(meanings[0][1].items())), abi)]


READERS: Final[Mapping[str, Callable[[ActionBuilder, Any, Map], list[Need]]]] = {
    "syscall": lambda builder, _, body: builder.syscall(body),
    # One for each of a list, because SELinux is asked about the one that is used.
    "capability": lambda _, names, body: [
        NeedsCapability(name, body.get("of", "initial") == "own") for name, _ in items(names, body.at)
    ],
    "every-capability": lambda *_: [NeedsAllCapabilities()],
    "selinux": lambda builder, access, _: [builder.access(access)],
    "host-namespace": lambda _, kind, body: [NeedsHostNamespace(kind)],
    "device": lambda _, of, body: [NeedsDevice(of["type"], of["major"], of["minor"], of["access"])],
    "writable-path": lambda _, path, body: [NeedsPath(path, written=True)],
    "readable-path": lambda _, path, body: [NeedsPath(path, written=False)],
    "mount-allows": lambda _, of, body: [NeedsMountOption(of["path"], Use(of["use"]))],
    "host-path": lambda builder, of, _: [
        NeedsHostPath(of["path"], Reach(of["reach"]), builder.mount_above(of["path"]))
    ],
    "new-privileges": lambda *_: [NeedsNewPrivileges()],
    "no-limit": lambda builder, file, body: [builder.no_limit(file, body)],
}
"""How each key that says a need is read, from its value and the whole: any one of what is returned will do."""


def items(value: Any, at: Position) -> list[tuple[Any, Position]]:
    """The members of a list with their places, or one value with its own."""
    return list(zip(value, value.items_at, strict=True)) if isinstance(value, Seq) else [(value, at)]
