"""Whether a container type is at least as tight as another in everything that the runtime specification holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import inf

from stockade.model.container import CgroupValue, ContainerType, Device, Level, Mount, Quota, UserNamespace
from stockade.model.names import CAPABILITY_SETS, CGROUP_FILES, CgroupKind
from stockade.oci.build import TERMINAL_DEVICES, standard_devices
from stockade.oci.check import PROPAGATION_OPTIONS

_HARMLESS = frozenset(
    "bind rw exec suid dev symfollow atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime "
    "lazytime nolazytime iversion noiversion sync async dirsync silent loud defaults".split()
)
"""Options that give nothing which their absence would not give."""

_TIGHTENING = {
    "ro": {"ro", "rro"},
    "rro": {"rro"},
    "noexec": {"noexec", "rnoexec"},
    "rnoexec": {"rnoexec"},
    "nosymfollow": {"nosymfollow", "rnosymfollow"},
    "rnosymfollow": {"rnosymfollow"},
    "rnosuid": {"rnosuid"},
    "rnodev": {"rnodev"},
}
"""Options that take something away, each with the options that take away at least as much."""

_WITHOUT_A_SAY: Mapping[CgroupKind, float] = {
    CgroupKind.BYTES: inf,
    CgroupKind.FLOOR: 0,
    CgroupKind.COUNT: inf,
    CgroupKind.QUOTA: inf,
    CgroupKind.WEIGHT: 100,
    CgroupKind.SWITCH: 0,
}
"""What the kernel takes for a file that nobody wrote."""

_USER: Mapping[UserNamespace, frozenset[bool]] = {
    UserNamespace.REQUIRED: frozenset([True]),
    UserNamespace.OPTIONAL: frozenset([True, False]),
    UserNamespace.FORBIDDEN: frozenset([False]),
}

_LEVELS = (Level.PAIR, Level.NONE, Level.ALL)
"""From the tightest: categories of its own; none, as every other container without; and those of all containers."""


def narrower(child: ContainerType, parent: ContainerType) -> list[tuple[str, str]]:
    """Where `child` is wider than `parent`: (top-level key of the source, what is wider); empty where it is not.

    "Wider" is decided part by part, and what has no order (a kernel setting, an unknown mount option) is wider when it
    differs. A type is never wider than itself, and two steps without widening make one without widening.
    """
    return [
        *(("selinux", reason) for reason in _level(child.level, parent.level)),
        *(("capabilities", reason) for reason in _capabilities(child, parent)),
        *(("namespaces", reason) for reason in _namespaces(child, parent)),
        *(("cgroup", reason) for reason in _cgroup(child.cgroup, parent.cgroup)),
        *(("root", "the root filesystem is writable") for _ in range(parent.read_only_root > child.read_only_root)),
        *(("tmpfs", reason) for reason in _tmpfs(child, parent)),
        *(("mounts", reason) for reason in _mounts(child.mounts, parent.mounts)),
        *(("mask", f"{path} is no longer masked") for path in _uncovered(parent.masked, child.masked)),
        *(
            ("read-only", f"{path} is no longer read-only")
            for path in _uncovered(parent.read_only, child.read_only + child.masked)
        ),
        *(
            ("no-new-privileges", "set-user-ID programs may raise privileges")
            for _ in range(parent.no_new_privileges > child.no_new_privileges)
        ),
        *(("rlimits", reason) for reason in _rlimits(child, parent)),
        *(("devices", reason) for reason in _devices(child, parent)),
        *(("sysctls", reason) for reason in _sysctls(child.sysctls, parent.sysctls)),
    ]


def _level(child: Level, parent: Level) -> Iterator[str]:
    if _LEVELS.index(child) > _LEVELS.index(parent):
        yield f"its level separates it less: {child}, where the parent has {parent}"


def _capabilities(child: ContainerType, parent: ContainerType) -> Iterator[str]:
    for name in CAPABILITY_SETS:
        for capability in sorted(child.capabilities[name] - parent.capabilities[name]):
            yield f"{capability} is added to the {name} set"


def _namespaces(child: ContainerType, parent: ContainerType) -> Iterator[str]:
    for name in sorted(parent.namespaces.new - child.namespaces.new):
        yield f"the {name} namespace is shared with the host"
    for own in sorted(_USER[child.namespaces.user] - _USER[parent.namespaces.user]):
        yield f"it may run {'in a user namespace of its own' if own else 'without a user namespace of its own'}"


def _cgroup(child: Mapping[str, CgroupValue], parent: Mapping[str, CgroupValue]) -> Iterator[str]:
    for name in sorted(child.keys() | parent.keys()):
        kind = CGROUP_FILES[name]
        if kind is CgroupKind.LIST:
            if name in parent and (name not in child or not _numbers(child[name]) <= _numbers(parent[name])):
                yield f"{name} is {child.get(name, 'every one')}, not within {parent[name]}"
            continue
        ours, theirs = _amount(name, kind, child), _amount(name, kind, parent)
        # A switch that is on takes something away; every other amount gives more the larger it is.
        if ours < theirs if kind is CgroupKind.SWITCH else ours > theirs:
            yield f"{name} is {_shown(name, child)}, where the parent has {_shown(name, parent)}"


def _amount(name: str, kind: CgroupKind, files: Mapping[str, CgroupValue]) -> float | Fraction:
    if name not in files:
        return 0 if name == "cpu.max.burst" else _WITHOUT_A_SAY[kind]
    value = files[name]
    if isinstance(value, Quota):
        return Fraction(value.quota, value.period)
    assert not isinstance(value, str)
    return inf if value is None else value


def _shown(name: str, files: Mapping[str, CgroupValue]) -> str:
    if name not in files:
        return "not set"
    value = files[name]
    if isinstance(value, Quota):
        return f"{value.quota} of {value.period}"
    return "max" if value is None else str(value)


def _numbers(value: CgroupValue) -> set[int]:
    """The members of a list such as 0-3,7."""
    numbers: set[int] = set()
    for part in str(value).split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _tmpfs(child: ContainerType, parent: ContainerType) -> Iterator[str]:
    sizes = {tmpfs.path: inf if tmpfs.size is None else tmpfs.size for tmpfs in parent.tmpfs}
    for tmpfs in child.tmpfs:
        if tmpfs.path not in sizes:
            yield f"{tmpfs.path} is writable memory, which the parent does not have there"
        elif (inf if tmpfs.size is None else tmpfs.size) > sizes[tmpfs.path]:
            yield f"{tmpfs.path} may grow to {tmpfs.size or 'half the memory'}, beyond {sizes[tmpfs.path]} bytes"


def _mounts(child: Iterable[Mount], parent: Iterable[Mount]) -> Iterator[str]:
    known = {(mount.source, mount.destination): set(mount.options) for mount in parent}
    for mount in child:
        place = f"{mount.source} at {mount.destination}"
        theirs = known.get((mount.source, mount.destination))
        if theirs is None:
            yield f"{place} is mounted, which the parent does not have"
            continue
        ours = set(mount.options)
        for option, as_tight in _TIGHTENING.items():
            if option in theirs and not ours & as_tight:
                yield f"{place} is no longer {option}"
        if _spread(ours) > _spread(theirs):
            yield f"{place} passes on more mounts than the parent's"
        for option in sorted(ours - theirs - _HARMLESS - _TIGHTENING.keys() - PROPAGATION_OPTIONS.keys()):
            if option not in ("nosuid", "nodev"):
                yield f"{place} has the option {option}, which the parent's has not"


def _spread(options: set[str]) -> tuple[int, bool]:
    """How far mount events travel: the propagation, and whether it reaches the mounts beneath."""
    told = [(PROPAGATION_OPTIONS[option], option) for option in options & PROPAGATION_OPTIONS.keys()]
    # A private mount leaves those beneath it as the host has them, unless it is recursive, as it is by default.
    return max(((rank, option.startswith("r") == (rank > 0)) for rank, option in told), default=(0, False))


def _uncovered(paths: Iterable[str], covers: Iterable[str]) -> list[str]:
    """Those of `paths` that neither are in `covers` nor lie beneath one of it."""
    covering = set(covers)
    return sorted(path for path in paths if not covering & {path, *_parents(path)})


def _parents(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]) != "":
        yield path


def _rlimits(child: ContainerType, parent: ContainerType) -> Iterator[str]:
    for name, theirs in sorted(parent.rlimits.items()):
        ours = child.rlimits.get(name)
        if ours is None:
            yield f"{name} is no longer limited"
            continue
        for which, limit, bound in (("soft", ours.soft, theirs.soft), ("hard", ours.hard, theirs.hard)):
            if bound is not None and (limit is None or limit > bound):
                yield f"the {which} limit of {name} is {'unlimited' if limit is None else limit}, above {bound}"


def _devices(child: ContainerType, parent: ContainerType) -> Iterator[str]:
    if parent.all_devices:
        return
    if child.all_devices:
        yield "every device of the host may be opened"
        return
    held = (*standard_devices(), *TERMINAL_DEVICES, *parent.devices)
    for device in child.devices:
        given = {letter for other in held if _covers(other, device) for letter in other.access}
        if beyond := [letter for letter in "rwm" if letter in set(device.access) - given]:
            yield f"{device.path} is accessible for {''.join(beyond)}, which the parent does not have"


def _covers(wide: Device, narrow: Device) -> bool:
    return (
        wide.kind == narrow.kind
        and wide.major in (None, narrow.major)
        and (wide.minor in (None, narrow.minor) or wide.major is None)
    )


def _sysctls(child: Mapping[str, str], parent: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(child.keys() | parent.keys()):
        if child.get(name) != parent.get(name):
            ours, theirs = (files.get(name, "the kernel's default") for files in (child, parent))
            yield f"{name} is {ours}, where the parent has {theirs}"
