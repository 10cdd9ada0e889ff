"""Runs in the guest: collects facts of a sound host, then sabotages it in one way at a time, and collects again."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from running import RUN, SLEEP, asleep, container, labels, until
from stockade.audit.facts.collect import collect
from stockade.audit.facts.host import Host

LIBC = ctypes.CDLL(None, use_errno=True)
BIND, REMOUNT, RDONLY, NOSUID, NODEV, NOEXEC = 4096, 32, 1, 2, 4, 8
NEWPID, DETACH = 0x20000000, 2

Sabotage = Callable[[], contextlib.AbstractContextManager[Any]]
SABOTAGES: dict[str, Sabotage] = {}


def sabotage(name: str) -> Callable[[Callable[[], Iterator[None]]], None]:
    def add(function: Callable[[], Iterator[None]]) -> None:
        SABOTAGES[name] = contextlib.contextmanager(function)

    return add


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"{source} at {target}")


@contextlib.contextmanager
def mounted(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> Iterator[None]:
    mount(source, target, kind, flags, options)
    try:
        yield
    finally:
        LIBC.umount2(target.encode(), DETACH)


def file(name: str, content: str) -> str:
    path = RUN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def over(name: str, target: str, content: str = "1\n") -> None:
    @sabotage(name)
    def _() -> Iterator[None]:
        with mounted(file(name, content), target, flags=BIND):
            yield


def setting(name: str, path: str, value: str) -> None:
    @sabotage(name)
    def _() -> Iterator[None]:
        before = Path(path).read_text()
        Path(path).write_text(value)
        try:
            yield
        finally:
            Path(path).write_text(before)


over("file over /proc/cmdline", "/proc/cmdline", "quiet\n")
over("file over a setting", "/proc/sys/kernel/randomize_va_space", "2\n")
over("file over enforce", "/sys/fs/selinux/enforce")
over("file over mountinfo", "/proc/1/mountinfo", "1 0 0:1 / / ro - ext4 x ro\n")
over("one program bound over", "/usr/bin/ctr", "not ctr\n")
over("file over /etc/hosts", "/etc/hosts", "127.0.0.1 x\n")


@sabotage("tmpfs over selinuxfs")
def _() -> Iterator[None]:
    with mounted("none", "/sys/fs/selinux", "tmpfs"):
        for name in ("enforce", "mls", "deny_unknown"):
            Path(f"/sys/fs/selinux/{name}").write_text("1")
        yield


@sabotage("tmpfs over a folder of programs")
def _() -> Iterator[None]:
    with mounted("none", "/usr/libexec", "tmpfs"):
        yield


@sabotage("one file of the kernel over another")
def _() -> Iterator[None]:
    with mounted("/proc/version", "/proc/cmdline", flags=BIND):
        yield


@sabotage("tmpfs over sysctl")
def _() -> Iterator[None]:
    with mounted("none", "/proc/sys", "tmpfs"):
        yield


@sabotage("overlay of programs with another folder")
def _() -> Iterator[None]:
    file("lower/x", "")
    with mounted("overlay", "/usr/bin", "overlay", RDONLY, f"lowerdir={RUN}/lower:/usr/bin"):
        yield


@sabotage("overlay of programs that can be written")
def _() -> Iterator[None]:
    for name in ("upper", "work"):
        (RUN / name).mkdir(parents=True, exist_ok=True)
    with mounted("overlay", "/usr/sbin", "overlay", 0, f"lowerdir=/usr/sbin,upperdir={RUN}/upper,workdir={RUN}/work"):
        yield


@sabotage("/etc may hold programs")
def _() -> Iterator[None]:
    mount("none", "/etc", flags=BIND | REMOUNT | NOSUID | NODEV)
    try:
        yield
    finally:
        mount("none", "/etc", flags=BIND | REMOUNT | NOSUID | NODEV | NOEXEC)


@sabotage("/tmp may hold setuid files")
def _() -> Iterator[None]:
    mount("none", "/tmp", flags=BIND | REMOUNT | NODEV)
    try:
        yield
    finally:
        mount("none", "/tmp", flags=BIND | REMOUNT | NOSUID | NODEV | NOEXEC)


def device_mapper(number: int, device: int, target: bytes = b"") -> None:
    head = struct.pack("<3IIIIiIIIQ128s129s7x", 4, 0, 0, 4096, 312, bool(target), 0, 1, 0, 0, device, b"", b"")
    buffer = bytearray((head + target).ljust(4096, b"\0"))
    control = os.open("/dev/mapper/control", os.O_RDWR)
    try:
        fcntl.ioctl(control, 0xC138FD00 | number, buffer)
    finally:
        os.close(control)


@sabotage("another table waits")
def _() -> Iterator[None]:
    device = Path("/").stat().st_dev
    spec = struct.pack("<QQiI16s", 0, 8, 0, 48, b"error") + b"\0" * 8
    device_mapper(9, device, spec)
    try:
        yield
    finally:
        device_mapper(10, device)


@sabotage("tmpfs over the kernel's security files")
def _() -> Iterator[None]:
    with mounted("none", "/sys/kernel/security", "tmpfs"):
        (Path("/sys/kernel/security") / "lsm").write_text("selinux")
        yield


@sabotage("a second proc over the first")
def _() -> Iterator[None]:
    with mounted("proc", "/proc", "proc"):
        yield


@sabotage("a tmpfs over containerd's configuration")
def _() -> Iterator[None]:
    text = Path("/etc/containerd/config.toml").read_text()
    with mounted("none", "/etc/containerd", "tmpfs"):
        Path("/etc/containerd/config.toml").write_text(text)
        yield


@sabotage("a tmpfs beside the image's folders")
def _() -> Iterator[None]:
    with mounted("none", "/usr/lib", "tmpfs", NOSUID):
        yield


setting("addresses of programs not random", "/proc/sys/kernel/randomize_va_space", "1")
setting("addresses of the kernel shown", "/proc/sys/kernel/kptr_restrict", "0")
setting("setuid programs dump", "/proc/sys/fs/suid_dumpable", "2")
setting("dumps go to a program", "/proc/sys/kernel/core_pattern", "|/tmp/x")
setting("modules by another program", "/proc/sys/kernel/modprobe", "/tmp/x")
setting("a program for events of devices", "/sys/kernel/uevent_helper", "/tmp/x")
setting("links followed anywhere", "/proc/sys/fs/protected_symlinks", "0")
setting("hard links to anything", "/proc/sys/fs/protected_hardlinks", "0")
setting("user namespaces", "/proc/sys/user/max_user_namespaces", "100")
setting("no syn cookies", "/proc/sys/net/ipv4/tcp_syncookies", "0")
setting("pings to all answered", "/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", "0")
setting("bogus errors logged", "/proc/sys/net/ipv4/icmp_ignore_bogus_error_responses", "0")
setting("one interface takes redirects", "/proc/sys/net/ipv4/conf/lo/accept_redirects", "1")
setting("one interface takes source routes", "/proc/sys/net/ipv4/conf/lo/accept_source_route", "1")
setting("one interface sends redirects", "/proc/sys/net/ipv4/conf/lo/send_redirects", "1")
setting("one interface takes secure redirects", "/proc/sys/net/ipv4/conf/lo/secure_redirects", "1")
setting("martians of one interface unseen", "/proc/sys/net/ipv4/conf/lo/log_martians", "0")


def labelled(name: str, label: str) -> None:
    @sabotage(name)
    def _() -> Iterator[None]:
        pid = os.fork()
        if not pid:
            try:
                Path("/proc/self/attr/exec").write_text(label)
                os.execv(SLEEP[0], SLEEP)
            finally:
                os._exit(1)
        until(lambda: asleep(Path(f"/proc/{pid}")))
        try:
            yield
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


labelled("a program as kernel_t", "system_u:system_r:kernel_t:s0")
labelled("a program as super_t", "system_u:system_r:super_t:s0")


@sabotage("a container that containerd does not know")
def _() -> Iterator[None]:
    pid = os.fork()
    if not pid:
        LIBC.unshare(NEWPID)
        child = subprocess.Popen(SLEEP)
        child.wait()
        os._exit(0)
    until(lambda: any(map(asleep, Path("/proc").glob("[0-9]*"))))
    try:
        yield
    finally:
        for path in Path("/proc").iterdir():
            with contextlib.suppress(ProcessLookupError):
                if path.name.isdigit() and asleep(path):
                    os.kill(int(path.name), 9)
        os.waitpid(pid, 0)


def contained(name: str, by: str, ready: Callable[[Path], bool] = lambda process: True, known: bool = True) -> None:
    @sabotage(name)
    def _() -> Iterator[None]:
        with container(by, ready, known):
            yield


contained("a container with a capability more", "wider")
contained("a container without a filter", "open")
contained("a container with a disk", "disk")
contained("a thread of a container with another label", "thread", lambda process: len(labels(process)) == 2)
contained("a container that was started past containerd", "past", known=False)


@sabotage("containerd has a task that does not live")
def _() -> Iterator[None]:
    folder = Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io/dead")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"linux": {"cgroupsPath": "/dead"}}))
    try:
        yield
    finally:
        (folder / "config.json").unlink()
        folder.rmdir()


@sabotage("containerd reads another file")
def _() -> Iterator[None]:
    path = Path("/etc/containerd/config.toml")
    before = path.read_text()
    path.write_text('imports = ["/tmp/x.toml"]\n' + before)
    try:
        yield
    finally:
        path.write_text(before)


@sabotage("containerd starts runc itself")
def _() -> Iterator[None]:
    path = Path("/etc/containerd/config.toml")
    before = path.read_text()
    path.write_text(before.replace("stockade-ordinary", "runc"))
    try:
        yield
    finally:
        path.write_text(before)


@sabotage("SELinux off after the next boot")
def _() -> Iterator[None]:
    path = Path("/etc/selinux/config")
    before = path.read_text()
    path.write_text(before.replace("enforcing", "permissive"))
    try:
        yield
    finally:
        path.write_text(before)


@sabotage("one more rule after the next boot")
def _() -> Iterator[None]:
    path = Path("/etc/selinux/fortified/policy/policy.31")
    before = path.read_bytes()
    path.write_bytes(Path("/run/policies/one more rule").read_bytes())
    try:
        yield
    finally:
        path.write_bytes(before)


def loaded(name: str) -> None:
    @sabotage(name)
    def _() -> Iterator[None]:
        before = Path("/sys/fs/selinux/policy").read_bytes()
        load(Path(f"/run/policies/{name}").read_bytes())
        try:
            yield
        finally:
            load(before)


def load(policy: bytes) -> None:
    descriptor = os.open("/sys/fs/selinux/load", os.O_WRONLY)
    try:
        os.write(descriptor, policy)
    finally:
        os.close(descriptor)


for _name in ("one more rule", "a permissive type", "a boolean"):
    loaded(_name)


INTERFACE = dict.fromkeys("accept_redirects accept_source_route secure_redirects send_redirects".split(), 0)
INTERFACE["log_martians"] = 1


def sound() -> None:
    """Settings that the guest's own start leaves as the kernel has them."""
    values = json.loads(Path("/run/sound.json").read_text())
    for name, value in values.items():
        with contextlib.suppress(OSError):
            Path("/proc/sys", *name.split("/")).write_text(str(value))
    Path("/sys/kernel/uevent_helper").write_text("\n")
    for folder in Path("/proc/sys/net").glob("ipv*/conf/*"):
        for name, value in INTERFACE.items():
            with contextlib.suppress(OSError):
                (folder / name).write_text(str(value))

    for folder in ("/var", "/local", "/opt", "/mnt", "/run", "/tmp"):
        with contextlib.suppress(OSError):
            mount("none", folder, flags=BIND | REMOUNT | NOSUID | NODEV)
    mount("none", "/etc", flags=BIND | REMOUNT | NOSUID | NODEV | NOEXEC)
    LIBC.umount2(b"/usr/lib/modules", DETACH)


def facts(walk: bool) -> str:
    with Host("/") as host:
        return collect(host, json.loads(Path("/run/asked.json").read_text()), walk=walk, ptrace=not walk).to_json()


def main() -> None:
    sound()
    if "walk" in sys.argv:
        print(json.dumps({"name": "", "facts": facts(walk=True)}), flush=True)
        return
    with container("sound", lambda process: True):
        print(json.dumps({"name": "", "facts": facts(walk=False)}), flush=True)
        for name, act in SABOTAGES.items():
            try:
                with act():
                    said = {"name": name, "facts": facts(walk=False)}
            except OSError as error:
                said = {"name": name, "fault": str(error)}
            print(json.dumps(said), flush=True)
        print(json.dumps({"name": "after", "facts": facts(walk=False)}), flush=True)


main()
