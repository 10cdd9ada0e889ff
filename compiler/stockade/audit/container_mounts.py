"""What is mounted in a container, against its type: root, masks, tmpfs, and nothing else of the host's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from stockade.audit.facts.fact import missing
from stockade.audit.facts.mounts import Mount, Tree, below

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
_SHARED: Final = {"proc": ("/proc", "pid"), "sysfs": ("/sys", "network"), "mqueue": ("/dev/mqueue", "ipc")}
"""File systems that belong to a namespace: where a container has them, and of which; the host's where it makes none."""
_KERNEL: Final = frozenset("proc sysfs cgroup cgroup2 devpts mqueue tmpfs overlay".split())


def mount_findings(one: Json, compiled: Json, host: Sequence[Mount], exists: Collection[str] | None) -> Iterator[Found]:
    """For each mount namespace of a container; `exists` are the paths of /proc and /sys that this kernel has."""
    spec = compiled["spec"]
    listed = {mount["destination"]: mount for mount in spec.get("mounts", ())}
    made = {entry["type"] for entry in spec["linux"]["namespaces"]}
    for mounts in one["mounts"].values():
        if missing(mounts):
            continue
        tree = Tree(mounts)
        root = tree.root
        if root is None:
            yield "root", "mount at /", "the container's root", "none"
            continue
        for upon in tree.upon:
            yield "root", "/", "one mount", f"{upon['type']} upon it"
        if spec["root"]["readonly"] and "ro" not in root["options"]:
            yield "root", "/", "read-only", "read-write"
        for path in spec["linux"]["maskedPaths"]:
            if exists is None or path in exists:
                yield from _masked(tree, path)
        for path in spec["linux"]["readonlyPaths"]:
            if exists is None or path in exists:
                yield from _readonly(mounts, tree, path)
        for mount in mounts:
            yield from _sources(mount, listed, host, one["group"], made)
        for place, wanted in listed.items():
            yield from _listed(mounts, tree, place, wanted)


def _masked(tree: Tree, path: str) -> Iterator[Found]:
    mount = tree.at(path)
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


def _readonly(mounts: Sequence[Mount], tree: Tree, path: str) -> Iterator[Found]:
    mount = tree.at(path)
    if mount and "ro" not in mount["options"] and mount["type"] in ("proc", "sysfs"):
        yield "masks", path, "read-only", "read-write"
    for inner in mounts:
        if inner["point"] != path and below(inner["point"], path) and "ro" not in inner["options"]:
            yield "masks", inner["point"], f"read-only, as {path}", "read-write"


def _sources(
    mount: Mount, listed: Mapping[str, Json], host: Sequence[Mount], group: str, made: Collection[str]
) -> Iterator[Found]:
    """Where on the host a mount comes from, if from a place that no container is given; `made` are the kinds of
    namespaces that the type makes."""
    if mount["type"] in ("cgroup", "cgroup2") and mount["root"] == group:
        return  # its own control group, as the host's view of the hierarchy has it
    if mount["point"] == "/" or (
        mount["type"] in _KERNEL and mount["root"] == "/" and not _the_hosts(mount, host, made)
    ):
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


def _the_hosts(mount: Mount, host: Sequence[Mount], made: Collection[str]) -> bool:
    """Is a whole file system of the kernel the host's own, where a container has one by itself?"""
    if mount["type"] == "tmpfs":
        return True
    home, namespace = _SHARED.get(mount["type"], ("", ""))
    if mount["type"] == "cgroup" or (mount["point"] == home and namespace not in made):
        return False
    return any(one["device"] == mount["device"] for one in host)


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


def _listed(mounts: Sequence[Mount], tree: Tree, place: str, wanted: Json) -> Iterator[Found]:
    """A mount that the type itself has: there, of its kind, with its options, and nothing below it wider."""
    mount = tree.on_top(place)
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
