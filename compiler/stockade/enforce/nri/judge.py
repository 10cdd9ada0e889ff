"""The core, for containers as NRI shows them: a bundle's types, which container is of which, and what it may have."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stockade.bundle.manifest import BundleError
from stockade.bundle.read import read
from stockade.enforce import core
from stockade.enforce.choose import IMAGE
from stockade.enforce.profile import Profile
from stockade.enforce.refusal import NO_FOREIGN_DEVICE, Refused
from stockade.enforce.resources import clamp_resources
from stockade.enforce.select import ANNOTATION, Facts, Selection, SelectionError, parse, standard
from stockade.enforce.within import more_calls, more_devices

from . import adjust, features, recipe, view
from .plugin import Violation
from .view import Spec

CGROUP2 = "/sys/fs/cgroup/cgroup.controllers"
_KINDS = {"network": "net", "mount": "mnt"}
_EVERYTHING = features.Runtime("any", "", (99, 0, 0), True)


class LoadError(Exception):
    """A bundle or a selection that cannot be trusted or understood; the text says why."""


class BundleJudge:
    """Judges by the profiles of a bundle. `digest` is that of its manifest."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        selection: Selection,
        digest: str,
        *,
        cgroup2: bool,
        filters: Mapping[str, bytes],
    ) -> None:
        self._profiles = profiles
        self._filters = filters
        self._selection = selection
        self.digest = digest
        self.cgroup2 = cgroup2
        self.widening = selection.widening()

    def select(self, pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
        """The name of the container's type; raises Violation."""
        facts = Facts(
            handler=pod.get("runtime_handler", ""),
            namespace=pod.get("namespace", ""),
            image=container.get("annotations", {}).get(IMAGE, ""),
            asked=pod.get("annotations", {}).get(ANNOTATION, ""),
        )
        try:
            return self._selection.choose(facts)
        except SelectionError as error:
            raise Violation(str(error)) from error

    def apply(self, spec: Spec, name: str, pod: Mapping[str, Any]) -> Spec:
        """The view narrowed to the type; raises Violation where it cannot be."""
        profile = self._profiles[name]
        try:
            after = core.apply(spec, profile, self._host(spec, pod))
        except Refused as refused:
            raise Violation(str(refused)) from refused
        rules = after["linux"]["resources"]
        asked = spec["linux"]["resources"].get("devices", [])
        # What NRI shows of the control group's devices it cannot set. It need not where nothing is given that the type
        # lacks: runtimes add what every container has.
        if not profile.all_devices and (reasons := more_devices(asked, rules["devices"])):
            raise Violation(
                f"{NO_FOREIGN_DEVICE}: the device control group: {'; '.join(reasons)}, and NRI cannot take that back"
            )
        rules.pop("devices")
        if "devices" in spec["linux"]["resources"]:
            rules["devices"] = asked
        return after

    def check(self, spec: Spec, name: str, pod: Mapping[str, Any], unseen: Collection[str] = ()) -> list[str]:
        """Every way in which a view is wider than the type: what would be refused or still be adjusted.

        `unseen` are parts of an adjustment of which the view says nothing.
        """
        try:
            left = adjust.difference(spec, self.apply(spec, name, pod), _EVERYTHING)
        except (Violation, adjust.Missing) as error:
            return [str(error)]
        left.get("annotations", {}).pop(ANNOTATION, None)
        return [f"{part} would have to be {said}" for part, said in _spelled(left) if part not in unseen]

    def clamp(self, resources: Spec, name: str) -> Spec:
        """`linux.resources` of an update, narrowed to the type; raises Violation."""
        host = core.Host(without=["selinux"], cgroup2=self.cgroup2)
        try:
            after = clamp_resources(resources, self._profiles[name], host, update=True)
        except Refused as refused:
            raise Violation(str(refused)) from refused
        if "memory" in after and "swap" not in resources.get("memory", {}):
            # Nobody speaks of swap, and NRI has no word for it in an update: it stays what it was.
            after["memory"] = {key: value for key, value in after["memory"].items() if key != "swap"}
        return after

    def seccomp(self, name: str) -> Spec:
        """The type's filter."""
        return self._profiles[name].seccomp

    def is_own_filter(self, path: str, name: str) -> bool:
        """Whether a file holds the type's filter, byte for byte as the bundle has it."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                return file.read(len(self._filters[name]) + 1) == self._filters[name]
        except OSError:
            return False

    def _host(self, spec: Spec, pod: Mapping[str, Any]) -> core.Host:
        sources = {mount.get("source", "") for mount in spec.get("mounts", []) if "/" in mount.get("source", "")}
        resolved = {source: _leads_to(source) for source in sources}
        return core.Host(
            without=["selinux"],
            cgroup2=self.cgroup2,
            resolved=resolved,
            shared=_shared(spec, pod.get("linux", {})),
            pod=pod.get("uid", ""),
        )


def _shared(spec: Spec, pod: Mapping[str, Any]) -> list[str]:
    """Paths of namespaces that are the host's own: the pod has none of that kind, or the kernel says it is the same.

    containerd gives each container the path of its pod's first process, also where that shares the host's.
    """
    owned = {namespace.get("type") for namespace in pod.get("namespaces", [])}
    found = []
    for namespace in spec["linux"]["namespaces"]:
        kind, path = namespace.get("type", ""), namespace.get("path", "")
        if path and (kind not in owned or _is_own(kind, path)):
            found.append(path)
    return found


def _is_own(kind: str, path: str) -> bool:
    """Whether a path leads to the namespace of process 1, as far as this process can see either."""
    try:
        return _inode(path) == _first(kind)
    except OSError:
        return False


@cache
def _first(kind: str) -> tuple[int, int]:
    return _inode(f"/proc/1/ns/{_KINDS.get(kind, kind)}")


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - a Path costs more than the question, and this is asked for each container
    return found.st_dev, found.st_ino


def _leads_to(source: str) -> str:
    """A path without symbolic links: what the kernel says of it, or where it is not there, what its parts lead to."""
    try:
        opened = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(source)
    try:
        return os.readlink(f"/proc/self/fd/{opened}")  # noqa: PTH115
    except OSError:
        return os.path.realpath(source)
    finally:
        os.close(opened)


def _spelled(adjustment: Mapping[str, Any]) -> list[tuple[str, str]]:
    linux = dict(adjustment.get("linux", {}))
    parts = {
        **{key: value for key, value in adjustment.items() if key != "linux"},
        **linux.pop("resources", {}),
        **linux,
    }
    return [(key, str(value)[:200]) for key, value in parts.items() if value]


def load(folder: str, select: str = "") -> BundleJudge:
    """The judge of a bundle, after all that it goes by has been checked; raises LoadError."""
    try:
        if findings := recipe.trusted(f"{folder}/manifest.json", "bundle"):
            raise LoadError("; ".join(findings))
        bundle = read(folder)
        filters = {name: bundle.bytes(f"containers/{name}/seccomp.json") for name in bundle.types}
        profiles = {
            name: Profile.from_files(bundle.bytes(f"containers/{name}/oci.json"), filters[name])
            for name in bundle.types
        }
        for name, profile in profiles.items():
            view.seccomp_message(profile.seccomp)
            if profile.name != name:
                raise LoadError(f"{folder}: the type {name} calls itself {profile.name}")
        chosen = selection(select, profiles)
    except (BundleError, Refused, view.ViewError, recipe.RecipeError) as error:
        raise LoadError(f"{folder}: {error}") from error
    return BundleJudge(profiles, chosen, bundle.digest, cgroup2=Path(CGROUP2).exists(), filters=filters)


def selection(path: str, profiles: Mapping[str, Profile]) -> Selection:
    """The operator's choice in a file that nobody else writes to, or the standard one; raises LoadError."""
    try:
        if not path:
            return standard(profiles)
        if findings := recipe.trusted(path):
            raise LoadError("; ".join(findings))
        text = Path(path).read_text(encoding="utf-8")
        return parse(text, profiles, lambda one, other: wider(profiles[one], profiles[other]))
    except recipe.RecipeError as error:
        raise LoadError(str(error)) from error
    except (OSError, UnicodeDecodeError, SelectionError) as error:
        raise LoadError(f"{path or 'selection'}: {error}") from error


def wider(one: Profile, other: Profile) -> list[str]:
    """In which ways a type is wider than another, in all but SELinux labels, which NRI does not reach."""
    host = core.Host(without=["selinux"])
    spec = {**one.spec, "annotations": {}}
    if one.spec["root"]["readonly"]:
        # Where the other has a place of its own to write to, this one has the root that it cannot write to.
        places = {mount["destination"] for mount in one.mounts}
        more = [mount for mount in other.mounts if mount["type"] == "tmpfs" and mount["destination"] not in places]
        spec["mounts"] = [*one.mounts, *more]
    found = [f"{place} {what}" for place, what in core.check(spec, other, host) if not _aside(place)]
    calls = more_calls(one.seccomp, other.seccomp)
    return found + ([f"it may call {', '.join(calls[:5])}"] if calls else [])


def _aside(place: str) -> bool:
    return place.startswith(("annotations", "linux.seccomp", "linux.mountLabel", "process.selinuxLabel"))
