"""Turns a policy written down as decisions (who may do what to whom) into CIL, for tests that need one of real size."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

INITIAL_SIDS = (
    "kernel security unlabeled fs file file_labels init any_socket port netif netmsg node igmp_packet icmp_socket "
    "tcp_socket sysctl_modprobe sysctl sysctl_fs sysctl_kernel sysctl_net sysctl_net_unix sysctl_vm sysctl_dev kmod "
    "policy scmp_packet devnull"
).split()
"""The kernel's initial SIDs in the order of their numbers: a policy that counts otherwise labels the wrong things."""

FILE_KINDS = {
    "": "any", "--": "file", "-d": "dir", "-c": "char", "-b": "block", "-p": "pipe", "-s": "socket", "-l": "symlink",
}  # fmt: skip
OPERATORS = {"==": "eq", "!=": "neq"}


def load(path: Path) -> dict[str, Any]:
    """The decisions in a JSON file, gzip-compressed when its name ends in .gz."""
    raw = path.read_bytes()
    document = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    assert isinstance(document, dict)
    return document


def to_cil(data: dict[str, Any]) -> bytes:
    """One CIL file that compiles to a kernel policy with the decisions in `data`."""
    parts = (_classes, _identity, _types, _rules, _transitions, _constraints, _labels, _file_contexts)
    return "\n".join(line for part in parts for line in part(data)).encode() + b"\n"


def permissions(data: dict[str, Any], source: str, target: str) -> dict[str, frozenset[str]]:
    """What `source` may do to `target` before constraints, class by class."""
    profile = data["access_profiles"].get(data["allow"].get(source, {}).get(target), {})
    return {c: frozenset(data["classes"][c] if p == "all" else p) for c, p in profile.items()}


def _words(names: Iterable[str]) -> str:
    return f"({' '.join(names)})"


def _classes(data: dict[str, Any]) -> Iterator[str]:
    yield f"(handleunknown {data['handle_unknown']})\n(mls true)"
    yield from (f"(policycap {name})" for name in data["policy_capabilities"])
    yield from (f"(class {name} {_words(perms)})" for name, perms in data["classes"].items())
    yield f"(classorder {_words(data['classes'])})"


def _level(text: str) -> str:
    """`s0:c1,c4.c9` as `(s0 (c1 (range c4 c9)))`."""
    sensitivity, _, categories = text.strip().partition(":")
    if not categories:
        return f"({sensitivity})"
    spans = (f"(range {part.replace('.', ' ')})" if "." in part else part for part in categories.split(","))
    return f"({sensitivity} {_words(spans)})"


def _range(text: str) -> str:
    low, separator, high = text.partition("-")
    return f"({_level(low)} {_level(high if separator else low)})"


def _context(text: str) -> str:
    user, role, type_, level = text.split(":", 3)
    return f"({user} {role} {type_} {_range(level)})"


def _identity(data: dict[str, Any]) -> Iterator[str]:
    names = [f"c{n}" for n in range(1024)]
    yield "(sensitivity s0)\n(sensitivityorder (s0))"
    yield "\n".join(f"(category {name})" for name in names)
    yield f"(categoryorder {_words(names)})\n(sensitivitycategory s0 (range c0 c1023))"
    for role, types in data["roles"].items():
        yield f"(role {role})"
        # Files take object_r: the kernel exempts it from the role checks, CIL does not.
        yield from (f"(roletype {role} {name})" for name in (data["types"] if role == "object_r" else types))
    for user, facts in data["users"].items():
        yield f"(user {user})\n(userlevel {user} {_level(facts['level'])})\n(userrange {user} {_range(facts['range'])})"
        yield from (f"(userrole {user} {role})" for role in ("object_r", *facts["roles"]))


def _types(data: dict[str, Any]) -> Iterator[str]:
    sets: dict[str, list[str]] = {}
    for name, facts in data["types"].items():
        yield f"(type {name})"
        for alias in facts["aliases"]:
            yield f"(typealias {alias})\n(typealiasactual {alias} {name})"
        for group in facts["sets"]:
            sets.setdefault(group, []).append(name)
    for group, members in sorted(sets.items()):
        yield f"(typeattribute {group})\n(typeattributeset {group} {_words(members)})"


def _rules(data: dict[str, Any]) -> Iterator[str]:
    """Rules over groups of types, as a person's policy has them: one per type would be sixty times as many."""
    groups: dict[frozenset[str], str] = {}

    def named(members: Iterable[str]) -> str:
        return groups.setdefault(frozenset(members), f"group_{len(groups)}")

    reaches: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for source, targets in data["allow"].items():
        for target in targets:
            for class_, perms in permissions(data, source, target).items():
                for perm in perms:
                    reaches.setdefault((class_, perm), set()).add((source, target))
    alike: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
    for (class_, perm), pairs in sorted(reaches.items()):
        alike.setdefault((class_, frozenset(pairs)), []).append(perm)
    for (class_, reach), together in alike.items():
        by_source: dict[str, set[str]] = {}
        for source, target in sorted(reach):
            by_source.setdefault(source, set()).add(target)
        rows = Counter(frozenset(targets) for targets in by_source.values())
        sides: dict[frozenset[str], list[str]] = {}
        for source, targets in by_source.items():
            if source in targets and rows[frozenset(targets)] == 1:
                sides.setdefault(frozenset({"self"}), []).append(source)
                targets = targets - {source}
            if targets:
                sides.setdefault(frozenset(targets), []).append(source)
        for targets, sources in sides.items():
            target = "self" if targets == {"self"} else named(targets)
            yield f"(allow {named(sources)} {target} ({class_} {_words(together)}))"
    for members, name in groups.items():
        yield f"(typeattribute {name})\n(typeattributeset {name} {_words(sorted(members))})"
    for source, target, class_, perms in data["dontaudit"]:
        yield f"(dontaudit {source} {target} ({class_} {_words(perms)}))"


def _transitions(data: dict[str, Any]) -> Iterator[str]:
    for source, target, class_, result, *name in data["type_transitions"]:
        yield f"(typetransition {' '.join([source, target, class_, *(json.dumps(n) for n in name), result])})"
    for source, target, class_, levels in data["range_transitions"]:
        yield f"(rangetransition {source} {target} {class_} {_range(levels)})"


def _expression(text: str) -> str:
    """Infix `t1 == a or ( h1 dom h2 and u1 == u2 )` as CIL; `not` binds tightest, then `and`, then `or`."""
    tokens = re.findall(r"[()]|[^\s()]+", text)[::-1]

    def either() -> str:
        left = both()
        while tokens and tokens[-1] == "or":
            tokens.pop()
            left = f"(or {left} {both()})"
        return left

    def both() -> str:
        left = single()
        while tokens and tokens[-1] == "and":
            tokens.pop()
            left = f"(and {left} {single()})"
        return left

    def single() -> str:
        token = tokens.pop()
        if token == "not":
            return f"(not {single()})"
        if token == "(":
            inner = either()
            assert tokens.pop() == ")", text
            return inner
        operator, right = tokens.pop(), tokens.pop()
        return f"({OPERATORS.get(operator, operator)} {token} {right})"

    result = either()
    assert not tokens, text
    return result


def _constraints(data: dict[str, Any]) -> Iterator[str]:
    for kind, class_, perms, text in data["constraints"]:
        subject = class_ if perms is None else f"({class_} {_words(perms)})"
        yield f"({kind} {subject} {_expression(text)})"


def _labels(data: dict[str, Any]) -> Iterator[str]:
    for name in INITIAL_SIDS:
        yield f"(sid {name})"
        if name in data["initial_sids"]:
            yield f"(sidcontext {name} {_context(data['initial_sids'][name])})"
    yield f"(sidorder {_words(INITIAL_SIDS)})"
    for rule in data["defaults"]:
        kind, class_, of, *span = rule.rstrip(";").split()
        words = " ".join([of, *(word.replace("_", "-") for word in span)])
        yield f"({kind.replace('_', '')} {class_} {words})"
    for kind, filesystem, context in data["fs_use"]:
        yield f"(fsuse {kind.removeprefix('fs_use_')} {filesystem} {_context(context)})"
    for filesystem, path, context in data["genfscon"]:
        yield f"(genfscon {filesystem} {path} {_context(context)})"


def _file_contexts(data: dict[str, Any]) -> Iterator[str]:
    for pattern, *kind, context in data["file_contexts"]:
        label = "()" if context == "<<none>>" else _context(context)
        yield f"(filecon {json.dumps(pattern)} {FILE_KINDS[kind[0] if kind else '']} {label})"
