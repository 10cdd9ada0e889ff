"""What filters packets on this host: both of the kernel's firewalls, asked without making or loading anything."""

from __future__ import annotations

import errno
import socket
from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from stockade.audit.facts import nftables, xtables
from stockade.audit.facts.chains import Base, Step, settled
from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host, fault_of

VERSIONS: Final = {"network.firewall.ipv4": xtables.IPV4, "network.firewall.ipv6": xtables.IPV6}

Tables = tuple[list[tuple[int, Base]], Mapping[Hashable, Sequence[Step]]]
"""(family, chain that the kernel calls), and all chains."""


def collect(host: Host) -> dict[str, Fact]:
    """Of each version of IP the fact `chains`: every chain that filters (see `chains.settled`), by hook and priority.

    Absent where the kernel does not have that version, unreadable where we may not ask or stand in another network
    namespace than PID 1.
    """
    if host.kind != "live":
        return dict.fromkeys(VERSIONS, Fact.absent("netfilter", "an image has no kernel"))
    if fault := elsewhere(host):
        return dict.fromkeys(VERSIONS, fault)
    newer = _newer(host)
    return {name: _version(host, version, newer) for name, version in VERSIONS.items()}


def elsewhere(host: Host) -> Fact | None:
    """Why what we are told is not the host's: sockets are of our own network namespace. None where it is."""
    own, first = host.link("/proc/self/ns/net"), host.link("/proc/1/ns/net")
    for one in (own, first):
        if not one.known:
            return one
    if own.value != first.value:
        return Fact.unreadable("/proc/1/ns/net", "another network namespace than the one that asks")
    return None


def _newer(host: Host) -> Fact | Tables:
    """The chains of nf_tables, or why they are not known; none where it is not in the kernel."""
    if not loaded(host):
        return [], {}
    try:
        return nftables.tables(nftables.ask())
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
            return [], {}  # there is no netlink for netfilter, or nobody who answers for nf_tables
        return fault_of(error, "nf_tables")
    except (ValueError, LookupError) as error:
        return Fact.malformed("nf_tables", str(error))


def loaded(host: Host) -> bool:
    """May nf_tables be asked without the kernel loading it for that? What is not loaded filters nothing."""
    modules = host.read("/proc/modules")
    if not modules.known:
        return True
    release = host.read("/proc/sys/kernel/osrelease", 256)
    builtin = host.read(f"/lib/modules/{(release.value or b'').decode('ascii', 'replace').strip()}/modules.builtin")
    if not builtin.known:
        return True
    loaded = {one.split(b" ")[0] for one in modules.value.splitlines()}
    return b"nf_tables" in loaded or b"/nf_tables.ko" in builtin.value


def _version(host: Host, version: xtables.Version, newer: Fact | Tables) -> Fact:
    try:
        socket.socket(version.family, socket.SOCK_DGRAM).close()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return Fact.absent("netfilter", error.strerror or "")
        return fault_of(error, "netfilter")
    if isinstance(newer, Fact):
        return newer
    listed = host.read(f"/proc/1/net/{version.names}", 4096)
    if not listed.known and listed.outcome != "absent":
        return listed
    found = []
    try:
        if listed.known and xtables.TABLE in listed.value.split():
            bases, chains = xtables.table(version, *xtables.ask(version))
            found += [settled(base, chains, version.family) for base in bases]
        mine = [base for family, base in newer[0] if family in (1, version.family)]
        found += [settled(base, newer[1], version.family) for base in mine]
    except OSError as error:
        return fault_of(error, "netfilter")
    except (ValueError, LookupError) as error:
        return Fact.malformed("netfilter", str(error))
    return Fact.of({"chains": found}, "netfilter")
