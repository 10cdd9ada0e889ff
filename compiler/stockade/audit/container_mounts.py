"""What is mounted in a container, against its type: root, masks, tmpfs, and nothing else of the host's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from stockade.audit.facts.fact import missing
from stockade.audit.facts.mounts import Mount, below, on_top

Found = tuple[str, str, str, str]
Json = Mapping[str, Any]

SOCKETS: Final = (
    "/run/api.sock /run/containerd /run/host-containerd /run/nri /run/crio /run/docker.sock /run/docker /run/podman"
).split()
"""Places of sockets through which a container would command its host."""
HOST: Final = "/ /boot /bin /dev /etc /lib /lib64 /local /proc /root /run /sbin /sys /usr /var".split()
"""Places of the host that no container is given whole; what lies in /var/lib/kubelet/pods is the container's own."""
_HARMLESS: Final = (
    "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/console /etc/hosts /etc/hostname "
    "/etc/resolv.conf /etc/localtime /etc/ssl/certs /etc/pki"
).split()
_OWN: Final = ("/var/lib/kubelet/pods", "/var/lib/kubelet/plugins", "/run/secrets")
_KERNEL: Final = frozenset("proc sysfs cgroup cgroup2 devpts mqueue tmpfs overlay".split())


def mount_findings(one: Json, compiled: Json, host: Sequence[Mount], exists: Collection[str] | None) -> Iterator[Found]:
    """For each mount namespace of a container; `exists` are the paths of /proc and /sys that this kernel has."""
    spec = compiled["spec"]
    listed = {mount["destination"]: mount for mount in spec.get("mounts", ())}
    for mounts in one["mounts"].values():
        if missing(mounts):
            continue
        root = on_top(mounts, "/")
        if root is None:
            yield "root", "mount at /", "the container's root", "none"
            continue
        if spec["root"]["readonly"] and "ro" not in root["options"]:
            yield "root", "/", "read-only", "read-write"
        for path in spec["linux"]["maskedPaths"]:
            if exists is None or path in exists:
                yield from _masked(mounts, path)
        for path in spec["linux"]["readonlyPaths"]:
            if exists is None or path in exists:
                yield from _readonly(mounts, path)
        for mount in mounts:
            yield from _sources(mount, listed, host, one["group"])
        for place, wanted in listed.items():
            yield from _listed(mounts, place, wanted)


def _over(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that a path leads to: the last one at the longest mount point that holds it."""
    best: Mount | None = None
    for mount in mounts:
        if below(path, mount["point"]) and (best is None or len(mount["point"]) >= len(best["point"])):
            best = mount
    return best


def _masked(mounts: Sequence[Mount], path: str) -> Iterator[Found]:
    mount = _over(mounts, path)
    if mount and mount["point"] == path:
        if mount["root"].endswith("/null") and mount["type"] in ("tmpfs", "devtmpfs"):
            return
        if mount["type"] == "tmpfs" and "ro" in mount["options"]:
            return
    if mount and below(path, "/sys") and mount["type"] == "tmpfs":
        return  # the whole of it is hidden
    if mount and mount["point"] == "/" and mount["type"] not in ("proc", "sysfs"):
        return  # nothing is mounted at /proc or /sys at all
    yield "masks", path, "masked", "readable" if not mount else f"{mount['type']} {','.join(mount['options'][:1])}"


def _readonly(mounts: Sequence[Mount], path: str) -> Iterator[Found]:
    mount = _over(mounts, path)
    if mount and "ro" not in mount["options"] and mount["type"] in ("proc", "sysfs"):
        yield "masks", path, "read-only", "read-write"
    for inner in mounts:
        if inner["point"] != path and below(inner["point"], path) and "ro" not in inner["options"]:
            yield "masks", inner["point"], f"read-only, as {path}", "read-write"


def _sources(mount: Mount, listed: Mapping[str, Json], host: Sequence[Mount], group: str) -> Iterator[Found]:
    """Where on the host a mount comes from, if from a place that no container is given."""
    if mount["type"] in ("cgroup", "cgroup2") and mount["root"] == group:
        return  # its own control group, as the host's view of the hierarchy has it
    if mount["point"] == "/" or (mount["type"] in _KERNEL and mount["root"] == "/" and mount["type"] != "tmpfs"):
        return
    own = listed.get(mount["point"])
    for source in _host_paths(mount, host):
        if own and own.get("type") == "bind" and (source == own["source"] or below(source, own["source"])):
            return
        holder = next((m for p, m in listed.items() if m.get("type") == "bind" and below(mount["point"], p)), None)
        if holder and below(source, holder["source"]):
            return
        if any(below(source, path) for path in (*_HARMLESS, *_OWN)) or _sandbox(source):
            return
        if any(below(source, path) for path in SOCKETS):
            yield "sockets", mount["point"], "not the host's", source
            return
        if source in HOST or any(below(source, path) for path in HOST if path not in ("/", "/run", "/var")):
            yield "mounts", mount["point"], "not the host's", source
            return


def _host_paths(mount: Mount, host: Sequence[Mount]) -> list[str]:
    """Paths of the host at which the same folder of the same file system can be seen."""
    found = []
    for one in host:
        if one["device"] == mount["device"] and below(mount["root"], one["root"]):
            rest = mount["root"][len(one["root"].rstrip("/")) :]
            found.append((one["point"].rstrip("/") + rest).rstrip("/") or "/")
    return found


def _sandbox(source: str) -> bool:
    folders = ("/run/containerd/io.containerd.", "/var/lib/containerd/io.containerd.")
    return source.startswith(folders) and "/sandboxes/" in source


def _listed(mounts: Sequence[Mount], place: str, wanted: Json) -> Iterator[Found]:
    """A mount that the type itself has: there, of its kind, with its options, and nothing below it wider."""
    mount = on_top(mounts, place)
    if mount is None:
        yield "mounts", place, f"a {wanted['type']}", "nothing"
        return
    if wanted["type"] == "tmpfs" and mount["type"] not in ("tmpfs", "overlay", "ext4", "xfs"):
        yield "mounts", place, wanted["type"], mount["type"]
    keep = [option for option in ("ro", "nosuid", "nodev", "noexec") if option in wanted["options"]]
    for inner in mounts:
        if below(inner["point"], place) and (inner is mount or "ro" in keep):
            checked = keep if inner is mount else ["ro"]
            if missing := [option for option in checked if option not in inner["options"]]:
                yield "mounts", inner["point"], ",".join(checked), f"without {','.join(missing)}"
