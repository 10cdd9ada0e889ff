"""Hosts that only look right, as a tree of the kernel's files: each row holds, and not by its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stockade.audit.facts.command_line import for_init, parameters
from stockade.audit.facts.fact import Outcome
from stockade.audit.facts.selinux import unpacked

from .test_inputs import FILES, MOUNTS, lay, passes, read
from .test_inputs import root as root

HASH, SALT = "a" * 64, "b" * 64
VERITY = (
    f'"dm-mod.create=root,,,ro,0 1884160 verity 1 A B 4096 4096 235520 1 sha256 {HASH} {SALT} 1 restart_on_corruption"'
)
SOUND = {
    "proc/cmdline": f"root=/dev/dm-0 selinux=1 enforcing=1 {VERITY} -- systemd.log_color=0\n",
    "proc/bootconfig": "",
    "proc/sys/kernel/core_pattern": "core\n",
    "proc/sys/kernel/modprobe": "/sbin/modprobe\n",
    "proc/sys/kernel/unprivileged_bpf_disabled": "1\n",
    "proc/sys/net/ipv4/conf/eth0/send_redirects": "0\n",
    "proc/stat": "cpu 1 2 3\nbtime 1000000000\n",
    "sys/kernel/uevent_helper": "\n",
    "sys/fs/selinux/status": "\1\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0",
}
UPPER = "/var/lib/kernel-modules/.overlay"


def status(enforcing: int, sequence: int = 0, loads: int = 1) -> str:
    return f"\1\0\0\0{chr(sequence)}\0\0\0{chr(enforcing)}\0\0\0{chr(loads)}\0\0\0\1\0\0\0"


def over(line: str) -> dict[str, str]:
    """One mount more, on top of the others."""
    return {"proc/1/mountinfo": f"{MOUNTS}{line}\n"}


def root_is(line: str) -> dict[str, str]:
    return {"proc/1/mountinfo": f"{line}\n{MOUNTS.split(chr(10), 1)[1]}"}


def started(line: str) -> dict[str, str]:
    return {"proc/cmdline": f"{line}\n"}


ROWS: dict[str, tuple[str, dict[str, str]]] = {
    "the file says enforcing, the kernel permissive": (
        "selinux-enforcing",
        {"sys/fs/selinux/enforce": "0", "sys/fs/selinux/status": status(0)},
    ),
    "enforce says 1 and the status page 0": ("selinux-enforcing", {"sys/fs/selinux/status": status(0)}),
    "the status page says 1 and enforce 0": ("selinux-enforcing", {"sys/fs/selinux/enforce": "0"}),
    "the status page is being written": ("selinux-enforcing", {"sys/fs/selinux/status": status(1, sequence=1)}),
    "a policy was loaded since": ("selinux-policy-loaded-once", {"sys/fs/selinux/status": status(1, loads=2)}),
    "a boolean is pending": ("selinux-booleans-as-compiled", {"sys/fs/selinux/booleans/net": "0 1"}),
    "a tmpfs over selinuxfs": ("selinux-enforcing", over("90 24 0:77 / /sys/fs/selinux rw - tmpfs x rw")),
    "a tmpfs over a folder of it": (
        "selinux-booleans-as-compiled",
        over("90 24 0:77 / /sys/fs/selinux/booleans rw - tmpfs x rw"),
    ),
    "a file over /proc/cmdline": ("selinux-boots-enforcing", over("90 20 253:0 /x /proc/cmdline rw - ext4 x rw")),
    "another file of the kernel's over it": (
        "selinux-boots-enforcing",
        over("90 20 0:21 /version /proc/cmdline rw - proc x rw"),
    ),
    "a tmpfs over settings": ("kernel-aslr", over("90 20 0:77 / /proc/sys rw - tmpfs x rw")),
    "a tmpfs over what the modules say": ("kernel-lockdown", over("90 21 0:77 / /sys/kernel/security rw - tmpfs x rw")),
    "the verity target after --": ("root-hash-on-command-line", started(f"root=/dev/dm-0 -- {VERITY}")),
    "verity in another's value": ("root-hash-on-command-line", started(f"""x='{VERITY.replace('"', "")}'""")),
    "a shell after --": ("kernel-command-line-clean", started("selinux=1 -- systemd.debug_shell=ttyS0")),
    "a second --": ("kernel-command-line-clean", started("selinux=1 -- a -- emergency")),
    "SELinux off by the last of two": ("selinux-boots-enforcing", started("selinux=1 enforcing=1 enforcing=0")),
    "SELinux off by the other hyphen": (
        "selinux-boots-enforcing",
        {"proc/bootconfig": 'kernel.enforcing = "0"\n', "proc/cmdline": "x\n"},
    ),
    "a read-only bind of what can be written": (
        "root-read-only",
        root_is("1 0 253:0 / / ro,relatime - ext4 /dev/root rw"),
    ),
    "a read-write bind of what cannot": ("root-read-only", root_is("1 0 253:0 / / rw,relatime - ext4 /dev/root ro")),
    "`ro` in the name of another option": (
        "root-read-only",
        root_is("1 0 253:0 / / ro - ext4 /dev/root rw,errors=remount-ro"),
    ),
    "an overlay for a root": ("root-file-system", root_is("1 0 0:9 / / ro - overlay x ro,lowerdir=/a,upperdir=/b")),
    "a tmpfs upon the root": ("root-nothing-over-image", over("90 1 0:77 / / ro - tmpfs x ro")),
    "one program bound over": ("root-nothing-over-image", over("90 1 0:77 /x /usr/bin/runc ro - tmpfs x ro")),
    "a place with a blank": ("root-nothing-over-image", over(r"90 1 0:77 / /usr/bin/a\040b ro - tmpfs x ro")),
    "fields that not every mount has": (
        "root-nothing-over-image",
        over("90 1 0:77 / /usr/bin rw shared:7 master:1 - tmpfs x rw"),
    ),
    "FIPS programs of somewhere else": (
        "root-nothing-over-image",
        over("90 1 0:77 / /usr/bin ro - overlay x ro,lowerdir=/var/x:/usr/bin"),
    ),
    "FIPS programs that can be written": (
        "root-nothing-over-image",
        over("90 1 0:77 / /usr/bin rw - overlay x rw,lowerdir=/usr/bin,upperdir=/var/x,workdir=/var/w"),
    ),
    "/etc of another file system": ("root-etc-tmpfs", over("90 1 253:9 / /etc rw,nosuid,nodev,noexec - ext4 x rw")),
    "dumps to a program beside the image": (
        "kernel-no-core-pipe",
        {"proc/sys/kernel/core_pattern": "|/usr/lib/systemd/../../../tmp/x %p\n"},
    ),
    "modules by another program": ("kernel-modprobe-of-image", {"proc/sys/kernel/modprobe": "/sbin/../tmp/modprobe\n"}),
    "a program for events": ("kernel-no-event-program", {"sys/kernel/uevent_helper": "/tmp/x\n"}),
    "a program for events, as of old": ("kernel-no-event-program", {"proc/sys/kernel/hotplug": "/tmp/x\n"}),
    "eBPF that can be turned on": ("kernel-no-unprivileged-bpf", {"proc/sys/kernel/unprivileged_bpf_disabled": "2\n"}),
    "one interface is another": ("network-no-redirects-sent", {"proc/sys/net/ipv4/conf/eth0/send_redirects": "1\n"}),
    "a number with more to it": ("kernel-aslr", {"proc/sys/kernel/randomize_va_space": "20\n"}),
    "an auditor with less": (
        "ground-auditor-sees-all",
        {"proc/self/status": FILES["proc/self/status"].replace("Eff:\t000001ffffffffff", "Eff:\t0000000000000000")},
    ),
}
GENUINE: dict[str, tuple[str, dict[str, str]]] = {
    "modules in an overlay that is written to": (
        "root-nothing-over-image",
        over(f"90 1 0:77 / /lib/modules rw - overlay x rw,lowerdir=/lib/modules,upperdir={UPPER}/upper,workdir=/w"),
    ),
    "FIPS programs in an overlay of the image": (
        "root-nothing-over-image",
        over("90 1 0:77 / /usr/bin ro - overlay x ro,lowerdir=/usr/fips/bin:/usr/bin"),
    ),
    "lockdown for confidentiality": (
        "kernel-lockdown",
        {"sys/kernel/security/lockdown": "none integrity [confidentiality]\n"},
    ),
    "lockdown at run time alone": ("kernel-lockdown", started("root=/dev/dm-0")),
    "a place for CNI in /etc": ("root-etc-nothing-over", over("90 27 253:9 /cni /etc/cni rw - xfs x rw")),
}


def laid(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))


@pytest.fixture
def sound(root: Path) -> Path:
    laid(root, SOUND)
    return root


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What holds of the tree as it is."""
    host = lay(tmp_path_factory.mktemp("sound"))
    laid(host, SOUND)
    return passes(read(host))


@pytest.mark.parametrize("name", ROWS)
def test_what_only_looks_right_does_not_pass(sound: Path, before: set[str], name: str) -> None:
    rule, files = ROWS[name]
    assert rule in before
    laid(sound, files)
    assert rule not in passes(read(sound))


@pytest.mark.parametrize("name", GENUINE)
def test_what_is_odd_and_right_passes(sound: Path, name: str) -> None:
    rule, files = GENUINE[name]
    laid(sound, files)
    assert rule in passes(read(sound))


def test_without_selinux_nothing_of_it_holds(sound: Path) -> None:
    (sound / "sys/fs/selinux").rename(sound / "elsewhere")
    (sound / "sys/kernel/security/lsm").write_text("lockdown,capability")
    assert not {one for one in passes(read(sound)) if one.startswith(("selinux-", "ground-selinux"))} - {
        # What asks the processes and the command line knows no mode.
        "selinux-boots-enforcing", "selinux-configured", "selinux-init-label", "selinux-process-labels",
        "selinux-super-processes", "selinux-thread-labels", "selinux-protects-what-is-granted",
    }  # fmt: skip


def test_a_firmware_that_is_not_asked_is_not_secure(sound: Path) -> None:
    assert read(sound).get("kernel.secure_boot").outcome is Outcome.ABSENT
    (sound / "sys/firmware/efi").mkdir(parents=True)
    assert read(sound).get("kernel.secure_boot").outcome is Outcome.UNREADABLE


def test_the_time_of_a_configuration_cannot_be_set_back(sound: Path) -> None:
    path = sound / "etc/containerd/config.toml"
    os.utime(path, (5, 5))
    ticks = read(sound).get("containerd.config").value["changed"]
    assert ticks == os.sysconf("SC_CLK_TCK") * (int(path.stat().st_ctime) - 1_000_000_001)
    laid(sound, {"proc/stat": "cpu 1 2 3\n"})
    assert read(sound).get("containerd.config").outcome is Outcome.MALFORMED


@pytest.mark.parametrize(
    ("line", "kernel", "init"),
    [
        ("a b=1", [["a", None], ["b", "1"]], []),
        ("a -- b=1 c", [["a", None]], [["b", "1"], ["c", None]]),
        ('a "-- b" -- "c=d e" -- f', [["a", None], ["-- b", None]], [["c", "d e"], ["f", None]]),
        ("a --=1 b", [["a", None], ["--", "1"], ["b", None]], []),
        ("a --", [["a", None]], []),
    ],
)
def test_the_line_is_the_kernels_up_to_two_hyphens(line: str, kernel: object, init: object) -> None:
    assert (parameters(line.encode()), for_init(line.encode())) == (kernel, init)


@pytest.mark.parametrize(
    ("config", "files", "outcome"),
    [
        (
            "SELINUXTYPE=fortified",
            {"31": b"\x8c\xff\x7c\xf9 31", "33": b"\x8c\xff\x7c\xf9 33", "34": b"x"},
            Outcome.VALUE,
        ),
        ("SELINUXTYPE=fortified", {"33": b"not a policy"}, Outcome.MALFORMED),
        ("SELINUXTYPE=fortified", {"34": b"\x8c\xff\x7c\xf9"}, Outcome.ABSENT),
        ("SELINUXTYPE=fortified", {}, Outcome.ABSENT),
        ("SELINUXTYPE=../fortified", {"33": b"\x8c\xff\x7c\xf9"}, Outcome.MALFORMED),
        ("SELINUX=enforcing", {"33": b"\x8c\xff\x7c\xf9"}, Outcome.ABSENT),
        ("no assignment", {"33": b"\x8c\xff\x7c\xf9"}, Outcome.MALFORMED),
    ],
)
def test_the_policy_of_the_next_start(sound: Path, config: str, files: dict[str, bytes], outcome: Outcome) -> None:
    laid(sound, {"etc/selinux/config": config, "sys/fs/selinux/policyvers": "33"})
    folder = sound / "etc/selinux/fortified/policy"
    folder.mkdir(parents=True)
    for version, content in files.items():
        (folder / f"policy.{version}").write_bytes(content)
    found = read(sound).get("selinux.file")
    assert found.outcome is outcome
    if outcome is Outcome.VALUE:
        assert unpacked(found.value) == files["33"] and found.path.endswith("/policy.33")
