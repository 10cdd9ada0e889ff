"""Every process and thread of the host: who it is, under which label it runs, and in which container."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host, fault_of, listing, whole
from stockade.audit.facts.parse import label

KERNEL_THREAD: Final = 0x00200000
ENDED: Final = ("Z", "X")
"""States of a thread that runs no more: a zombie, and one that is about to be none."""
_CONTAINER: Final = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_LIMIT: Final = 1 << 16


class Gone(Exception):
    """The process ended while it was read."""


class Process:
    """One folder of /proc, held open: a number that is given to another process meanwhile is not mixed up with it."""

    def __init__(self, folder: int, pid: int) -> None:
        self.pid = pid
        self.root = os.open(str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        self.device = os.fstat(folder).st_dev

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.root)

    def read(self, name: str, limit: int = _LIMIT) -> bytes:
        """A file's bytes. Gone where the process is no more; ValueError where the file is of another file system."""
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.root)
        except (FileNotFoundError, ProcessLookupError):
            raise Gone from None
        try:
            if os.fstat(file).st_dev != self.device:
                raise ValueError(f"{name} of process {self.pid} is not procfs's")
            content = whole(file, limit)
        except ProcessLookupError:
            raise Gone from None
        finally:
            os.close(file)
        if len(content) > limit:
            raise ValueError(f"{name} of process {self.pid} has more than {limit} bytes")
        return content

    def link(self, name: str) -> str:
        """What a link says; empty for a process that has none, as a thread of the kernel has no program."""
        try:
            return os.readlink(name, dir_fd=self.root)
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def voice(self, state: str = "") -> str:
        """Which folder speaks for the process: its own (nothing), or `task/12/`, a thread that lives where the first
        one has ended and tells no more. `state` is that of the first, where it was read. Gone where none lives."""
        if (state or statistics(self.read("stat"))["state"]) not in ENDED:
            return ""
        for thread in self.threads():
            try:
                if statistics(self.read(f"task/{thread}/stat"))["state"] not in ENDED:
                    return f"task/{thread}/"
            except Gone:
                continue
        raise Gone

    def threads(self) -> list[str]:
        """The numbers of its threads."""
        try:
            folder = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.root)
        except (FileNotFoundError, ProcessLookupError):
            raise Gone from None
        try:
            return listing(folder)
        finally:
            os.close(folder)


def statistics(content: bytes) -> dict[str, Any]:
    """name, state, parent, flags, start (clock ticks after the boot) of /proc/PID/stat. The name may hold anything."""
    before, open_, rest = content.partition(b"(")
    name, close, after = rest.rpartition(b")")
    words = after.split()
    if not open_ or not close or len(words) < 20 or not before.strip().isdigit():
        raise ValueError("not the statistics of a process")
    return {
        "name": name.decode("utf-8", "backslashreplace"),
        "state": words[0].decode("ascii", "backslashreplace"),
        "parent": int(words[1]),
        "flags": int(words[6]),
        "start": int(words[19]),
    }


def control_group(content: bytes) -> str:
    """The path in the unified hierarchy, else in that of the first controller; empty on a host without either."""
    paths = {}
    for one in content.decode("utf-8", "backslashreplace").splitlines():
        number, _, rest = one.partition(":")
        controllers, colon, path = rest.partition(":")
        if not number.isdigit() or not colon or "\0" in path:
            raise ValueError(f"not a control group: {one[:60]!r}")
        paths[controllers] = path
    if not paths:
        return ""
    return paths.get("", "/") if len(paths) < 2 or paths.get("", "/") != "/" else next(iter(paths.values()))


def container_of(group: str, known: Mapping[str, str]) -> str:
    """The id of the container that a control group belongs to, or nothing. `known` has the paths that specs name."""
    path = group
    while path not in ("", "/"):
        if path in known:
            return known[path]
        path = path.rpartition("/")[0]
    found = _CONTAINER.findall(group)
    return found[-1] if found else ""


def collect(host: Host, known: Mapping[str, str]) -> tuple[Fact, dict[str, list[int]]]:
    """The fact `processes`, and the numbers of the processes of each container.

    A process has pid, parent, name, kernel (is it a thread of the kernel?), label, others (labels of threads that have
    another), group, container, program, and pid_namespace. What ended meanwhile is left out. One that cannot be read
    has pid, outcome and why, with what was read of it; where not even its control group was, it counts as a container
    of its own, for it may be in any. Without PID 1 nothing is known, since its namespaces are the host's.
    """
    folder = host.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    if isinstance(folder, Fact):
        return folder, {}
    found: list[dict[str, Any]] = []
    containers: dict[str, list[int]] = {}
    init, grouped = "", False
    try:
        for pid in sorted(int(name) for name in listing(folder) if name.isdigit()):
            one: dict[str, Any] = {"pid": pid}
            try:
                _process(folder, pid, known, one)
                grouped = grouped or bool(one["group"])
                if grouped and not one["group"] and not one["kernel"]:
                    raise ValueError("no control group, and others have one")
                one["group"] = one["group"] or "/"
            except (Gone, FileNotFoundError, ProcessLookupError):
                continue
            except (OSError, ValueError) as error:
                said = unread(error, pid)
                if pid == 1 and "pid_namespace" not in one:
                    return said, {}
                one = said.member(**one)
                if not one.get("container", "") and not one.get("kernel"):
                    one["container"] = f"?process {pid}"
            else:
                init = init or one["pid_namespace"]
                if not one["container"] and not one["kernel"] and one["pid_namespace"] != init:
                    one["container"] = f"?{one['group']}"
            if one.get("container"):
                containers.setdefault(one["container"], []).append(pid)
            found.append(one)
    except OSError as error:
        return fault_of(error, "/proc"), {}
    finally:
        os.close(folder)
    if not found:
        return Fact.malformed("/proc", "no process in it"), {}
    return Fact.of(found, "/proc"), containers


def unread(error: OSError | ValueError, pid: int) -> Fact:
    """The fact that a process is which cannot be read, with the file of it where that is known."""
    if not isinstance(error, OSError):
        return Fact.malformed(f"/proc/{pid}", str(error) or "of an unknown form")
    file = error.filename if isinstance(error.filename, str) and error.filename != str(pid) else ""
    said = fault_of(error, f"/proc/{pid}{f'/{file}' if file else ''}")
    return said if said.outcome != "absent" else Fact.malformed(said.path, error.strerror or str(error))


def _process(folder: int, pid: int, known: Mapping[str, str], one: dict[str, Any]) -> None:
    """Fills `one`, so that what was read stays where the rest cannot be."""
    process = Process(folder, pid)
    try:
        said = statistics(process.read("stat"))
        kernel = bool(said["flags"] & KERNEL_THREAD)
        one |= {"parent": said["parent"], "name": said["name"], "start": said["start"], "kernel": kernel}
        # What has ended and waits for its parent holds nothing; a thread that is left may still run.
        voice = process.voice(said["state"])
        one["group"] = "" if kernel else control_group(process.read(f"{voice}cgroup"))
        one["container"] = "" if kernel else container_of(one["group"], known)
        try:
            one["label"] = label(process.read(f"{voice}attr/current"))
        except OSError as error:
            if error.errno != errno.EINVAL:  # no security module has labels
                raise
            one["label"] = ""
        one["others"] = [] if kernel or not one["label"] else _others(process, one["label"])
        one["pid_namespace"] = process.link(f"{voice}ns/pid")
        one["program"] = "" if kernel else process.link(f"{voice}exe")
    finally:
        process.close()


def _others(process: Process, own: str) -> list[str]:
    """The labels of threads that have another than `own`."""
    names = process.threads()
    if len(names) < 2:
        return []
    found = set()
    for thread in names:
        try:
            found.add(label(process.read(f"task/{thread}/attr/current")))
        except Gone:
            continue
    return sorted(found - {own})
