"""Reads a kernel policy (by setools) into plain values: names are strings, sets frozensets, attributes expanded."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from types import ModuleType
from typing import Any, Final

from stockade.selinux.binary_values import (
    Constraint,
    Default,
    ExtendedRule,
    RangeTransition,
    RoleTransition,
    Rule,
    TypeTransition,
    User,
    Vectors,
)

_VECTOR_RULES: Final = ("allow", "auditallow", "dontaudit")


class BinaryError(Exception):
    """The policy cannot be read, or the tool that reads it is missing."""


def available() -> str | None:
    """None when SELinux's setools can be imported; otherwise the reason, with what to install."""
    try:
        _setools()
    except BinaryError as error:
        return str(error)
    return None


def _setools() -> ModuleType:
    try:
        import setools
    except ImportError as error:
        raise BinaryError(
            f"SELinux's setools cannot be imported ({error}): it comes from the distribution, on Debian "
            "python3-setools, and needs an interpreter that sees the system's packages"
        ) from None
    if not hasattr(setools, "SELinuxPolicy"):
        raise BinaryError(
            f"the setools at {getattr(setools, '__file__', 'an unknown place')} is not SELinux's: the Python index has "
            "another project of that name; uninstall it and install the distribution's python3-setools"
        )
    module: ModuleType = setools
    return module


class Binary:
    """A kernel policy. Every part is read when it is first asked for, and kept."""

    def __init__(self, policy: bytes) -> None:
        setools = _setools()
        # setools reads only named files; a memory file has a name and leaves nothing behind.
        descriptor = os.memfd_create("policy", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as stream:
                stream.write(policy)
            self._policy: Any = setools.SELinuxPolicy(f"/proc/self/fd/{descriptor}")
        except (setools.exception.SEToolsException, SyntaxError, OSError, ValueError) as error:
            reason = str(error).replace(f"/proc/self/fd/{descriptor}", f"{len(policy)} bytes")
            raise BinaryError(f"not a kernel policy that setools can read: {reason}") from None
        finally:
            os.close(descriptor)
        if str(self._policy.target_platform) != "selinux":
            raise BinaryError(f"the policy is for {self._policy.target_platform}, not for SELinux")

    @property
    def version(self) -> int:
        """The kernel policy version of the file."""
        return int(self._policy.version)

    @property
    def mls(self) -> bool:
        """Do contexts carry levels?"""
        return bool(self._policy.mls)

    @property
    def handle_unknown(self) -> str:
        """What the kernel does with classes and permissions the policy lacks: deny, reject or allow."""
        return str(self._policy.handle_unknown)

    @cached_property
    def types(self) -> Mapping[str, frozenset[str]]:
        """Type -> the attributes it is in."""
        return {str(t): frozenset(map(str, t.attributes())) for t in _sorted(self._policy.types())}

    @cached_property
    def attributes(self) -> Mapping[str, frozenset[str]]:
        """Attribute -> its types."""
        return {str(a): frozenset(map(str, a.expand())) for a in _sorted(self._policy.typeattributes())}

    @cached_property
    def aliases(self) -> Mapping[str, str]:
        """Alias -> the type it names."""
        return {str(alias): str(t) for t in _sorted(self._policy.types()) for alias in sorted(map(str, t.aliases()))}

    @cached_property
    def bounded(self) -> Mapping[str, str]:
        """Type -> the parent type whose permissions bound its own."""
        return {str(b.child): str(b.parent) for b in _sorted(self._policy.bounds())}

    @cached_property
    def sensitivities(self) -> tuple[str, ...]:
        """Sensitivities, lowest first; empty without MLS."""
        return _in_order(self._policy.sensitivities()) if self.mls else ()

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Categories in the policy's order, which spans such as c0.c3 follow; empty without MLS."""
        return _in_order(self._policy.categories()) if self.mls else ()

    @cached_property
    def levels(self) -> Mapping[str, frozenset[str]]:
        """Sensitivity -> the categories that may go with it; empty without MLS."""
        levels = self._policy.levels() if self.mls else ()
        return {str(level.sensitivity): frozenset(map(str, level.categories())) for level in levels}

    @cached_property
    def permissive(self) -> frozenset[str]:
        """The types that are never denied, only reported."""
        return frozenset(str(t) for t in self._policy.types() if t.ispermissive)

    @cached_property
    def classes(self) -> Mapping[str, frozenset[str]]:
        """Class -> its permissions, those of its common included."""
        no_common = _setools().exception.NoCommon
        found: dict[str, frozenset[str]] = {}
        for tclass in _sorted(self._policy.classes()):
            perms = frozenset(tclass.perms)
            with suppress(no_common):
                perms |= frozenset(tclass.common.perms)
            found[str(tclass)] = perms
        return found

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every allow, auditallow and dontaudit rule as it stands, conditional ones included."""
        found = []
        for kind, rule in self._te:
            if kind in _VECTOR_RULES:
                condition, enabled = self._condition(rule)
                perms = frozenset(rule.perms)
                found.append(
                    Rule(kind, str(rule.source), str(rule.target), str(rule.tclass), perms, condition, enabled)
                )
        return tuple(found)

    @cached_property
    def allow(self) -> Vectors:
        """What is allowed while the booleans have their defaults, attributes expanded, constraints not applied."""
        return self.vectors("allow")

    @cached_property
    def dontaudit(self) -> Vectors:
        """What is denied without a record, in the shape of `allow`."""
        return self.vectors("dontaudit")

    def vectors(self, kind: str, among: Container[str] | None = None) -> Vectors:
        """What rules of this kind say while the booleans have their defaults, for all types or between some of them.

        `self` needs no care: a kernel policy holds it as one rule per type.
        """
        found: dict[tuple[str, str], dict[str, frozenset[str]]] = {}
        few: dict[str, tuple[str, ...]] = {}

        def members(name: str) -> tuple[str, ...]:
            if name not in few:
                few[name] = tuple(one for one in self._members(name) if among is None or one in among)
            return few[name]

        for which, rule in self._te:
            if which != kind:
                continue
            sources, targets = members(str(rule.source)), members(str(rule.target))
            if not sources or not targets or not self._condition(rule)[1]:
                continue
            tclass, perms = str(rule.tclass), frozenset(rule.perms)
            for source in sources:
                for target in targets:
                    vectors = found.setdefault((source, target), {})
                    known = vectors.get(tclass)
                    vectors[tclass] = perms if known is None else known | perms
        return found

    @cached_property
    def extended(self) -> tuple[ExtendedRule, ...]:
        """The rules on single ioctl commands, attributes expanded."""
        return tuple(
            ExtendedRule(kind, source, target, str(rule.tclass), str(rule.xperm_type), frozenset(map(int, rule.perms)))
            for kind, rule in self._te
            if kind.endswith("xperm")
            for source, target in self._pairs(rule)
        )

    @cached_property
    def type_transitions(self) -> tuple[TypeTransition, ...]:
        """type_transition, type_change and type_member rules in force, attributes expanded, sorted."""
        errors = _setools().exception
        found = set()
        for kind, rule in self._te:
            if kind not in ("type_transition", "type_change", "type_member") or not self._condition(rule)[1]:
                continue
            try:
                name = str(rule.filename)
            except (errors.TERuleNoFilename, errors.RuleUseError):
                name = ""
            for source, target in self._pairs(rule):
                found.add(TypeTransition(kind, source, target, str(rule.tclass), str(rule.default), name))
        return tuple(sorted(found))

    @cached_property
    def range_transitions(self) -> tuple[RangeTransition, ...]:
        """range_transition rules, attributes expanded, sorted."""
        return tuple(
            sorted(
                RangeTransition(source, target, str(rule.tclass), str(rule.default.low), str(rule.default.high))
                for rule in self._policy.mlsrules()
                for source, target in self._pairs(rule)
            )
        )

    @cached_property
    def role_transitions(self) -> tuple[RoleTransition, ...]:
        """role_transition rules, attributes expanded, sorted."""
        return tuple(
            sorted(
                RoleTransition(str(rule.source), target, str(rule.tclass), str(rule.default))
                for rule in self._policy.rbacrules()
                if str(rule.ruletype) == "role_transition"
                for target in self._members(str(rule.target))
            )
        )

    @cached_property
    def role_allow(self) -> frozenset[tuple[str, str]]:
        """Pairs of roles a process may change between."""
        rules = (rule for rule in self._policy.rbacrules() if str(rule.ruletype) == "allow")
        return frozenset((str(rule.source), str(rule.target)) for rule in rules)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """Every constraint, sorted by kind, class and text."""
        found = []
        for rule in self._policy.constraints():
            kind = str(rule.ruletype)
            perms = frozenset() if kind.endswith("validatetrans") else frozenset(rule.perms)
            postfix = tuple(self._operands(rule.expression))
            found.append(Constraint(kind, str(rule.tclass), perms, postfix, rule.statement()))
        return tuple(sorted(found, key=lambda c: (c.kind, c.tclass, sorted(c.perms), c.text)))

    @cached_property
    def defaults(self) -> tuple[Default, ...]:
        """default_user, default_role, default_type and default_range statements, sorted."""
        return tuple(
            sorted(
                Default(str(d.ruletype), str(d.tclass), str(d.default), str(getattr(d, "default_range", None) or ""))
                for d in self._policy.defaults()
            )
        )

    @cached_property
    def users(self) -> Mapping[str, User]:
        """User -> its roles and levels."""
        found = {}
        for user in _sorted(self._policy.users()):
            roles = frozenset(map(str, user.roles)) - {"object_r"}
            levels = (user.mls_level, user.mls_range.low, user.mls_range.high) if self.mls else ("", "", "")
            found[str(user)] = User(roles, *map(str, levels))
        return found

    @cached_property
    def roles(self) -> Mapping[str, frozenset[str]]:
        """Role -> the types it may have (the kernel lets object_r have every type)."""
        return {str(role): frozenset(map(str, role.types())) for role in _sorted(self._policy.roles())}

    @cached_property
    def booleans(self) -> Mapping[str, bool]:
        """Boolean -> its default."""
        return {str(b): bool(b.state) for b in _sorted(self._policy.bools())}

    @cached_property
    def policycaps(self) -> frozenset[str]:
        """The policy capabilities that are on."""
        return frozenset(map(str, self._policy.polcaps()))

    @cached_property
    def initial_sids(self) -> Mapping[str, str]:
        """Initial SID -> context."""
        return {str(sid): str(sid.context) for sid in _sorted(self._policy.initialsids())}

    @cached_property
    def fs_use(self) -> Mapping[str, tuple[str, str]]:
        """File system -> (fs_use_xattr, fs_use_trans or fs_use_task; context)."""
        return {str(f.fs): (str(f.ruletype), str(f.context)) for f in _sorted(self._policy.fs_uses())}

    @cached_property
    def genfscon(self) -> Mapping[tuple[str, str, str], str]:
        """(file system, path, class or empty for any) -> context."""
        found = {
            (str(g.fs), str(g.path), str(g.tclass) if g.tclass else ""): str(g.context)
            for g in self._policy.genfscons()
        }
        return dict(sorted(found.items()))

    @cached_property
    def _te(self) -> tuple[tuple[str, Any], ...]:
        return tuple((str(rule.ruletype), rule) for rule in self._policy.terules())

    def _condition(self, rule: Any) -> tuple[str, bool]:
        """The booleans a rule depends on, and whether it holds by their defaults."""
        try:
            condition = f"{rule.conditional} is {rule.conditional_block}"
        except _setools().exception.RuleNotConditional:
            return "", True
        return condition, bool(rule.enabled())

    def _members(self, name: str) -> frozenset[str]:
        return self.attributes[name] if name in self.attributes else frozenset((name,))

    def _pairs(self, rule: Any) -> Iterator[tuple[str, str]]:
        for source in sorted(self._members(str(rule.source))):
            for target in sorted(self._members(str(rule.target))):
                yield source, target

    def _operands(self, expression: Any) -> Iterator[str | frozenset[str]]:
        subject = ""
        for operand in expression:
            if isinstance(operand, str):
                subject = operand
                yield operand
            else:
                names = frozenset(map(str, operand))
                # Only types have attributes here, and a role or user may have the name of one.
                yield frozenset().union(*map(self._members, names)) if subject.startswith("t") else names


def _sorted(symbols: Any) -> list[Any]:
    return sorted(symbols, key=str)


def _in_order(symbols: Any) -> tuple[str, ...]:
    # setools gives MLS symbols in no order, and their place only under this name.
    return tuple(str(symbol) for symbol in sorted(symbols, key=lambda symbol: int(symbol._value)))
