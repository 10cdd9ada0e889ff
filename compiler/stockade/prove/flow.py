"""Where data can go: from files of one label to files of another, constraints applied."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stockade.prove.channels import DIRECT, FILES, HANDED, LABELLED, MADE, OF_PROCESSES, READ, STORED, TALK, WRITE
from stockade.prove.paths import Edge, Need, Node, Step, level_range, needs, object_context, search
from stockade.prove.reach import becomes, entrypoints, reach
from stockade.selinux.decide import OBJECT_ROLE, Context, Level, Table, UnknownContext
from stockade.selinux.policydb import read
from stockade.selinux.policydb_values import Policydb

__all__ = ["Need", "Step", "UnknownContext", "flow", "reach", "spread"]


def flow(
    policy: bytes | Policydb,
    source: str,
    target: str,
    *,
    levels: Collection[str] | None = None,
    without: Collection[str] = (),
) -> tuple[Step, ...] | None:
    """A shortest way by which what is in files labelled `source` can get into files labelled `target`, or None.

    Both are contexts, or types at the lowest level. Data goes through processes, other files, pipes, sockets, shared
    memory, queues, keys, maps, relabelling and changes of domain. Processes and objects on the way have the levels of
    source and target, or `levels` (such as `s0-s0:c0.c1023`), by default the lowest one: what has no categories is
    common to those who have some. Types in `without` are trusted not to pass
    anything on. A descriptor may have been handed over, so that `open` and directories on the way are not asked for;
    networks beyond the machine, and names, times and signals as messages, are not followed. Raises UnknownContext.
    """
    table = Table(policy if isinstance(policy, Policydb) else read(policy))
    start, goal = object_context(table, source), object_context(table, target)
    graph = _graph(table, (start, goal), levels, without)
    if start == goal:
        raise UnknownContext(f"`{source}` and `{target}` are one label")
    for _, path in search(
        table, _starts(start), graph.edges, lambda node: node.tclass in STORED and node.context == goal
    ):
        return path
    return None


def spread(
    policy: bytes | Policydb, sources: Collection[str], *, without: Collection[str] = ()
) -> dict[str, dict[str, tuple[Step, ...]]]:
    """For each of some types of files, the types of files that can get what is in them, each with a shortest way.

    Asks as `flow` does, with everything at the lowest level. Raises UnknownContext.
    """
    table = Table(policy if isinstance(policy, Policydb) else read(policy))
    starts = {name: object_context(table, name) for name in sources}
    graph = _graph(table, tuple(starts.values()), None, without)
    found: dict[str, dict[str, tuple[Step, ...]]] = {}
    for name, start in starts.items():
        reached = found.setdefault(name, {})
        for node, path in search(table, _starts(start), graph.edges, None):
            if node.tclass in STORED and node.context.type != start.type and node.context.role == OBJECT_ROLE:
                reached.setdefault(node.context.type, path)
    return found


def _graph(table: Table, ends: Collection[Context], levels: Collection[str] | None, without: Collection[str]) -> _Flow:
    """The graph between these labels, without the types that pass nothing on. UnknownContext."""
    for name in without:
        if name not in table.values:
            raise UnknownContext(f"type `{name}` is not in this policy")
    ranges = {(c.low, c.high) for c in ends} | {(c.high, c.high) for c in ends}
    for text in ("",) if levels is None else levels:
        ranges.add(level_range(table, text))
    return _Flow(table, sorted(ranges), frozenset(without))


def _starts(context: Context) -> list[Node]:
    return [Node(context, tclass) for tclass in sorted(STORED, key=_plain_first)]


def _plain_first(tclass: str) -> tuple[bool, str]:
    """An order of classes in which the example that a person expects comes first."""
    return tclass != "file", tclass


def _stored(table: Table, name: str, domains: Collection[str]) -> bool:
    """Can one of `domains` give the label of a process to what a file system keeps?

    A policy without the permissions that this takes is one in which nothing stands in the way.
    """
    known = {c.name: c.permissions.keys() for c in table.policy.classes.values()}
    kept = (vectors.get("filesystem", frozenset()) for vectors in table.given(name).values())
    if "associate" in known.get("filesystem", ()) and not any("associate" in perms for perms in kept):
        return False
    if "setfscreate" not in known.get("process", ()):
        return True
    for maker in domains:
        given = table.given(maker)
        labels = "setfscreate" in given.get(maker, {}).get("process", ())
        for perms in (given.get(name, {}).get(tclass, frozenset()) for tclass in STORED):
            if "relabelto" in perms or (labels and "create" in perms):
                return True
    return False


class _Flow:
    """The graph of where data goes, spelled out only as far as it is walked."""

    def __init__(self, table: Table, ranges: list[tuple[Level, Level]], without: frozenset[str]) -> None:
        self.table = table
        self.without = without
        domains = table.domains()
        self.domains = sorted(domains - without)
        self.processes = [
            context
            for name in self.domains
            for low, high in ranges
            for context in table.contexts(name, low, high, process=True)
        ]
        self.of_type: dict[str, list[Context]] = {}
        for context in self.processes:
            self.of_type.setdefault(context.type, []).append(context)
        self.objects: dict[str, list[Context]] = {
            name: [
                context
                for low, high in ranges
                if low == high
                for context in list(table.contexts(name, low, high, process=False))[:1]
            ]
            for name in sorted(table.values)
            if name not in without and (name not in domains or _stored(table, name, self.domains))
        }
        self._hands: dict[tuple[Context, Context], bool] = {}
        self.entered = entrypoints(table, self.domains)

    def edges(self, node: Node) -> Iterator[Edge]:
        """Where data can go from here in one step."""
        yield from self._from_object(node) if node.tclass else self._from_process(node.context)

    def _from_object(self, node: Node) -> Iterator[Edge]:
        table, thing, tclass = self.table, node.context, node.tclass
        for me in self.processes:
            given = table.given(me.type).get(thing.type, {}).get(tclass, frozenset())
            if not given or not self._has(me, thing, tclass):
                continue
            for perm in sorted(READ.get(tclass, frozenset()) & given & table.allowed(me, thing, tclass)):
                yield Node(me), "is read", (needs(me, thing, tclass, perm),)
                break
            if tclass in FILES and "relabelfrom" in given and "relabelfrom" in table.allowed(me, thing, tclass):
                yield from self._relabelled(me, thing, tclass)
        if tclass in TALK and thing.type in self.of_type:
            perm, both = TALK[tclass]
            for other in self.processes:
                if self._made(other, tclass):
                    if perm in table.allowed(thing, other, tclass):
                        yield Node(other, tclass), "is sent", (needs(thing, other, tclass, perm),)
                    elif both and perm in table.allowed(other, thing, tclass):
                        yield Node(other, tclass), "is sent", (needs(other, thing, tclass, perm),)
        if tclass in FILES and thing in self.of_type.get(thing.type, ()):
            # What is written to a file that is labelled as a process (in /proc) is that process's own.
            yield Node(thing), "is the process's own", ()

    def _relabelled(self, me: Context, thing: Context, tclass: str) -> Iterator[Edge]:
        table = self.table
        for name, vectors in table.given(me.type).items():
            if "relabelto" in vectors.get(tclass, ()):
                for new in self.objects.get(name, ()):
                    if (
                        new != thing
                        and "relabelto" in table.allowed(me, new, tclass)
                        and table.may_relabel(thing, new, me, tclass)
                    ):
                        because = needs(me, thing, tclass, "relabelfrom"), needs(me, new, tclass, "relabelto")
                        yield Node(new, tclass), "is relabelled", because

    def _from_process(self, me: Context) -> Iterator[Edge]:
        table = self.table
        for name, vectors in table.given(me.type).items():
            for tclass in sorted(vectors.keys() & WRITE.keys(), key=_plain_first):
                if given := vectors[tclass] & WRITE[tclass]:
                    for thing in filter(lambda one: self._has(me, one, tclass), self._things(me, name, tclass)):
                        for perm in sorted(given & table.allowed(me, thing, tclass)):
                            yield Node(thing, tclass), "is written", (needs(me, thing, tclass, perm),)
                            break
        for other in self.processes:
            if other == me:
                continue
            for (tclass, perm), both in DIRECT.items():
                if perm in table.allowed(me, other, tclass):
                    yield Node(other), "is told", (needs(me, other, tclass, perm),)
                elif both and perm in table.allowed(other, me, tclass):
                    yield Node(other), "is told", (needs(other, me, tclass, perm),)
            for tclass in ("file", "fifo_file", "anon_inode"):
                # Files of a process (in /proc, its pipes) show what it holds to whoever may read them.
                for perm in sorted(READ[tclass] & table.allowed(other, me, tclass)):
                    yield Node(other), f"is read as {tclass}", (needs(other, me, tclass, perm),)
                    break
        for context, how, because in becomes(table, me, self.domains, self.entered, self.processes):
            if context in self.of_type.get(context.type, ()):
                yield Node(context), how, because

    def _things(self, me: Context, name: str, tclass: str) -> list[Context]:
        """The objects of a class that can have this type: stored ones, those of processes, those made to have it."""
        processes = self.of_type.get(name, [])
        if tclass in FILES:
            return [*self.objects.get(name, []), *(processes if tclass in OF_PROCESSES else [])]
        found = [one for one in processes if self._made(one, tclass)]
        if tclass in LABELLED and name not in self.of_type:
            for thing in self.objects.get(name, []):
                if any(self._makes(maker, thing, tclass) for maker in self.processes):
                    found.append(thing)
        return found

    def _has(self, me: Context, thing: Context, tclass: str) -> bool:
        """Can a process have come by such an object? One without a name is its own, or was handed over by its owner."""
        if tclass not in HANDED or thing == me:
            return True
        if thing in self.of_type.get(thing.type, ()):
            return self._handed(me, thing)
        return tclass in LABELLED and any(
            self._handed(me, one) and self._makes(one, thing, tclass) for one in self.processes
        )

    def _handed(self, me: Context, other: Context) -> bool:
        """May `me` use a descriptor of `other`, and is there a way to give it one?"""
        key = me, other
        if key not in self._hands:
            ways = [("process", "transition"), ("process", "dyntransition"), ("process", "ptrace")]
            ways += [(tclass, perm) for tclass, (perm, _) in TALK.items()]
            allowed = self.table.allowed
            self._hands[key] = me == other or (
                "use" in allowed(me, other, "fd")
                and any(p in allowed(me, other, c) or p in allowed(other, me, c) for c, p in ways)
            )
        return self._hands[key]

    def _made(self, owner: Context, tclass: str) -> bool:
        """Can a process of this context have made such an object of its own label?"""
        return MADE[tclass] in self.table.allowed(owner, owner, tclass)

    def _makes(self, maker: Context, thing: Context, tclass: str) -> bool:
        return MADE[tclass] in self.table.allowed(maker, thing, tclass) and LABELLED[tclass] in self.table.allowed(
            maker, maker, "process"
        )
