"""Access questions on a compiled policy, answered by libsepol with the constraints that denied."""

from __future__ import annotations

import enum
import hashlib
from contextlib import AbstractContextManager
from ctypes import byref, c_uint, c_uint16, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Final, Self

from stockade.selinux.libsepol_ffi import (
    LOCK,
    SONAME,
    AvDecision,
    SepolError,
    UnknownName,
    libc,
    library,
    reading,
    take,
)
from stockade.selinux.policydb import read

KERNEL_POLICY_MAGIC: Final = b"\x8c\xff\x7c\xf9"


class Reason(enum.Flag):
    """What denied: no rule, a constraint, a role rule, or a bound of a parent type (libsepol's SEPOL_COMPUTEAV_*)."""

    TE = 1
    CONS = 2
    RBAC = 4
    BOUNDS = 8


@dataclass(frozen=True, slots=True)
class Access:
    """One answer. `reason` is empty when allowed; `text` holds the constraints that denied, as libsepol prints them."""

    allowed: bool
    reason: Reason
    text: str


class Decisions:
    """Access questions on one kernel policy, answered by libsepol: rules, constraints, roles and bounds applied.

    A context manager; a process has one active policy, so a second one open at the same time is an error. Contexts are
    strings such as `system_u:system_r:container_t:s0:c1,c2`. Whether a type is permissive plays no part in the answers.
    """

    _active: Decisions | None = None
    _loaded: bytes | None = None

    def __init__(self, policy: bytes) -> None:
        self._policy = policy
        self._sids: dict[str, int] = {}
        self._classes: dict[str, int] = {}
        self._permissions: dict[tuple[str, str], int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}

    def __enter__(self) -> Self:
        with LOCK:
            if Decisions._active is not None:
                raise SepolError("libsepol has one active policy per process and it is in use: close it first")
            digest = hashlib.sha256(self._policy).digest()
            # libsepol never frees a policy it replaces, so the same one is not loaded twice.
            if digest != Decisions._loaded:
                Decisions._loaded = None
                self._load()
                Decisions._loaded = digest
            Decisions._active = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with LOCK:
            Decisions._active = None

    @cached_property
    def permissive(self) -> frozenset[str]:
        """The types that are never denied anything, as the policy itself lists them."""
        return read(self._policy).permissive

    def access(self, scon: str, tcon: str, tclass: str, perm: str) -> Access:
        """May `scon` do `perm` on a `tclass` labelled `tcon`? Raises UnknownName for a name the policy lacks."""
        with self._in_use():
            class_, bit = self._class(tclass), self._permission(tclass, perm)
            decision, reason, text = self._compute(self._sid(scon), self._sid(tcon), class_, bit)
        allowed = bool(decision.allowed & bit)
        if allowed == bool(reason):
            raise SepolError(
                f"libsepol contradicts itself on {scon} {tcon} {tclass} {perm}: {allowed}, {Reason(reason)}"
            )
        return Access(allowed, Reason(reason), _about(perm, text) if reason & Reason.CONS.value else "")

    def allowed(self, scon: str, tcon: str, tclass: str) -> frozenset[str]:
        """All permissions `scon` has on a `tclass` labelled `tcon`."""
        key = scon, tcon, tclass
        with self._in_use():
            if key not in self._known:
                decision, _, _ = self._compute(self._sid(scon), self._sid(tcon), self._class(tclass), 0)
                bits = (1 << n for n in range(32) if decision.allowed >> n & 1)
                self._known[key] = frozenset(self._name(tclass, bit) for bit in bits)
            return self._known[key]

    def relabel(self, old: str, new: str, task: str, tclass: str) -> Access:
        """Do validatetrans and mlsvalidatetrans let `task` change a `tclass` from label `old` to `new`?"""
        text = c_void_p()
        with self._in_use():
            sids = self._sid(old), self._sid(new), self._sid(task)
            result = library().sepol_validate_transition_reason_buffer(*sids, self._class(tclass), byref(text), 0)
        return Access(result == 0, Reason(0) if result == 0 else Reason.CONS, take(text).strip())

    def _load(self) -> None:
        if not self._policy.startswith(KERNEL_POLICY_MAGIC):
            raise SepolError("not a kernel policy: it does not begin with SELinux's magic number")
        stream = libc().fmemopen(self._policy, len(self._policy), b"r")
        if not stream:
            raise MemoryError("fmemopen")
        try:
            failed = library().sepol_set_policydb_from_file(stream)
        finally:
            libc().fclose(stream)
        if failed:
            raise SepolError(f"not a kernel policy that {SONAME} can read: {_why_unreadable(self._policy)}")

    def _in_use(self) -> AbstractContextManager[object]:
        if Decisions._active is not self:
            raise SepolError("this policy is not open: use it in a with statement")
        return LOCK

    def _compute(self, source: int, target: int, class_: int, requested: int) -> tuple[AvDecision, int, str]:
        decision, reason, text = AvDecision(), c_uint(), c_void_p()
        result = library().sepol_compute_av_reason_buffer(
            source, target, class_, requested, byref(decision), byref(reason), byref(text), 0
        )
        words = take(text)
        if result != 0:
            raise SepolError("libsepol could not compute an access vector")
        return decision, reason.value, words

    def _sid(self, context: str) -> int:
        if context not in self._sids:
            sid, raw = c_uint32(), context.encode()
            if b"\0" in raw or library().sepol_context_to_sid(raw, len(raw), byref(sid)) != 0:
                raise UnknownName(f"context {context!r} is not valid in this policy")
            self._sids[context] = sid.value
        return self._sids[context]

    def _class(self, name: str) -> int:
        if name not in self._classes:
            value = c_uint16()
            if library().sepol_string_to_security_class(name.encode(), byref(value)) != 0:
                raise UnknownName(f"class {name!r} is not in this policy")
            self._classes[name] = value.value
        return self._classes[name]

    def _permission(self, class_: str, name: str) -> int:
        if (class_, name) not in self._permissions:
            bit = c_uint32()
            if library().sepol_string_to_av_perm(self._class(class_), name.encode(), byref(bit)) != 0:
                raise UnknownName(f"class {class_!r} has no permission {name!r} in this policy")
            self._permissions[class_, name] = bit.value
        return self._permissions[class_, name]

    def _name(self, class_: str, bit: int) -> str:
        if (class_, bit) not in self._names:
            name = library().sepol_av_perm_to_string(self._class(class_), bit)
            if not name:
                raise SepolError(f"class {class_!r} allows bit {bit:#x}, which has no name")
            self._names[class_, bit] = name.decode().strip()
        return self._names[class_, bit]


def _about(perm: str, text: str) -> str:
    """The constraints in `text` that cover `perm`: libsepol lists every one that took something away."""
    return "\n".join(line for line in text.splitlines() if perm in line.partition("(")[0].split()[2:])


def _why_unreadable(policy: bytes) -> str:
    """What libsepol says when it reads `policy` by a way that takes a handle for messages."""
    with reading(policy) as (_, messages):
        pass
    return "; ".join(messages) or "no reason given"
