"""Where data goes by way of containers: what they read and write, as a picture, and what gets where, with its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import badge, code, disclosure, listed, paragraph, place
from stockade.prove.channels import READ, STORED, WRITE
from stockade.prove.flow import flow, spread
from stockade.prove.paths import Step
from stockade.prove.policy_sources import positions
from stockade.review.gather import Review
from stockade.selinux.decide import UnknownContext

MOST = 24
"""Domains of containers that are walked; a picture of more says nothing."""

Edges = Mapping[str, frozenset[str]]
"""Label of a thing -> the domains that read it, or write it."""


def flows(review: Review) -> Html:
    """The picture, then which files' contents containers can carry where."""
    domains = sorted(set(review.domains.values()), key=review.name)
    if len(domains) > MOST:
        return paragraph(f"{len(domains)} domains are too many for a picture; ask ", code("stockade flow FROM TO"), ".")
    things = sorted(set(review.table.values) - review.table.domains(), key=review.name)
    things = [label for label in things if any(label in review.table.given(one) for one in review.table.domains())]
    reads, writes = edges(review, domains, things, READ), edges(review, domains, things, WRITE)
    kept_in = workloads(review)
    walking = {review.domains[name] for name in kept_in}
    carried = spread(review.policy, things, without=review.table.domains() - walking)
    return joined(
        paragraph(
            "By labels alone, with no help of the host's own processes. The other layers take away more: of what "
            "a label may write, a container finds only what is mounted into it.", quiet=True,
        ),
        picture(review, domains, reads, writes),
        element("h3", "carried from where to where"),
        paragraph("By containers of ", ", ".join(kept_in) or "no type", ", to whom no escape is open.", quiet=True),
        list(_carried(review, carried)),
        element("h3", "between two containers"),
        _neighbours(review, review.table.domains() - walking),
    )  # fmt: skip


def workloads(review: Review) -> list[str]:
    """The container types for which every escape is stopped by some layer."""
    return [name for name in review.matrix.types if review.matrix.held(name, 1)[0] == review.matrix.held(name, 1)[1]]


def edges(
    review: Review, domains: Sequence[str], things: Sequence[str], channel: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """What each domain, at the lowest level, may do directly to files of each label, constraints applied."""
    table, lowest = review.table, review.table.level("s0") if review.policy.mls else review.table.level("")
    found: dict[str, frozenset[str]] = {}
    for label in things:
        context = next(iter(table.contexts(label, lowest, lowest, process=False)), None)
        if context is None:
            continue
        having = [
            domain
            for domain in domains
            for me in list(table.contexts(domain, lowest, lowest, process=True))[:1]
            if any(channel.get(c, frozenset()) - {"execute"} & table.allowed(me, context, c) for c in STORED)
        ]
        if having:
            found[label] = frozenset(having)
    return found


def picture(review: Review, domains: Sequence[str], reads: Edges, writes: Edges) -> Html:
    """Three columns: what is read, who reads and writes, what is written. Labels with the same edges share a box."""
    left, right = _boxes(reads), _boxes(writes)
    step, top, width, box = 30, 34, 760, 190
    height = top + step * max(len(left), len(domains), len(right)) + 6
    middle = {domain: _row(n, len(domains), height - top, top) for n, domain in enumerate(domains)}
    drawn: list[Child] = []
    for n, (_, having) in enumerate(left):
        drawn += [
            _edge(10 + box, _row(n, len(left), height - top, top), 310, middle[d], "in") for d in domains if d in having
        ]
    for n, (_, having) in enumerate(right):
        drawn += [
            _edge(450, middle[d], width - 10 - box, _row(n, len(right), height - top, top), "out")
            for d in domains
            if d in having
        ]
    for x, boxes in ((10, left), (width - 10 - box, right)):
        for n, (labels, _) in enumerate(boxes):
            drawn.append(_box(x, _row(n, len(boxes), height - top, top), box, [review.name(label) for label in labels]))
    drawn += [_box(310, y, 140, [review.name(domain)], "domain") for domain, y in middle.items()]
    heads = (("read from", 10 + box // 2), ("containers", 380), ("written to", width - 10 - box // 2))
    drawn += [element("text", word, x=x, y=16, text_anchor="middle", class_="headline") for word, x in heads]
    svg = element(
        "svg", drawn, viewBox=f"0 0 {width} {height}", class_="flow", role="img",
        aria_label="What files containers read from and write to; the table of access says the same in words",
    )  # fmt: skip
    return element("div", svg, class_="scroll", tabindex="0", role="region", aria_label="Picture of flows")


def _boxes(edges: Edges) -> list[tuple[list[str], frozenset[str]]]:
    together: dict[frozenset[str], list[str]] = {}
    for label, having in edges.items():
        together.setdefault(having, []).append(label)
    return [(labels, having) for having, labels in together.items()]


def _row(n: int, count: int, height: int, top: int) -> int:
    return top + (2 * n + 1) * height // (2 * count)


def _edge(x1: int, y1: int, x2: int, y2: int, kind: str) -> Html:
    middle = (x1 + x2) // 2
    return element("path", d=f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}", class_=kind)


def _box(x: int, y: int, width: int, names: Sequence[str], kind: str = "thing") -> Html:
    whole, room = ", ".join(names), width // 6
    short = whole
    for kept in range(len(names) - 1, 0, -1):
        if len(short) <= room:
            break
        short = f"{', '.join(names[:kept])} and {len(names) - kept} more"
    return element(
        "g",
        element("title", whole),
        element("rect", x=x, y=y - 11, width=width, height=22, rx=5),
        element("text", short, x=x + width // 2, y=y + 4, text_anchor="middle"),
        class_=kind,
    )


def _carried(review: Review, carried: Mapping[str, Mapping[str, tuple[Step, ...]]]) -> Iterator[Html]:
    everywhere = {target for ways in carried.values() for target in ways if target in carried}
    groups: dict[frozenset[str], list[str]] = {}
    for source, ways in carried.items():
        # What a label gets from itself says nothing, so it does not keep labels apart that are otherwise alike.
        targets = frozenset(ways.keys() & everywhere)
        groups.setdefault(targets | ({source} & everywhere if targets else set()), []).append(source)
    for targets, sources in sorted(groups.items(), key=lambda item: len(item[0])):
        names = [review.name(label) for label in sources]
        if not targets:
            yield paragraph(
                badge("good", "kept in"), " ", ", ".join(names), ": containers carry nothing of it anywhere."
            )
            continue
        first = carried[sources[0]]
        shown = [
            disclosure(joined("into ", element("strong", review.name(target))), _path(review, first[target]))
            for target in sorted(targets, key=review.name)
            if target in first
        ]
        into = ", ".join(review.name(target) for target in sorted(targets, key=review.name))
        yield disclosure(
            joined(badge("info", "carried"), f" from {len(names)} labels into {into}"),
            paragraph("from"), listed(names, name="chips"),
            paragraph(f"a shortest way from {names[0]}", quiet=True), shown,
        )  # fmt: skip


def _path(review: Review, path: Sequence[Step]) -> Html:
    items: list[Child] = []
    for step in path:
        said = positions(step, review.source.policy) if review.source is not None else ()
        places: list[Child] = [[" ", place(one.rsplit(":", 1)[0])] for one in said]
        items.append(
            [f"{step.how}: ", code(step.target), " by ", [[code(str(need)), " "] for need in step.because], places]
        )
    return element("ol", [element("li", item) for item in items], class_="reasons")


def _neighbours(review: Review, others: frozenset[str]) -> Html:
    files = sorted({spec["linux"]["mountLabel"].rsplit(":", 1)[0] for spec in review.specs.values()})
    said: list[Child] = []
    for label in files:
        try:
            path = flow(review.policy, f"{label}:s0:c1,c2", f"{label}:s0:c3,c4", levels=("",), without=others)
        except UnknownContext:
            return paragraph("The policy has no categories that would keep containers apart.")
        kind = code(label.rsplit(":", 1)[1])
        if path is None:
            said.append(
                paragraph(
                    badge("good", "apart"), " ", kind, ": nothing gets from one container's files into another's."
                )
            )
        else:
            summary = joined(
                badge("info", "by way of others"), " ", kind, ": by labels alone, over what both may write"
            )
            said.append(disclosure(summary, _path(review, path)))
    return joined(*said)
