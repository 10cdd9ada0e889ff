"""The parts of a kernel policy that are no rules on types: which of them differ, and to what effect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from stockade.prove.changes import Change, Effect
from stockade.selinux.policydb import places
from stockade.selinux.policydb_values import Account, Level, Policydb

_Judge = Callable[[str | None, str | None], Effect]


def parts(old: Policydb, new: Policydb) -> Iterator[Change]:
    """Every difference but those of rules on types and of constraints."""
    for what, before, after, judge in (
        ("format version", str(old.version), str(new.version), _neutral),
        ("mls", _word(old.mls), _word(new.mls), _changes),
        ("handle unknown", old.handle_unknown, new.handle_unknown, _unknown),
        ("sensitivities", " ".join(old.sensitivities), " ".join(new.sensitivities), _changes),
    ):
        if before != after:
            yield Change(what, "", before, after, judge(before, after))
    yield from _sets("policy capability", old.capabilities, new.capabilities, _changes)
    yield from _sets("type", old.types.values(), new.types.values(), _neutral)
    yield from _maps("type alias", old.aliases, new.aliases, _changes)
    yield from _sets("permissive type", old.permissive, new.permissive, _gives)
    yield from _maps("type bound", old.bounded, new.bounded, _takes)
    yield from _sets("permission", _permissions(old), _permissions(new), _changes)
    yield from _sets("category", old.categories, new.categories, _changes)
    yield from _maps("categories of", _lists(old.levels), _lists(new.levels), _changes)
    yield from _sets("role", (r.name for r in old.roles.values()), (r.name for r in new.roles.values()), _neutral)
    yield from _sets("type of role", _role_types(old), _role_types(new), _gives)
    yield from _sets("dominated role", _dominated(old), _dominated(new), _changes)
    yield from _sets("role allow", map(" ".join, old.role_allow), map(" ".join, new.role_allow), _gives)
    yield from _maps("role_transition", _role_transitions(old), _role_transitions(new), _changes)
    yield from _users(old.users, new.users)
    yield from _maps("boolean", _words(old.booleans), _words(new.booleans), _default)
    yield from _maps("default", _joined(old.defaults), _joined(new.defaults), _changes)
    contexts = {statement for statement, _ in (*old.contexts, *new.contexts)}
    for statement in sorted(contexts):
        before_, after_ = (
            {name: text for (kind, name), text in policy.contexts.items() if kind == statement} for policy in (old, new)
        )
        yield from _maps(statement, before_, after_, _changes)


def _maps(what: str, old: Mapping[str, str], new: Mapping[str, str], judge: _Judge) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield Change(what, name, before, after, judge(before, after))


def _sets(
    what: str, old: Collection[str] | Iterator[str], new: Collection[str] | Iterator[str], judge: _Judge
) -> Iterator[Change]:
    return _maps(what, dict.fromkeys(old, "there"), dict.fromkeys(new, "there"), judge)


def _neutral(old: str | None, new: str | None) -> Effect:
    return Effect.NEUTRAL


def _changes(old: str | None, new: str | None) -> Effect:
    return Effect.CHANGES


def _gives(old: str | None, new: str | None) -> Effect:
    return Effect.WIDENS if old is None else Effect.NARROWS if new is None else Effect.CHANGES


def _takes(old: str | None, new: str | None) -> Effect:
    return _gives(new, old)


def _unknown(old: str | None, new: str | None) -> Effect:
    return Effect.WIDENS if new == "allow" else Effect.NARROWS if old == "allow" else Effect.CHANGES


def _default(old: str | None, new: str | None) -> Effect:
    """A boolean that comes or goes changes nothing that its rules do not; another default does."""
    return Effect.NEUTRAL if None in (old, new) else Effect.CHANGES


def _word(value: bool) -> str:
    return "on" if value else "off"


def _words(values: Mapping[str, bool]) -> dict[str, str]:
    return {name: _word(value) for name, value in values.items()}


def _joined(values: Mapping[tuple[str, str], str]) -> dict[str, str]:
    return {" ".join(key): value for key, value in values.items()}


def _lists(values: Mapping[str, frozenset[str]]) -> dict[str, str]:
    return {name: " ".join(sorted(found)) for name, found in values.items()}


def _permissions(policy: Policydb) -> Iterator[str]:
    for tclass in policy.classes.values():
        yield tclass.name
        yield from (f"{tclass.name} {name}" for name in tclass.permissions)


def _role_types(policy: Policydb) -> Iterator[str]:
    """Each type of each role; object_r may have any, whatever the file says."""
    for role in policy.roles.values():
        if role.name != "object_r":
            yield from (f"{role.name} {policy.types[n + 1]}" for n in places(role.types) if n + 1 in policy.types)


def _dominated(policy: Policydb) -> Iterator[str]:
    for role in policy.roles.values():
        yield from (f"{role.name} {other}" for other in role.dominates - {role.name})


def _role_transitions(policy: Policydb) -> dict[str, str]:
    return {f"{role} {target}:{tclass}": result for role, target, tclass, result in policy.role_transitions}


def _users(old: Mapping[str, Account], new: Mapping[str, Account]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            yield Change("user", name, _account(before), _account(after), _gives(_account(before), _account(after)))
            continue
        roles = [(f"{name} {role}") for role in before.roles - {"object_r"}]
        yield from _sets("role of user", roles, [f"{name} {role}" for role in after.roles - {"object_r"}], _gives)
        if before.level != after.level:
            yield Change("default level of user", name, before.level, after.level, Effect.CHANGES)
        if (before.low, before.high) != (after.low, after.high):
            yield Change("range of user", name, _range(before), _range(after), _wider(before, after))


def _account(user: Account | None) -> str | None:
    if user is None:
        return None
    return " ".join(filter(None, (*sorted(user.roles - {"object_r"}), user.low and _range(user))))


def _range(user: Account) -> str:
    return f"{user.low}-{user.high}"


def _wider(old: Account, new: Account) -> Effect:
    if old.bounds is None or new.bounds is None:
        return Effect.CHANGES
    (old_low, old_high), (new_low, new_high) = old.bounds, new.bounds
    if _within(new_low, old_low) and _within(old_high, new_high):
        return Effect.WIDENS
    if _within(old_low, new_low) and _within(new_high, old_high):
        return Effect.NARROWS
    return Effect.CHANGES


def _within(low: Level, high: Level) -> bool:
    """Is `low` dominated by `high`? Sensitivities of two policies compare only where they are one."""
    return low.sensitivity == high.sensitivity and set(low.categories) <= set(high.categories)
