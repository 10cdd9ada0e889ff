"""Hostile input: every file of a host emptied, cut, noise, huge or forbidden; and documents that are no facts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stockade.audit.facts import calls
from stockade.audit.facts.collect import collect
from stockade.audit.facts.fact import Fact, Facts, FactsError, Outcome, from_json
from stockade.audit.facts.host import Host, kind_of
from stockade.audit.judge import judge
from stockade.audit.report.model import Status
from stockade.audit.rules.load import shipped

from .trees import file_system

MOUNTS = """1 0 253:0 / / ro,relatime - ext4 /dev/root ro,seclabel
20 1 0:21 / /proc rw,nosuid - proc proc rw
21 1 0:22 / /sys rw,nosuid - sysfs sysfs rw
24 21 0:19 / /sys/fs/selinux rw - selinuxfs selinuxfs rw
27 1 0:27 / /etc rw,nosuid,nodev,noexec - tmpfs tmpfs rw
"""
STATUS = "Name:\tinit\nUid:\t0\t0\t0\t0\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n" + "".join(
    f"Cap{name}:\t000001ffffffffff\n" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")
)
FILES = {
    "proc/1/mountinfo": MOUNTS,
    "proc/1/stat": "1 (systemd) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0\n",
    "proc/1/cgroup": "0::/init.scope\n",
    "proc/1/attr/current": "system_u:system_r:init_t:s0\0",
    "proc/self/status": STATUS,
    "proc/cmdline": "root=/dev/dm-0 selinux=1 enforcing=1\n",
    "proc/bootconfig": 'kernel.x = "1"\n',
    "proc/modules": "overlay 151552 0 - Live 0x0000000000000000\n",
    "proc/swaps": "Filename Type Size Used Priority\n",
    "proc/filesystems": "nodev\tproc\n\text4\n",
    "proc/sys/kernel/osrelease": "6.1.141\n",
    "proc/sys/kernel/tainted": "0\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "proc/sys/net/ipv4/conf/all/send_redirects": "0\n",
    "sys/kernel/security/lsm": "lockdown,capability,selinux",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/module/module/parameters/sig_enforce": "Y\n",
    "sys/fs/selinux/enforce": "1",
    "sys/fs/selinux/mls": "1",
    "sys/fs/selinux/deny_unknown": "1",
    "sys/fs/selinux/status": "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0",
    "sys/fs/selinux/booleans/net": "0 0",
    "sys/fs/selinux/policy": "\u008c",
    "sys/dev/block/253:0/size": "1884160\n",
    "sys/dev/block/253:0/ro": "1\n",
    "etc/os-release": "ID=bottlerocket\n",
    "etc/selinux/config": "SELINUX=enforcing\n",
    "etc/containerd/config.toml": "version = 2\n",
    "etc/kubernetes/kubelet/config": "kind: KubeletConfiguration\nreadOnlyPort: 0\n",
    "etc/chrony.conf": "pool time.example.org\n",
    "etc/systemd/journald.conf": "[Journal]\nStorage=persistent\n",
    "etc/modprobe.d/a.conf": "install udf /bin/true\n",
    "usr/share/bottlerocket/application-inventory.json": '{"Content": []}',
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/x/config.json": "{}",
}
RULES = shipped()
ASKED = {name for one in RULES for name in one.facts}
SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "binary": lambda content: bytes(range(256)) * 4,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay(tmp_path)


def lay(folder: Path) -> Path:
    """The sound tree, in a folder of that name: the seam believes its places by it."""
    host = folder / "host"
    for name, content in FILES.items():
        path = host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
    for kind, inode in {"mnt": 1, "pid": 4026531836, "user": 4026531837, "cgroup": 4}.items():
        for who in ("1", "self"):
            (host / "proc" / who / "ns").mkdir(exist_ok=True)
            (host / "proc" / who / "ns" / kind).symlink_to(f"{kind}:[{inode}]")
    return host


def read(root: Path) -> Facts:
    with Host(str(root), "live", file_system) as host:
        return collect(host, ASKED, walk=False)


def passes(facts: Facts) -> set[str]:
    return {one.rule for one in judge(facts, RULES).results if one.status is Status.PASS}


def test_a_sound_tree_is_read(root: Path) -> None:
    facts = read(root)
    assert facts.get("selinux.enforce") == Fact.of(1, "/sys/fs/selinux/enforce")
    assert facts.get("kernel.lockdown").value == "integrity"
    assert {"kernel-lockdown", "selinux-active", "root-read-only", "kernel-aslr"} <= passes(facts)


@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_file_makes_nothing_pass(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = read(root)
    before = passes(sound)
    path = root / name
    for how, spoil in SPOILT.items():
        path.write_bytes(spoil(FILES[name].encode("latin-1")))
        now = passes(read(root))
        # What only a list of things to find fault with says may shrink; nothing else gains by noise.
        assert now - before <= {"selinux-booleans-as-compiled", "kernel-command-line-clean"}, how
    os.truncate(path, 10 << 20)
    facts = read(root)
    assert passes(facts) <= before
    assert any(one.outcome is Outcome.MALFORMED for one in facts.facts.values()), name
    path.write_bytes(FILES[name].encode("latin-1"))
    forbid(monkeypatch, name)
    facts = read(root)
    assert passes(facts) <= before
    assert any(one.outcome is Outcome.UNREADABLE for one in facts.facts.values()), name


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Opening this one file is refused, as it is to somebody who is not root."""
    at, plain = calls.openat2, os.open
    last = name.rsplit("/", 1)[1]

    def openat2(folder: int, path: str, flags: int, resolve: int) -> int:
        if name == path or ("/" in path and name.endswith("/" + path)):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return at(folder, path, flags, resolve)

    def opened(path: str, flags: int, *rest: int, dir_fd: int | None = None) -> int:
        if dir_fd is not None and path in (last, name.split("/", 2)[-1]):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return plain(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(calls, "openat2", openat2)
    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize(
    ("name", "change", "outcome"),
    [
        ("selinux.enforce", b"", Outcome.MALFORMED),
        ("selinux.enforce", b"1 1", Outcome.MALFORMED),
        ("selinux.enforce", b"0x1", Outcome.MALFORMED),
        ("selinux.enforce", None, Outcome.ABSENT),
        ("kernel.lockdown", b"none integrity confidentiality", Outcome.MALFORMED),
        ("kernel.lockdown", b"[none] [integrity]", Outcome.MALFORMED),
        ("kernel.command_line", b'a="b', Outcome.MALFORMED),
        ("kernel.command_line", b"a=1\nb=2\n", Outcome.MALFORMED),
        ("mounts", b"1 0 253:0 / / ro", Outcome.MALFORMED),
        ("selinux.policy", b"not a policy", Outcome.MALFORMED),
    ],
)
def test_the_outcome_says_what_is_wrong(root: Path, name: str, change: bytes | None, outcome: Outcome) -> None:
    places = {
        "selinux.enforce": "sys/fs/selinux/enforce",
        "kernel.lockdown": "sys/kernel/security/lockdown",
        "kernel.command_line": "proc/cmdline",
        "mounts": "proc/1/mountinfo",
        "selinux.policy": "sys/fs/selinux/policy",
    }
    if change is None:
        (root / places[name]).unlink()
    else:
        (root / places[name]).write_bytes(change)
    fact = read(root).get(name)
    assert fact.outcome is outcome
    assert fact.why


def test_a_process_that_ended_and_waits_for_its_parent_is_none(root: Path) -> None:
    place = root / "proc/77"
    (place / "task/77").mkdir(parents=True)
    for state, there in (("Z", False), ("S", True)):
        (place / "stat").write_text(FILES["proc/1/stat"].replace("1 (systemd) S", f"77 (x) {state}"))
        (place / "cgroup").write_text("0::/a\n")
        (place / "attr").mkdir(exist_ok=True)
        (place / "attr/current").write_text("system_u:system_r:system_t:s0\0")
        found = [one["pid"] for one in read(root).get("processes").value or ()]
        assert (77 in found) is there
    # Its first thread has ended, another runs.
    (place / "stat").write_text(FILES["proc/1/stat"].replace("1 (systemd) S", "77 (x) Z"))
    (place / "task/78/attr").mkdir(parents=True)
    (place / "task/78/stat").write_text(FILES["proc/1/stat"].replace("1 (systemd) S", "78 (x) S"))
    (place / "task/78/cgroup").write_text("0::/a\n")
    (place / "task/78/attr/current").write_text("system_u:system_r:system_t:s0\0")
    assert 77 in [one["pid"] for one in read(root).get("processes").value or ()]


def test_another_file_system_is_never_believed(root: Path) -> None:
    with Host(str(root), "live", lambda descriptor: 0x01021994) as host:
        facts = collect(host, ASKED, walk=False)
    assert facts.get("ground.proc").outcome is Outcome.MALFORMED
    assert facts.get("selinux.enforce").outcome is Outcome.MALFORMED
    assert "tmpfs" in facts.get("selinux.enforce").why
    kernel = {"kernel-lockdown", "selinux-enforcing", "selinux-active", "root-read-only", "kernel-aslr"}
    assert not passes(facts) & kernel


def test_a_link_in_an_image_stays_in_it(root: Path) -> None:
    (root / "etc/os-release").unlink()
    (root / "etc/os-release").symlink_to("/etc/hostname")
    (root / "etc/machine-id").symlink_to("../../../../../../etc/hostname")
    with Host(str(root), "image") as host:
        assert host.read("/etc/os-release").outcome is Outcome.ABSENT
        assert host.read("/etc/machine-id").outcome is Outcome.ABSENT
        assert host.read("/proc/cmdline").outcome is Outcome.ABSENT


def test_a_pipe_in_the_place_of_a_file_holds_nobody(root: Path) -> None:
    (root / "etc/os-release").unlink()
    os.mkfifo(root / "etc/os-release")
    assert read(root).get("host.release").outcome is Outcome.MALFORMED


def test_nothing_laid_over_proc_makes_a_host_an_image(tmp_path: Path) -> None:
    assert kind_of("/") == "live"
    assert kind_of("/proc/1/root") == "live"
    assert kind_of("/usr/..") == "live"
    assert kind_of(str(tmp_path)) == "image"
    (tmp_path / "proc").mkdir()
    assert kind_of(str(tmp_path)) == "image"
    (tmp_path / "proc/version").touch()
    assert kind_of(str(tmp_path)) == "live"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b"\xff\xfe", b"null", b'{"schema":1}', b"[" * 100_000,
        b'{"schema":3,"kind":"live","collected":0,"facts":{}}',
        b'{"schema":1,"kind":"dead","collected":0,"facts":{}}',
        b'{"schema":1,"kind":"live","collected":0,"facts":{"a":1}}',
        b'{"schema":1,"kind":"live","collected":0,"facts":{"a":{"value":1,"why":""}}}',
        b'{"schema":1,"kind":"live","collected":0,"facts":{"a":{"outcome":"value","why":""}}}',
        b'{"schema":1,"kind":"live","collected":0,"facts":{"a":{"value":NaN}}}',
        b'{"schema":1,"kind":"live","collected":0,"facts":{"a":{"value":1},"a":{"value":2}}}',
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(FactsError):
        from_json(content)


def test_facts_survive_their_document(genuine: Facts) -> None:
    again = from_json(genuine.to_json())
    assert again == genuine
    assert again.to_json() == genuine.to_json()


def test_what_follows_is_not_believed_from_a_document(genuine: Facts) -> None:
    forged = {**genuine.facts, "policy.permissive": Fact.of([]), "root.over": Fact.of([])}
    bound = {**forged["mounts"].value[0], "point": "/usr/bin/runc", "type": "tmpfs"}
    forged["mounts"] = Fact.of([*forged["mounts"].value, bound])
    assert "root-nothing-over-image" not in passes(Facts("live", forged))
    assert "selinux-no-permissive-types" not in passes(Facts("live", forged))


GENUINE = from_json((Path(__file__).parents[2] / "policy/audit/genuine.json").read_bytes())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_value_of_a_fact_ends_in_a_traceback(data: st.DataObject) -> None:
    genuine = GENUINE
    names = data.draw(st.lists(st.sampled_from(sorted(genuine.facts)), min_size=1, max_size=4))
    facts = {**genuine.facts, **{name: Fact.of(data.draw(VALUES)) for name in names}}
    judge(Facts("live", facts), RULES)
