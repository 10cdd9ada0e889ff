"""Labels by path: what our file_contexts gives to real paths, beside what the reference's gives."""

from __future__ import annotations

import re
from typing import Any

import pytest
from stockade.bundle.compile import Compiled

Line = tuple[str, str, str]
"""Pattern, kind (`--`, `-d` ... or empty for any), label or `<<none>>`."""

ROOT = "/x86_64-linux-gnu/sys-root"
"""The reference labels /usr in the root that an image is built in; its patterns begin with any such prefix."""

DIRECTORIES = (
    "/", "/boot", "/dev", "/etc", "/lib", "/local", "/media", "/media/cdrom", "/mnt", "/opt", "/proc", "/run", "/sys",
    "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/libexec", "/usr/lib/systemd", "/usr/share/licenses", "/var",
    "/var/lib/chrony", "/var/lib/netdog", "/var/lib/wicked", "/var/lib/selinux", "/var/lib/systemd", "/var/log/journal",
    "/var/lib/cni-plugins", "/var/lib/csi-helpers", "/var/lib/kernel-devel", "/var/lib/kernel-modules",
    "/local/host-containers", "/local/bootstrap-containers", "/var/lib/systemd/random-seed",
)  # fmt: skip
FILES = (
    "/usr/bin/mount", "/usr/bin/cfsignal", "/usr/bin/migrator", "/usr/bin/shibaken", "/usr/bin/apiserver",
    "/usr/bin/storewolf", "/usr/bin/thar-be-settings", "/usr/bin/early-boot-config", "/usr/bin/host-ctr",
    "/usr/bin/runc", "/usr/bin/docker", "/usr/bin/dockerd", "/usr/bin/docker-init", "/usr/bin/docker-proxy",
    "/usr/bin/containerd", "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/dbus-broker",
    "/usr/bin/dbus-broker-launch", "/usr/fips/bin/runc", "/usr/fips/bin/docker", "/usr/fips/bin/dockerd",
    "/usr/fips/bin/host-ctr", "/usr/fips/bin/containerd", "/usr/fips/bin/containerd-shim-runc-v2",
    "/usr/sbin/chronyd", "/usr/sbin/wicked", "/usr/sbin/wickedd", "/usr/sbin/wickedd-nanny",
    "/usr/libexec/wicked/bin/wickedd-dhcp4", "/usr/libexec/wicked/bin/wickedd-dhcp6",
    "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-networkd", "/usr/lib/systemd/systemd-networkd-wait-online",
    "/usr/lib/systemd/systemd-journald", "/usr/lib/systemd/systemd-resolved", "/usr/bin/bash", "/usr/bin/umount",
    "/usr/bin/mountpoint", "/usr/bin/apiclient", "/usr/bin/netdog", "/usr/lib/libc.so.6", "/usr/share/zoneinfo/UTC",
    "/usr/sbin/chronyc", "/usr/bin/kubelet", "/usr/libexec/cni/loopback", "/lib/modules/6.1/modules.dep",
    "/boot/vmlinuz",
    "/etc/resolv.conf", "/etc/passwd", "/dev/null", "/dev/sda", "/proc/1/status", "/sys/kernel/mm", "/run/lock/a",
    "/tmp/a", "/mnt/a", "/opt/cni/bin/bridge", "/media/a", "/media/cdrom/user-data", "/var/lib/kubelet/config",
    "/var/log/pods/a", "/var/lib/chrony/drift", "/var/lib/netdog/lease", "/var/lib/wicked/lease-eth0.xml",
    "/var/lib/selinux/fortified/active/commit_num", "/var/lib/systemd/timers/stamp",
    "/var/log/journal/a/system.journal",
    "/var/lib/cni-plugins/bridge", "/var/lib/csi-helpers/mount-s3", "/var/lib/kernel-devel/.overlay/lower",
    "/var/lib/kernel-modules/.overlay/upper", "/local/host-containers/admin/user-data", "/local/var/a",
    "/local/bootstrap-containers/setup/user-data", "/var/lib/systemd-other/a", "/var/lib/containerd/other",
    "/var/lib/containerd/io.containerd.runtime.v2.task/a", "/usr/lib/systemd/systemd-networkd.service",
)  # fmt: skip
RESPECTED = {
    "/run/api.sock": ("-s", "api_socket_t", "labelled by a transition there; here a relabelling keeps it too"),
    "/var/lib/containerd/io.containerd.content.v1.content": ("-d", "cache_t", "by a transition there"),
    "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/a": ("--", "cache_t", "by a transition there"),
    "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db": ("--", "cache_t", "by a transition there"),
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots": ("-d", "cache_t", "by a transition there"),
    "/var/lib/docker/overlay2/a/diff": ("-d", "cache_t", "by a transition there"),
    "/var/log/kdump/vmcore": ("--", "secret_t", "by tmpfiles.d there"),
    "/var/log/support/bundle.tar.gz": ("--", "secret_t", "by tmpfiles.d there"),
    "/usr/bin/crun": ("--", "runtime_exec_t", "a runtime that the reference does not ship"),
    "/usr/sbin/runc": ("--", "runtime_exec_t", "where Debian has it; the reference has it in /usr/bin"),
}
"""Where ours says more than the reference: path -> kind, our label, why."""


@pytest.fixture(scope="module")
def mine(compiled: Compiled) -> list[Line]:
    (text,) = (a.content.decode() for a in compiled.artefacts if a.path == "host/file_contexts")
    found = []
    for line in text.splitlines():
        if line.strip():
            pattern, *kind, context = line.split()
            found.append((pattern, kind[0] if kind else "", _label(context)))
    return found


@pytest.fixture(scope="module")
def theirs(decided: dict[str, Any]) -> list[Line]:
    return [(row[0], row[1] if len(row) == 3 else "", _label(row[-1])) for row in decided["file_contexts"]]


def _label(context: str) -> str:
    return context if context == "<<none>>" else context.split(":")[2]


def match(lines: list[Line], path: str, kind: str) -> str | None:
    """The label of a path, as libselinux looks it up: the last line whose pattern is all of the path."""
    for pattern, of, label in reversed(lines):
        if of in ("", kind) and re.fullmatch(pattern, path):
            return label
    return None


def _theirs(lines: list[Line], path: str, kind: str) -> str | None:
    """What no mutable folder claims is in the image, under the root that it was built in."""
    image = path.split("/")[1] in ("", "usr", "lib", "boot")
    return match(lines, ROOT + path if image else path, kind)


@pytest.mark.parametrize("path", DIRECTORIES)
def test_directories(mine: list[Line], theirs: list[Line], path: str) -> None:
    assert match(mine, path, "-d") == _theirs(theirs, path, "-d") is not None


@pytest.mark.parametrize("path", FILES)
def test_files(mine: list[Line], theirs: list[Line], path: str) -> None:
    assert match(mine, path, "--") == _theirs(theirs, path, "--") is not None


@pytest.mark.parametrize("path", RESPECTED)
def test_where_ours_says_more(mine: list[Line], theirs: list[Line], path: str) -> None:
    kind, label, why = RESPECTED[path]
    assert why
    assert match(mine, path, kind) == label
    assert _theirs(theirs, path, kind) in ("<<none>>", "os_t")


def test_every_line_of_the_reference_was_asked_about(theirs: list[Line]) -> None:
    """Each decides at least one of the paths above."""
    paths = [*((path, "-d") for path in DIRECTORIES), *((path, "--") for path in FILES)]
    unused = set(theirs)
    for path, kind in paths:
        image = path.split("/")[1] in ("", "usr", "lib", "boot")
        full = ROOT + path if image else path
        for line in reversed(theirs):
            if line[1] in ("", kind) and re.fullmatch(line[0], full):
                unused.discard(line)
                break
    assert unused == set()


def test_every_line_of_ours_was_asked_about(mine: list[Line]) -> None:
    paths = [*((path, "-d") for path in DIRECTORIES), *((path, "--") for path in FILES)]
    paths += [(path, RESPECTED[path][0]) for path in RESPECTED]
    unused = set(mine)
    for path, kind in paths:
        for line in reversed(mine):
            if line[1] in ("", kind) and re.fullmatch(line[0], path):
                unused.discard(line)
                break
    assert unused == set()


def test_runtimes_programs_are_regular_files_alone(mine: list[Line]) -> None:
    """A folder or link with a program's name must not lead into the program's domain."""
    for path in ("/usr/bin/runc", "/usr/bin/containerd", "/usr/lib/systemd/systemd"):
        assert match(mine, path, "-d") == match(mine, path, "-l") == "os_t"
    assert match(mine, "/usr/bin/runc/a", "--") == "os_t"
