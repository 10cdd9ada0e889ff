"""The kernel policy, read back and held against the source: every access of every pair, transitions, constraints."""

from __future__ import annotations

from collections.abc import Iterator

from stockade.model.access import spell, words
from stockade.model.alike import Kinds, few, kinds
from stockade.model.grants import grants
from stockade.model.host import Constraint, Creates, Host, LabelFrom, Test
from stockade.model.policy import Policy
from stockade.prove.identity import identity_faults
from stockade.prove.labels import breaches, label_promises
from stockade.prove.table import table_of_vectors
from stockade.selinux.binary import Binary
from stockade.selinux.policydb import read
from stockade.selinux.signatures import signatures
from stockade.selinux.text import context


def table_of(binary: Binary) -> dict[tuple[str, str], int]:
    """What a kernel policy gives, in the model's terms. KeyError when it has a permission that the model has not."""
    return table_of_vectors(binary.allow)


def kinds_in(policy: Policy, kernel_policy: bytes) -> Kinds:
    """The domains that are alike both in what the source says of them and in what the kernel policy does."""
    return kinds(policy, signatures(read(kernel_policy)).get)


def disagreements(policy: Policy, binary: Binary, alike: Kinds) -> Iterator[str]:
    """Every way in which the kernel policy is not what the source says; empty when it is.

    `alike` is `kinds_in` of both: pairs of labels are compared for two of each kind.
    """
    host, small = policy.host, few(policy, alike)
    labels = small.host.subject_labels | (frozenset(binary.types) - host.subject_labels)
    table, compiled = grants(small.host), table_of_vectors(binary.vectors("allow", labels))
    for pair in sorted(table.keys() | compiled.keys()):
        wanted, found = table.get(pair, 0), compiled.get(pair, 0)
        if extra := found & ~wanted:
            yield f"the kernel policy lets {pair[0]} on {pair[1]} {words(extra)}, which no rule gives"
        if missing := wanted & ~found:
            yield f"the kernel policy denies {pair[0]} on {pair[1]} {words(missing)}, which a rule gives"
    for promise in label_promises(small):
        for subject, target, given in breaches(promise, compiled):
            yield f"the kernel policy breaks promise `{promise.name}`: {subject} on {target} {words(given)}"
    yield from _frame(host, binary, frozenset(c.domain for c in policy.containers.values() if c.complains))
    yield from _transitions(host, binary)
    yield from _constraints(host, binary)
    yield from _contexts(host, binary)
    yield from identity_faults(policy, binary, small.host, table_of_vectors(binary.vectors("dontaudit", labels)))


def _frame(host: Host, binary: Binary, complaining: frozenset[str]) -> Iterator[str]:
    types = host.subject_labels | host.object_labels
    if frozenset(binary.types) != types:
        yield f"the kernel policy has other types than the source: {sorted(frozenset(binary.types) ^ types)}"
    for label in sorted(binary.permissive ^ complaining):
        yield f"the kernel policy has {label} {'permissive' if label in binary.permissive else 'enforcing'}"
    if binary.booleans:
        yield f"the kernel policy has booleans: {', '.join(sorted(binary.booleans))}"
    if binary.handle_unknown != "deny":
        yield f"the kernel policy answers {binary.handle_unknown} to unknown permissions"
    if frozenset(binary.policycaps) != frozenset(host.policy_capabilities):
        yield f"the kernel policy has the policy capabilities {', '.join(sorted(binary.policycaps))}"


def _transitions(host: Host, binary: Binary) -> Iterator[str]:
    wanted = {(t.who, t.source, str(t.creates), t.target, t.filename or "") for t in host.transitions}
    found = {(t.source, t.target, t.tclass, t.result, t.name) for t in binary.type_transitions}
    for one in sorted(wanted ^ found):
        word = "lacks" if one in wanted else "has another"
        yield f"the kernel policy {word} transition: {' '.join(one)}"
    ranges = {
        (t.who, t.source, t.level.partition("-")[0], t.level.partition("-")[2] or t.level)
        for t in host.transitions
        if t.creates is Creates.PROCESS and t.level
    }
    given = {(r.source, r.target, r.low, r.high) for r in binary.range_transitions}
    for row in sorted(ranges ^ given):
        word = "lacks" if row in ranges else "has another"
        yield f"the kernel policy {word} range transition: {' '.join(row)}"


_SAME = tuple("u1 u2 == r1 r2 == and t1 t2 == and h1 h2 == and l1 l2 == and".split())


def _postfix(constraint: Constraint) -> tuple[str | frozenset[str], ...]:
    """The condition in the order in which the kernel evaluates it: terms joined one by one with `or`."""
    result: list[str | frozenset[str]] = []
    for number, leaf in enumerate(constraint.any_of):
        if leaf.test is Test.DOMINATES:
            result += ["h1", "h2", "dom"]
        elif leaf.test is Test.SAME:
            result += _SAME
        else:
            side = "t2" if leaf.test is Test.WHAT else "t3" if constraint.relabelling else "t1"
            result += [side, leaf.labels, "=="]
        result += ["or"] if number else []
    return tuple(result)


def _constraints(host: Host, binary: Binary) -> Iterator[str]:
    """Each (class, permission) has exactly the conditions that the source puts on it."""
    wanted: dict[tuple[str, str], list[str]] = {}
    found: dict[tuple[str, str], list[str]] = {}
    for constraint in host.constraints:
        postfix = _spelled(_postfix(constraint))
        for name, permissions in spell(constraint.access).items():
            for permission in ("",) if constraint.relabelling else permissions:
                wanted.setdefault((name, permission), []).append(postfix)
    for given in binary.constraints:
        if given.kind not in ("mlsconstrain", "mlsvalidatetrans"):
            yield f"the kernel policy has a {given.kind} on {given.tclass}, which the source does not use"
        for permission in given.perms or ("",):
            found.setdefault((given.tclass, permission), []).append(_spelled(given.postfix))
    for name, permission in sorted(wanted.keys() | found.keys()):
        if sorted(wanted.get((name, permission), [])) != sorted(found.get((name, permission), [])):
            what = f"{name} {permission}" if permission else f"relabelling of {name}"
            yield f"the kernel policy has other constraints on {what} than the source"


def _spelled(postfix: tuple[str | frozenset[str], ...]) -> str:
    return " ".join(term if isinstance(term, str) else "{" + " ".join(sorted(term)) + "}" for term in postfix)


def _contexts(host: Host, binary: Binary) -> Iterator[str]:
    """Initial SIDs and file systems carry the labels that the source gives them."""
    kinds = {LabelFrom.XATTR: "fs_use_xattr", LabelFrom.TASK: "fs_use_task", LabelFrom.TRANSITION: "fs_use_trans"}
    wanted = {f"initial SID {sid}": context(label, host.subject_labels) for sid, label in host.initial.items()}
    found = {f"initial SID {sid}": text for sid, text in binary.initial_sids.items()}
    for fs in host.filesystems:
        text = context(fs.label, host.subject_labels)
        kind = kinds.get(fs.labels_from, "genfscon /")
        wanted[f"file system {fs.name}"] = f"{kind} {text}"
    found |= {f"file system {name}": f"{kind} {text}" for name, (kind, text) in binary.fs_use.items()}
    found |= {f"file system {name}": f"genfscon {path} {text}" for (name, path, _), text in binary.genfscon.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            yield f"{key}: the source says {wanted.get(key)}, the kernel policy {found.get(key)}"
