"""A real host in the lab: what it can have of `fortified` holds, and its rule catches each sabotage."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import elftools
import pytest
from stockade.audit.expected import from_bundle
from stockade.audit.facts.fact import Facts, from_json
from stockade.audit.judge import judge
from stockade.audit.report.model import Result, Status
from stockade.audit.rules.load import chosen, shipped
from stockade.cli.audit import differences
from stockade.lab.host import By, File, Image, Task, build, extras, run
from stockade.lab.host.containers import container
from stockade.lab.tree import Tree

Verdicts = Callable[[str], dict[str, Result]]

DRIVER = Path(__file__).with_name("guest") / "driver.py"
SUPER = "system_u:system_r:super_t:s0-s0:c0.c1023"
TOML = b"""version = 3
[plugins."io.containerd.cri.v1.runtime"]
enable_selinux = true
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "stockade"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.stockade.options]
BinaryName = "/usr/bin/stockade-ordinary"
"""

LACKING = {
    # The audit itself brings an interpreter into the guest, and runs as super_t in no container.
    "image-no-shell": Status.FAIL,
    "image-no-scripts": Status.FAIL,
    "image-programs-hardened": Status.FAIL,
    "selinux-super-processes": Status.FAIL,
    # Debian's packages leave no inventory of Bottlerocket's form.
    "image-inventory": Status.ERROR,
    # There is no journald.
    "journal-persistent": Status.ERROR,
    # User-mode Linux has no lockdown, module signatures, kexec, processor weaknesses or /proc/config.gz.
    "kernel-lockdown": Status.ERROR,
    "kernel-signed-modules": Status.ERROR,
    "kernel-no-kexec": Status.ERROR,
    "kernel-vulnerabilities": Status.ERROR,
    # The lab's PID 1 starts the guest with enforcing=0 and a helper as kernel_t; its kernel has checkreqprot on.
    "selinux-boots-enforcing": Status.FAIL,
    "selinux-process-labels": Status.FAIL,
    "selinux-protects-what-is-granted": Status.FAIL,
}
"""What the guest cannot have, and why."""

CAUGHT = {
    "file over /proc/cmdline": "ground-nothing-over-kernel-files",
    "file over a setting": "ground-nothing-over-kernel-files",
    "file over enforce": "ground-nothing-over-kernel-files",
    "file over mountinfo": "ground-nothing-over-kernel-files",
    "one file of the kernel over another": "ground-nothing-over-kernel-files",
    "tmpfs over sysctl": "ground-nothing-over-kernel-files",
    "tmpfs over the kernel's security files": "ground-nothing-over-kernel-files",
    "a second proc over the first": "ground-nothing-over-kernel-files",
    "tmpfs over selinuxfs": "ground-selinuxfs",
    "one program bound over": "root-nothing-over-image",
    "tmpfs over a folder of programs": "root-nothing-over-image",
    "a tmpfs beside the image's folders": "root-nothing-over-image",
    "overlay of programs with another folder": "root-nothing-over-image",
    "overlay of programs that can be written": "root-nothing-over-image",
    "file over /etc/hosts": "root-etc-nothing-over",
    "a tmpfs over containerd's configuration": "root-etc-nothing-over",
    "/etc may hold programs": "root-etc-tmpfs",
    "/tmp may hold setuid files": "root-data-mounts",
    "another table waits": "root-verity-active",
    "addresses of programs not random": "kernel-aslr",
    "addresses of the kernel shown": "kernel-pointers-hidden",
    "setuid programs dump": "kernel-no-setuid-dumps",
    "dumps go to a program": "kernel-no-core-pipe",
    "modules by another program": "kernel-modprobe-of-image",
    "a program for events of devices": "kernel-no-event-program",
    "links followed anywhere": "kernel-symlinks-protected",
    "hard links to anything": "kernel-hardlinks-protected",
    "user namespaces": "kernel-no-user-namespaces",
    "no syn cookies": "network-syn-cookies",
    "pings to all answered": "network-broadcasts-ignored",
    "bogus errors logged": "network-bogus-errors-ignored",
    "one interface takes redirects": "network-no-redirects-taken",
    "one interface takes source routes": "network-no-source-routes",
    "one interface sends redirects": "network-no-redirects-sent",
    "one interface takes secure redirects": "network-no-secure-redirects",
    "martians of one interface unseen": "network-martians-logged",
    "a program as kernel_t": "selinux-process-labels",
    "a program as super_t": "selinux-super-processes",
    "a container that containerd does not know": "container-known",
    "a container with a capability more": "container-capabilities",
    "a container without a filter": "container-seccomp",
    "a container with a disk": "container-devices",
    "a thread of a container with another label": "container-label",
    "a container that was started past containerd": "container-known",
    "containerd has a task that does not live": "container-known",
    "containerd reads another file": "containerd-selinux",
    "containerd starts runc itself": "containerd-launchers",
    "SELinux off after the next boot": "selinux-configured",
    "one more rule after the next boot": "selinux-file-as-compiled",
    "one more rule": "selinux-policy-as-compiled",
    "a permissive type": "selinux-no-permissive-types",
    "a boolean": "selinux-booleans-as-compiled",
}
CONSEQUENCES = {
    "a container that containerd does not know": {
        "selinux-super-processes", "container-seccomp", "container-namespaces", "container-mounts", "container-limits"
    },
    "a thread of a container with another label": {"selinux-thread-labels"},
    "one more rule": {"selinux-policy-loaded-once"},
    "a permissive type": {"selinux-policy-as-compiled", "selinux-policy-loaded-once"},
    "a boolean": {"selinux-policy-as-compiled", "selinux-policy-loaded-once"},
}  # fmt: skip
"""Rules that fail besides, and rightly: what nobody started through a type is nothing that a type allows."""


def policies(bundle: Path, folder: Path) -> dict[str, bytes]:
    """The compiled policy with one thing added, each by the distribution's compiler."""
    sources = [bundle / "host/policy.cil", *sorted(bundle.glob("containers/*/selinux.cil"))]
    write = "(allow container_t private_t (file (write)))"
    added = {
        "one more rule": write,
        "a permissive type": "(typepermissive container_t)",
        "a boolean": f"(boolean surprise true) (booleanif (surprise) (true {write}))",
    }
    found = {}
    for name, line in added.items():
        (folder / "more.cil").write_text(line)
        command = ["secilc", "-N", "-c", "31", "-M", "true", "-o", str(folder / "policy"), "-f", "/dev/null"]
        subprocess.run([*command, *map(str, sources), str(folder / "more.cil")], check=True, capture_output=True)
        found[name] = (folder / "policy").read_bytes()
    return found


def containers(bundle: Path, folder: Path) -> list[File]:
    """OCI bundles of containers as their type says, but for one thing in each; one root serves them all."""
    program = folder / "hold"
    source = DRIVER.with_name("hold.c")
    subprocess.run(["cc", "-O2", "-static", "-pthread", "-o", str(program), str(source)], check=True)
    root = Tree()
    for place in ("proc", "sys", "dev", "run", "tmp"):
        root.folder(place)
    root.file("hold", program.read_bytes(), 0o755)
    names = ("sound", "wider", "open", "disk", "thread", "past")
    every = {
        name: container(bundle, "ordinary", ["/hold"], root, name=name, categories=f"c{n},c{n + 500}")
        for n, name in enumerate(names)
    }
    for held in every["wider"].spec["process"]["capabilities"].values():
        held.append("CAP_SYS_PTRACE")
    del every["open"].spec["linux"]["seccomp"]
    disk = {"allow": True, "type": "b", "major": 98, "minor": 0, "access": "rw"}
    every["disk"].spec["linux"]["resources"]["devices"].append(disk)
    every["thread"].spec["process"]["args"].append("system_u:system_r:container_t:s0:c9,c509")
    laid = every["sound"].files()
    for one in every.values():
        one.spec["root"]["path"] = f"{every['sound'].folder}/rootfs"
        laid += [file for file in one.files() if file.path.endswith("/config.json") and one.name != "sound"]
    return laid


@pytest.fixture(scope="module")
def image(bundle: Path) -> Image:
    package = extras.folder(Path(elftools.__file__).parent, "usr/lib/python3/dist-packages/elftools")
    return build(bundle, extras=[extras.python(), package])


def told(
    image: Image, bundle: Path, genuine: Facts, more: list[File], *words: str, enforcing: bool
) -> list[dict[str, Any]]:
    """What the driver says in one boot."""
    asked = sorted({name for one in shipped() for name in one.facts})
    sound = {n[7:].replace(".", "/"): fact.value for n, fact in genuine.facts.items() if n.startswith("sysctl:")}
    files = [
        File("/run/driver.py", DRIVER.read_bytes()),
        File("/run/running.py", DRIVER.with_name("running.py").read_bytes()),
        File("/run/asked.json", json.dumps(asked).encode()),
        File("/run/sound.json", json.dumps(sound).encode()),
        File("/etc/containerd/config.toml", TOML),
        File("/etc/selinux/config", b"SELINUX=enforcing\nSELINUXTYPE=fortified\n"),
        File("/etc/selinux/fortified/policy/policy.31", (bundle / "host/policy.31").read_bytes()),
        File("/etc/hosts", b"127.0.0.1 localhost\n"),
        *more,
    ]
    command = ("/usr/bin/python3", "/run/driver.py", *words)
    task = Task(command, by=By.RUNTIME, context=SUPER, name="audit", timeout=100)
    result = run(image, [task], files=files, enforcing=enforcing, timeout=120)["audit"]
    assert result.status == 0, (result.stdout[-400:], result.stderr.decode())
    assert not enforcing or result.denials == ()
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def verdicts(bundle: Path) -> Verdicts:
    """The verdicts of `fortified` on a document of facts."""
    expected, _ = from_bundle(bundle)
    rules = chosen(shipped(), "fortified")

    def found(document: str) -> dict[str, Result]:
        report = judge(from_json(document), rules, profile="fortified", expected=expected, compare=differences)
        return {one.rule: one for one in report.results}

    return found


def test_what_the_guest_can_have_holds(image: Image, bundle: Path, genuine: Facts, verdicts: Verdicts) -> None:
    (only,) = told(image, bundle, genuine, [], "walk", enforcing=True)
    found = verdicts(only["facts"])
    assert {name: one.status for name, one in found.items() if one.status in (Status.FAIL, Status.ERROR)} == LACKING
    assert sum(one.status is Status.PASS for one in found.values()) >= 65
    for name in ("root-verity-table", "root-hash-of-command-line", "selinux-enforcing", "selinux-policy-as-compiled"):
        assert found[name].status is Status.PASS, found[name].message


def test_every_sabotage_is_caught_by_its_rule(
    image: Image, bundle: Path, genuine: Facts, verdicts: Verdicts, tmp_path: Path
) -> None:
    more = [File(f"/run/policies/{name}", content) for name, content in policies(bundle, tmp_path).items()]
    more += containers(bundle, tmp_path)
    sound, *others, after = told(image, bundle, genuine, more, "sabotage", enforcing=False)
    before = verdicts(sound["facts"])
    judged = {name: one for name, one in before.items() if name.startswith("container-")}
    # The guest's kernel has no CONFIG_CHECKPOINT_RESTORE, so it tells no filters: test_filters asks another kernel.
    assert {name for name, one in judged.items() if one.status is not Status.PASS} == {"container-filters"}
    assert judged["container-filters"].status is Status.ERROR
    assert before["selinux-enforcing"].status is Status.FAIL
    assert {one["name"] for one in others} == set(CAUGHT)
    assert len(CAUGHT) >= 40
    wrong = []
    for one in others:
        name = one["name"]
        if "fault" in one:
            wrong.append(f"{name}: not done: {one['fault']}")
            continue
        now = verdicts(one["facts"])
        rule = CAUGHT[name]
        enough = (Status.FAIL,) if rule.startswith("container-") else (Status.FAIL, Status.ERROR)
        if now[rule].status not in enough or not worse(before[rule], now[rule]):
            wrong.append(f"{name}: {rule} is {now[rule].status}: {now[rule].message}")
        failed = {key for key in now if now[key].status is Status.FAIL and worse(before[key], now[key])}
        if other := failed - {rule} - CONSEQUENCES.get(name, set()) - _grounds(name):
            wrong.append(f"{name}: {sorted(other)} failed too")
        if passes := [key for key in now if now[key].status is Status.PASS and before[key].status is not Status.PASS]:
            wrong.append(f"{name}: {passes} passes")
    assert not wrong, "\n".join(wrong)
    left = {key: one.message for key, one in verdicts(after["facts"]).items() if worse(before[key], one)}
    assert set(left) <= {"selinux-policy-loaded-once"}, left


def _grounds(name: str) -> set[str]:
    """A tmpfs over selinuxfs is a foreign mount as well."""
    return {"ground-nothing-over-kernel-files"} if CAUGHT[name].startswith("ground-") else set()


def worse(before: Result, now: Result) -> bool:
    """Is a verdict another, or is more found wrong than before?"""
    return now.status is not before.status or len(now.findings) > len(before.findings)
