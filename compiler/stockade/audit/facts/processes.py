"""Every process and thread of the host: who it is, under which label it runs, and in which container."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host, fault_of, listing, whole
from stockade.audit.facts.parse import label

KERNEL_THREAD: Final = 0x00200000
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
    """The path in the unified hierarchy, else in that of the first controller; `/` of a host without either."""
    paths = {}
    for one in content.decode("utf-8", "backslashreplace").splitlines():
        number, _, rest = one.partition(":")
        controllers, colon, path = rest.partition(":")
        if not number.isdigit() or not colon:
            raise ValueError(f"not a control group: {one[:60]!r}")
        paths[controllers] = path
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
    another), group, container, program, and pid_namespace. What ended meanwhile is left out.
    """
    folder = host.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    if isinstance(folder, Fact):
        return folder, {}
    found: list[dict[str, Any]] = []
    containers: dict[str, list[int]] = {}
    init = ""
    try:
        for pid in sorted(int(name) for name in listing(folder) if name.isdigit()):
            try:
                one = _process(folder, pid, known)
            except (Gone, FileNotFoundError, ProcessLookupError):
                continue
            init = init or one["pid_namespace"]
            if not one["container"] and not one["kernel"] and one["pid_namespace"] != init:
                one["container"] = f"?{one['group']}"
            if one["container"]:
                containers.setdefault(one["container"], []).append(pid)
            found.append(one)
    except PermissionError as error:
        return Fact.unreadable("/proc", f"{error.filename or 'a process'}: {error.strerror}"), {}
    except OSError as error:
        return fault_of(error, "/proc"), {}
    except ValueError as error:
        return Fact.malformed("/proc", str(error)), {}
    finally:
        os.close(folder)
    if not found:
        return Fact.malformed("/proc", "no process in it"), {}
    return Fact.of(found, "/proc"), containers


def _process(folder: int, pid: int, known: Mapping[str, str]) -> dict[str, Any]:
    process = Process(folder, pid)
    try:
        said = statistics(process.read("stat"))
        # What has ended and waits for its parent holds nothing; a thread that is left may still run.
        if said["state"] in ("Z", "X") and len(process.threads()) < 2:
            raise Gone
        kernel = bool(said["flags"] & KERNEL_THREAD)
        own, others = "", []
        try:
            own = label(process.read("attr/current"))
        except OSError as error:
            if error.errno != 22:  # EINVAL: no security module has labels
                raise
        if not kernel and own:
            names = process.threads()
            if len(names) > 1:
                for thread in names:
                    if thread == str(pid):
                        continue
                    try:
                        other = label(process.read(f"task/{thread}/attr/current"))
                    except Gone:
                        continue
                    if other != own:
                        others.append(other)
        group = "/" if kernel else control_group(process.read("cgroup"))
        return {
            "pid": pid,
            "parent": said["parent"],
            "name": said["name"],
            "start": said["start"],
            "kernel": kernel,
            "label": own,
            "others": sorted(set(others)),
            "group": group,
            "container": "" if kernel else container_of(group, known),
            "program": "" if kernel else process.link("exe"),
            "pid_namespace": process.link("ns/pid"),
        }
    finally:
        process.close()
