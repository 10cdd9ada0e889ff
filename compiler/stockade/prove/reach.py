"""Which domain can become which: by what programs, transitions and permissions, constraints applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stockade.prove.paths import Edge, Need, Node, Step, needs, processes, search
from stockade.selinux.decide import OBJECT_ROLE, Context, Table, UnknownContext
from stockade.selinux.policydb import read
from stockade.selinux.policydb_values import Policydb


def reach(policy: bytes | Policydb, who: str, whom: str | None = None) -> tuple[tuple[Step, ...], ...]:
    """The domains that a process of `who` can become, each by a shortest path; only that to `whom` when given.

    `who` is a context, or a type (then at the lowest level, in every role it may have); `whom` a type or a context.
    A process becomes another domain by executing a file that it may execute and that is an entrypoint of that domain,
    where it may make the transition and a rule names it or it may ask for it; or without executing, by dyntransition.
    It keeps its user and its range unless a rule changes them, and its role; where it may ask, it may ask for the role
    and range of `whom` too. Raises UnknownContext.
    """
    table = Table(policy if isinstance(policy, Policydb) else read(policy))
    starts = processes(table, who)
    wanted = processes(table, whom) if whom is not None else []
    any_range = whom is not None and ":" not in whom
    domains = sorted(table.domains())
    entered = entrypoints(table, domains)

    def edges(node: Node) -> Iterator[Edge]:
        for context, via, because in becomes(table, node.context, domains, entered, wanted):
            yield Node(context), via, because

    def there(node: Node) -> bool:
        return any(node.context == one or (any_range and node.context.type == one.type) for one in wanted)

    paths = search(table, [Node(one) for one in starts], edges, there if whom is not None else None)
    best: dict[str, tuple[Step, ...]] = {}
    for node, path in paths:
        if path and (there(node) if whom is not None else node.context.type not in best):
            best.setdefault(node.context.type, path)
    return tuple(best[name] for name in sorted(best))


def entrypoints(table: Table, domains: Iterable[str]) -> dict[str, frozenset[str]]:
    """domain -> the types of its entrypoints."""
    return {
        name: frozenset(t for t, vectors in table.given(name).items() if "entrypoint" in vectors.get("file", ()))
        for name in domains
    }


def becomes(
    table: Table, me: Context, domains: Iterable[str], entered: dict[str, frozenset[str]], wanted: Iterable[Context]
) -> Iterator[tuple[Context, str, tuple[Need, ...]]]:
    """The contexts a process can take in one step, each with how and by which permissions."""
    mine = table.given(me.type)
    own = table.allowed(me, me, "process")
    moved = table.transitions("process")
    programs = {t: v["file"] for t, v in mine.items() if "execute" in v.get("file", ())}
    for name in domains:
        changes = mine.get(name, {}).get("process", frozenset()) & {"transition", "dyntransition"}
        if not changes:
            continue
        asked = [one for one in wanted if one.type == name]
        for program in sorted(entered[name] & programs.keys()):
            file = Context(me.user, OBJECT_ROLE, program, me.low, me.low)
            by_rule = _by_rule(table, me, file) if moved.get((me.type, program)) == name else []
            by_asking = [me._replace(type=name), *asked] if "setexec" in own else []
            for context in dict.fromkeys([*by_rule, *by_asking]):
                if context == me or not table.valid(context):
                    continue
                if (
                    "transition" in table.allowed(me, context, "process")
                    and "execute" in table.allowed(me, file, "file")
                    and "entrypoint" in table.allowed(context, file, "file")
                ):
                    why = (
                        Need(me.type, program, "process", "", name)
                        if context in by_rule
                        else needs(me, me, "process", "setexec")
                    )
                    because: tuple[Need, ...] = (
                        needs(me, file, "file", "execute"),
                        needs(context, file, "file", "entrypoint"),
                        needs(me, context, "process", "transition"),
                        why,
                    )
                    yield context, f"executes {program}", because
        if "dyntransition" in changes and "setcurrent" in own:
            for context in dict.fromkeys([me._replace(type=name), *asked]):
                if context != me and table.valid(context) and "dyntransition" in table.allowed(me, context, "process"):
                    because = (
                        needs(me, me, "process", "setcurrent"),
                        needs(me, context, "process", "dyntransition"),
                    )
                    yield context, "changes its own label", because


def _by_rule(table: Table, me: Context, file: Context) -> list[Context]:
    """The context of a process that executes a file and asks for none; nothing where that is not a valid one."""
    if any(tclass == "process" for _, tclass in table.policy.defaults):
        raise UnknownContext("defaults for class process are not supported")
    try:
        return [table.transition(me, file, "process")]
    except UnknownContext:
        return []
