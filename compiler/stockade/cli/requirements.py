"""What stockade needs from a machine, what each thing is needed for, and which Debian package brings it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from stockade.cli import probes
from stockade.cli.probes import Finding, Machine, Probe


class Need(Enum):
    """What a requirement is for; building includes proving."""

    BUILD = "build"
    TEST = "test"
    LAB = "lab"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing; `package` is Debian's, `wheel` the requirement as pip takes it, of which at most one is set."""

    name: str
    needs: tuple[Need, ...]
    why: str
    probe: Probe
    package: str = ""
    wheel: str = ""

    def remedy(self, machine: Machine) -> str:
        """The command that brings it, or the sentence that helps where no command of ours can."""
        if self.wheel or (self.package and machine.debian):
            return " ".join(commands([self], machine))
        if self.package:
            return f"install your distribution's package of {self.name} (Debian: {self.package})"
        return "use another machine"


@dataclass(frozen=True, slots=True)
class Checked:
    """A requirement as this machine answers it."""

    requirement: Requirement
    finding: Finding
    remedy: str

    @property
    def met(self) -> bool:
        """Whether it is there and usable."""
        return not self.finding.problem


def check(needs: frozenset[Need], machine: Machine) -> list[Checked]:
    """Every requirement for any of `needs`, in the order of `REQUIREMENTS`, with what this machine has."""
    checked = []
    for requirement in REQUIREMENTS:
        if needs.intersection(requirement.needs):
            finding = requirement.probe(machine, requirement.package)
            remedy = finding.remedy or (requirement.remedy(machine) if finding.problem else "")
            checked.append(Checked(requirement, finding, remedy))
    return checked


_BUILD, _TEST, _LAB, _ENFORCE = Need.BUILD, Need.TEST, Need.LAB, Need.ENFORCE


def commands(lacking: list[Requirement], machine: Machine) -> list[str]:
    """As few commands as can be that install all of `lacking`; Debian's packages only where dpkg is."""
    wheels = [f"'{one.wheel}'" for one in lacking if one.wheel]
    packages = sorted({one.package for one in lacking if one.package}) if machine.debian else []
    wanted = []
    if packages:
        wanted.append(f"{machine.root_prefix}apt-get install --no-install-recommends {' '.join(packages)}")
    if wheels:
        wanted.append(f"{machine.python} -m pip install {' '.join(wheels)}")
    return wanted


REQUIREMENTS: tuple[Requirement, ...] = (
    Requirement("python", (_BUILD, _ENFORCE), "runs everything", probes.interpreter, "python3"),
    Requirement("click", (_BUILD,), "reads the command line", probes.wheel("click", "8.1"), wheel="click>=8.1"),
    Requirement("rich", (_BUILD,), "draws tables on terminals", probes.wheel("rich", "13"), wheel="rich>=13"),
    Requirement("PyYAML", (_BUILD,), "reads policies", probes.pyyaml, wheel="PyYAML>=6.0"),
    Requirement("jsonschema", (_BUILD,), "checks shapes", probes.wheel("jsonschema", "4.18"), wheel="jsonschema>=4.18"),
    Requirement(
        "pyelftools", (_BUILD,), "reads programs", probes.wheel("pyelftools", "0.29"), wheel="pyelftools>=0.29"
    ),
    Requirement("setools", (_BUILD,), "reads kernel policies back", probes.setools, "python3-setools"),
    Requirement(
        "libsepol", (_BUILD,), "compiles CIL and decides on the result", probes.library("libsepol.so.2"), "libsepol2"
    ),
    Requirement("checkmodule", (_BUILD,), "compiles .te modules", probes.program("checkmodule"), "checkpolicy"),
    Requirement(
        "semodule_package", (_BUILD,), "packs modules as .pp", probes.program("semodule_package"), "semodule-utils"
    ),
    Requirement("secilc", (_TEST,), "the reference for compiled CIL", probes.program("secilc"), "secilc"),
    Requirement(
        "hll/pp", (_TEST,), "turns a .pp back into CIL", probes.file("usr/libexec/selinux/hll/pp"), "policycoreutils"
    ),
    Requirement(
        "libseccomp", (_TEST,), "the reference for seccomp profiles", probes.library("libseccomp.so.2"), "libseccomp2"
    ),
    Requirement(
        "pyseccomp", (_TEST,), "calls libseccomp", probes.wheel("pyseccomp", "0.1.2"), wheel="pyseccomp>=0.1.2"
    ),
    Requirement(
        "seccomp.json",
        (_TEST,),
        "the default profile that other container tools ship",
        probes.file("usr/share/containers/seccomp.json"),
        "golang-github-containers-common",
    ),
    Requirement("x86_64", (_LAB,), "the lab's guest runs on this CPU", probes.architecture("x86_64")),
    Requirement("user-mode-linux", (_LAB,), "the lab's kernel", probes.user_mode_linux, "user-mode-linux"),
    Requirement("mkfs.erofs", (_LAB,), "makes the lab's root", probes.program("mkfs.erofs"), "erofs-utils"),
    Requirement("busybox", (_LAB,), "runs inside the lab, so static", probes.static_busybox, "busybox-static"),
    Requirement("perl", (_LAB,), "runs the lab's probes", probes.program("perl"), "perl-base"),
    Requirement("veritysetup", (_LAB,), "seals the lab's root", probes.program("veritysetup"), "cryptsetup-bin"),
    Requirement("sediff", (_TEST,), "the reference for policy differences", probes.program("sediff"), "setools"),
    Requirement(
        "reference policy",
        (_TEST,),
        "the policy that modules for other hosts are linked with",
        probes.file("usr/share/selinux/default/base.pp.bz2"),
        "selinux-policy-default",
    ),
    Requirement(
        "audit2allow",
        (_TEST,),
        "the reference for what denials ask for",
        probes.program("audit2allow"),
        "policycoreutils-python-utils",
    ),
    Requirement("iptables", (_TEST,), "fills a firewall for the audit", probes.program("iptables-legacy"), "iptables"),
    Requirement("nft", (_TEST,), "fills the newer firewall", probes.program("nft"), "nftables"),
    Requirement("unshare", (_TEST,), "gives a test a network of its own", probes.program("unshare"), "util-linux"),
    Requirement("chromium", (_TEST,), "shows the pages that stockade writes", probes.program("chromium"), "chromium"),
    Requirement(
        "cc", (_TEST, _LAB), "reads the kernel's headers, compiles the guest's programs", probes.program("cc"), "gcc"
    ),
    Requirement(
        "static libc",
        (_TEST, _LAB),
        "links the guest's own static programs",
        probes.file("usr/lib/x86_64-linux-gnu/libc.a"),
        "libc6-dev",
    ),
    Requirement(
        "Debian's keys",
        (_TEST, _LAB),
        "prove that the guest's packages are Debian's",
        probes.file("usr/share/keyrings/debian-archive-keyring.gpg"),
        "debian-archive-keyring",
    ),
    Requirement("groff", (_TEST,), "reads the manual pages", probes.program("groff"), "groff-base"),
    Requirement("apt", (_TEST, _LAB), "fetches the guest's packages", probes.program("apt-get"), "apt"),
    Requirement(
        "kernel headers",
        (_TEST, _LAB),
        "the kernel's own constants",
        probes.file("usr/include/linux/sched.h"),
        "linux-libc-dev",
    ),
    Requirement("runc", (_TEST, _ENFORCE), "runs containers", probes.program("runc"), "runc"),
    Requirement("crun", (_TEST, _ENFORCE), "runs containers, second opinion", probes.program("crun"), "crun"),
    Requirement("containerd", (_ENFORCE,), "asks for containers", probes.program("containerd"), "containerd"),
)
