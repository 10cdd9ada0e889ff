"""The chains and rules of nf_tables, which iptables-nft fills too: asked of the kernel by netlink, and taken apart."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Hashable, Iterable
from typing import Any, Final

from stockade.audit.facts.chains import HOOKS, Base, Step
from stockade.audit.facts.netlink import Interrupted, attributes, dump

PROTOCOL: Final = 12
"""NETLINK_NETFILTER."""
_SUBSYSTEM: Final = 10 << 8
NEW_TABLE, GET_TABLE, NEW_CHAIN, GET_CHAIN, NEW_RULE, GET_RULE = (_SUBSYSTEM | number for number in (0, 1, 3, 4, 6, 7))
FAMILIES: Final = {1: "inet", 2: "ip", 10: "ip6"}
_DORMANT: Final = 1
_VERDICTS: Final = {0: "DROP", 1: "ACCEPT", -1: "", -3: "JUMP", -4: "GOTO", -5: "RETURN"}
_HARMLESS: Final = ("counter", "log", "last")
"""Expressions that decide nothing about a packet."""
_IIF, _OIF, _IIFNAME, _OIFNAME, _NFPROTO = 4, 5, 6, 7, 15
_SOURCES: Final = {2: (12, 4), 10: (8, 16)}
"""Where the header of a packet has its source: offset and length in bytes, by family."""

Told = list[tuple[int, bytes]]


def ask() -> tuple[Told, Told, Told]:
    """All tables, chains and rules of our network namespace, as messages. OSError as the kernel has it."""
    for _ in range(8):
        try:
            tables, chains, rules, again = (
                dump(PROTOCOL, kind, b"\0" * 4) for kind in (GET_TABLE, GET_CHAIN, GET_RULE, GET_CHAIN)
            )
        except Interrupted:
            continue
        if chains == again:
            return tables, chains, rules
    raise OSError("the rules change again and again")


def tables(answers: tuple[Told, Told, Told]) -> tuple[list[tuple[int, Base]], dict[Hashable, list[Step]]]:
    """(family, chain) of what the kernel calls for filtering, and all chains by (family, table, name).

    ValueError where the answers are none."""
    asleep = set()
    for family, said in _each(answers[0], NEW_TABLE):
        if _number(said.get(2, b"\0" * 4)) & _DORMANT:
            asleep.add((family, _text(said, 1)))
    chains: dict[Hashable, list[Step]] = {}
    bases = []
    for family, said in _each(answers[1], NEW_CHAIN):
        table, name = _text(said, 1), _text(said, 3)
        chains[family, table, name] = []
        if 4 not in said or family not in FAMILIES or _text(said, 7) != "filter" or (family, table) in asleep:
            continue
        hook = dict(attributes(said[4]))
        place = HOOKS.get(_number(hook.get(1, b"")))
        if place:
            policy = {0: "DROP", 1: "ACCEPT"}.get(_number(said.get(5, b"\0\0\0\1")))
            if policy is None:
                raise ValueError(f"the policy of {name} is neither to accept nor to drop")
            (priority,) = struct.unpack("!i", hook.get(2, b"\0" * 4))
            by = f"nf_tables {FAMILIES[family]} {table} {name}"
            bases.append((family, Base(by, place, policy, priority, (family, table, name))))
    for family, said in _each(answers[2], NEW_RULE):
        table, name = _text(said, 1), _text(said, 2)
        key = (family, table, name)
        if key not in chains:
            raise ValueError(f"a rule of a chain that is not there: {table} {name}")
        chains[key].append(step(family, table, (_expression(one) for _, one in attributes(said.get(4, b"")))))
    return sorted(bases, key=lambda pair: (pair[1].priority, pair[1].by)), chains


def _each(told: Told, kind: int) -> Iterable[tuple[int, dict[int, bytes]]]:
    for what, content in told:
        if what != kind or len(content) < 4:
            raise ValueError(f"an answer of type {what:#x}, and {kind:#x} was asked for")
        yield content[0], dict(attributes(content[4:]))


def _text(said: dict[int, bytes], kind: int) -> str:
    if kind not in said or not said[kind].endswith(b"\0"):
        raise ValueError(f"an answer without the name {kind}")
    return said[kind][:-1].decode("utf-8", "backslashreplace")


def _number(content: bytes) -> int:
    if len(content) != 4:
        raise ValueError(f"a number of {len(content)} bytes")
    return int.from_bytes(content, "big")


def _expression(content: bytes) -> tuple[str, dict[int, bytes]]:
    said = dict(attributes(content))
    return _text(said, 1), dict(attributes(said.get(2, b"")))


def step(family: int, table: str, expressions: Iterable[tuple[str, dict[int, bytes]]]) -> Step:
    """What a rule does, from its expressions in order."""
    rule = _Rule(family)
    for name, said in expressions:
        if name == "immediate" and _number(said.get(1, b"")) == 0:
            verdict = dict(attributes(dict(attributes(said.get(2, b""))).get(2, b"")))
            (code,) = struct.unpack("!i", verdict.get(1, b"\0"))
            target = _VERDICTS.get(code)
            to = (family, table, _text(verdict, 2)) if target in ("JUMP", "GOTO") else None
            return rule.step(target, to)
        if name in ("reject", "target"):
            kind = _text(said, 1) if name == "target" else "REJECT"
            if kind not in ("LOG", "NFLOG", "MARK", "CONNMARK"):
                return rule.step("REJECT" if kind == "REJECT" else None)
        elif name == "match":
            rule.plain = rule.plain and _text(said, 1) == "comment"
        elif name not in _HARMLESS:
            rule.take(name, said)
    return rule.step("")


class _Rule:
    """What a rule asks about a packet: which registers hold what, and the conditions found so far."""

    def __init__(self, family: int) -> None:
        self.family = family if family in _SOURCES else 0
        self.plain = True
        self.said: dict[str, str] = {}
        self.registers: dict[int, tuple[str, int]] = {}

    def step(self, target: str | None, to: Hashable = None) -> Step:
        """The rule as it stands, with what becomes of the packet; None where that is not known."""
        said: dict[str, Any] = {**self.said, "to": to, "family": self.family}
        return Step(target or "", self.plain and target is not None, **said)

    def take(self, name: str, said: dict[int, bytes]) -> None:
        """One expression: a load, a mask or a comparison. Anything else is a condition that is not followed."""
        if name == "meta" and 1 in said:
            kinds = {_IIF: "iif", _OIF: "oif", _IIFNAME: "input", _OIFNAME: "output", _NFPROTO: "family"}
            self.registers[_number(said[1])] = (kinds.get(_number(said.get(2, b"")), "?"), 0)
        elif name == "payload" and 1 in said:
            base, offset, length = (_number(said.get(kind, b"")) for kind in (2, 3, 4))
            start, whole = _SOURCES.get(self.family, (-1, 0))
            source = base == 1 and offset == start and 0 < length <= whole
            self.registers[_number(said[1])] = ("source", 8 * length) if source else ("?", 0)
        elif name == "bitwise":
            self._mask(said)
        elif name == "cmp":
            kind, length = self.registers.get(_number(said.get(1, b"")), ("?", 0))
            value = dict(attributes(said.get(3, b""))).get(1, b"")
            self._compare(kind, length, _number(said.get(2, b"")), value)
        else:
            self.plain = False

    def _mask(self, said: dict[int, bytes]) -> None:
        kind, length = self.registers.get(_number(said.get(1, b"")), ("?", 0))
        mask, flipped = (dict(attributes(said.get(one, b""))).get(1, b"") for one in (4, 5))
        bits = int.from_bytes(mask, "big")
        ones = bits.bit_count()
        prefix = bool(mask) and bits == ((1 << ones) - 1) << (8 * len(mask) - ones) and 8 * len(mask) == length
        good = kind == "source" and prefix and not any(flipped) and said.get(6, b"\0" * 4) == b"\0" * 4
        self.registers[_number(said.get(2, b""))] = ("source", ones) if good else ("?", 0)

    def _compare(self, kind: str, length: int, operation: int, value: bytes) -> None:
        if operation not in (0, 1) or not value:
            self.plain = False
            return
        sign = "!" if operation else ""
        if kind == "family" and not operation and self.family in (0, value[0]):
            self.family = value[0]
        elif kind in ("input", "output") and kind not in self.said:
            name = value.rstrip(b"\0").decode("ascii", "backslashreplace")
            self.said[kind] = sign + name + ("" if b"\0" in value else "+")
        elif kind in ("iif", "oif") and value == struct.pack("=I", 1):
            # The first interface of a network namespace is its loopback interface, always.
            place = "input" if kind == "iif" else "output"
            self.plain = self.plain and place not in self.said
            self.said[place] = f"{sign}lo"
        elif kind == "source" and "source" not in self.said and length:
            address = ipaddress.ip_address(value.ljust(_SOURCES[self.family][1], b"\0"))
            self.said["source"] = f"{sign}{address}/{length}"
        else:
            self.plain = False
