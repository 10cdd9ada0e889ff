"""Reads a kernel policy file, versions 26 to 33, without any library: some 10 times faster than through setools."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from stockade.selinux.libsepol_ffi import policy_capabilities
from stockade.selinux.policydb_format import PolicydbError
from stockade.selinux.policydb_symbols import SymbolReader, places
from stockade.selinux.policydb_values import Policydb, Vector

__all__ = ["ROW", "Policydb", "PolicydbError", "outline", "places", "read"]

MAGIC: Final = 0xF97CFF8C
OLDEST, NEWEST = 26, 33
_KINDS: Final = {
    0x001: "allow",
    0x002: "auditallow",
    0x004: "dontaudit",
    0x010: "type_transition",
    0x020: "type_member",
    0x040: "type_change",
    0x100: "allowxperm",
    0x200: "auditallowxperm",
    0x400: "dontauditxperm",
}
_EXTENDED: Final = 0x700
_FLAGS: Final = 0x7FFF  # all but the mark for a rule in force
_CONFIG: Final = {0: "deny", 2: "reject", 4: "allow"}
# Initial SIDs have numbers in the file and names in the kernel.
_SIDS: Final = (
    "null kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket "
    "tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod "
    "policy scmp_packet devnull"
).split()
_CONDITION: Final = {2: "!", 3: "||", 4: "&&", 5: "^", 6: "==", 7: "!="}
ROW: Final = struct.Struct("<HHHHI")
"""A rule in the file: values of source, target and class, its kind as one bit, and permissions or a type's value."""


def read(data: bytes) -> Policydb:
    """The kernel policy in `data`. PolicydbError names the byte at which it is none, or none of a known version."""
    return _Reader(data).policy


def outline(data: bytes) -> tuple[Policydb, range]:
    """The kernel policy without its rules, and where in `data` these are: one `ROW` each.

    PolicydbError as `read`, and where some rules hold under a condition or are about single ioctl commands.
    """
    reader = _Reader(data, rules=False)
    return reader.policy, reader.rows


class _Reader(SymbolReader):
    """Reads all of a policy; without `rules`, `rows` says where they are instead."""

    def __init__(self, data: bytes, rules: bool = True) -> None:
        super().__init__(data)
        self.rules, self.rows = rules, range(0)
        try:
            self._all()
            self._check()
        except KeyError as error:
            raise self.c.fail(f"nothing has the number {error}") from None
        except IndexError:
            raise self.c.fail("a sensitivity or category that is not there") from None
        if self.c.at != len(data):
            raise self.c.fail("something follows the end of the policy")

    def _all(self) -> None:
        c, policy = self.c, self.policy
        if len(c.data) < 8 or c.number() != MAGIC:
            raise PolicydbError("not a kernel policy that can be read: it does not begin with SELinux's magic number")
        if (platform := c.name(min(c.number(), 64))) != "SE Linux":
            raise c.fail(f"the policy is for {platform}, not for SELinux")
        policy.version, config, symbols, contexts = c.numbers(4)
        if not OLDEST <= policy.version <= NEWEST:
            raise c.fail(f"version {policy.version} of the format, and {OLDEST} to {NEWEST} are known")
        if symbols != 8 or contexts > 9 or config & ~7 or config & 6 not in _CONFIG:
            raise c.fail("a header of an unknown form")
        policy.mls, policy.handle_unknown = bool(config & 1), _CONFIG[config & 6]
        known = policy_capabilities()
        policy.capabilities = frozenset(known[n] if n < len(known) else f"#{n}" for n in c.positions())
        permissive = c.positions()
        self.symbols()
        policy.permissive = frozenset(policy.types[value] for value in permissive)
        if self.rules:
            policy.vectors += self._vectors(-1)
        else:
            self.rows = self._passed()
        conditions = c.number()
        if conditions and not self.rules:
            raise c.fail("rules under a condition")
        for number in range(conditions):
            self._conditional(number)
        self._transitions()
        for kind in range(contexts):
            self._contexts(kind)
        self._genfs()
        for _ in range(c.number()):
            source, target, tclass = c.numbers(3)
            policy.range_transitions.append((source, target, tclass, self.range_text(c.range())))
        self._membership()

    def _vectors(self, condition: int) -> list[Vector]:
        """Some rules. Extended ones are longer than the rest, so the rest is unpacked up to the next of them."""
        c, data = self.c, memoryview(self.c.data)
        found: list[Vector] = []
        left = c.number()
        while left:
            rows = min(left, (len(data) - c.at) // ROW.size)
            if not rows:
                raise c.fail("the file ends here")
            begun = len(found)
            for source, target, tclass, specified, value in ROW.iter_unpack(data[c.at : c.at + rows * ROW.size]):
                if specified & _EXTENDED:
                    break
                found.append(Vector(_KINDS[specified & _FLAGS], source, target, tclass, value, condition))
            else:
                specified = 0
            done = len(found) - begun
            c.at += done * ROW.size
            left -= done
            if specified & _EXTENDED:
                c.at += ROW.size - 4
                form, driver = c.raw(2)
                bits = int.from_bytes(c.raw(32), "little")
                found.append(
                    Vector(_KINDS[specified & _FLAGS], source, target, tclass, (form, driver, bits), condition)
                )
                left -= 1
        return found

    def _passed(self) -> range:
        """Where the rules are, which are not read."""
        c = self.c
        count = c.number()
        start = c.at
        kinds = c.raw(count * ROW.size)[7 :: ROW.size]  # the high bytes
        if any(kind & _EXTENDED >> 8 for kind in set(kinds)):
            raise c.fail("a rule about single ioctl commands is among the others")
        return range(start, c.at, ROW.size)

    def _conditional(self, number: int) -> None:
        c = self.c
        _, terms = c.numbers(2)
        expression, depth = [], 0
        for _ in range(terms):
            kind, boolean = c.numbers(2)
            expression.append(self.booleans[boolean] if kind == 1 else _CONDITION[kind])
            depth += 1 if kind == 1 else 0 if kind == 2 else -1
            if depth < 1:
                break
        if depth != 1:
            raise c.fail("a condition that is no expression")
        self.policy.conditions += [tuple(expression), (*expression, "!")]
        for block in (0, 1):
            self.policy.vectors += self._vectors(2 * number + block)

    def _transitions(self) -> None:
        c, policy = self.c, self.policy
        for _ in range(c.number()):
            role, target, result, tclass = c.numbers(4)
            names = policy.roles[role].name, policy.types[target], policy.classes[tclass].name
            policy.role_transitions.add((*names, policy.roles[result].name))
        for _ in range(c.number()):
            source, target = c.numbers(2)
            policy.role_allow.add((policy.roles[source].name, policy.roles[target].name))
        for _ in range(c.number()):
            name = c.name(c.number())
            if policy.version < 33:
                source, target, tclass, result = c.numbers(4)
                policy.named_transitions.append((name, source, target, tclass, result))
                continue
            target, tclass, count = c.numbers(3)
            for _ in range(count):
                sources, result = c.positions(), c.number()
                policy.named_transitions += [(name, source + 1, target, tclass, result) for source in sources]

    def _contexts(self, kind: int) -> None:
        c, found = self.c, self.policy.contexts
        for _ in range(c.number()):
            if kind == 0:
                number = c.number()
                name = _SIDS[number] if number < len(_SIDS) else f"#{number}"
                found["initial SID", name] = self.context()
            elif kind in (1, 3):
                name = c.name(c.number())
                statement = ("fscon", "netifcon")[kind // 2]
                found[statement, name] = f"{self.context()} {self.context()}"
            elif kind == 2:
                protocol, low, high = c.numbers(3)
                known = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp"}.get(protocol, f"#{protocol}")
                found["portcon", f"{known} {low}-{high}"] = self.context()
            elif kind == 4:
                name = f"{IPv4Address(c.raw(4))} {IPv4Address(c.raw(4))}"
                found["nodecon", name] = self.context()
            elif kind == 5:
                behaviour, length = c.numbers(2)
                word = {1: "fs_use_xattr", 2: "fs_use_trans", 3: "fs_use_task"}.get(behaviour)
                if word is None:
                    raise c.fail(f"fs_use {behaviour}")
                name = c.name(length)
                found["fs_use", name] = f"{word} {self.context()}"
            elif kind == 6:
                name = f"{IPv6Address(c.raw(16))} {IPv6Address(c.raw(16))}"
                found["nodecon", name] = self.context()
            elif kind == 7:
                prefix = IPv6Address(c.raw(8) + bytes(8))
                low, high = c.numbers(2)
                found["ibpkeycon", f"{prefix} {low}-{high}"] = self.context()
            else:
                length, port = c.numbers(2)
                name = f"{c.name(length)} {port}"
                found["ibendportcon", name] = self.context()

    def _genfs(self) -> None:
        c = self.c
        for _ in range(c.number()):
            filesystem = c.name(c.number())
            for _ in range(c.number()):
                path, tclass = c.name(c.number()), c.number()
                words = (filesystem, path, self.policy.classes[tclass].name) if tclass else (filesystem, path)
                self.policy.contexts["genfscon", " ".join(words)] = self.context()

    def _membership(self) -> None:
        """The attributes of each type, itself among them; the file ends with these."""
        policy = self.policy
        for value in range(1, max([*policy.types, *policy.attributes], default=0) + 1):
            of = self.c.positions()
            if value in policy.types:
                policy.member_of[value] = [n + 1 for n in of]

    def _check(self) -> None:
        """Every rule speaks of types, attributes and classes that are there."""
        policy = self.policy
        symbols = policy.types.keys() | policy.attributes.keys()
        used = {v.source for v in policy.vectors} | {v.target for v in policy.vectors}
        for _, source, target, _, result in policy.named_transitions:
            used |= {source, target, result}
        for source, target, _, _ in policy.range_transitions:
            used |= {source, target}
        classes = {v.tclass for v in policy.vectors} | {t[3] for t in policy.named_transitions}
        classes |= {t[2] for t in policy.range_transitions}
        results = {v.data for v in policy.vectors if v.kind in ("type_transition", "type_member", "type_change")}
        results |= {t[4] for t in policy.named_transitions}
        unknown = (used - symbols) | (classes - policy.classes.keys()) | (results - policy.types.keys())
        if unknown:
            raise self.c.fail(f"nothing has the number {min(map(str, unknown))}, of which a rule speaks")
