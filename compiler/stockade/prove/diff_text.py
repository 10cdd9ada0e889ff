"""A difference of kernel policies for a person to read: what is wider, what is narrower, then everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from stockade.prove.changes import Access, Change
from stockade.prove.policy_diff import PolicyDiff


def lines(found: PolicyDiff, *, names: int = 6, width: int = 200) -> Iterator[str]:
    """The difference, line by line. Lists of types end after `names`, texts of other parts after `width` characters.

    Sources that gain or lose the same are one paragraph, and so are the targets in it.
    """
    if found.same:
        yield "both policies decide the same"
        return
    for sign, title, changes in (("+", "wider", found.widened), ("-", "narrower", found.narrowed)):
        if changes:
            pairs = len({(c.source, c.target) for c in changes})
            count = sum(len(c.perms) for c in changes)
            yield f"{title}: {count} {_many(count, 'permission')} on {pairs} {_many(pairs, 'pair')} of types"
            yield from _accesses(sign, changes, names)
    if found.other:
        yield "otherwise:"
        for change in found.other:
            yield from _change(change, width)


def _accesses(sign: str, changes: Sequence[Access], names: int) -> Iterator[str]:
    by_source: dict[str, dict[str, list[Access]]] = defaultdict(lambda: defaultdict(list))
    for change in changes:
        by_source[change.source][change.target].append(change)
    same: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = defaultdict(list)
    for source, targets in by_source.items():
        itself = {target: "itself" if target == source else target for target in targets}
        same[tuple((itself[t], _told(found)) for t, found in targets.items())].append(source)
    for reached, sources in same.items():
        yield f"  {_list(sources, names)}"
        alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for target, told in reached:
            alike[told].append(target)
        for told, targets_ in alike.items():
            yield f"    {sign} {_list(targets_, names)}"
            for text in told:
                yield f"        {text}"


def _told(found: Sequence[Access]) -> tuple[str, ...]:
    """The changes of one pair: whole verbs by name, the rest by class; then why."""
    verbs = sorted({verb for access in found for verb in access.verbs})
    rows = [", ".join(verbs)] if verbs else []
    for access in found:
        when = f" if {access.condition}" if access.condition else ""
        rows.append(f"{access.tclass} {{ {' '.join(access.perms)} }}{when}")
    because = dict.fromkeys(place for access in found for place in access.because)
    return (*rows, *(f"said at {place}" for place in because))


def _change(change: Change, width: int) -> Iterator[str]:
    name = f"{change.what} {change.name}".rstrip()
    if None in (change.old, change.new) and "there" in (change.old, change.new):
        yield f"  {'+' if change.old is None else '-'} {name} ({change.effect})"
    else:
        yield f"  {name} ({change.effect})"
        for sign, text in (("-", change.old), ("+", change.new)):
            if text is not None:
                yield f"    {sign} {text if len(text) <= width else text[:width] + ' ...'}"
    if change.witness:
        which = "the new" if change.effect == "widens" else "the old"
        yield f"    only {which} one lets pass: {' '.join(change.witness)}"


def _list(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _many(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
