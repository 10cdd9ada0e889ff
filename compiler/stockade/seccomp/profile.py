"""Turns a seccomp profile into a system-call policy, by the rules with which runc and crun drive libseccomp.

Two tests on one argument make every test of that rule a rule of its own (OR). A rule whose answer is the default's says
nothing. A rule without tests makes those with tests on the same call say nothing. Where rules with different answers
still meet, libseccomp lets their order or its own tree decide; here the strictest wins, and `conflicts` names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stockade.model.position import Position
from stockade.model.seccomp import Action, Multiplexed, SyscallPolicy, SyscallRule, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, KERNEL, NAMES, NATIVE, numbers
from stockade.seccomp.oci import answer
from stockade.seccomp.profile_format import Document, Entry, docker_name, kernel_version, read
from stockade.seccomp.profile_json import ProfileError, nearest, shown
from stockade.seccomp.profile_names import ELSEWHERE
from stockade.seccomp.profile_rules import Conflict, Said, by_call, meaning, order, settle

DOCKER_CAPS = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT".split()
)
"""The capabilities that Docker gives a container that asks for nothing."""
NEWEST = kernel_version(".".join(KERNEL.split(".")[:2])) or (0, 0)
MAX_RULES = 100_000
_HOSTS = {"i386": "x86_64", "x32": "x86_64", "arm": "aarch64"}
_FOREIGN = Verdict(Action.KILL_THREAD)


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile for certain architectures, capabilities and a kernel.

    `oci` has for each host architecture the plain `linux.seccomp` object that a container engine would hand on.
    `skipped` are (path, name) of unknown calls, `absent` the known calls that none of `archs` has.
    """

    document: Document
    archs: tuple[str, ...]
    policy: SyscallPolicy
    oci: Mapping[str, dict[str, Any]]
    skipped: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def made_up(self) -> tuple[str, ...]:
        """The calls for which libseccomp makes rules of its own out of those for the calls that they carry.

        They are `socketcall` and `ipc` of i386 where no rule without tests is on them; here they get the default.
        """
        if "i386" not in self.archs:
            return ()
        always = {rule.call for rule in self.policy.rules if not rule.conditions}
        named = {rule.call for rule in self.policy.rules}
        carries = {call: CARRIES["i386"][call] for call in ("ipc", "socketcall")}
        return tuple(call for call, carried in carries.items() if call not in always and named & {*carried})

    def host(self, arch: str) -> str:
        """The member of `oci` that decides for `arch`."""
        return host_of(arch, self.archs)


def read_profile(
    data: bytes,
    archs: Sequence[str] = ("x86_64",),
    caps: Collection[str] = DOCKER_CAPS,
    kernel: tuple[int, int] = NEWEST,
    skip_unknown: bool = False,
) -> Profile:
    """The policy of a profile in JSON text; `caps` without CAP_. Its unknown calls get the default, as in a runtime.

    ProfileError where the profile is wrong, names an unknown call (unless `skip_unknown`), does not cover one of
    `archs`, or says different things on two of them. ValueError where `archs` or `caps` is not of ours.
    """
    return resolve(read(data), archs, caps, kernel, skip_unknown)


def resolve(
    document: Document, archs: Sequence[str], caps: Collection[str], kernel: tuple[int, int], skip_unknown: bool = False
) -> Profile:
    """The same for a profile that has been read."""
    if not archs or len(set(archs)) != len(archs) or any(arch not in ARCHITECTURES for arch in archs):
        raise ValueError(f"{', '.join(archs) or 'nothing'}: expected some of {', '.join(ARCHITECTURES)}, each once")
    if sum(len(entry.names) * max(len(entry.tests), 1) for entry in document.entries) > MAX_RULES:
        raise ProfileError(f"{document.path}.syscalls", f"more than {MAX_RULES} rules")
    skipped = tuple(_unknown_names(document))
    if skipped and not skip_unknown:
        path, name = skipped[0]
        raise ProfileError(path, f"unknown system call `{shown(name)}`{nearest(name, NAMES | ELSEWHERE)}")
    hosts = sorted({host_of(arch, archs) for arch in archs})
    for arch in archs:
        covers = covered(document, host_of(arch, archs))
        if ARCHITECTURES[arch].oci not in covers:
            raise ProfileError(document.path, f"it does not cover {arch}, only {', '.join(covers)}")
    rules: dict[str, list[Said]] = {}
    found: dict[str, Conflict] = {}
    decided: dict[str, str] = {}
    for host in hosts:
        family = [arch for arch in archs if host_of(arch, archs) == host]
        entries = [entry for entry in document.entries if entry.applies(docker_name(host), caps, kernel)]
        on_host = by_call(entries, document.default)
        for call in sorted(set().union(*(numbers(arch) for arch in family))):
            said, conflict = settle(call, on_host.get(call, []))
            if call in decided and meaning(rules.get(call, [])) != meaning(said):
                why = f"`{call}` gets different rules on {decided[call]} and {host}: compile them apart"
                raise ProfileError(document.path, why)
            decided[call] = host
            if said:
                rules[call] = said
            if conflict:
                found.setdefault(call, conflict)
    named = {name for entry in document.entries for _, name in entry.names}
    return Profile(
        document,
        tuple(archs),
        _policy(document, rules),
        {host: to_object(document, host, caps, kernel) for host in hosts},
        skipped,
        tuple(sorted((named & (NAMES | ELSEWHERE)) - set(decided))),
        tuple(found[call] for call in sorted(found)),
    )


def host_of(arch: str, archs: Collection[str]) -> str:
    """The architecture of the host on which calls of `arch` are filtered together with the others of `archs`."""
    return _HOSTS[arch] if _HOSTS.get(arch) in archs else arch


def covered(document: Document, host: str) -> tuple[str, ...]:
    """The OCI names of the architectures that the profile filters on a host; all others it kills."""
    return told_archs(document, host) or (ARCHITECTURES[host].oci,)


def told_archs(document: Document, host: str) -> tuple[str, ...]:
    """The OCI names of the architectures that a runtime on a host is told; without any it filters the host's own."""
    own = ARCHITECTURES[host].oci
    if document.arch_map is None:
        return document.architectures or ()
    return (own, *document.arch_map[own]) if own in document.arch_map else ()


def default_archs(document: Document, host: str) -> tuple[str, ...]:
    """Those of our architectures that the profile covers on a host, the host's own first; at least that one."""
    covers = covered(document, host)
    others = [arch for arch, its in ARCHITECTURES.items() if its.oci in covers and arch != host]
    return (host, *(arch for arch in others if arch not in NATIVE and _HOSTS.get(arch) == host))


def to_object(document: Document, host: str, caps: Collection[str], kernel: tuple[int, int]) -> dict[str, Any]:
    """The plain `linux.seccomp` object of a profile on a host, without the names that nothing there has."""
    entries = [entry for entry in document.entries if entry.applies(docker_name(host), caps, kernel)]
    listed = []
    for entry in entries:
        names = [name for _, name in entry.names if name in NAMES]
        if names:
            listed.append({"names": names, **answer("action", "errnoRet", entry.verdict), **_args(entry)})
    covers = covered(document, host)
    return {
        **answer("defaultAction", "defaultErrnoRet", document.default),
        "architectures": [token for token in covers if token in {its.oci for its in ARCHITECTURES.values()}],
        "syscalls": listed,
    }


def _unknown_names(document: Document) -> Iterator[tuple[str, str]]:
    for entry in document.entries:
        for path, name in entry.names:
            if name not in NAMES and name not in ELSEWHERE:
                yield path, name


def _policy(document: Document, rules: Mapping[str, list[Said]]) -> SyscallPolicy:
    return SyscallPolicy(
        tuple(
            SyscallRule(call, verdict, tests, path, Position(path, 1, 1))
            for call, said in sorted(rules.items())
            for tests, verdict, path in sorted(said, key=order)
        ),
        denied=document.default,
        unknown=document.default,
        foreign=_FOREIGN,
        multiplexed=Multiplexed.AS_RULED,
    )


def _args(entry: Entry) -> dict[str, Any]:
    if not entry.tests:
        return {}
    return {
        "args": [
            {"index": test.index, "value": test.value, "valueTwo": test.two, "op": f"SCMP_CMP_{test.op}"}
            for test in entry.tests
        ]
    }
