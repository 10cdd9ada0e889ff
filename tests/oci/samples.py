"""Container types for the tests of this room: one by hand, and any that hypothesis can think of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from stockade.model.container import (
    ContainerType,
    Device,
    Level,
    Mount,
    Namespaces,
    Quota,
    Rlimit,
    Sockets,
    Tmpfs,
    UserNamespace,
)
from stockade.model.names import CAPABILITIES, CAPABILITY_SETS, CGROUP_FILES, RLIMITS, CgroupKind
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, SyscallPolicy

AT = Position("containers/web.yaml", 1, 1)
KINDS = ("mount", "pid", "network", "ipc", "uts", "cgroup")


def capability_sets(usable: set[str], ambient: set[str] | None = None) -> dict[str, frozenset[str]]:
    sets = {name: frozenset(usable) for name in ("bounding", "effective", "permitted")}
    return sets | {name: frozenset(ambient or ()) for name in ("inheritable", "ambient")}


def container(**changes: Any) -> ContainerType:
    """A web server's type, with a value in every member."""
    web = ContainerType(
        why="Serves pages.",
        at=AT,
        name="web",
        extends=None,
        widens={},
        domain="web_t",
        files="web_data_t",
        level=Level.PAIR,
        capabilities=capability_sets({"NET_BIND_SERVICE", "CHOWN", "SETUID"}, {"NET_BIND_SERVICE"}),
        syscalls=SyscallPolicy((), ALLOWED, ALLOWED),
        architectures=("x86_64",),
        sockets=Sockets(frozenset(["unix", "inet"]), "Serves pages.", AT),
        namespaces=Namespaces(frozenset(KINDS), frozenset(), UserNamespace.OPTIONAL),
        cgroup={
            "memory.max": 512 << 20,
            "memory.swap.max": 1 << 20,
            "memory.high": 400 << 20,
            "memory.low": 16 << 20,
            "memory.oom.group": 1,
            "pids.max": 64,
            "cpu.max": Quota(50_000),
            "cpu.weight": 50,
            "cpuset.cpus": "0",
            "hugetlb.2MB.max": 0,
        },
        read_only_root=True,
        tmpfs=(Tmpfs("/tmp", 8 << 20), Tmpfs("/run", None)),
        mounts=(Mount("/srv/web", "/srv", ("ro",), "Pages.", AT),),
        masked=("/proc/kcore", "/proc/keys", "/sys/firmware"),
        read_only=("/proc/bus", "/proc/sys"),
        no_new_privileges=True,
        rlimits={"core": Rlimit(0, 0), "nofile": Rlimit(512, 1024), "nproc": Rlimit(None, None)},
        devices=(Device("/dev/null", "c", 1, 3, "rwm"), Device("/dev/fuse", "c", 10, 229, "rw")),
        all_devices=False,
        sysctls={"net.core.somaxconn": "1024"},
        places={},
    )
    return replace(web, **changes)


def subsets(names: Any) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(names)), max_size=8)


def _value(kind: CgroupKind, name: str) -> st.SearchStrategy[Any]:
    amounts = st.integers(0, 1 << 40)
    match kind:
        case CgroupKind.QUOTA:
            return st.none() | st.builds(Quota, st.integers(1000, 1 << 30), st.integers(1000, 1_000_000))
        case CgroupKind.WEIGHT:
            return st.integers(1, 10_000)
        case CgroupKind.SWITCH:
            return st.integers(0, 1)
        case CgroupKind.LIST:
            return st.sampled_from(["0", "0-3", "1,3", "0-1,3"])
    return amounts if name == "cpu.max.burst" else amounts | st.none()


@st.composite
def cgroups(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(subsets(CGROUP_FILES))
    return {name: draw(_value(CGROUP_FILES[name], name)) for name in names}


@st.composite
def rlimits(draw: st.DrawFn) -> dict[str, Rlimit]:
    limits = {}
    for name in draw(subsets(RLIMITS)):
        values = draw(st.lists(st.integers(0, 1 << 62), min_size=2, max_size=2))
        soft, hard = sorted(values)
        limits[name] = draw(st.sampled_from([Rlimit(soft, hard), Rlimit(soft, None), Rlimit(None, None)]))
    return limits


@st.composite
def capabilities(draw: st.DrawFn) -> dict[str, frozenset[str]]:
    bounding = draw(subsets(CAPABILITIES))
    part = st.frozensets(st.sampled_from(sorted(bounding)), max_size=4) if bounding else st.just(frozenset())
    permitted, inheritable = draw(part), draw(part)
    effective = frozenset(name for name in permitted if draw(st.booleans()))
    ambient = frozenset(name for name in permitted & inheritable if draw(st.booleans()))
    return dict(zip(CAPABILITY_SETS, (bounding, effective, permitted, inheritable, ambient), strict=True))


@st.composite
def devices(draw: st.DrawFn) -> tuple[Device, ...]:
    chosen = draw(st.frozensets(st.integers(0, 3), max_size=3))
    access = st.sampled_from(["r", "rw", "rwm", "w", "m"])
    numbers = [(10, 229), (10, 200), (8, 0), (8, None)]
    return tuple(Device(f"/dev/x{n}", "bc"[n < 2], *numbers[n], draw(access)) for n in sorted(chosen))


PATHS = ("/proc/kcore", "/proc/scsi", "/proc/sys", "/proc/sys/kernel", "/sys/firmware", "/sys/firmware/efi")


@st.composite
def types(draw: st.DrawFn) -> ContainerType:
    shared = draw(subsets(set(KINDS) - {"mount"}))
    own = frozenset(KINDS) - shared | draw(st.sampled_from([frozenset(), frozenset(["time"])]))
    settings = {}
    if "network" in own:
        settings = draw(st.dictionaries(st.just("net.core.somaxconn"), st.sampled_from(["1", "2"])))
    sizes = st.none() | st.integers(1, 1 << 40)
    options = ["ro", "noexec", "rbind", "rslave", "nosymfollow"]
    every = draw(st.booleans())
    return container(
        capabilities=draw(capabilities()),
        level=draw(st.sampled_from(Level)),
        namespaces=Namespaces(own, shared, draw(st.sampled_from(UserNamespace))),
        cgroup=draw(cgroups()),
        read_only_root=draw(st.booleans()),
        tmpfs=tuple(Tmpfs(path, draw(sizes)) for path in sorted(draw(subsets(["/tmp", "/run", "/var/tmp"])))),
        mounts=tuple(
            Mount("/srv" + path, path, tuple(sorted(draw(subsets(options)))), "", AT)
            for path in sorted(draw(subsets(["/data", "/data/more", "/etc/web"])))
        ),
        masked=tuple(sorted(draw(subsets(PATHS)))),
        read_only=tuple(sorted(draw(subsets(PATHS)))),
        no_new_privileges=draw(st.booleans()),
        rlimits=draw(rlimits()),
        devices=() if every else draw(devices()),
        all_devices=every,
        sysctls=settings,
    )
