"""A container type as a module on top of the reference policy, where other names stand for what the source speaks of.

The module brings its own domain and its own type of files, so that it needs nothing but the reference policy's base;
what a host with container-selinux (Fedora) calls its runtime is in optional blocks. Every access that the source gives
to the type is mapped or told as unmapped, permission by permission.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from stockade.model.access import CLASS_MASK, PAIRS, mask, spell, words
from stockade.model.classes import CLASSES
from stockade.model.container import ContainerType
from stockade.model.grants import members
from stockade.model.host import PROCESS_ROLE
from stockade.model.policy import Policy
from stockade.selinux.text import by_permissions, comment

RUNTIMES: Final = ("initrc_t",)
"""Domains of the reference policy that a container runtime runs in: a service without a domain of its own."""

OPTIONAL_RUNTIMES: Final = ("container_runtime_t",)
"""The same where container-selinux is installed."""

DOMAIN_ATTRIBUTES: Final = ("domain", "mcs_constrained_type")
FILE_ATTRIBUTES: Final = ("file_type", "non_auth_file_type", "non_security_file_type")

# The reference policy has these in no class of that name (2.20221101).
_ABSENT: Final = (
    mask("io_uring", ["cmd"])
    | (CLASS_MASK["msg"] & ~mask("msg", ["receive", "send"]))
    | mask("packet", ["relabelfrom"])
    | CLASS_MASK["user_namespace"]
)
# It forbids these by neverallow to every domain that has not its own leave, so a module with them would not load.
GUARDED: Final = (
    mask("capability", ["sys_module"])
    | mask("capability2", ["mac_override"])
    | mask("memprotect", ["mmap_zero"])
    | mask("process", ["setcurrent"])
)
_READING: Final = sum(
    mask(name, {"getattr", "ioctl", "lock", "map", "open", "read", "search"} & CLASSES[name])
    for name in ("dir", "file", "lnk_file")
) | mask("filesystem", ["getattr"])
_PORT: Final = sum(
    mask(f"{name}_socket", {"name_bind", "name_connect"} & CLASSES[f"{name}_socket"])
    for name in ("dccp", "sctp", "tcp", "udp")
)
_NODE: Final = CLASS_MASK["node"] | sum(mask(name, {"node_bind"} & CLASSES[name]) for name in CLASSES)
_NETIF: Final = CLASS_MASK["netif"]
_PIPE: Final = mask("fd", ["use"]) | mask("fifo_file", ["append", "getattr", "ioctl", "lock", "read", "write"])
_SOCKET_IO: Final = sum(
    mask(name, {"append", "getattr", "getopt", "ioctl", "read", "setopt", "shutdown", "write"} & CLASSES[name])
    for name in ("tcp_socket", "udp_socket", "unix_dgram_socket", "unix_stream_socket")
)

_STARTS: Final = mask(
    "process", "noatsecure rlimitinh siginh sigkill signal signull sigstop transition".split()
) | mask("process2", ["nnp_transition", "nosuid_transition"])
_STARTED: Final = mask("process", ["sigchld"]) | mask("fd", ["use"])
_PREPARES: Final = mask("filesystem", "getattr mount relabelfrom relabelto remount unmount".split()) | mask(
    "dir", "getattr mounton relabelfrom relabelto search".split()
)

_TABLE: Final = (("port", "port_type", _PORT), ("node", "node_type", _NODE), ("netif", "netif_type", _NETIF))
"""Initial SID of the source's policy, the attribute that all such things have there, and the access that means them."""

_SHOWN: Final = {"proc": "proc_t", "sysfs": "sysfs_t", "cgroup2": "cgroup_t"}
"""File system, and its type there. Each is shared with the whole host there, so only reading is mapped."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module: its name, the domain and the type of files it declares, its texts, and what has no counterpart."""

    name: str
    domain: str
    files: str
    te: bytes
    interfaces: bytes
    fc: bytes
    unmapped: tuple[str, ...]


def module(policy: Policy, container: ContainerType) -> Module:
    """The module of one container type."""
    name = f"stockade_{container.name.replace('-', '_')}"
    domain, files = f"{name}_t", f"{name}_file_t"
    starters = _starters(policy, container)
    lines: list[str] = []
    unmapped: list[str] = []
    optional: list[str] = []
    used: dict[str, int] = {}
    for rule in policy.host.rules:
        if not rule.audit or container.domain not in members(rule):
            continue
        given: dict[str, int] = {}
        rest: dict[int, list[str]] = {}
        for label in sorted(rule.what.members(container.domain)):
            left = rule.access
            for target, limit in _targets(policy, container, label, starters, files):
                if access := rule.access & limit & ~(_ABSENT | GUARDED):
                    given[target] = given.get(target, 0) | access
                    left &= ~access
            if left:
                rest.setdefault(left, []).append(label)
        text = comment("#", rule.at, rule.why)
        if given:
            lines += [*text, *_allows(domain, given)]
            for target, access in given.items():
                used[target] = used.get(target, 0) | access
            if access := given.get(RUNTIMES[0], 0):
                optional += _allows(domain, dict.fromkeys(OPTIONAL_RUNTIMES, access))
        unmapped += [
            f"{rule.at.file}:{rule.at.line} {words(access, len(CLASSES))} on {' '.join(labels)}"
            for access, labels in rest.items()
        ]
    start = [line for runtime in RUNTIMES for line in _start(domain, files, runtime)]
    body = [*lines, "", "# The runtime starts containers, prepares their files and answers for them.", *start, ""]
    for runtime in OPTIONAL_RUNTIMES:
        entered = [*_start(domain, files, runtime), *(o for o in optional if f" {runtime}:" in o)]
        body += ["optional {", f"  require {{ type {runtime}; }}", *(f"  {line}" for line in entered), "}"]
    head = [*comment("#", container.at, container.why), f"module {name} {policy.host.version};", ""]
    head += _require(used, domain, files)
    head += [f"type {domain}, {', '.join(DOMAIN_ATTRIBUTES)};", f"type {files}, {', '.join(FILE_ATTRIBUTES)};"]
    head += [f"role {PROCESS_ROLE} types {domain};", ""]
    return Module(
        name, domain, files, _text([*head, *body]), _interfaces(name, domain, files, container), _fc(container, files),
        tuple(unmapped),
    )  # fmt: skip


def _starters(policy: Policy, container: ContainerType) -> frozenset[str]:
    """The labels that may start the type: what the runtime's domain there stands for."""
    starting = mask("process", ["transition"])
    return frozenset(
        label
        for rule in policy.host.rules
        if rule.audit and rule.access & starting
        for label in members(rule)
        if label != container.domain and container.domain in rule.what.members(label)
    )


def _targets(
    policy: Policy, container: ContainerType, label: str, starters: frozenset[str], files: str
) -> Iterator[tuple[str, int]]:
    """(type or attribute there, the access that is mapped to it) for a label of the source."""
    host = policy.host
    everything = (1 << len(PAIRS)) - 1
    if label == container.domain:
        yield "self", everything
    if label == container.files:
        yield files, everything
    if label in starters:
        yield RUNTIMES[0], _PIPE | _SOCKET_IO | mask("process", ["sigchld"])
    for sid, attribute, limit in _TABLE:
        if host.initial[sid] == label:
            yield attribute, limit
    for fs in host.filesystems:
        if fs.label == label and fs.name in _SHOWN:
            yield _SHOWN[fs.name], _READING


def _start(domain: str, files: str, runtime: str) -> list[str]:
    """What lets a runtime's domain start the type; the type may tell it of its end, and use what it is handed."""
    pairs = ((runtime, domain, _STARTS), (domain, runtime, _STARTED), (runtime, files, _PREPARES))
    return [line for source, target, access in pairs for line in _allows(source, {target: access})]


def _allows(source: str, given: Mapping[str, int]) -> Iterator[str]:
    for target, access in sorted(given.items()):
        for classes, permissions in by_permissions(access):
            yield f"allow {source} {target}:{_braced(classes)} {_braced(list(permissions))};"


def _require(used: Mapping[str, int], domain: str, files: str) -> list[str]:
    """The require block: what the module speaks of and does not declare, with the permissions that it uses."""
    attributes = {name for _, name, _ in _TABLE} & used.keys()
    types = used.keys() - {"self", domain, files} - attributes | set(RUNTIMES)
    access = _STARTS | _STARTED | _PREPARES
    for given in used.values():
        access |= given
    lines = ["require {", *(f"  type {name};" for name in sorted(types))]
    lines += [f"  attribute {name};" for name in sorted({*DOMAIN_ATTRIBUTES, *FILE_ATTRIBUTES, *attributes})]
    lines += [f"  class {name} {{ {' '.join(permissions)} }};" for name, permissions in spell(access).items()]
    return [*lines, f"  role {PROCESS_ROLE};", "}", ""]


def _interfaces(name: str, domain: str, files: str, container: ContainerType) -> bytes:
    """`.if`: what other modules of the reference policy may ask for, in its macro language."""
    body = [
        f"## <summary>{container.name}: {_plain(container.why)}</summary>",
        *_interface(f"{name}_start", "Start containers of this type.", domain, "process", "transition sigkill signal"),
        *_interface(f"{name}_read_files", "Read their files.", files, "file", "getattr ioctl map open read"),
        *_interface(f"{name}_search_files", "Look into their folders.", files, "dir", "getattr open read search"),
    ]
    return _text(body)


def _interface(name: str, summary: str, target: str, class_name: str, permissions: str) -> list[str]:
    return [
        "",
        f"## <summary>{summary}</summary>",
        '## <param name="domain"><summary>Domain allowed access.</summary></param>',
        f"interface(`{name}',`",
        f"\tgen_require(`type {target};')",
        f"\tallow $1 {target}:{class_name} {{ {permissions} }};",
        "')",
    ]


def _plain(text: str) -> str:
    """Words that neither m4 nor the XML of interface comments takes for its own."""
    for letter, other in (("&", "and"), ("<", "("), (">", ")"), ("`", '"'), ("'", '"')):
        text = text.replace(letter, other)
    return " ".join(text.split())


def _fc(container: ContainerType, files: str) -> bytes:
    return _text(comment("#", container.at, f"files of `{container.name}` are {files} by their mounts, not by path"))


def _braced(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{{ {' '.join(names)} }}"


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
