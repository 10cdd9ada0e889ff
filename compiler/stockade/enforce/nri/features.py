"""Which version of containerd lets an NRI plugin adjust what, and what no version does.

The embedded NRI library says less than it seems: containerd 2.0 embeds one that knows device injection, and does not
act on it. So the table is of containerd's versions. A version that cannot be read counts as the oldest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int, int]
OLDEST: Version = (1, 7, 0)

SINCE: dict[str, Version] = {
    "annotations": (1, 7, 0),
    "mounts": (1, 7, 0),
    "env": (1, 7, 0),
    "hooks": (1, 7, 0),
    "devices": (1, 7, 0),
    "memory": (1, 7, 0),
    "cpu": (1, 7, 0),
    "hugepage_limits": (1, 7, 0),
    "unified": (1, 7, 0),
    "rlimits": (1, 7, 7),
    "pids": (2, 0, 0),
    "oom_score_adj": (2, 0, 0),
    "seccomp_policy": (2, 2, 0),
    "namespaces": (2, 2, 0),
    "io_priority": (2, 2, 0),
    "validation": (2, 2, 0),
    "sysctl": (2, 2, 1),
    "seccomp_profile": (2, 2, 1),
}
"""What a plugin can adjust, see (`seccomp_profile`) or take part in (`validation`), and since which containerd."""

NEVER = (
    "SELinux label",
    "capabilities",
    "no-new-privileges",
    "read-only root",
    "masked and read-only paths",
    "user and groups",
    "user namespace mappings",
    "mount propagation of the root",
    "personality",
)
"""What no version of NRI shows a plugin, let alone lets it adjust."""

_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,6})(?![\d.])")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Who is at the other end: name and version as it gave them, the version that counts, and whether it was read."""

    name: str
    said: str
    version: Version
    known: bool

    def can(self, feature: str) -> bool:
        """Whether this version has a feature of `SINCE`."""
        return self.version >= SINCE[feature]

    def lacks(self) -> list[str]:
        """The features that this version does not have."""
        return [feature for feature in SINCE if not self.can(feature)]


def runtime(name: str, said: str) -> Runtime:
    """Read what the runtime says of itself; a pre-release counts as what came before the release."""
    match = _VERSION.match(said)
    if name != "containerd" or match is None:
        return Runtime(name, said, OLDEST, False)
    major, minor, patch = (int(part) for part in match.groups())
    version = (major, minor, patch)
    if re.match(r"[-~.]?(alpha|beta|rc)|-", said[match.end() :]):
        below = [since for since in SINCE.values() if since < version]
        version = max(below, default=OLDEST)
    return Runtime(name, said, max(version, OLDEST), version >= OLDEST)
