"""Audit records of every form, made from a list of denials."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

Denial = tuple[str, str, str, Sequence[str]]
"""SELinux type of the process, type of the object, class, permissions."""


def raw(number: int, denial: Denial, level: str = "s0:c1,c2") -> str:
    """As auditd writes it."""
    source, target, name, permissions = denial
    return (
        f"type=AVC msg=audit(1700000000.{number % 1000:03}:{number}): avc:  denied  {{ {' '.join(permissions)} }} for "
        f' pid={number} comm="server" name="thing" dev="vda1" ino={number} '
        f"scontext=system_u:system_r:{source}:{level} tcontext=system_u:object_r:{target}:{level} "
        f"tclass={name} permissive=0"
    )


def interpreted(number: int, denial: Denial) -> str:
    """As ausearch -i shows it."""
    return raw(number, denial).replace(f"1700000000.{number % 1000:03}", f"11/14/2023 22:13:20.{number % 1000:03}")


def kernel(number: int, denial: Denial) -> str:
    """As dmesg shows it."""
    return f"[   12.345678] audit: {raw(number, denial).replace('type=AVC msg=', 'type=1400 ')}"


def journal(number: int, denial: Denial) -> str:
    """As journalctl shows it."""
    return f"Nov 14 22:13:20 host audit[{number}]: AVC {raw(number, denial).partition('): ')[2]}"


def journal_json(number: int, denial: Denial) -> str:
    """As journalctl -o json shows it; some journals hold the message as bytes."""
    said = raw(number, denial)
    return json.dumps({"_TRANSPORT": "audit", "MESSAGE": said if number % 2 else list(said.encode())})


def seccomp(number: int, label: str, arch: str, syscall: str, code: str = "0x50000") -> str:
    """A call that a filter did not let through."""
    return (
        f"type=SECCOMP msg=audit(1700000000.123:{number}): auid=1000 uid=0 gid=0 ses=1 "
        f'subj=system_u:system_r:{label}:s0:c1,c2 pid={number} comm="server" exe="/server" sig=0 arch={arch} '
        f"syscall={syscall} compat=0 ip=0x7f code={code}"
    )


def many(denials: Sequence[Denial], count: int, seed: int) -> Iterator[str]:
    """`count` lines in which every denial comes, in several forms and permission by permission, in a random order."""
    draw = random.Random(seed)
    forms = (raw, interpreted, kernel, journal, journal_json)
    for number in range(count):
        source, target, name, permissions = denials[number % len(denials)]
        some = (
            permissions if number < len(denials) else draw.sample(list(permissions), draw.randint(1, len(permissions)))
        )
        yield draw.choice(forms)(number + 1, (source, target, name, some))


def plain(denials: Sequence[Denial], count: int, seed: int) -> Iterator[str]:
    """`count` lines as auditd writes them, in which every denial comes; each fifth is a record of another kind."""
    draw = random.Random(seed)
    denied = 0
    for number in range(1, count + 1):
        if number % 5 == 0:
            yield (
                f"type=SYSCALL msg=audit(1700000000.{number % 1000:03}:{number}): arch=c000003e syscall=257 success=no "
                f'exit=-13 a0=ffffff9c ppid=1 pid={number} auid=4294967295 uid=0 gid=0 comm="server" exe="/server"'
            )
            continue
        source, target, name, permissions = denials[denied % len(denials)]
        some = (
            permissions if denied < len(denials) else draw.sample(list(permissions), draw.randint(1, len(permissions)))
        )
        denied += 1
        yield raw(number, (source, target, name, some), "s0")
