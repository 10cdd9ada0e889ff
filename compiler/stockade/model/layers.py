"""What capabilities and address families are to SELinux: the permissions that go with each."""

from __future__ import annotations

from collections.abc import Collection

from stockade.model.access import CLASS_MASK, NOTHING, pair
from stockade.model.classes import SOCKETS
from stockade.model.names import CAPABILITIES, FAMILIES

_SECOND_WORD = 32  # capabilities from this number on are in the classes capability2 and cap2_userns


def capability_access(capabilities: Collection[str]) -> int:
    """The permissions of the four capability classes that stand for these capabilities."""
    access = NOTHING
    for name in capabilities:
        second = CAPABILITIES[name] >= _SECOND_WORD
        for class_name in ("capability2", "cap2_userns") if second else ("capability", "cap_userns"):
            access |= pair(class_name, name.lower())
    return access


def socket_classes(families: Collection[str]) -> frozenset[str]:
    """The classes of sockets of these address families; all families together have those of no family too."""
    if set(families) == FAMILIES.keys():
        return SOCKETS
    return frozenset().union(*(FAMILIES[name][1] for name in families))


def family_access(families: Collection[str]) -> int:
    """All permissions of the classes of sockets of these address families."""
    access = NOTHING
    for class_name in socket_classes(families):
        access |= CLASS_MASK[class_name]
    return access
